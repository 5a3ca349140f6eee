//! Requests, as asked for and as the bytes that are sent again and again.

use std::{
    io,
    net::{SocketAddr, ToSocketAddrs},
};

use super::Checks;
use crate::pattern;

/// Content of one chunk of a chunked request.
const CHUNK_BYTES: usize = 16 * 1024;

/// What the requests of a load look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestShape {
    /// The method.
    pub method: String,
    /// The Host field.
    pub host: String,
    /// Request targets, taken in turn. Not empty.
    pub paths: Vec<String>,
    /// Further fields, `name: value`.
    pub fields: Vec<String>,
    /// Content of each request.
    pub body: Body,
    /// What the answers must be.
    pub checks: Checks,
}

/// Content of a request, made of [`crate::pattern`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// No content and no field that speaks of it.
    None,
    /// With Content-Length.
    Sized(usize),
    /// In chunks.
    Chunked(usize),
}

/// A URL, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Host and port as written.
    pub authority: String,
    /// Path and query.
    pub path: String,
}

impl std::str::FromStr for Target {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        let rest = match url.split_once("://") {
            Some(("http", rest)) => rest,
            Some((scheme, _)) => return Err(format!("`{scheme}` is not spoken here, only http")),
            None => url,
        };
        let (authority, path) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
        if authority.is_empty() {
            return Err(format!("`{url}` names no host"));
        }
        Ok(Self {
            authority: authority.to_owned(),
            path: path.to_owned(),
        })
    }
}

impl Target {
    /// The address to connect to: the first that the name resolves to.
    pub fn resolve(&self) -> io::Result<SocketAddr> {
        let has_port = self
            .authority
            .rsplit_once(':')
            .is_some_and(|(_, port)| !port.contains(']'));
        let mut addresses = if has_port {
            self.authority.to_socket_addrs()?
        } else {
            (self.authority.trim_matches(['[', ']']), 80).to_socket_addrs()?
        };
        addresses
            .next()
            .ok_or_else(|| io::Error::other(format!("{} has no address", self.authority)))
    }
}

/// The requests of a load as bytes.
pub(super) struct Requests {
    heads: Vec<Vec<u8>>,
    body: Vec<u8>,
    is_head: bool,
    checks: Checks,
}

impl Requests {
    pub(super) fn new(shape: &RequestShape, keep_alive: bool) -> Self {
        let mut fields = format!(
            "Host: {}\r\nUser-Agent: ringway-bench\r\nAccept: */*\r\n",
            shape.host
        );
        for field in &shape.fields {
            fields += field;
            fields += "\r\n";
        }
        match shape.body {
            Body::None => {}
            Body::Sized(bytes) => fields += &format!("Content-Length: {bytes}\r\n"),
            Body::Chunked(_) => fields += "Transfer-Encoding: chunked\r\n",
        }
        if !keep_alive {
            fields += "Connection: close\r\n";
        }
        let head = |path: &String| {
            format!("{} {path} HTTP/1.1\r\n{fields}\r\n", shape.method).into_bytes()
        };
        Self {
            heads: shape.paths.iter().map(head).collect(),
            body: shape.body.encode(),
            is_head: shape.method == "HEAD",
            checks: shape.checks,
        }
    }

    /// How many different ones there are.
    pub(super) fn count(&self) -> u32 {
        self.heads.len() as u32
    }

    pub(super) fn head(&self, request: u32) -> &[u8] {
        &self.heads[request as usize]
    }

    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }

    pub(super) fn is_head(&self) -> bool {
        self.is_head
    }

    pub(super) fn checks(&self) -> Checks {
        self.checks
    }
}

impl Body {
    fn encode(self) -> Vec<u8> {
        match self {
            Self::None => Vec::new(),
            Self::Sized(bytes) => pattern::body(bytes),
            Self::Chunked(bytes) => {
                let mut coded = Vec::with_capacity(bytes + bytes / CHUNK_BYTES * 8 + 16);
                for chunk in pattern::body(bytes).chunks(CHUNK_BYTES) {
                    coded.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                    coded.extend_from_slice(chunk);
                    coded.extend_from_slice(b"\r\n");
                }
                coded.extend_from_slice(b"0\r\n\r\n");
                coded
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let target = |url: &str| {
            url.parse::<Target>()
                .map(|target| (target.authority, target.path))
        };
        assert_eq!(
            target("http://a:81/x?y"),
            Ok(("a:81".into(), "/x?y".into()))
        );
        assert_eq!(
            target("127.0.0.1:8080"),
            Ok(("127.0.0.1:8080".into(), "/".into()))
        );
        assert!(target("https://a/").is_err());
        assert!(target("http:///x").is_err());
        let resolved = "http://[::1]/"
            .parse::<Target>()
            .unwrap()
            .resolve()
            .unwrap();
        assert_eq!(resolved, "[::1]:80".parse().unwrap());
    }

    #[test]
    fn requests_are_complete_messages() {
        let shape = RequestShape {
            method: "POST".into(),
            host: "h".into(),
            paths: vec!["/a".into(), "/b".into()],
            fields: vec!["X: 1".into()],
            body: Body::Chunked(3),
            checks: Checks::default(),
        };
        let requests = Requests::new(&shape, false);
        let head = "POST /b HTTP/1.1\r\nHost: h\r\nUser-Agent: ringway-bench\r\nAccept: */*\r\nX: 1\r\n\
            Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
        assert_eq!(requests.head(1), head.as_bytes());
        assert!(
            requests.body().starts_with(b"3\r\n") && requests.body().ends_with(b"\r\n0\r\n\r\n")
        );
    }
}
