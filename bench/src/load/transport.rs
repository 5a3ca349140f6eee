//! Bytes over TCP, without waiting.

use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    io::Errno,
    net::{
        self, AddressFamily, RecvFlags, SendAncillaryBuffer, SendFlags, SocketFlags, SocketType,
        sockopt,
    },
};

/// An open or opening connection.
pub(super) struct Plain(OwnedFd);

/// What became of an attempt that does not wait.
pub(super) enum Attempt<T> {
    Done(T),
    WouldBlock,
}

impl Plain {
    /// Begins to connect. Whether it worked out shows at the first send.
    pub(super) fn connect(address: SocketAddr) -> io::Result<Self> {
        let family = if address.is_ipv4() {
            AddressFamily::INET
        } else {
            AddressFamily::INET6
        };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = net::socket_with(family, SocketType::STREAM, flags, None)?;
        // Requests leave in one piece; waiting for acknowledgements would only delay them.
        sockopt::set_tcp_nodelay(&socket, true)?;
        match net::connect(&socket, &address) {
            Ok(()) | Err(Errno::INPROGRESS | Errno::INTR) => Ok(Self(socket)),
            Err(errno) => Err(errno.into()),
        }
    }

    pub(super) fn send(&self, slices: &[IoSlice<'_>]) -> io::Result<Attempt<usize>> {
        let sent = match slices {
            [only] => net::send(&self.0, only, SendFlags::NOSIGNAL),
            _ => net::sendmsg(
                &self.0,
                slices,
                &mut SendAncillaryBuffer::default(),
                SendFlags::NOSIGNAL,
            ),
        };
        attempt(sent)
    }

    /// The bytes received, 0 at the peer's end.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> io::Result<Attempt<usize>> {
        attempt(net::recv(&self.0, buffer, RecvFlags::empty()).map(|(_, len)| len))
    }

    /// Drops what was received, up to `buffer`'s length, which is left as it is: nothing is copied (tcp(7), MSG_TRUNC). The
    /// bytes dropped, 0 at the peer's end.
    pub(super) fn discard(&self, buffer: &mut [u8]) -> io::Result<Attempt<usize>> {
        attempt(net::recv(&self.0, buffer, RecvFlags::TRUNC).map(|(_, len)| len))
    }
}

fn attempt<T>(result: Result<T, Errno>) -> io::Result<Attempt<T>> {
    match result {
        Ok(value) => Ok(Attempt::Done(value)),
        Err(Errno::AGAIN | Errno::INTR) => Ok(Attempt::WouldBlock),
        Err(errno) => Err(errno.into()),
    }
}

impl AsFd for Plain {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
