//! The lines of a head: the start line's end and the field section (RFC 9112 §2.2, §5).
//!
//! Judged line by line, each once: a head that is dripped costs no more than one that comes
//! whole, and a line that can never be valid is refused as soon as it is there.
//! Invariant: `at` is the start of the first line not yet judged, and that line does not end
//! before `searched`.

use crate::bytes::{self, Marks, TOKEN};
use crate::field::FieldId;
use crate::fields::{Field, Fields, Source};
use crate::limits::Limits;
use crate::span::Span;

/// Why a line is no line of HTTP/1.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub enum LineError {
    /// A line feed without the carriage return before it.
    BareLf,
    /// A carriage return without the line feed after it.
    BareCr,
    /// White space before the field's name: obs-fold, or a smuggled line (RFC 9112 §5.2).
    LeadingSpace,
    /// White space between name and colon (RFC 9112 §5.1).
    SpaceBeforeColon,
    /// A field line that begins with its colon.
    EmptyName,
    /// A field line without a colon.
    MissingColon,
    /// A byte in a name that no token holds.
    BadName,
    /// A control byte in a value.
    BadValue,
    /// The head is longer than `Limits::head_bytes`.
    HeadTooLarge,
    /// More field lines than `Limits::fields`.
    TooManyFields,
}

impl LineError {
    /// A short name for the log.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::BareLf => "bare_lf",
            Self::BareCr => "bare_cr",
            Self::LeadingSpace => "leading_space",
            Self::SpaceBeforeColon => "space_before_colon",
            Self::EmptyName => "empty_field_name",
            Self::MissingColon => "missing_colon",
            Self::BadName => "bad_field_name",
            Self::BadValue => "bad_field_value",
            Self::HeadTooLarge => "head_too_large",
            Self::TooManyFields => "too_many_fields",
        }
    }
}

/// How far a head has been judged.
#[derive(Debug, Copy, Clone, Default)]
pub(crate) struct Progress {
    pub(crate) at: usize,
    searched: usize,
}

impl Progress {
    /// Starts over, with the first line at `at`.
    pub(crate) fn restart(at: usize) -> Self {
        Self { at, searched: at }
    }

    /// The start line at `at` without its CRLF, once it is complete; then `at` is after it.
    #[inline]
    pub(crate) fn start_line(
        &mut self,
        bytes: &[u8],
        window: &mut Window,
        limits: &Limits,
    ) -> Result<Option<Span>, LineError> {
        let near = self.at + window.at(bytes, self.at).controls.trailing_zeros() as usize;
        if let Some(b"\r\n") = bytes.get(near..near + 2) {
            let line = Span::new(self.at, near);
            self.next_line(near + 2, limits)?;
            return Ok(Some(line));
        }
        let Some(found) = memchr::memchr(b'\n', &bytes[self.searched..]) else {
            self.searched = bytes.len();
            return self.incomplete(bytes, limits);
        };
        let lf = self.searched + found;
        if lf == self.at || bytes[lf - 1] != b'\r' {
            return Err(LineError::BareLf);
        }
        let line = Span::new(self.at, lf - 1);
        self.next_line(lf + 1, limits)?;
        Ok(Some(line))
    }

    /// Judges field lines up to the empty one. True: that was there, and `at` is after it.
    #[inline]
    pub(crate) fn field_lines(
        &mut self,
        bytes: &[u8],
        window: &mut Window,
        limits: &Limits,
        fields: &mut Fields,
    ) -> Result<bool, LineError> {
        // A line that was incomplete the last time is looked at again only when what came can
        // end or break it: a control byte, or anything after a carriage return.
        if self.searched > self.at
            && bytes[self.searched - 1] != b'\r'
            && bytes::value_end(&bytes[self.searched..]) == bytes.len() - self.searched
        {
            self.searched = bytes.len();
            return Ok(self.incomplete(bytes, limits)?.is_some());
        }
        loop {
            if let Some((field, end)) = plain_line(bytes, self.at, window) {
                self.add(field, end, limits, fields)?;
                continue;
            }
            if bytes[self.at..].starts_with(b"\r\n") {
                self.next_line(self.at + 2, limits)?;
                return Ok(true);
            }
            match field_line(bytes, self.at)? {
                Line::Field(field, end) => self.add(field, end, limits, fields)?,
                Line::Incomplete => {
                    self.searched = bytes.len();
                    return Ok(self.incomplete(bytes, limits)?.is_some());
                }
            }
        }
    }

