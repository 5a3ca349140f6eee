//! Listening sockets: one per worker and address, so that the kernel spreads connections (SO_REUSEPORT, kernel 3.9).

use std::fmt;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};

/// Connections the kernel keeps waiting per socket; it caps this at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// How often, and how far apart, an address in use is tried again at start: a process that was killed gives its sockets
/// back a moment after it is gone, since the kernel takes its rings down in the background.
const GIVEN_BACK_TRIES: u32 = 20;
const GIVEN_BACK_PAUSE: Duration = Duration::from_millis(50);

/// Why an address cannot be listened on. Its text names the cause and the remedy.
#[derive(Debug)]
pub struct BindError {
    address: SocketAddr,
    error: Errno,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, error } = self;
        match *error {
            Errno::ADDRINUSE => write!(
                f,
                "cannot listen on {address}: another process has port {}; stop it or choose another address",
                address.port()
            ),
            Errno::ACCESS | Errno::PERM => write!(
                f,
                "cannot listen on {address}: no permission for port {}; take one above 1023 or grant CAP_NET_BIND_SERVICE",
                address.port()
            ),
            Errno::ADDRNOTAVAIL => {
                write!(
                    f,
                    "cannot listen on {address}: this machine has no such address"
                )
            }
            error => write!(f, "cannot listen on {address}: {error}"),
        }
    }
}

impl std::error::Error for BindError {}

/// Binds and listens `count` times on `address`; port 0 is chosen once and shared. Returns the address in use.
///
/// An address another process listens on is refused even if that process set SO_REUSEPORT: sharing connections with a
/// stranger by accident is worse than not starting.
pub fn bind(address: SocketAddr, count: usize) -> Result<(SocketAddr, Vec<OwnedFd>), BindError> {
    let fail = |error| BindError { address, error };
    // A socket without SO_REUSEPORT finds out whether anyone else is there.
    let mut tries = 0;
    let probe = loop {
        let probe = socket(address, false).map_err(fail)?;
        match net::bind(&probe, &address) {
            Ok(()) => break probe,
            Err(Errno::ADDRINUSE) if tries < GIVEN_BACK_TRIES => {
                tries += 1;
                std::thread::park_timeout(GIVEN_BACK_PAUSE);
            }
            Err(error) => return Err(fail(error)),
        }
    };
    let chosen = SocketAddr::try_from(net::getsockname(&probe).map_err(fail)?).map_err(fail)?;
    drop(probe);
    let mut sockets = Vec::with_capacity(count);
    for _ in 0..count {
        let socket = socket(address, true).map_err(fail)?;
        net::bind(&socket, &chosen).map_err(fail)?;
        net::listen(&socket, BACKLOG).map_err(fail)?;
        sockets.push(socket);
    }
    Ok((chosen, sockets))
}

fn socket(address: SocketAddr, share: bool) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    let socket = net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if share {
        sockopt::set_socket_reuseport(&socket, true)?;
    }
    if address.is_ipv6() {
        // `[::]` means IPv6: with `0.0.0.0` beside it both are listened on, and no client comes with a mapped address.
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    // Accepted sockets inherit it: small answers leave at once.
    sockopt::set_tcp_nodelay(&socket, true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_sockets_share_a_chosen_port() {
        let (address, sockets) = bind("127.0.0.1:0".parse().unwrap(), 3).unwrap();
        assert_ne!(address.port(), 0);
        assert_eq!(sockets.len(), 3);
    }

    #[test]
    fn a_port_in_use_is_named_with_a_remedy() {
        let (address, _sockets) = bind("127.0.0.1:0".parse().unwrap(), 1).unwrap();
        let text = bind(address, 1).unwrap_err().to_string();
        assert!(
            text.contains(&address.to_string()) && text.contains("another process"),
            "{text}"
        );
    }
}
