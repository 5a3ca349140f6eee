//! What is wrong with a configuration, and where.
//!
//! Every fault is kept until the whole file was read, then all are shown, in the file's order.

use std::fmt;
use std::ops::Range;
use std::path::Path;

use annotate_snippets::{AnnotationKind, Element, Level, Renderer, Snippet};

/// Longest part of a value repeated in a message, in characters; the underlined text shows the rest.
const QUOTED_CHARS_MAX: usize = 60;

/// Most errors kept of one file, the first ones: whoever has more gave the wrong file.
pub(super) const FAULTS_MAX: usize = 100;

/// Everything wrong with one file; never empty.
#[derive(Debug, Clone)]
pub struct Errors {
    file: String,
    text: String,
    faults: Vec<Fault>,
    /// Whether there were more.
    cut: bool,
}

/// One error as data, for `check --json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Problem<'a> {
    /// The file, as it was named.
    pub file: &'a str,
    /// Line and column, both from 1, the column in characters; `None` where the file could not be read.
    pub at: Option<(usize, usize)>,
    /// What is wrong.
    pub message: &'a str,
    /// What to do about it.
    pub help: Option<&'a str>,
}

/// One error and the bytes of the file it is about.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    at: Option<Range<usize>>,
    message: String,
    help: Option<String>,
    also: Option<(Range<usize>, String)>,
}

/// Why a value is refused, before its place is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) message: String,
    pub(super) help: Option<String>,
}

impl Wrong {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            help: None,
        }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(super) fn at(self, span: Range<usize>) -> Fault {
        Fault {
            at: Some(span),
            message: self.message,
            help: self.help,
            also: None,
        }
    }
}

impl Fault {
    pub(super) fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        Wrong::new(message).at(span)
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// A second place that has to do with it.
    pub(super) fn also(mut self, span: Range<usize>, label: impl Into<String>) -> Self {
        self.also = Some((span, label.into()));
        self
    }

    pub(super) fn start(&self) -> usize {
        self.at.as_ref().map_or(0, |span| span.start)
    }
}

impl Errors {
    /// `faults` in any order, at least one.
    pub(super) fn new(file: &Path, text: &str, mut faults: Vec<Fault>) -> Self {
        faults.sort_by_key(Fault::start);
        let cut = faults.len() > FAULTS_MAX;
        faults.truncate(FAULTS_MAX);
        Self {
            file: file.display().to_string(),
            text: text.to_owned(),
            faults,
            cut,
        }
    }

    /// The file itself cannot be read: cause and remedy.
    pub(super) fn unreadable(file: &Path, wrong: Wrong) -> Self {
        let fault = Fault {
            at: None,
            message: wrong.message,
            help: wrong.help,
            also: None,
        };
        Self::new(file, "", vec![fault])
    }

    /// Each error as data, in the file's order, a hundred at most.
    pub fn iter(&self) -> impl Iterator<Item = Problem<'_>> {
        self.faults.iter().map(|fault| Problem {
            file: &self.file,
            at: fault
                .at
                .as_ref()
                .map(|span| line_and_column(&self.text, span.start)),
            message: &fault.message,
            help: fault.help.as_deref(),
        })
    }

    /// All errors as text, each with its place underlined, and a line that counts them; `color` for a terminal.
    pub fn render(&self, color: bool) -> String {
        let renderer = if color {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        let mut out = String::new();
        for fault in &self.faults {
            out.push_str(&self.render_one(&renderer, fault));
            out.push_str("\n\n");
        }
        if self.faults.iter().any(|fault| fault.at.is_some()) {
            let count = self.faults.len();
            let more = if self.cut { "more than " } else { "" };
            let noun = if count == 1 { "error" } else { "errors" };
            out.push_str(&format!("{more}{count} {noun} in {}", self.file));
        }
        out.truncate(out.trim_end().len());
        out
    }

    fn render_one(&self, renderer: &Renderer, fault: &Fault) -> String {
        let mut elements: Vec<Element<'_>> = Vec::new();
        if let Some(span) = &fault.at {
            let mut snippet = Snippet::source(self.text.as_str())
                .path(self.file.as_str())
                .annotation(AnnotationKind::Primary.span(span.clone()));
            if let Some((also, label)) = &fault.also {
                snippet = snippet.annotation(
                    AnnotationKind::Context
                        .span(also.clone())
                        .label(label.as_str()),
                );
            }
            elements.push(snippet.into());
        }
        let message = match (&fault.at, &fault.help) {
            (None, Some(help)) => format!("{}; {help}", fault.message),
            _ => fault.message.clone(),
        };
        if let (Some(_), Some(help)) = (&fault.at, &fault.help) {
            elements.push(Level::HELP.message(help.as_str()).into());
        }
        let title = Level::ERROR.primary_title(message.as_str());
        renderer.render(&[title.elements(elements)])
    }
}

impl fmt::Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Errors {}

/// Line and column of a byte, both from 1, the column in characters.
pub(super) fn line_and_column(text: &str, byte: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(byte)];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.matches('\n').count() + 1;
    (line, before[line_start..].chars().count() + 1)
}

/// A value as it goes into a message: between backquotes, control characters escaped, cut where it is long.
pub(super) fn quoted(value: &str) -> String {
    let mut shown: String = value
        .chars()
        .take(QUOTED_CHARS_MAX)
        .flat_map(char::escape_debug)
        .collect();
    // `escape_debug` is for Rust's quotes; between backquotes they need no escape.
    shown = shown.replace("\\\"", "\"").replace("\\'", "'");
    let cut = value.chars().nth(QUOTED_CHARS_MAX).is_some();
    format!("`{shown}{}`", if cut { "…" } else { "" })
}

/// The known name that was most likely meant, if one is near enough.
pub(super) fn nearest<'a>(
    typed: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let plain = |name: &str| name.to_lowercase().replace('-', "_");
    let typed = plain(typed);
    known
        .into_iter()
        .filter_map(|name| {
            let candidate = plain(name);
            let distance = strsim::damerau_levenshtein(&typed, &candidate);
            let length = typed.chars().count().max(candidate.chars().count());
            let near =
                distance <= (length / 3).max(1) || strsim::jaro_winkler(&typed, &candidate) >= 0.9;
            near.then_some((distance, name))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters_and_lines_end_at_newlines() {
        let text = "a = 1\nné = \"x\"\r\nlast";
        assert_eq!(line_and_column(text, 0), (1, 1));
        assert_eq!(line_and_column(text, 6), (2, 1));
        assert_eq!(line_and_column(text, text.find('x').unwrap()), (2, 7));
        assert_eq!(line_and_column(text, text.len()), (3, 5));
        assert_eq!(line_and_column(text, text.len() + 9), (3, 5));
    }

    #[test]
    fn a_near_name_is_found_and_a_far_one_is_not() {
        let known = [
            "workers",
            "drain_notice",
            "drain_deadline",
            "max_connections",
        ];
        assert_eq!(nearest("worker", known), Some("workers"));
        assert_eq!(nearest("drain-notice", known), Some("drain_notice"));
        assert_eq!(nearest("max_conns", known), Some("max_connections"));
        assert_eq!(nearest("colour", known), None);
        assert_eq!(nearest("", known), None);
    }

    #[test]
    fn what_is_quoted_shows_control_characters_and_is_cut() {
        assert_eq!(quoted("a\r\n\"b\""), "`a\\r\\n\"b\"`");
        assert_eq!(quoted(&"x".repeat(99)).chars().count(), 63);
    }
}