    /// Adds a field whose line ends at `end`. Not by way of a `Line`: moving one costs more than both calls.
    #[inline]
    fn add(
        &mut self,
        field: Field,
        end: usize,
        limits: &Limits,
        fields: &mut Fields,
    ) -> Result<(), LineError> {
        self.next_line(end, limits)?;
        if fields.list.len() >= limits.fields {
            return Err(LineError::TooManyFields);
        }
        fields.push(field);
        Ok(())
    }

    #[inline]
    fn next_line(&mut self, at: usize, limits: &Limits) -> Result<(), LineError> {
        if at > head_bytes_max(limits) {
            return Err(LineError::HeadTooLarge);
        }
        *self = Self::restart(at);
        Ok(())
    }

    #[cold]
    fn incomplete(&self, bytes: &[u8], limits: &Limits) -> Result<Option<Span>, LineError> {
        // At least one more byte has to come.
        if bytes.len() >= head_bytes_max(limits) {
            return Err(LineError::HeadTooLarge);
        }
        Ok(None)
    }
}

/// Spans count in 32 bits.
fn head_bytes_max(limits: &Limits) -> usize {
    limits.head_bytes.min(1 << 30)
}

enum Line {
    Field(Field, usize),
    Incomplete,
}

/// A piece of the head whose marks are known: they serve every line that ends in it.
#[derive(Debug, Default)]
pub(crate) struct Window {
    start: usize,
    marks: Marks,
}

impl Window {
    /// Marks of what is at `at`, which is not before where the last were asked for: those of a whole line, or as many as
    /// there are.
    #[inline]
    fn at(&mut self, bytes: &[u8], at: usize) -> Marks {
        let skipped = at - self.start;
        if skipped >= Marks::BYTES || self.marks.controls >> skipped == 0 {
            *self = Self {
                start: at,
                marks: Marks::of(&bytes[at..]),
            };
            return self.marks;
        }
        self.marks.skip(skipped)
    }
}

/// The line at `at` and where it ends, if it is a field written the usual way, by far the most: a token, a colon, a space, a
/// value without tabs or spaces around, CRLF. Any other, good or bad, is for `field_line`.
#[inline]
fn plain_line(bytes: &[u8], at: usize, window: &mut Window) -> Option<(Field, usize)> {
    let Marks { colons, controls } = window.at(bytes, at);
    let name_len = colons.trailing_zeros() as usize;
    let mut line_len = controls.trailing_zeros() as usize;
    if name_len >= line_len {
        return None;
    }
    if line_len == Marks::BYTES {
        line_len += bytes::value_end(bytes.get(at + Marks::BYTES..)?);
    }
    let line = bytes.get(at..at + line_len + 2)?;
    // No control byte but tab is before the line's end, so that what is no more than a space is one of the two.
    let usual = line[line_len..] == *b"\r\n"
        && line[name_len + 1] == b' '
        && line[name_len + 2] > b' '
        && line[line_len - 1] > b' ';
    if !usual || name_len == 0 {
        return None;
    }
    let id = FieldId::of_token(&line[..name_len])?;
    let field = Field {
        name: Span::new(at, at + name_len),
        value: Span::new(at + name_len + 2, at + line_len),
        id,
        keep: !id.is_connection_specific(),
        canonical: true,
        source: Source::Wire,
    };
    Some((field, at + line_len + 2))
}

