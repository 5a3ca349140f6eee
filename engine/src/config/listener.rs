//! `[[listener]]`: its keys, and how they are read.

use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;
use ringway_protocol::Limits as HeadLimits;

use super::address::{NETWORK, SOCKET};
use super::error::{Fault, quoted};
use super::keys::{Kind, Table, key, later, optional, table, word};
use super::reader::{Findings, Section};
use super::syntax::{ANY, NAME};
use super::units::show_size;
use crate::{downstream, listen};

/// A wait that is not zero and not for ever: both ends are slips, or a way to pile connections up.
pub(super) const PATIENCE: Kind = Kind::Duration {
    min: Duration::from_millis(1),
    max: Duration::from_secs(24 * 3600),
};

/// Most connections a limit can name: what descriptors allow anywhere.
pub(super) const CONNECTIONS_MAX: u64 = 10_000_000;

/// Bytes of a body that a limit can name: 1 TiB.
pub(super) const BODY_BYTES: Kind = Kind::Size {
    min: 0,
    max: 1 << 40,
};

pub(super) static LISTENER: Table = Table {
    path: "listener",
    about: "Where clients connect. There may be several.",
    keys: &[
        optional(
            "name",
            Kind::Text(NAME),
            "\"listener-N\", its number in the file",
            "\"edge\"",
            "Its name, for the log.",
        ),
        key(
            "bind",
            Kind::List {
                of: &Kind::Text(SOCKET),
                min: 1,
            },
            "[\"127.0.0.1:8080\"]",
            "Every address it listens on.",
        ),
        key(
            "protocols",
            Kind::List {
                of: &Kind::Choice(&[word("h1"), later("h2")]),
                min: 1,
            },
            "[\"h1\"]",
            "HTTP versions it speaks.",
        ),
        key(
            "proxy_protocol",
            Kind::Choice(&[word("off"), later("v1"), later("v2"), later("any")]),
            "\"off\"",
            "Whether trusted_proxies begin a connection with a PROXY header.",
        ),
        key(
            "trusted_proxies",
            Kind::List {
                of: &Kind::Text(NETWORK),
                min: 0,
            },
            "[]",
            "Whose Forwarded and X-Forwarded-* are believed; all others' are dropped.",
        ),
        key(
            "max_connections",
            Kind::Integer {
                min: 1,
                max: CONNECTIONS_MAX,
            },
            "100000",
            "Open connections it accepts at once, over the whole process.",
        ),
        key(
            "max_connections_per_ip",
            Kind::Integer {
                min: 0,
                max: CONNECTIONS_MAX,
            },
            "0",
            "The same from one client address; 0: no limit.",
        ),
        table("tls", &TLS).later(),
        table("timeouts", &TIMEOUTS),
        table("limits", &LIMITS),
    ],
};

static TLS: Table = Table {
    path: "listener.tls",
    about: "TLS towards clients.",
    keys: &[
        optional(
            "certificates",
            Kind::List {
                of: &Kind::Table(&CERTIFICATE),
                min: 1,
            },
            "none",
            "[{ cert = \"a.pem\", key = \"a.key\" }]",
            "Chosen by SNI; the first answers where none fits.",
        )
        .later(),
        optional(
            "client_ca",
            Kind::Text(ANY),
            "none",
            "\"clients.pem\"",
            "Who signs clients' certificates.",
        )
        .later(),
        key(
            "client_auth",
            Kind::Choice(&[later("off"), later("request"), later("require")]),
            "\"off\"",
            "Whether clients show a certificate.",
        )
        .later(),
    ],
};

static CERTIFICATE: Table = Table {
    path: "listener.tls.certificates",
    about: "A certificate and its key.",
    keys: &[
        optional(
            "cert",
            Kind::Text(ANY),
            "none",
            "\"a.pem\"",
            "The chain, PEM.",
        )
        .later(),
        optional("key", Kind::Text(ANY), "none", "\"a.key\"", "The key, PEM.").later(),
    ],
};

static TIMEOUTS: Table = Table {
    path: "listener.timeouts",
    about: "How long a client's connection waits, and for what. Each is also a named error in the log.",
    keys: &[
        key(
            "tls_handshake",
            PATIENCE,
            "\"10s\"",
            "The whole TLS handshake.",
        )
        .later(),
        key(
            "request_head",
            PATIENCE,
            "\"10s\"",
            "The whole head of a request, not each byte; 408.",
        ),
        key(
            "body_idle",
            PATIENCE,
            "\"30s\"",
            "Between two reads of a body, or two writes the client takes.",
        ),
        key(
            "min_rate_bytes_per_second",
            Kind::Integer {
                min: 0,
                max: 1 << 30,
            },
            "240",
            "A body or reader slower than this for 10 s is closed; 0: no limit.",
        ),
        key(
            "keep_alive",
            PATIENCE,
            "\"60s\"",
            "Between two requests of a connection.",
        ),
    ],
};

