//! A client that sends exactly the bytes it is given and reads answers without leniency.

use std::io;
use std::net::{SocketAddr, TcpStream};

use crate::PATIENCE;
use crate::wire::{Framing, Head, Wire, WireError, status_of, values};

/// One connection.
#[derive(Debug)]
pub struct Client {
    wire: Wire,
}

/// A response, and how its body ended.
#[derive(Debug)]
pub struct Response {
    /// Its head.
    pub head: Head,
    /// How the body's end was told.
    pub framing: Framing,
    /// What came of its body.
    pub body: Vec<u8>,
    /// The body's trailers.
    pub trailers: Vec<(String, String)>,
    /// Why the body did not end cleanly.
    pub failure: Option<WireError>,
}

impl Response {
    /// Its status.
    pub fn status(&self) -> u16 {
        status_of(&self.head).expect("read as a status line before")
    }

    /// Its body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Whether it says that the connection closes after it.
    pub fn closes(&self) -> bool {
        self.head.lists("connection", "close")
    }

    /// The only value of its trailer `name`.
    pub fn trailer(&self, name: &str) -> Option<&str> {
        let values = values(&self.trailers, name);
        assert!(
            values.len() <= 1,
            "trailer {name} more than once: {values:?}"
        );
        values.first().copied()
    }
}

impl Client {
    /// Connects; panics where nobody listens.
    pub fn connect(addr: SocketAddr) -> Client {
        Client::try_connect(addr).unwrap_or_else(|error| panic!("connecting to {addr}: {error}"))
    }

    /// Connects.
    pub fn try_connect(addr: SocketAddr) -> io::Result<Client> {
        TcpStream::connect_timeout(&addr, PATIENCE).map(|stream| Client {
            wire: Wire::new(stream),
        })
    }

    /// The bytes below.
    pub fn wire(&mut self) -> &mut Wire {
        &mut self.wire
    }

    /// A second handle on the socket, for a thread that sends while this one reads.
    pub fn sender(&self) -> TcpStream {
        self.wire
            .stream()
            .try_clone()
            .expect("a descriptor is free")
    }

    /// Sends all of `bytes`; panics where the peer does not take them.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.wire
            .send(bytes.as_ref())
            .expect("the peer takes what is sent");
    }

    /// Sends what the peer takes: one that refuses early may close before the end.
    pub fn send_what_is_taken(&mut self, bytes: impl AsRef<[u8]>) {
        // The refusal is read next; that is where a test looks.
        let _ = self.wire.send(bytes.as_ref());
    }

    /// Sends in two writes, cut after `at` bytes.
    pub fn send_split(&mut self, bytes: &[u8], at: usize) {
        self.send(&bytes[..at]);
        self.send(&bytes[at..]);
    }

    /// Sends each byte by a write of its own.
    pub fn send_bytewise(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.send([*byte]);
        }
    }

    /// Says that nothing more will be sent.
    pub fn finish_sending(&mut self) {
        self.wire.finish_sending().expect("the connection is open");
    }

    /// The head of the next response, interim ones too.
    pub fn read_head(&mut self) -> Head {
        self.wire
            .read_head()
            .unwrap_or_else(|error| panic!("no response's head: {error}"))
    }

    /// The next response whose body must end cleanly; interim ones are responses like others.
    pub fn read_response(&mut self) -> Response {
        self.read_response_to("GET")
    }

    /// The next response, to a request of `method`.
    pub fn read_response_to(&mut self, method: &str) -> Response {
        let response = self
            .try_response_to(method)
            .unwrap_or_else(|error| panic!("no response: {error}"));
        if let Some(failure) = &response.failure {
            panic!(
                "the body of {:?} failed after {} bytes: {failure}",
                response.head.start,
                response.body.len()
            );
        }
        response
    }

    /// The next response, whole or not.
    pub fn try_response(&mut self) -> Result<Response, WireError> {
        self.try_response_to("GET")
    }

    /// The next response to a request of `method`, whole or not.
    pub fn try_response_to(&mut self, method: &str) -> Result<Response, WireError> {
        let head = self.wire.read_head()?;
        let framing = Framing::of_response(&head, method)?;
        let mut body = Vec::new();
        let (trailers, failure) = match self
            .wire
            .pass_body(framing, &mut |piece| body.extend_from_slice(piece))
        {
            Ok(trailers) => (trailers, None),
            Err(failure) => (Vec::new(), Some(failure)),
        };
        Ok(Response {
            head,
            framing,
            body,
            trailers,
            failure,
        })
    }

    /// Asks for `target` on a connection that stays open.
    pub fn get(&mut self, target: &str) -> Response {
        self.send(get(target));
        self.read_response()
    }

    /// Asserts that the peer closes now and sends nothing more. A reset counts: what was sent has been read by then.
    pub fn assert_closed(&mut self) {
        match self.wire.read_to_end() {
            Ok(rest) => assert!(
                rest.is_empty(),
                "instead of closing: {:?}",
                String::from_utf8_lossy(&rest)
            ),
            Err(WireError::Reset) => {}
            Err(error) => panic!("not closed: {error}"),
        }
    }
}

/// A GET for `target` with the least that HTTP/1.1 asks for.
pub fn get(target: &str) -> Vec<u8> {
    format!("GET {target} HTTP/1.1\r\nHost: site.example\r\n\r\n").into_bytes()
}

/// A POST of `body` by its length.
pub fn post(target: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!(
        "POST {target} HTTP/1.1\r\nHost: site.example\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}
