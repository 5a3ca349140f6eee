//! `[[route]]`: its keys, and how they are read.

use super::error::{Fault, nearest, quoted};
use super::keys::{Kind, Table, key, later, optional, table, word};
use super::listener::{BODY_BYTES, PATIENCE, twice};
use super::reader::{Findings, Section};
use super::syntax::{BODY, FIELD, HOST, LOCATION, METHOD, NAME, PATH, PREFIX};
use crate::route::{Action, FieldEdits, Rewrite, Settings};

pub(super) static ROUTE: Table = Table {
    path: "route",
    about: "Which requests, and what becomes of them. The most specific host wins, then the most specific path, then \
            the methods. No route: 404.",
    keys: &[
        optional(
            "name",
            Kind::Text(NAME),
            "\"route-N\", its number in the file",
            "\"users\"",
            "Its name, for the log.",
        ),
        optional(
            "hosts",
            Kind::List {
                of: &Kind::Text(HOST),
                min: 1,
            },
            "every host",
            "[\"api.example.com\", \"*.example.com\"]",
            "Hosts it answers for.",
        ),
        optional(
            "path",
            Kind::Text(PATH),
            "every path",
            "\"/users/{id}\"",
            "Template of the paths it takes. It is the metrics' label.",
        ),
        optional(
            "methods",
            Kind::List {
                of: &Kind::Text(METHOD),
                min: 1,
            },
            "every method",
            "[\"GET\", \"HEAD\"]",
            "Methods it takes.",
        ),
        optional(
            "upstream",
            Kind::Text(NAME),
            "respond or redirect says what happens",
            "\"app\"",
            "Passes the request to this upstream.",
        ),
        key(
            "preserve_host",
            Kind::Switch,
            "true",
            "Whether the client's Host is kept; else the endpoint's is sent.",
        ),
        optional(
            "timeout",
            PATIENCE,
            "no limit",
            "\"30s\"",
            "Time for the whole exchange, retries included.",
        ),
        optional(
            "body_bytes",
            BODY_BYTES,
            "the listener's",
            "\"1MiB\"",
            "Bytes of a request's body, instead of the listener's; 413 above it; 0: no limit.",
        ),
        key(
            "upgrades",
            Kind::List {
                of: &Kind::Choice(&[word("websocket")]),
                min: 0,
            },
            "[\"websocket\"]",
            "Protocols a request may upgrade to; [] for none.",
        ),
        table("respond", &RESPOND),
        table("redirect", &REDIRECT),
        table("rewrite", &REWRITE),
        table("request_headers", &REQUEST_HEADERS),
        table("response_headers", &RESPONSE_HEADERS),
        table("retry", &RETRY).later(),
        table("idempotency", &IDEMPOTENCY),
    ],
};

static RESPOND: Table = Table {
    path: "route.respond",
    about: "Answers by itself, instead of an upstream.",
    keys: &[
        key(
            "status",
            Kind::Integer { min: 200, max: 599 },
            "200",
            "The status.",
        ),
        key("body", Kind::Text(BODY), "\"\"", "The body, text/plain."),
    ],
};

static REDIRECT: Table = Table {
    path: "route.redirect",
    about: "Answers with a redirect, instead of an upstream.",
    keys: &[
        optional(
            "to",
            Kind::Text(LOCATION),
            "an error",
            "\"https://example.com{path}\"",
            "The Location; {path} and {query} stand for the request's.",
        ),
        key(
            "status",
            Kind::Integer { min: 301, max: 308 },
            "308",
            "301, 302, 303, 307 or 308.",
        ),
    ],
};

static REWRITE: Table = Table {
    path: "route.rewrite",
    about: "Changes the path towards the upstream.",
    keys: &[
        optional(
            "strip_prefix",
            Kind::Text(PREFIX),
            "nothing",
            "\"/v1\"",
            "Taken off where the path begins with it, at a segment's end.",
        ),
        optional(
            "add_prefix",
            Kind::Text(PREFIX),
            "nothing",
            "\"/api\"",
            "Then put before what is left.",
        ),
    ],
};

