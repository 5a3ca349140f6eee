//! A path turned into an answer, and an answer's head into bytes.

use std::{
    io::Write,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// What a path asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Content { bytes: u64, delay: Option<Duration> },
    Chunked { bytes: u64 },
    Status(u16),
    Reset,
    Hang,
    Cut { bytes: u64 },
    Echo,
}

impl Answer {
    /// What `target` asks for; a path that nobody knows is a 404.
    pub(super) fn to(target: &[u8]) -> Self {
        Self::parse(target).unwrap_or(Self::Status(404))
    }

    fn parse(target: &[u8]) -> Option<Self> {
        let path = target.split(|&byte| byte == b'?').next()?;
        let path = std::str::from_utf8(path).ok()?.strip_prefix('/')?;
        let (kind, rest) = path.split_once('/').unwrap_or((path, ""));
        Some(match (kind, rest) {
            ("", "") => Self::Content {
                bytes: 128,
                delay: None,
            },
            ("bytes", bytes) => Self::Content {
                bytes: bytes.parse().ok()?,
                delay: None,
            },
            ("chunked", bytes) => Self::Chunked {
                bytes: bytes.parse().ok()?,
            },
            ("delay", rest) => {
                let (delay, bytes) = rest.split_once('/').unwrap_or((rest, "0"));
                let delay = Duration::from_millis(delay.parse().ok()?);
                Self::Content {
                    bytes: bytes.parse().ok()?,
                    delay: Some(delay),
                }
            }
            ("status", code) => Self::Status(
                code.parse()
                    .ok()
                    .filter(|code| (200..=999).contains(code))?,
            ),
            ("reset", "") => Self::Reset,
            ("hang", "") => Self::Hang,
            ("cut", bytes) => Self::Cut {
                bytes: bytes.parse().ok()?,
            },
            ("echo", "") => Self::Echo,
            _ => return None,
        })
    }
}

/// Writes heads. The date changes once a second, so it is kept.
pub(super) struct Heads {
    date: Vec<u8>,
    second: u64,
}

/// How a head says where its content ends.
#[derive(Debug, Clone, Copy)]
pub(super) enum Length {
    Bytes(u64),
    Chunked,
    /// The status forbids content.
    Forbidden,
}

impl Heads {
    pub(super) fn new() -> Self {
        let mut heads = Self {
            date: Vec::new(),
            second: u64::MAX,
        };
        heads.tick();
        heads
    }

    /// Takes note of the time. To be called about as often as the date may be late.
    pub(super) fn tick(&mut self) {
        let second = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        if second != self.second {
            self.second = second;
            self.date = http_date(second).into_bytes();
        }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>, status: u16, length: Length, keep_alive: bool) {
        match status {
            200 => out.extend_from_slice(b"HTTP/1.1 200 OK\r\n"),
            _ => write(out, format_args!("HTTP/1.1 {status} Status\r\n")),
        }
        out.extend_from_slice(b"Date: ");
        out.extend_from_slice(&self.date);
        match length {
            Length::Bytes(bytes) => write(
                out,
                format_args!(
                    "\r\nContent-Type: application/octet-stream\r\nContent-Length: {bytes}\r\n"
                ),
            ),
            Length::Chunked => out.extend_from_slice(
                b"\r\nContent-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n",
            ),
            Length::Forbidden => out.extend_from_slice(b"\r\n"),
        }
        out.extend_from_slice(if keep_alive {
            b"\r\n"
        } else {
            b"Connection: close\r\n\r\n"
        });
    }
}

/// Writes into memory, which cannot fail.
pub(super) fn write(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("memory takes every write");
}

/// IMF-fixdate (RFC 9110 §5.6.7) of a second since 1970.
fn http_date(second: u64) -> String {
    const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (days, time) = (second / 86_400, second % 86_400);
    // Counted in years that begin in March, so that a leap day comes last (Hinnant, "chrono-compatible low-level date
    // algorithms").
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12;
    let year = era * 400 + year_of_era + u64::from(month < 2);
    format!(
        "{}, {day:02} {} {year} {:02}:{:02}:{:02} GMT",
        WEEKDAYS[(days % 7) as usize],
        MONTHS[month as usize],
        time / 3600,
        time / 60 % 60,
        time % 60,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_say_what_is_answered() {
        assert_eq!(
            Answer::to(b"/"),
            Answer::Content {
                bytes: 128,
                delay: None
            }
        );
        assert_eq!(
            Answer::to(b"/bytes/5?x=/y"),
            Answer::Content {
                bytes: 5,
                delay: None
            }
        );
        let delay = Some(Duration::from_millis(20));
        assert_eq!(
            Answer::to(b"/delay/20/3"),
            Answer::Content { bytes: 3, delay }
        );
        assert_eq!(
            Answer::to(b"/delay/20"),
            Answer::Content { bytes: 0, delay }
        );
        assert_eq!(Answer::to(b"/status/503"), Answer::Status(503));
        for unknown in [
            "/bytes/x",
            "/status/99",
            "/reset/1",
            "*",
            "/nothing",
            "/bytes/\u{e9}",
        ] {
            assert_eq!(
                Answer::to(unknown.as_bytes()),
                Answer::Status(404),
                "{unknown}"
            );
        }
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(http_date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(http_date(951_782_400), "Tue, 29 Feb 2000 00:00:00 GMT");
        assert_eq!(http_date(1_798_761_599), "Thu, 31 Dec 2026 23:59:59 GMT");
    }
}