static LIMITS: Table = Table {
    path: "listener.limits",
    about: "How much a client may send.",
    keys: &[
        key(
            "head_bytes",
            Kind::Size {
                min: 1 << 10,
                max: 1 << 20,
            },
            "65536",
            "Bytes of a request's whole head; 431 above it.",
        ),
        key(
            "fields",
            Kind::Integer {
                min: 1,
                max: 10_000,
            },
            "100",
            "Field lines of a head; 431 above it.",
        ),
        key(
            "target_bytes",
            Kind::Size {
                min: 64,
                max: 1 << 20,
            },
            "8192",
            "Bytes of the request target; 414 above it. No more than head_bytes, nor by default.",
        ),
        key(
            "body_bytes",
            BODY_BYTES,
            "\"64MiB\"",
            "Bytes of a request's body; 413 above it; 0: no limit.",
        ),
        key(
            "h2_streams",
            Kind::Integer {
                min: 1,
                max: 1 << 16,
            },
            "128",
            "Open streams of an HTTP/2 connection.",
        )
        .later(),
        key(
            "h2_header_list_bytes",
            Kind::Size {
                min: 1 << 10,
                max: 1 << 20,
            },
            "65536",
            "Bytes of a decoded HTTP/2 head.",
        )
        .later(),
        key(
            "h2_header_table_bytes",
            Kind::Size {
                min: 0,
                max: 1 << 20,
            },
            "4096",
            "Bytes of HPACK's dynamic table.",
        )
        .later(),
        key(
            "requests_per_connection",
            Kind::Integer {
                min: 0,
                max: u64::MAX >> 1,
            },
            "0",
            "Requests after which a connection is closed; 0: no limit.",
        ),
    ],
};

/// All listeners, their names and addresses each given once.
pub(super) fn read(sections: &[Section<'_, '_>], findings: &mut Findings) -> Vec<listen::Settings> {
    let mut names = Vec::new();
    let mut bound = Vec::new();
    let mut listeners = Vec::new();
    for (index, section) in sections.iter().enumerate() {
        let name = section
            .maybe("name")
            .unwrap_or_else(|| format!("listener-{}", index + 1));
        names.push((name.clone(), section.value_span("name")));
        bound.extend(section.items::<SocketAddr>("bind"));
        listeners.push(one(section, name, findings));
    }
    twice("listener name", &names, findings);
    // Port 0 is a port the system chooses, another one each time.
    bound.retain(|(address, _)| address.port() != 0);
    let shown: Vec<_> = bound
        .into_iter()
        .map(|(address, span)| (address.to_string(), span))
        .collect();
    twice("address", &shown, findings);
    listeners
}

/// One listener; the defaults where its table is absent.
pub(super) fn one(
    section: &Section<'_, '_>,
    name: String,
    findings: &mut Findings,
) -> listen::Settings {
    let addresses = section.items::<SocketAddr>("bind").into_iter();
    let networks = section.items::<IpNet>("trusted_proxies").into_iter();
    let timeouts = section.section("timeouts");
    listen::Settings {
        name,
        bind: addresses.map(|(address, _)| address).collect(),
        max_connections: section.of("max_connections"),
        max_connections_per_ip: section.of("max_connections_per_ip"),
        connection: downstream::Settings {
            trusted_proxies: networks.map(|(network, _)| network).collect(),
            timeouts: downstream::Timeouts {
                request_head: timeouts.of("request_head"),
                body_idle: timeouts.of("body_idle"),
                min_rate_bytes_per_second: timeouts.of("min_rate_bytes_per_second"),
                keep_alive: timeouts.of("keep_alive"),
            },
            limits: limits(&section.section("limits"), findings),
        },
    }
}

fn limits(section: &Section<'_, '_>, findings: &mut Findings) -> downstream::Limits {
    let mut head = HeadLimits {
        head_bytes: section.of("head_bytes"),
        fields: section.of("fields"),
        target_bytes: section.of("target_bytes"),
    };
    let target = section.value_span("target_bytes");
    let told = findings.told(&target) || findings.told(&section.value_span("head_bytes"));
    if !section.has("target_bytes") {
        head.target_bytes = head.target_bytes.min(head.head_bytes);
    } else if head.target_bytes > head.head_bytes && !told {
        let bytes = |bytes: usize| show_size(bytes as u64);
        let message = format!(
            "`target_bytes` ({}) is more than `head_bytes` ({}), which holds the target",
            bytes(head.target_bytes),
            bytes(head.head_bytes)
        );
        findings.push(Fault::new(target, message).help("lower the one or raise the other"));
    }
    downstream::Limits {
        head,
        body_bytes: section.of("body_bytes"),
        requests_per_connection: section.of("requests_per_connection"),
    }
}

/// A fault for each value that stands there a second time.
pub(super) fn twice(
    what: &str,
    values: &[(String, std::ops::Range<usize>)],
    findings: &mut Findings,
) {
    let mut seen = std::collections::HashMap::new();
    for (value, span) in values {
        let Some(first) = seen.insert(value, span) else {
            continue;
        };
        // Within one list `check` has said so.
        if first == span
            || findings
                .faults
                .iter()
                .any(|fault| fault.start() == span.start)
        {
            continue;
        }
        let message = format!("the {what} {} is taken", quoted(value));
        let fault = Fault::new(span.clone(), message)
            .also(first.clone(), "the first one")
            .help("choose another");
        findings.push(fault);
    }
}
