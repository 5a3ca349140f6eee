//! `[process]`, `[admin]`, `[log]`, `[store]`: their keys, and how they are read.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::address::SOCKET_OR_OFF;
use super::keys::{Kind, Table, key, later, optional, word};
use super::reader::Section;
use super::syntax::{ACCESS, ANY};
use crate::observe;
use crate::observe::{Destination, Format};

/// Most workers: beyond it a number is a slip, not a machine.
pub const WORKERS_MAX: usize = 1024;

/// Longest drain: a rollout that waits longer has another problem.
const DRAIN_MAX: Duration = Duration::from_secs(24 * 3600);

pub(super) static PROCESS: Table = Table {
    path: "process",
    about: "The process as a whole.",
    keys: &[
        optional(
            "workers",
            Kind::Integer {
                min: 1,
                max: WORKERS_MAX as u64,
            },
            "one for each CPU this process may use",
            "8",
            "Worker threads, each pinned to a CPU.",
        ),
        key(
            "control",
            Kind::Text(ANY),
            "\"/run/ringway/control.sock\"",
            "Unix socket on which a running process takes commands.",
        )
        .later(),
        key(
            "drain_notice",
            Kind::Duration {
                min: Duration::ZERO,
                max: DRAIN_MAX,
            },
            "\"10s\"",
            "After TERM: for this long /readyz answers 503 while connections are still accepted.",
        ),
        key(
            "drain_deadline",
            Kind::Duration {
                min: Duration::ZERO,
                max: DRAIN_MAX,
            },
            "\"30s\"",
            "After the notice: for this long open exchanges may go on; then what is open is closed.",
        ),
        key(
            "handover",
            Kind::Choice(&[later("all"), later("plain"), later("listeners")]),
            "\"all\"",
            "What a successor is given: everything, all but TLS secrets, or the listeners alone.",
        )
        .later(),
    ],
};

pub(super) static ADMIN: Table = Table {
    path: "admin",
    about: "Health, readiness and metrics, on an address of their own.",
    keys: &[key(
        "bind",
        Kind::Text(SOCKET_OR_OFF),
        "\"127.0.0.1:9900\"",
        "Address of /healthz, /readyz and /metrics; \"off\" for none. Keep it away from the public.",
    )],
};

pub(super) static LOG: Table = Table {
    path: "log",
    about: "The access log: one line for each request.",
    keys: &[
        key(
            "access",
            Kind::Text(ACCESS),
            "\"stdout\"",
            "Where lines go; a relative path starts at this file's directory.",
        ),
        key(
            "format",
            Kind::Choice(&[word("json"), word("text")]),
            "\"json\"",
            "One JSON object a line, or one line of text.",
        ),
    ],
};

pub(super) static STORE: Table = Table {
    path: "store",
    about: "Where idempotency records and rate limits are kept.",
    keys: &[
        key(
            "kind",
            Kind::Choice(&[later("memory"), later("redis")]),
            "\"memory\"",
            "This process's memory, or a Redis shared by several machines.",
        )
        .later(),
        optional(
            "url",
            Kind::Text(ANY),
            "no Redis",
            "\"redis://127.0.0.1:6379\"",
            "The Redis.",
        )
        .later(),
    ],
};

/// `[admin]`: its address, `None` for off.
pub(super) fn admin(section: &Section<'_, '_>) -> Option<SocketAddr> {
    section.maybe("bind")
}

/// `[log]`; `directory` is the one relative paths start at.
pub(super) fn log(section: &Section<'_, '_>, directory: &Path) -> observe::Settings {
    let access = match section.of::<String>("access").as_str() {
        "off" => Destination::Off,
        "stdout" => Destination::Stdout,
        path => Destination::File(directory.join(path)),
    };
    let format = match section.of::<String>("format").as_str() {
        "text" => Format::Text,
        _ => Format::Json,
    };
    observe::Settings { access, format }
}
