//! `[upstream.NAME]`: its keys, and how they are read.

use std::ops::Range;
use std::time::Duration;

use toml::de::DeValue;

use super::address::{self, URL};
use super::error::Fault;
use super::keys::{Kind, Table, key, later, optional, table, word};
use super::listener::{CONNECTIONS_MAX, PATIENCE};
use super::reader::{Findings, Section};
use super::syntax::ANY;
use crate::upstream::{Endpoint, Pool, Settings};

pub(super) static UPSTREAM: Table = Table {
    path: "upstream.NAME",
    about: "Where requests go; routes name it. There may be several.",
    keys: &[
        optional(
            "endpoints",
            Kind::List {
                of: &Kind::Either(&Kind::Text(URL), &ENDPOINT),
                min: 1,
            },
            "an error: an upstream has at least one",
            "[\"http://127.0.0.1:3000\", { url = \"http://127.0.0.1:3001\", weight = 2 }]",
            "Its servers. A path in a URL is put before the request's, a query joins the request's.",
        ),
        optional(
            "discover",
            Kind::Table(&DISCOVER),
            "the endpoints are those listed",
            "{ dns = \"users.internal\", port = 8080, refresh = \"30s\" }",
            "Endpoints from DNS, instead of a list.",
        )
        .later(),
        key(
            "balance",
            Kind::Choice(&[word("round_robin"), later("least_loaded"), later("hash")]),
            "\"round_robin\"",
            "How an endpoint is chosen, by weight.",
        ),
        optional(
            "hash_on",
            Kind::Text(ANY),
            "no hashing",
            "\"client_ip\"",
            "What balance = \"hash\" looks at: client_ip, header:NAME or cookie:NAME.",
        )
        .later(),
        key(
            "protocol",
            Kind::Choice(&[word("h1"), later("h2"), later("auto")]),
            "\"h1\"",
            "HTTP version towards its endpoints.",
        ),
        key(
            "send_proxy_protocol",
            Kind::Choice(&[word("off"), later("v1"), later("v2")]),
            "\"off\"",
            "Whether a connection begins with a PROXY header.",
        ),
        table("pool", &POOL),
        table("health", &HEALTH).later(),
        table("outlier", &OUTLIER).later(),
        table("tls", &TLS).later(),
    ],
};

static ENDPOINT: Table = Table {
    path: "upstream.NAME.endpoints",
    about: "One endpoint.",
    keys: &[
        optional(
            "url",
            Kind::Text(URL),
            "an error",
            "\"http://127.0.0.1:3001\"",
            "Where it is.",
        ),
        key(
            "weight",
            Kind::Integer { min: 1, max: 1000 },
            "1",
            "Its share among the endpoints.",
        ),
    ],
};

static DISCOVER: Table = Table {
    path: "upstream.NAME.discover",
    about: "Endpoints from DNS.",
    keys: &[
        optional(
            "dns",
            Kind::Text(ANY),
            "none",
            "\"users.internal\"",
            "A name with addresses.",
        )
        .later(),
        optional(
            "srv",
            Kind::Text(ANY),
            "none",
            "\"_http._tcp.users.internal\"",
            "A name with SRV records.",
        )
        .later(),
        optional(
            "port",
            Kind::Integer {
                min: 1,
                max: 65_535,
            },
            "80",
            "8080",
            "Port, with dns.",
        )
        .later(),
        key(
            "refresh",
            PATIENCE,
            "\"30s\"",
            "How often it is asked again.",
        )
        .later(),
    ],
};

static POOL: Table = Table {
    path: "upstream.NAME.pool",
    about: "How its connections are kept, and how long a request waits.",
    keys: &[
        key(
            "max_connections",
            Kind::Integer {
                min: 0,
                max: CONNECTIONS_MAX,
            },
            "0",
            "Connections to one endpoint, over the whole process; more requests wait; 0: no limit.",
        ),
        key(
            "queue_timeout",
            Kind::Duration {
                min: Duration::ZERO,
                max: Duration::from_secs(3600),
            },
            "\"1s\"",
            "How long a request waits for a connection once there are max_connections; then 503.",
        ),
        key(
            "idle_max",
            Kind::Integer {
                min: 0,
                max: 1_000_000,
            },
            "256",
            "Idle connections kept, for each endpoint and worker.",
        ),
        key(
            "idle_timeout",
            PATIENCE,
            "\"55s\"",
            "How long one is kept idle. Keep it under the origin's own.",
        ),
        key("connect_timeout", PATIENCE, "\"1s\"", "Time to connect."),
        key(
            "response_head_timeout",
            PATIENCE,
            "\"15s\"",
            "From the request sent to the response's head; then 504.",
        ),
        key(
            "expect_continue_timeout",
            PATIENCE,
            "\"1s\"",
            "How long a body is held back for 100 (Continue); it is sent after that.",
        ),
    ],
};

