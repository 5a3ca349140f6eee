//! Operations that are not a socket's own receive or send: accept, connect, and the wake from other threads.
//!
//! Whatever the kernel writes into or reads from lives in the operation's slot until its last completion.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{OwnedFd, RawFd};
use std::task::Waker;

use super::slots::Key;

/// An address the kernel fills or reads.
pub(super) struct Address {
    pub(super) storage: libc::sockaddr_storage,
    pub(super) length: libc::socklen_t,
}

impl Address {
    pub(super) fn empty() -> Box<Self> {
        // SAFETY: `sockaddr_storage` is plain old data; all zeroes is a valid value.
        let storage = unsafe { std::mem::zeroed() };
        Box::new(Self {
            storage,
            length: size_of::<libc::sockaddr_storage>() as libc::socklen_t,
        })
    }

    pub(super) fn of(address: SocketAddr) -> Box<Self> {
        let mut this = Self::empty();
        match address {
            SocketAddr::V4(v4) => {
                let raw = libc::sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: v4.port().to_be(),
                    sin_addr: libc::in_addr {
                        s_addr: u32::from(*v4.ip()).to_be(),
                    },
                    sin_zero: [0; 8],
                };
                // SAFETY: the storage is larger than and aligned for `sockaddr_in`.
                unsafe {
                    std::ptr::from_mut(&mut this.storage)
                        .cast::<libc::sockaddr_in>()
                        .write(raw);
                };
                this.length = size_of::<libc::sockaddr_in>() as libc::socklen_t;
            }
            SocketAddr::V6(v6) => {
                let raw = libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as libc::sa_family_t,
                    sin6_port: v6.port().to_be(),
                    sin6_flowinfo: v6.flowinfo(),
                    sin6_addr: libc::in6_addr {
                        s6_addr: v6.ip().octets(),
                    },
                    sin6_scope_id: v6.scope_id(),
                };
                // SAFETY: the storage is larger than and aligned for `sockaddr_in6`.
                unsafe {
                    std::ptr::from_mut(&mut this.storage)
                        .cast::<libc::sockaddr_in6>()
                        .write(raw);
                };
                this.length = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
            }
        }
        this
    }

    /// The address, where it is an internet one; an IPv4-mapped one comes as IPv4.
    pub(super) fn get(&self) -> Option<SocketAddr> {
        match i32::from(self.storage.ss_family) {
            libc::AF_INET => {
                // SAFETY: the family says which structure the storage holds.
                let raw = unsafe {
                    std::ptr::from_ref(&self.storage)
                        .cast::<libc::sockaddr_in>()
                        .read()
                };
                let ip = Ipv4Addr::from(u32::from_be(raw.sin_addr.s_addr));
                Some(SocketAddr::V4(SocketAddrV4::new(
                    ip,
                    u16::from_be(raw.sin_port),
                )))
            }
            libc::AF_INET6 => {
                // SAFETY: the family says which structure the storage holds.
                let raw = unsafe {
                    std::ptr::from_ref(&self.storage)
                        .cast::<libc::sockaddr_in6>()
                        .read()
                };
                let ip = Ipv6Addr::from(raw.sin6_addr.s6_addr);
                let port = u16::from_be(raw.sin6_port);
                Some(match ip.to_ipv4_mapped() {
                    Some(v4) => SocketAddr::new(IpAddr::V4(v4), port),
                    None => SocketAddr::V6(SocketAddrV6::new(
                        ip,
                        port,
                        raw.sin6_flowinfo,
                        raw.sin6_scope_id,
                    )),
                })
            }
            _ => None,
        }
    }
}

pub(super) enum Operation {
    /// A single-shot accept of the acceptor named.
    Accept {
        acceptor: Key,
        address: Box<Address>,
        /// It was to wait for a connection before trying.
        waits_first: bool,
    },
    /// A connect; `abandoned` when nobody waits any more, so that its end closes the descriptor.
    Connect {
        fd: RawFd,
        /// Read by the kernel until the connect ends.
        _address: Box<Address>,
        result: Option<i32>,
        waker: Option<Waker>,
        abandoned: bool,
    },
    /// The read of the eventfd other threads write to.
    Remote { counter: Box<u64> },
}

/// A listening socket's accepts.
pub(super) struct AcceptorEntry {
    pub(super) fd: RawFd,
    pub(super) armed: Vec<Key>,
    pub(super) accepted: std::collections::VecDeque<(RawFd, SocketAddr)>,
    pub(super) error: Option<i32>,
    pub(super) waker: Option<Waker>,
    pub(super) stopped: bool,
}

/// Makes a stream socket for `address`, close-on-exec, with Nagle's algorithm off.
pub(super) fn stream_socket(address: SocketAddr) -> io::Result<OwnedFd> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with, sockopt};
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_way_to_the_kernel_and_back() {
        for text in [
            "127.0.0.1:80",
            "[::1]:8080",
            "[fe80::1%3]:443",
            "255.255.255.255:65535",
        ] {
            let address: SocketAddr = text.parse().unwrap();
            assert_eq!(Address::of(address).get(), Some(address));
        }
    }

    #[test]
    fn a_mapped_address_is_seen_as_ipv4() {
        let mapped: SocketAddr = "[::ffff:10.0.0.1]:80".parse().unwrap();
        assert_eq!(
            Address::of(mapped).get(),
            Some("10.0.0.1:80".parse().unwrap())
        );
    }
}