static REQUEST_HEADERS: Table = Table {
    path: "route.request_headers",
    about: "Changes the request's fields: remove, then set, then add.",
    keys: EDITS,
};

static RESPONSE_HEADERS: Table = Table {
    path: "route.response_headers",
    about: "Changes the response's fields: remove, then set, then add.",
    keys: EDITS,
};

const EDITS: &[super::keys::Key] = &[
    optional(
        "set",
        Kind::Fields,
        "nothing",
        "{ \"x-env\" = \"prod\" }",
        "Fields replaced, or added where absent.",
    ),
    optional(
        "add",
        Kind::Fields,
        "nothing",
        "{ \"x-seen-by\" = \"ringway\" }",
        "Fields added beside those there.",
    ),
    optional(
        "remove",
        Kind::List {
            of: &Kind::Text(FIELD),
            min: 0,
        },
        "nothing",
        "[\"x-internal\"]",
        "Fields removed.",
    ),
];

static RETRY: Table = Table {
    path: "route.retry",
    about: "Tries again where nothing can have happened twice.",
    keys: &[
        key(
            "attempts",
            Kind::Integer { min: 1, max: 10 },
            "3",
            "Attempts in all.",
        )
        .later(),
        key(
            "on",
            Kind::List {
                of: &Kind::Choice(&[
                    later("connect"),
                    later("reset"),
                    later("502"),
                    later("503"),
                    later("504"),
                ]),
                min: 0,
            },
            "[\"connect\", \"reset\", \"502\", \"503\", \"504\"]",
            "What is tried again.",
        )
        .later(),
        key(
            "backoff",
            PATIENCE,
            "\"25ms\"",
            "Wait of base · 2^i + rand(0, base).",
        )
        .later(),
        key("max_time", PATIENCE, "\"2s\"", "Time for all attempts.").later(),
        key(
            "budget",
            Kind::Fraction,
            "0.2",
            "Retries per request, over a moving window, per upstream.",
        )
        .later(),
    ],
};

static IDEMPOTENCY: Table = Table {
    path: "route.idempotency",
    about: "Answers a repeated Idempotency-Key with the first response.",
    keys: &[
        key(
            "mode",
            Kind::Choice(&[word("off"), later("honor"), later("require")]),
            "\"off\"",
            "Whether keys are honoured, or required.",
        ),
        key("ttl", PATIENCE, "\"24h\"", "How long a response is kept.").later(),
    ],
};

/// What says what becomes of a request; a route has exactly one.
const ACTIONS: [&str; 3] = ["upstream", "respond", "redirect"];

/// What only a request that is forwarded can have.
const FORWARD_ONLY: [&str; 4] = ["preserve_host", "rewrite", "request_headers", "upgrades"];

/// All routes; `upstreams` are the names there are.
pub(super) fn read(
    sections: &[Section<'_, '_>],
    upstreams: &[&str],
    findings: &mut Findings,
) -> Vec<Settings> {
    let mut names = Vec::new();
    let mut routes = Vec::new();
    for (index, section) in sections.iter().enumerate() {
        let name: String = section
            .maybe("name")
            .unwrap_or_else(|| format!("route-{}", index + 1));
        names.push((name.clone(), section.value_span("name")));
        routes.push(one(section, name, upstreams, findings));
    }
    twice("route name", &names, findings);
    routes
}

fn one(
    section: &Section<'_, '_>,
    name: String,
    upstreams: &[&str],
    findings: &mut Findings,
) -> Settings {
    let texts = |key: &str| {
        section
            .items::<String>(key)
            .into_iter()
            .map(|(text, _)| text)
    };
    Settings {
        hosts: texts("hosts")
            .map(|host| host.to_ascii_lowercase())
            .collect(),
        path: section.maybe("path"),
        methods: texts("methods").collect(),
        action: action(section, &name, upstreams, findings),
        request_headers: edits(&section.section("request_headers")),
        response_headers: edits(&section.section("response_headers")),
        timeout: section.maybe("timeout"),
        body_bytes: section.maybe("body_bytes"),
        websocket: texts("upgrades").any(|protocol| protocol == "websocket"),
        name,
    }
}

