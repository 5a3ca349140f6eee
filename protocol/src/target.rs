//! The request target in its three forms (RFC 9112 §3.2).

use crate::authority;
use crate::bytes::{self, QUERY};
use crate::method::Method;
use crate::path::{self, PathError};
use crate::span::Span;

/// Why a request target is refused.
#[derive(Debug, Copy, Clone, PartialEq, Eq)]
pub enum TargetError {
    /// Neither a path, nor `http://` or `https://` with an authority, nor the `*` of OPTIONS.
    Form,
    /// A byte that the target cannot hold: fragments and quotes among them.
    BadByte,
    /// The path has no single meaning.
    Path(PathError),
    /// The authority is no host and port.
    Authority,
}

/// A judged target. The path lies in the wire bytes when it was normal there, else in `own`.
#[derive(Debug, Default)]
pub(crate) struct Target {
    /// `None`: the path is `own`.
    path: Option<Span>,
    own: Vec<u8>,
    query: Option<Span>,
    authority: Option<Span>,
}

impl Target {
    pub(crate) fn reset(&mut self) {
        self.path = None;
        self.own.clear();
        self.query = None;
        self.authority = None;
    }

    /// Judges `target`, a span of `bytes`.
    #[inline]
    pub(crate) fn parse(
        &mut self,
        bytes: &[u8],
        target: Span,
        method: Method,
    ) -> Result<(), TargetError> {
        match target.of(bytes) {
            [b'/', ..] => self.path_and_query(bytes, target),
            b"*" if method == Method::Options => {
                self.path = Some(target);
                Ok(())
            }
            _ => self.absolute(bytes, target, method),
        }
    }

    #[inline]
    fn path_and_query(&mut self, bytes: &[u8], at: Span) -> Result<(), TargetError> {
        let text = at.of(bytes);
        let (end, normal) = path::scan(text);
        if normal {
            self.path = Some(Span::new(at.start(), at.start() + end));
        } else {
            path::normalise(&text[..end], &mut self.own).map_err(TargetError::Path)?;
        }
        match &text[end..] {
            [] => Ok(()),
            [b'?', query @ ..] => self.query(query, at),
            _ => Err(TargetError::BadByte),
        }
    }

    /// Takes the query, which ends where the target does.
    #[inline]
    fn query(&mut self, query: &[u8], target: Span) -> Result<(), TargetError> {
        if !query.iter().all(|&b| bytes::is(b, QUERY)) {
            return Err(TargetError::BadByte);
        }
        self.query = Some(Span::new(target.end() - query.len(), target.end()));
        Ok(())
    }

    #[cold]
    fn absolute(&mut self, bytes: &[u8], at: Span, method: Method) -> Result<(), TargetError> {
        let text = at.of(bytes);
        let scheme_len = [&b"http://"[..], b"https://"]
            .iter()
            .find(|scheme| {
                text.get(..scheme.len())
                    .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
            })
            .ok_or(TargetError::Form)?
            .len();
        let rest = &text[scheme_len..];
        let len = rest
            .iter()
            .position(|b| matches!(b, b'/' | b'?'))
            .unwrap_or(rest.len());
        if !authority::is_valid(&rest[..len]) {
            return Err(TargetError::Authority);
        }
        let start = at.start() + scheme_len;
        self.authority = Some(Span::new(start, start + len));
        match &rest[len..] {
            [b'/', ..] => self.path_and_query(bytes, Span::new(start + len, at.end())),
            // RFC 9112 §3.2.4: OPTIONS without path and query is about the server as a whole.
            [] if method == Method::Options => {
                self.own.push(b'*');
                Ok(())
            }
            [] => {
                self.own.push(b'/');
                Ok(())
            }
            [_, query @ ..] => {
                self.own.push(b'/');
                self.query(query, at)
            }
        }
    }

    #[inline]
    pub(crate) fn path<'a>(&'a self, bytes: &'a [u8]) -> &'a [u8] {
        match self.path {
            Some(span) => span.of(bytes),
            None => &self.own,
        }
    }

    #[inline]
    pub(crate) fn query_span(&self) -> Option<Span> {
        self.query
    }

    #[inline]
    pub(crate) fn authority(&self) -> Option<Span> {
        self.authority
    }
}
