//! What the kernel offers, asked once at start, and what to do where it is not enough.

use std::fmt;
use std::io;

use io_uring::{IoUring, Probe, opcode};

/// Why the ring cannot be had here. Its text names the cause and the remedy.
#[derive(Debug)]
pub enum Missing {
    /// `kernel.io_uring_disabled` is set (kernel 6.6).
    Disabled {
        /// The setting's value.
        value: u32,
    },
    /// `io_uring_setup` is refused: a seccomp profile, as Docker's and containerd's.
    Forbidden(io::Error),
    /// The kernel has no io_uring, or none new enough.
    OldKernel {
        /// `uname -r`.
        release: String,
        /// What is missing.
        feature: &'static str,
    },
    /// Something else went wrong.
    Other(io::Error),
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disabled { value } => write!(
                f,
                "io_uring is switched off on this machine (kernel.io_uring_disabled = {value}); \
                 switch it on with: sysctl kernel.io_uring_disabled=0"
            ),
            Self::Forbidden(error) => write!(
                f,
                "io_uring is forbidden to this process ({error}), as containers' default seccomp profiles do; \
                 allow io_uring_setup, io_uring_enter and io_uring_register in the profile \
                 (docker: --security-opt seccomp=PROFILE.json)"
            ),
            Self::OldKernel { release, feature } => write!(
                f,
                "this kernel ({release}) has no {feature}; ringway needs Linux 6.1 or newer"
            ),
            Self::Other(error) => write!(f, "io_uring cannot be set up: {error}"),
        }
    }
}

impl std::error::Error for Missing {}

/// Asks the kernel for everything the reactor needs.
pub fn probe() -> Result<(), Missing> {
    let old = |feature| Missing::OldKernel {
        release: release(),
        feature,
    };
    let ring: IoUring = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .build(8)
        .map_err(|error| match error.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => match disabled() {
                Some(value) if value > 0 => Missing::Disabled { value },
                _ => Missing::Forbidden(error),
            },
            Some(libc::ENOSYS) => old("io_uring"),
            Some(libc::EINVAL) => old("io_uring with deferred task work (6.1)"),
            _ => Missing::Other(error),
        })?;
    let mut probe = Probe::new();
    ring.submitter()
        .register_probe(&mut probe)
        .map_err(Missing::Other)?;
    let needed = [
        (opcode::Accept::CODE, "IORING_OP_ACCEPT"),
        (opcode::Connect::CODE, "IORING_OP_CONNECT"),
        (opcode::Recv::CODE, "IORING_OP_RECV"),
        (opcode::Send::CODE, "IORING_OP_SEND"),
        (opcode::SendMsg::CODE, "IORING_OP_SENDMSG"),
        (opcode::AsyncCancel::CODE, "IORING_OP_ASYNC_CANCEL"),
        (opcode::Close::CODE, "IORING_OP_CLOSE"),
        // Not used, but of the release that brought multishot receive (6.0).
        (opcode::SendZc::CODE, "multishot receive"),
    ];
    for (code, name) in needed {
        if !probe.is_supported(code) {
            return Err(old(name));
        }
    }
    Ok(())
}

fn disabled() -> Option<u32> {
    std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled")
        .ok()?
        .trim()
        .parse()
        .ok()
}

fn release() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease")
        .map_or_else(|_| "unknown".into(), |text| text.trim().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_comes_with_its_remedy() {
        let texts = [
            (Missing::Disabled { value: 2 }.to_string(), "sysctl"),
            (
                Missing::Forbidden(io::Error::from_raw_os_error(libc::EPERM)).to_string(),
                "seccomp",
            ),
            (
                Missing::OldKernel {
                    release: "5.10".into(),
                    feature: "x",
                }
                .to_string(),
                "6.1",
            ),
        ];
        for (text, remedy) in texts {
            assert!(text.contains(remedy), "{text}");
        }
    }

    #[test]
    fn this_kernel_is_enough() {
        probe().unwrap();
    }
}