fn action(
    section: &Section<'_, '_>,
    name: &str,
    upstreams: &[&str],
    findings: &mut Findings,
) -> Action {
    let mut given: Vec<&str> = ACTIONS.into_iter().filter(|key| section.has(key)).collect();
    given.sort_by_key(|key| section.key_span(key).start);
    if let [first, second, ..] = given[..] {
        let message = format!("route `{name}` has both `{first}` and `{second}`");
        let fault = Fault::new(section.key_span(second), message)
            .also(section.key_span(first), "the other one")
            .help("a request goes one way: keep one of them, or write two routes");
        findings.push(fault);
    }
    match given.first() {
        Some(&"upstream") => forward(section, upstreams, findings),
        Some(&what) => {
            forward_only(section, name, what, findings);
            if what == "respond" {
                respond(&section.section("respond"), findings)
            } else {
                redirect(&section.section("redirect"), findings)
            }
        }
        None => {
            let message = format!("route `{name}` does not say what becomes of a request");
            let upstream = upstreams.first().unwrap_or(&"NAME");
            findings.push(Fault::new(section.span(), message).help(format!(
                "add one of: upstream = \"{upstream}\", respond = {{ status = 404 }}, redirect = {{ to = \"https://…\" }}"
            )));
            Action::Builtin
        }
    }
}

fn forward(section: &Section<'_, '_>, upstreams: &[&str], findings: &mut Findings) -> Action {
    let wanted: String = section.of("upstream");
    let found = upstreams.iter().position(|name| *name == wanted);
    if found.is_none() && !wanted.is_empty() {
        let help = match nearest(&wanted, upstreams.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if upstreams.is_empty() => {
                format!("add [upstream.{wanted}] with endpoints = [\"http://127.0.0.1:3000\"]")
            }
            None => format!("there are: {}", upstreams.join(", ")),
        };
        let message = format!("there is no upstream {}", quoted(&wanted));
        findings.push(Fault::new(section.value_span("upstream"), message).help(help));
    }
    let rewrite = section.section("rewrite");
    Action::Forward {
        upstream: found.unwrap_or_default(),
        preserve_host: section.of("preserve_host"),
        rewrite: Rewrite {
            strip_prefix: rewrite.of("strip_prefix"),
            add_prefix: rewrite.of("add_prefix"),
        },
    }
}

/// What would be ignored is refused.
fn forward_only(section: &Section<'_, '_>, name: &str, what: &str, findings: &mut Findings) {
    for key in FORWARD_ONLY.into_iter().filter(|key| section.has(key)) {
        let message = format!("`{key}` has no effect in route `{name}`, which has `{what}`");
        let fault = Fault::new(section.key_span(key), message)
            .help("it is for routes with an `upstream`; take it out");
        findings.push(fault);
    }
}

fn respond(section: &Section<'_, '_>, findings: &mut Findings) -> Action {
    let status: u16 = section.of("status");
    let body: String = section.of("body");
    // RFC 9110 §6.4.1: these have no content.
    if matches!(status, 204 | 205 | 304) && !body.is_empty() {
        let fault = Fault::new(
            section.value_span("body"),
            format!("a response with status {status} has no body"),
        );
        findings.push(fault.help("take the body out, or use another status"));
    }
    Action::Respond { status, body }
}

fn redirect(section: &Section<'_, '_>, findings: &mut Findings) -> Action {
    let status: u16 = section.of("status");
    if matches!(status, 304..=306) {
        let message = format!("{status} is not a redirect");
        let fault = Fault::new(section.value_span("status"), message);
        findings.push(fault.help("a redirect is 301, 302, 303, 307 or 308"));
    }
    if !section.has("to") {
        let fault = Fault::new(section.span(), "a redirect has no `to`");
        findings.push(fault.help("like { to = \"https://example.com{path}\", status = 308 }"));
    }
    Action::Redirect {
        to: section.of("to"),
        status,
    }
}

fn edits(section: &Section<'_, '_>) -> FieldEdits {
    let removed = section.items::<String>("remove").into_iter();
    FieldEdits {
        remove: removed.map(|(name, _)| name.to_ascii_lowercase()).collect(),
        set: section.fields("set"),
        add: section.fields("add"),
    }
}