static HEALTH: Table = Table {
    path: "upstream.NAME.health",
    about: "Active health checks.",
    keys: &[
        key(
            "path",
            Kind::Text(ANY),
            "\"/healthz\"",
            "What is asked for.",
        )
        .later(),
        key("interval", PATIENCE, "\"5s\"", "How often.").later(),
        key("timeout", PATIENCE, "\"1s\"", "How long one may take.").later(),
        key(
            "healthy_after",
            Kind::Integer { min: 1, max: 1000 },
            "2",
            "Good answers until it is used.",
        )
        .later(),
        key(
            "unhealthy_after",
            Kind::Integer { min: 1, max: 1000 },
            "3",
            "Bad ones until it is not.",
        )
        .later(),
    ],
};

static OUTLIER: Table = Table {
    path: "upstream.NAME.outlier",
    about: "Endpoints that fail are left out for a while.",
    keys: &[
        key(
            "consecutive_failures",
            Kind::Integer { min: 1, max: 1000 },
            "5",
            "Failures in a row.",
        )
        .later(),
        key(
            "ejection",
            PATIENCE,
            "\"10s\"",
            "For how long; it doubles each time, up to 5m.",
        )
        .later(),
        key(
            "max_ejected",
            Kind::Fraction,
            "0.5",
            "Most endpoints left out at once, as a share.",
        )
        .later(),
    ],
};

static TLS: Table = Table {
    path: "upstream.NAME.tls",
    about: "TLS towards its endpoints.",
    keys: &[
        optional(
            "ca",
            Kind::Text(ANY),
            "the system's",
            "\"ca.pem\"",
            "Who signs its certificates.",
        )
        .later(),
        optional(
            "server_name",
            Kind::Text(ANY),
            "the URL's host",
            "\"users.internal\"",
            "The name in them.",
        )
        .later(),
        optional(
            "client_cert",
            Kind::Text(ANY),
            "none",
            "\"c.pem\"",
            "Shown to the endpoint.",
        )
        .later(),
        optional(
            "client_key",
            Kind::Text(ANY),
            "none",
            "\"c.key\"",
            "Its key.",
        )
        .later(),
    ],
};

/// One upstream.
pub(super) fn read(name: String, section: &Section<'_, '_>, findings: &mut Findings) -> Settings {
    let endpoints: Vec<Endpoint> = section
        .raw_items("endpoints")
        .into_iter()
        .filter_map(|item| endpoint(item.get_ref(), item.span(), findings))
        .collect();
    if !section.has("endpoints") && !section.has("discover") {
        let fault = Fault::new(
            section.span(),
            format!("upstream `{name}` has no endpoints"),
        );
        findings.push(fault.help("add a line: endpoints = [\"http://127.0.0.1:3000\"]"));
    }
    Settings {
        name,
        endpoints,
        pool: pool(&section.section("pool")),
    }
}

fn endpoint(value: &DeValue<'_>, span: Range<usize>, findings: &mut Findings) -> Option<Endpoint> {
    let Some(values) = value.as_table() else {
        return address::endpoint(value.as_str()?).ok();
    };
    let section = Section::new(&ENDPOINT, Some(values), span);
    if !section.has("url") {
        let fault = Fault::new(section.span(), "an endpoint has no `url`");
        findings.push(fault.help("like { url = \"http://127.0.0.1:3000\", weight = 2 }"));
    }
    let url: String = section.maybe("url")?;
    let mut endpoint = address::endpoint(&url).ok()?;
    endpoint.weight = section.of("weight");
    Some(endpoint)
}

/// `[upstream.NAME.pool]`; the defaults where it is absent.
pub(super) fn pool(section: &Section<'_, '_>) -> Pool {
    Pool {
        max_connections: section.of("max_connections"),
        queue_timeout: section.of("queue_timeout"),
        idle_max: section.of("idle_max"),
        idle_timeout: section.of("idle_timeout"),
        connect_timeout: section.of("connect_timeout"),
        response_head_timeout: section.of("response_head_timeout"),
        expect_continue_timeout: section.of("expect_continue_timeout"),
    }
}

/// The defaults of `[upstream.NAME.pool]`.
pub(super) fn default_pool() -> Pool {
    pool(&Section::absent(&POOL))
}
