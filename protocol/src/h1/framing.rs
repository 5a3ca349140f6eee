//! Which framing the length fields of a head give (RFC 9112 §6). Nothing ambiguous passes.

use crate::bytes;
use crate::fields::Field;
use crate::version::Version;

/// Why the length of a body cannot be known for certain.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub enum FramingError {
    /// A Content-Length that is not one decimal number of 64 bits.
    BadContentLength,
    /// More than one Content-Length line, equal or not.
    DuplicateContentLength,
    /// A Transfer-Encoding other than one line with `chunked`.
    BadTransferEncoding,
    /// `chunked` after another coding: well formed, but not implemented.
    UnknownTransferCoding,
    /// Transfer-Encoding in HTTP/1.0 (RFC 9112 §6.1).
    TransferEncodingInHttp10,
    /// Content-Length beside Transfer-Encoding.
    BothLengths,
}

impl FramingError {
    /// A short name for the log.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::BadContentLength => "bad_content_length",
            Self::DuplicateContentLength => "duplicate_content_length",
            Self::BadTransferEncoding => "bad_transfer_encoding",
            Self::UnknownTransferCoding => "unknown_transfer_coding",
            Self::TransferEncodingInHttp10 => "transfer_encoding_in_http10",
            Self::BothLengths => "both_lengths",
        }
    }
}

/// The length fields seen so far.
#[derive(Debug, Default)]
pub(crate) struct Lengths {
    pub(crate) length: Option<u64>,
    pub(crate) chunked: bool,
}

impl Lengths {
    #[inline]
    pub(crate) fn content_length(
        &mut self,
        field: &Field,
        bytes: &[u8],
    ) -> Result<(), FramingError> {
        if self.length.is_some() {
            return Err(FramingError::DuplicateContentLength);
        }
        let number = bytes::decimal(field.value.of(bytes));
        if number.is_none() || tab_around(field, bytes) {
            return Err(FramingError::BadContentLength);
        }
        self.length = number;
        Ok(())
    }

    #[inline]
    pub(crate) fn transfer_encoding(
        &mut self,
        field: &Field,
        bytes: &[u8],
    ) -> Result<(), FramingError> {
        let value = field.value.of(bytes);
        if self.chunked || tab_around(field, bytes) {
            return Err(FramingError::BadTransferEncoding);
        }
        if !value.eq_ignore_ascii_case(b"chunked") {
            return Err(if is_unknown_coding(value) {
                FramingError::UnknownTransferCoding
            } else {
                FramingError::BadTransferEncoding
            });
        }
        self.chunked = true;
        Ok(())
    }

    /// The judgement over both.
    #[inline]
    pub(crate) fn check(&self, version: Version) -> Result<(), FramingError> {
        match (self.chunked, self.length, version) {
            (true, Some(_), _) => Err(FramingError::BothLengths),
            (true, None, Version::H10) => Err(FramingError::TransferEncodingInHttp10),
            _ => Ok(()),
        }
    }
}

/// Tabs around a length are allowed by the grammar, but parsers that trim spaces only read
/// another value: `Transfer-Encoding:\tchunked` is a known smuggling vector.
#[inline]
fn tab_around(field: &Field, bytes: &[u8]) -> bool {
    !field.canonical
        && (bytes[field.name.end()..field.value.start()].contains(&b'\t')
            || bytes[field.value.end()..]
                .iter()
                .take_while(|&&b| b != b'\r')
                .any(|&b| b == b'\t'))
}

/// Whether the value is a list of codings, of which the last and no other is `chunked`.
#[cold]
fn is_unknown_coding(value: &[u8]) -> bool {
    let is_chunked = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    let mut codings = value.split(|&b| b == b',').map(|coding| match coding {
        [b' ', coding @ ..] => coding,
        coding => coding,
    });
    codings.next_back().is_some_and(is_chunked)
        && codings.all(|coding| {
            bytes::is_token(coding)
                && !is_chunked(coding)
                && !coding.eq_ignore_ascii_case(b"identity")
        })
}
