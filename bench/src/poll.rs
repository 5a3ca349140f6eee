//! Readiness: epoll, level-triggered, with tokens that outlive neither their connection nor its slot's reuse.

use std::{io, time::Duration};

use rustix::{
    buffer::spare_capacity,
    event::epoll::{self, CreateFlags, EventData, EventFlags},
    fd::{AsFd, OwnedFd},
    io::Errno,
    time::Timespec,
};

/// Events taken from the kernel at a time. Small, so that a request does not wait behind too many others.
const EVENTS_MAX: usize = 256;

/// Which connection an event is for: a slot, and which of the slot's successive occupants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

/// What happened.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ready {
    pub(crate) token: Token,
    pub(crate) readable: bool,
    pub(crate) writable: bool,
}

/// What a connection waits for, beside bytes to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interest {
    Read,
    ReadAndWrite,
    /// Only its end, because nobody would read what comes.
    Hangup,
}

pub(crate) struct Poller {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

impl Poller {
    pub(crate) fn new() -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        Ok(Self {
            epoll,
            events: Vec::with_capacity(EVENTS_MAX),
        })
    }

    pub(crate) fn add(
        &self,
        source: impl AsFd,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        Ok(epoll::add(
            &self.epoll,
            source,
            data(token),
            flags(interest),
        )?)
    }

    pub(crate) fn modify(
        &self,
        source: impl AsFd,
        token: Token,
        interest: Interest,
    ) -> io::Result<()> {
        Ok(epoll::modify(
            &self.epoll,
            source,
            data(token),
            flags(interest),
        )?)
    }

    /// Waits for events, at most `timeout`; an interrupted wait brings none.
    pub(crate) fn wait(
        &mut self,
        timeout: Duration,
    ) -> io::Result<impl Iterator<Item = Ready> + use<'_>> {
        let timeout = Timespec {
            tv_sec: timeout.as_secs() as _,
            tv_nsec: timeout.subsec_nanos() as _,
        };
        self.events.clear();
        match epoll::wait(
            &self.epoll,
            spare_capacity(&mut self.events),
            Some(&timeout),
        ) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        Ok(self.events.iter().map(|event| {
            // Copies, because the kernel's layout is packed.
            let (flags, data) = (event.flags, event.data);
            let failed = flags.intersects(EventFlags::ERR | EventFlags::HUP);
            Ready {
                token: Token {
                    slot: data.u64() as u32,
                    generation: (data.u64() >> 32) as u32,
                },
                readable: failed || flags.intersects(EventFlags::IN | EventFlags::RDHUP),
                writable: failed || flags.contains(EventFlags::OUT),
            }
        }))
    }
}

fn data(token: Token) -> EventData {
    EventData::new_u64(u64::from(token.generation) << 32 | u64::from(token.slot))
}

fn flags(interest: Interest) -> EventFlags {
    match interest {
        Interest::Read => EventFlags::IN,
        Interest::ReadAndWrite => EventFlags::IN | EventFlags::OUT,
        Interest::Hangup => EventFlags::RDHUP,
    }
}