/// The line at `at`, which is not the empty one: a field and where its line ends, or not enough of it.
fn field_line(bytes: &[u8], at: usize) -> Result<Line, LineError> {
    let line = &bytes[at..];
    let Some(name_len) = line.iter().position(|&b| !bytes::is(b, TOKEN)) else {
        return Ok(Line::Incomplete);
    };
    if line[name_len] != b':' || name_len == 0 {
        return no_field(line, name_len);
    }
    let mut value_start = name_len + 1;
    while let Some(b' ' | b'\t') = line.get(value_start) {
        value_start += 1;
    }
    let line_end = value_start + bytes::value_end(&line[value_start..]);
    match line.get(line_end..line_end + 2) {
        Some(b"\r\n") => {}
        _ => return no_line_end(&line[line_end..]),
    }
    let mut value_end = line_end;
    while value_end > value_start && matches!(line[value_end - 1], b' ' | b'\t') {
        value_end -= 1;
    }
    let id = FieldId::of(&line[..name_len]);
    let field = Field {
        name: Span::new(at, at + name_len),
        value: Span::new(at + value_start, at + value_end),
        id,
        keep: !id.is_connection_specific(),
        canonical: value_start == name_len + 2
            && line[name_len + 1] == b' '
            && value_end == line_end,
        source: Source::Wire,
    };
    Ok(Line::Field(field, at + line_end + 2))
}

/// What begins like no field: not enough of a line, or an error.
#[cold]
fn no_field(line: &[u8], name_len: usize) -> Result<Line, LineError> {
    Err(match (line[name_len], name_len) {
        (b'\r', _) => match line.get(name_len + 1) {
            Some(b'\n') => LineError::MissingColon,
            Some(_) => LineError::BareCr,
            None => return Ok(Line::Incomplete),
        },
        (b'\n', _) => LineError::BareLf,
        (b' ' | b'\t', 0) => LineError::LeadingSpace,
        (b' ' | b'\t', _) => LineError::SpaceBeforeColon,
        (b':', 0) => LineError::EmptyName,
        _ => LineError::BadName,
    })
}

/// A value's end that is no CRLF: more has to come, or an error.
#[cold]
fn no_line_end(rest: &[u8]) -> Result<Line, LineError> {
    match rest {
        [] | [b'\r'] => Ok(Line::Incomplete),
        [b'\r', ..] => Err(LineError::BareCr),
        [b'\n', ..] => Err(LineError::BareLf),
        _ => Err(LineError::BadValue),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the long way says of a line, as the short way would.
    fn long_way(bytes: &[u8], at: usize) -> (Field, usize) {
        match field_line(bytes, at) {
            Ok(Line::Field(field, end)) => (field, end),
            _ => panic!("{} is no field", bytes[at..].escape_ascii()),
        }
    }

    fn assert_same((one, end): (Field, usize), (other, other_end): (Field, usize)) {
        let parts = |field: Field| {
            let Field {
                name,
                value,
                id,
                keep,
                canonical,
                source,
            } = field;
            (name, value, id, keep, canonical, source)
        };
        assert_eq!((parts(one), end), (parts(other), other_end));
    }

    /// Whatever byte stands anywhere in a line, the short way says what the long way says, or nothing.
    #[test]
    fn a_line_written_the_usual_way_reads_the_same_both_ways() {
        let long = [&b"Cookie: "[..], &[b'c'; 90], b"\r\nx"].concat();
        let mut taken = 0;
        for line in [
            &b"Host: a\r\nx"[..],
            b"user-agent: some agent/1.0\r\n\r\n",
            b"X-Forwarded-For: 10.0.0.1\r\n",
            b"x-own-name-of-24-bytes-ab:  v\r\n",
            b"Date: \t\r\nAccept: */*\r\n",
            &long,
        ] {
            for at in 0..line.len() {
                for byte in 0..=255 {
                    let mut line = line.to_vec();
                    line[at] = byte;
                    if let Some(plain) = plain_line(&line, 0, &mut Window::default()) {
                        taken += 1;
                        assert_same(plain, long_way(&line, 0));
                    }
                }
            }
        }
        assert!(taken > 1000, "{taken}");
    }

    /// One window serves line after line, wherever in it a line begins and ends.
    #[test]
    fn lines_of_any_length_read_the_same_one_after_another() {
        for first in 1..140 {
            for second in 1..140 {
                let mut bytes = Vec::new();
                for len in [first, second, first] {
                    bytes.extend_from_slice(b"X-Some: ");
                    bytes.resize(bytes.len() + len, b'v');
                    bytes.extend_from_slice(b"\r\n");
                }
                let (mut at, mut window) = (0, Window::default());
                while at < bytes.len() {
                    let plain = plain_line(&bytes, at, &mut window).expect("it is plain");
                    assert_same(plain, long_way(&bytes, at));
                    at = plain.1;
                }
            }
        }
    }
}
