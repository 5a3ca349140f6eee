//! The whole file: what it becomes, and every error in its place.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;

use super::keys::{Absent, Kind, ROOT, Table, each_section};
use super::*;
use crate::observe::{Destination, Format};
use crate::route::Action;
use crate::upstream::Host;

/// What every file needs; errors are tried in what is put before it.
const REST: &str = "\n[[listener]]\n[[route]]\nupstream = \"app\"\n\
                    [upstream.app]\nendpoints = [\"http://127.0.0.1:3000\"]\n";

fn read(text: &str) -> Settings {
    match parse(text, Path::new("/etc/ringway/ringway.toml")) {
        Ok(settings) => settings,
        Err(errors) => panic!("{errors}\n\nin\n{text}"),
    }
}

fn errors(text: &str) -> Errors {
    parse(text, Path::new("ringway.toml")).expect_err(text)
}

/// The text has exactly one error: its place, and what its message and help say together.
fn one_error(text: &str, at: (usize, usize), says: &str) {
    let errors = errors(text);
    let problems: Vec<_> = errors.iter().collect();
    assert_eq!(problems.len(), 1, "{text}\n{errors}");
    let all = format!(
        "{} {}",
        problems[0].message,
        problems[0].help.unwrap_or_default()
    );
    assert!(all.contains(says), "{text}\n{says}\n{errors}");
    assert_eq!(problems[0].at, Some(at), "{text}\n{errors}");
    let place = format!("--> ringway.toml:{}:{}\n", at.0, at.1);
    assert!(errors.to_string().contains(&place), "{place}{errors}");
}

/// One error in a line before the rest.
fn line_error(line: &str, at: (usize, usize), says: &str) {
    one_error(&format!("{line}{REST}"), at, says);
}

/// One error in a line of a listener.
fn listener_error(line: &str, column: usize, says: &str) {
    let rest = REST.replacen("[[listener]]", &format!("[[listener]]\n{line}"), 1);
    one_error(&rest, (3, column), says);
}

/// One error in a line of a route that forwards.
fn route_error(line: &str, column: usize, says: &str) {
    let rest = REST.replacen("[[route]]", &format!("[[route]]\n{line}"), 1);
    one_error(&rest, (4, column), says);
}

/// One error in a line below the upstream.
fn upstream_error(line: &str, column: usize, says: &str) {
    one_error(&format!("{REST}{line}\n"), (7, column), says);
}

#[test]
fn the_least_file_has_the_documented_defaults() {
    let settings = read(REST);
    assert_eq!(settings.workers, None);
    assert_eq!(settings.drain_notice, Duration::from_secs(10));
    assert_eq!(settings.drain_deadline, Duration::from_secs(30));
    assert_eq!(settings.admin, "127.0.0.1:9900".parse().ok());
    assert_eq!(settings.log.access, Destination::Stdout);
    assert_eq!(settings.log.format, Format::Json);

    let listener = &settings.listeners[0];
    assert_eq!(listener.name, "listener-1");
    assert_eq!(
        listener.bind,
        ["127.0.0.1:8080".parse::<SocketAddr>().unwrap()]
    );
    assert_eq!(listener.max_connections, 100_000);
    assert_eq!(listener.max_connections_per_ip, 0);
    let connection = &listener.connection;
    assert!(connection.trusted_proxies.is_empty());
    assert_eq!(connection.timeouts.request_head, Duration::from_secs(10));
    assert_eq!(connection.timeouts.body_idle, Duration::from_secs(30));
    assert_eq!(connection.timeouts.min_rate_bytes_per_second, 240);
    assert_eq!(connection.timeouts.keep_alive, Duration::from_secs(60));
    assert_eq!(connection.limits.head, ringway_protocol::Limits::default());
    assert_eq!(connection.limits.body_bytes, 64 << 20);
    assert_eq!(connection.limits.requests_per_connection, 0);

    let route = &settings.routes[0];
    assert_eq!(route.name, "route-1");
    assert!(route.hosts.is_empty() && route.path.is_none() && route.methods.is_empty());
    assert!(route.timeout.is_none() && route.body_bytes.is_none() && route.websocket);
    assert!(matches!(
        &route.action,
        Action::Forward { upstream: 0, preserve_host: true, rewrite } if rewrite.strip_prefix.is_empty()
    ));

    let pool = &settings.upstreams[0].pool;
    assert_eq!((pool.max_connections, pool.idle_max), (0, 256));
    assert_eq!(pool.queue_timeout, Duration::from_secs(1));
    assert_eq!(pool.idle_timeout, Duration::from_secs(55));
    assert_eq!(pool.connect_timeout, Duration::from_secs(1));
    assert_eq!(pool.response_head_timeout, Duration::from_secs(15));
    assert_eq!(pool.expect_continue_timeout, Duration::from_secs(1));
}

/// Everything this version does, each away from its default.
const FULL: &str = r#"
[process]
workers = 8
drain_notice = "1s"
drain_deadline = "0s"

[admin]
bind = "off"

[log]
access = "logs/access.log"
format = "text"

[[listener]]
name = "edge"
bind = ["0.0.0.0:8080", "[::]:8080"]
protocols = ["h1"]
proxy_protocol = "off"
trusted_proxies = ["10.0.0.0/8", "192.0.2.7"]
max_connections = 1000
max_connections_per_ip = 10

[listener.timeouts]
request_head = "250ms"
body_idle = "5m"
min_rate_bytes_per_second = 0
keep_alive = "24h"

[listener.limits]
head_bytes = "16KiB"
fields = 50
target_bytes = 4096
body_bytes = 0
requests_per_connection = 100

[[route]]
name = "users"
hosts = ["API.example.com", "*.example.com"]
path = "/users/{id}"
methods = ["GET", "HEAD"]
upstream = "users"
preserve_host = false
rewrite = { strip_prefix = "/v1", add_prefix = "/api" }
request_headers = { set = { "X-Env" = "prod" }, add = { b = ["1", "2"], a = "3" }, remove = ["Authorization"] }
response_headers = { remove = ["server"] }
timeout = "30s"
body_bytes = "1MiB"
upgrades = []
[route.idempotency]
mode = "off"

[[route]]
path = "/gone"
respond = { status = 410, body = "gone\n" }

[[route]]
path = "/old/{*rest}"
redirect = { to = "https://example.com{path}?{query}", status = 301 }

[upstream.users]
endpoints = ["http://10.0.0.1:8080/base?k=v", { url = "http://users.internal", weight = 2 }]
balance = "round_robin"
protocol = "h1"
send_proxy_protocol = "off"

[upstream.users.pool]
max_connections = 64
queue_timeout = "2s"
idle_max = 8
idle_timeout = "50s"
connect_timeout = "500ms"
response_head_timeout = "1s"
expect_continue_timeout = "2s"

[upstream.another]
endpoints = ["http://10.0.0.3"]
"#;

#[test]
fn a_full_file_becomes_settings() {
    let settings = read(FULL);
    assert_eq!(settings.workers, Some(8));
    assert_eq!(settings.drain_deadline, Duration::ZERO);
    assert_eq!(settings.admin, None);
    let log = PathBuf::from("/etc/ringway/logs/access.log");
    assert_eq!(settings.log.access, Destination::File(log));
    assert_eq!(settings.log.format, Format::Text);

    let listener = &settings.listeners[0];
    assert_eq!(listener.bind.len(), 2);
    let connection = &listener.connection;
    assert_eq!(connection.trusted_proxies[1].to_string(), "192.0.2.7/32");
    assert_eq!(connection.timeouts.request_head, Duration::from_millis(250));
    assert_eq!(connection.limits.head.head_bytes, 16_384);
    assert_eq!(connection.limits.body_bytes, 0);

    let [users, gone, old] = &settings.routes[..] else {
        panic!("three routes");
    };
    assert_eq!(users.hosts, ["api.example.com", "*.example.com"]);
    assert_eq!(users.methods, ["GET", "HEAD"]);
    assert_eq!(users.timeout, Some(Duration::from_secs(30)));
    assert_eq!(users.body_bytes, Some(1 << 20));
    assert!(!users.websocket);
    let Action::Forward {
        upstream,
        preserve_host,
        rewrite,
    } = &users.action
    else {
        panic!("it forwards");
    };
    // Upstreams are in the order of the file, not of their names.
    assert_eq!((*upstream, *preserve_host), (0, false));
    assert_eq!(settings.upstreams[0].name, "users");
    assert_eq!(
        (rewrite.strip_prefix.as_str(), rewrite.add_prefix.as_str()),
        ("/v1", "/api")
    );
    let edits = &users.request_headers;
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(edits.set, [pair("x-env", "prod")]);
    assert_eq!(edits.add, [pair("b", "1"), pair("b", "2"), pair("a", "3")]);
    assert_eq!(edits.remove, ["authorization"]);
    assert_eq!(users.response_headers.remove, ["server"]);
    assert!(matches!(&gone.action, Action::Respond { status: 410, body } if body == "gone\n"));
    assert!(matches!(&old.action, Action::Redirect { status: 301, .. }));

    let endpoints = &settings.upstreams[0].endpoints;
    assert_eq!(endpoints[0].base_path, "/base");
    assert_eq!(endpoints[1].host, Host::Name("users.internal".into()));
    assert_eq!((endpoints[1].weight, endpoints[1].port), (2, 80));
    assert_eq!(
        settings.upstreams[0].pool.connect_timeout,
        Duration::from_millis(500)
    );
}

/// Every name of the contract, done or not.
const CONTRACT: &str = r#"
[process]
workers = 8
control = "/run/ringway/control.sock"
drain_notice = "10s"
drain_deadline = "30s"
handover = "all"
[admin]
bind = "127.0.0.1:9900"
[log]
access = "stdout"
format = "json"
[[listener]]
name = "edge"
bind = ["0.0.0.0:8080"]
protocols = ["h1", "h2"]
proxy_protocol = "off"
trusted_proxies = ["10.0.0.0/8"]
max_connections = 100000
max_connections_per_ip = 0
[listener.tls]
certificates = [{ cert = "a.pem", key = "a.key" }]
client_ca = "clients.pem"
client_auth = "off"
[listener.timeouts]
tls_handshake = "10s"
request_head = "10s"
body_idle = "30s"
min_rate_bytes_per_second = 240
keep_alive = "60s"
[listener.limits]
head_bytes = 65536
fields = 100
target_bytes = 8192
body_bytes = "64MiB"
h2_streams = 128
h2_header_list_bytes = 65536
h2_header_table_bytes = 4096
requests_per_connection = 0
[[route]]
name = "users"
hosts = ["api.example.com", "*.example.com"]
path = "/users/{id}"
methods = ["GET", "HEAD"]
upstream = "users"
respond = { status = 404, body = "" }
redirect = { to = "https://example.com", status = 308 }
preserve_host = true
rewrite = { strip_prefix = "/v1", add_prefix = "/api" }
request_headers  = { set = { "x-env" = "prod" }, remove = ["authorization"], add = { a = "b" } }
response_headers = { remove = ["server"] }
timeout = "30s"
body_bytes = "1MiB"
upgrades = ["websocket"]
[route.retry]
attempts = 3
on = ["connect", "reset", "502", "503", "504"]
backoff = "25ms"
max_time = "2s"
budget = 0.2
[route.idempotency]
mode = "off"
ttl = "24h"
[upstream.users]
endpoints = ["http://10.0.0.1:8080", { url = "http://10.0.0.2", weight = 2 }]
discover = { dns = "users.internal", port = 8080, refresh = "30s", srv = "x" }
balance = "round_robin"
hash_on = "client_ip"
protocol = "h1"
send_proxy_protocol = "off"
[upstream.users.pool]
max_connections = 0
queue_timeout = "1s"
idle_max = 256
idle_timeout = "55s"
connect_timeout = "1s"
response_head_timeout = "15s"
expect_continue_timeout = "1s"
[upstream.users.health]
path = "/healthz"
interval = "5s"
timeout = "1s"
healthy_after = 2
unhealthy_after = 3
[upstream.users.outlier]
consecutive_failures = 5
ejection = "10s"
max_ejected = 0.5
[upstream.users.tls]
ca = "ca.pem"
server_name = "users.internal"
client_cert = "c.pem"
client_key = "c.key"
[store]
kind = "memory"
url = "redis://127.0.0.1:6379"
"#;

#[test]
fn every_name_of_the_contract_is_known() {
    let (root, broken) = DeTable::parse_recoverable(CONTRACT);
    assert!(broken.is_empty());
    fn walk(table: &'static Table, values: &DeTable<'_>, seen: &mut usize) {
        for (name, value) in values {
            let Some(key) = table.key(name.get_ref()) else {
                panic!("{} of [{}] is unknown", name.get_ref(), table.path);
            };
            *seen += 1;
            below(&key.kind, value.get_ref(), seen);
        }
    }
    fn below(kind: &'static Kind, value: &toml::de::DeValue<'_>, seen: &mut usize) {
        use toml::de::DeValue;
        match (kind, value) {
            (Kind::Table(of) | Kind::Either(_, of), DeValue::Table(values)) => {
                walk(of, values, seen);
            }
            (Kind::Tables(of), DeValue::Array(items)) => {
                for item in items.iter() {
                    walk(of, item.get_ref().as_table().unwrap(), seen);
                }
            }
            (Kind::Named(of), DeValue::Table(entries)) => {
                for (_, entry) in entries {
                    walk(of, entry.get_ref().as_table().unwrap(), seen);
                }
            }
            (Kind::List { of, .. }, DeValue::Array(items)) => {
                for item in items.iter() {
                    below(of, item.get_ref(), seen);
                }
            }
            _ => {}
        }
    }
    let mut seen = 0;
    walk(&ROOT, root.get_ref(), &mut seen);
    assert!(seen > 100, "{seen}");
}

#[test]
fn what_is_not_there_yet_is_refused_by_name_and_all_at_once() {
    let errors = errors(CONTRACT);
    let missing: Vec<&str> = errors
        .iter()
        .filter_map(|problem| {
            problem
                .message
                .strip_suffix(" is not implemented in this version")
        })
        .collect();
    assert_eq!(
        missing,
        [
            "`control`",
            "`handover`",
            "`protocols` = \"h2\"",
            "[listener.tls]",
            "`tls_handshake`",
            "`h2_streams`",
            "`h2_header_list_bytes`",
            "`h2_header_table_bytes`",
            "[route.retry]",
            "`ttl`",
            "`discover`",
            "`hash_on`",
            "[upstream.NAME.health]",
            "[upstream.NAME.outlier]",
            "[upstream.NAME.tls]",
            "[store]",
        ]
        .map(|name| if name == "`discover`" {
            "[upstream.NAME.discover]"
        } else {
            name
        }),
        "{errors}"
    );
}

#[test]
fn all_errors_come_in_one_go_in_the_order_of_the_file() {
    let text = "[process]\nworker = 4\ndrain_notice = 10\n[[listener]]\nbind = [\"localhost:80\"]\n\
                [[route]]\nupstream = \"ap\"\nmethods = [\"get\"]\n[upstream.app]\n";
    let errors = errors(text);
    let lines: Vec<_> = errors.iter().map(|problem| problem.at.unwrap().0).collect();
    assert_eq!(lines, [2, 3, 5, 7, 8, 9], "{errors}");
    assert!(
        errors.to_string().ends_with("6 errors in ringway.toml"),
        "{errors}"
    );
}

#[test]
fn an_error_looks_like_a_compilers() {
    let text = format!("[process]\n  worker = 4{REST}");
    assert_eq!(
        errors(&text).to_string(),
        "error: unknown key `worker` in [process]\n \
         --> ringway.toml:2:3\n  \
           |\n\
         2 |   worker = 4\n  \
           |   ^^^^^^\n  \
           |\n  \
           = help: did you mean `workers`?\n\n\
         1 error in ringway.toml"
    );
    assert!(errors(&text).render(true).contains("\u{1b}["));
}

#[test]
fn unknown_keys_are_errors_with_the_near_name() {
    line_error("[proces]\nworkers = 1", (1, 2), "did you mean `[process]`?");
    line_error("[admin]\nbnd = \"off\"", (2, 1), "did you mean `bind`?");
    line_error("workers = 1", (1, 1), "`workers` belongs in [process]");
    line_error("[log]\nzzz = 1", (2, 1), "the keys here are access, format");
    listener_error("request_head = \"1s\"", 1, "belongs in [listener.timeouts]");
    listener_error("limits.body_byte = 1", 8, "did you mean `body_bytes`?");
    route_error("host = [\"a\"]", 1, "did you mean `hosts`?");
    route_error(
        "rewrite = { strip = \"/a\" }",
        13,
        "unknown key `strip` in [route.rewrite]",
    );
    upstream_error("pool.idle-max = 1", 6, "did you mean `idle_max`?");
}

#[test]
fn a_header_with_the_wrong_brackets_says_the_right_ones() {
    let text = REST.replacen("[[listener]]", "[listener]", 1);
    one_error(&text, (2, 2), "write [[listener]]");
    let text = REST.replacen("[upstream.app]", "[[upstream.app]]", 1);
    let all = errors(&text).to_string();
    assert!(all.contains("write [upstream.NAME]"), "{all}");
    let all = errors("[upstream]\nendpoints = []\n").to_string();
    assert!(
        all.contains("write [upstream.NAME] above `endpoints`"),
        "{all}"
    );
}

#[test]
fn values_of_the_wrong_kind_or_range_say_what_they_may_be() {
    line_error(
        "[process]\nworkers = \"4\"",
        (2, 11),
        "an integer, 1 to 1024, not a string",
    );
    line_error("[process]\nworkers = 0", (2, 11), "1 to 1024");
    line_error("[process]\nworkers = -1", (2, 11), "-1 is out of range");
    line_error(
        "[process]\nworkers = 99999999999999999999",
        (2, 11),
        "1 to 1024",
    );
    line_error(
        "[process]\ndrain_notice = 10",
        (2, 16),
        "did you mean \"10s\"",
    );
    line_error(
        "[process]\ndrain_notice = \"10sec\"",
        (2, 16),
        "did you mean \"10s\"?",
    );
    line_error(
        "[process]\ndrain_notice = \"25h\"",
        (2, 16),
        "\"0s\" to \"24h\"",
    );
    line_error("[log]\nformat = \"jsn\"", (2, 10), "did you mean \"json\"?");
    line_error(
        "[log]\naccess = \"stdot\"",
        (2, 10),
        "did you mean \"stdout\"?",
    );
    line_error("process = 1", (1, 1), "write [process]");
    listener_error("bind = \"127.0.0.1:80\"", 8, "put it between [ and ]");
    listener_error("bind = []", 8, "at least one");
    listener_error("bind = [\"127.0.0.1\"]", 9, "add the port");
    listener_error("trusted_proxies = [\"10.0.0.1/8\"]", 20, "\"10.0.0.0/8\"");
    listener_error("limits.head_bytes = 1023", 21, "1KiB to 1MiB");
    listener_error(
        "limits.body_bytes = \"64MB\"",
        21,
        "did you mean \"64MiB\"?",
    );
    listener_error(
        "limits.target_bytes = \"128KiB\"",
        23,
        "more than `head_bytes` (64KiB)",
    );
    listener_error("timeouts.keep_alive = \"0s\"", 23, "\"1ms\" to \"24h\"");
    listener_error("max_connections = 1.5", 19, "not a float");
    listener_error(
        "protocols = [\"h2\"]",
        14,
        "not implemented in this version",
    );
    listener_error("protocols = [\"h3\"]", 14, "did you mean \"h1\"?");
    route_error("preserve_host = \"yes\"", 17, "true or false");
    upstream_error("pool.idle_max = 2000000", 17, "0 to 1000000");
}

#[test]
fn routes_are_checked() {
    route_error("name = \"\"", 8, "not empty");
    route_error("hosts = [\"a.*.com\"]", 10, "whole first label");
    route_error("hosts = [\"a.com\", \"A.com\"]", 19, "given twice");
    route_error("path = \"/{*rest}/x\"", 8, "only be last");
    route_error("methods = [\"get\"]", 12, "did you mean \"GET\"?");
    route_error("upgrades = [\"h2c\"]", 13, "\"websocket\"");
    route_error(
        "request_headers = { set = { host = \"a\" } }",
        29,
        "preserve_host",
    );
    route_error(
        "request_headers = { add = { Connection = \"a\" } }",
        29,
        "frames the message",
    );
    route_error(
        "response_headers = { remove = [\"Content-Length\"] }",
        32,
        "frames the message",
    );
    route_error(
        "request_headers = { set = { a = \"b\\r\\nc\" } }",
        33,
        "\\r",
    );
    route_error(
        "request_headers = { set = { a = 1 } }",
        33,
        "between quotes",
    );
    route_error(
        "request_headers = { set = { a = \"1\", A = \"2\" } }",
        29,
        "given twice",
    );

    route_error("idempotency = { mode = \"honor\" }", 24, "not implemented");
    let replaced = |action: &str, at: (usize, usize), says: &str| {
        one_error(&REST.replacen("upstream = \"app\"", action, 1), at, says);
    };
    replaced(
        "respond = {}\nupstream = \"app\"",
        (5, 1),
        "has both `respond` and `upstream`",
    );
    replaced("", (3, 1), "does not say what becomes of a request");
    replaced("upstream = \"ap\"", (4, 12), "did you mean `app`?");
    replaced("upstream = \"zzz\"", (4, 12), "there are: app");
    replaced("respond = { status = 99 }", (4, 22), "200 to 599");
    replaced(
        "respond = { status = 204, body = \"x\" }",
        (4, 34),
        "has no body",
    );
    replaced(
        "redirect = { to = \"/x\", status = 305 }",
        (4, 34),
        "301, 302, 303, 307 or 308",
    );
    replaced("redirect = { status = 301 }", (4, 1), "has no `to`");
    replaced(
        "redirect = { to = \"x\" }",
        (4, 19),
        "neither a URL nor a path",
    );
    replaced("respond = {}\npreserve_host = true", (5, 1), "no effect");
}

#[test]
fn upstreams_are_checked() {
    let endpoints = |value: &str, column: usize, says: &str| {
        let line = format!("endpoints = {value}");
        let text = REST.replacen("endpoints = [\"http://127.0.0.1:3000\"]", &line, 1);
        one_error(&text, (6, column), says);
    };
    endpoints(
        "[\"127.0.0.1:3000\"]",
        14,
        "did you mean \"http://127.0.0.1:3000\"?",
    );
    endpoints("[\"https://10.0.0.2\"]", 14, "not implemented");
    endpoints("[{ url = \"http://a\", weight = 1001 }]", 43, "1 to 1000");
    endpoints("[{ weight = 2 }]", 14, "no `url`");
    endpoints("[7]", 14, "a URL");
    endpoints("[]", 13, "at least one");
    let text = REST.replacen("endpoints = [\"http://127.0.0.1:3000\"]", "", 1);
    one_error(&text, (5, 11), "upstream `app` has no endpoints");
    upstream_error("balance = \"least_loaded\"", 11, "not implemented");
    upstream_error("protocol = \"h2\"", 12, "not implemented");
    upstream_error("tls.ca = \"ca.pem\"", 1, "not implemented");
}

#[test]
fn a_name_or_address_is_taken_once() {
    let text = format!("{REST}[[listener]]\nname = \"listener-1\"\nbind = [\"[::1]:1\"]\n");
    one_error(&text, (8, 8), "listener name `listener-1` is taken");
    let text = format!("{REST}[[listener]]\n");
    one_error(&text, (7, 1), "address `127.0.0.1:8080` is taken");
    let text = format!("{REST}[[listener]]\nbind = [\"127.0.0.1:9900\"]\n");
    one_error(&text, (8, 9), "the admin listener's");
    let text = format!("{REST}[[route]]\nname = \"route-1\"\npath = \"/a\"\nrespond = {{}}\n");
    one_error(&text, (8, 8), "route name `route-1` is taken");
    read(&format!(
        "{}[[listener]]\nbind = [\"127.0.0.1:0\"]\n",
        REST.replacen("[[listener]]", "[[listener]]\nbind = [\"127.0.0.1:0\"]", 1)
    ));
}

#[test]
fn routes_that_cannot_be_told_apart_name_both_places() {
    let two = |one: &str, other: &str| {
        format!(
            "[[listener]]\n[[route]]\nname = \"one\"\n{one}\nrespond = {{}}\n\
             [[route]]\nname = \"other\"\n{other}\nrespond = {{}}\n"
        )
    };
    for (one, other) in [
        ("", ""),
        ("path = \"/u/{id}\"", "path = \"/u/{name}\""),
        ("hosts = [\"a\", \"b\"]", "hosts = [\"c\", \"B\"]"),
        (
            "methods = [\"GET\", \"PUT\"]",
            "methods = [\"HEAD\", \"PUT\"]",
        ),
    ] {
        let text = two(one, other);
        one_error(
            &text,
            (6, 1),
            "routes `one` (line 2) and `other` cannot be told apart",
        );
        assert!(errors(&text).to_string().contains("the other one"));
    }
    for (one, other) in [
        ("", "path = \"/\""),
        ("", "methods = [\"GET\"]"),
        ("", "hosts = [\"a\"]"),
        ("path = \"/a\"", "path = \"/a/\""),
        ("path = \"/{a}\"", "path = \"/{*a}\""),
        ("methods = [\"GET\"]", "methods = [\"HEAD\"]"),
    ] {
        read(&two(one, other));
    }
}

#[test]
fn a_file_without_listener_or_route_says_what_to_add() {
    let errors = errors("");
    let all = errors.to_string();
    assert_eq!(errors.iter().count(), 2);
    assert!(
        all.contains("there is no listener") && all.contains("there is no route"),
        "{all}"
    );
    assert!(
        errors
            .iter()
            .all(|problem| problem.at == Some((1, 1)) && problem.help.is_some())
    );
}

#[test]
fn what_is_not_toml_has_its_place_beside_the_other_errors() {
    let text = format!("[process]\nworkers = \nworker = 1\n{REST}");
    let errors = errors(&text);
    let places: Vec<_> = errors.iter().map(|problem| problem.at.unwrap().0).collect();
    assert_eq!(places, [2, 3], "{errors}");
    line_error(
        "[process]\nworkers = 1\nworkers = 2",
        (3, 1),
        "duplicate key",
    );
    line_error("[log]\nformat = json", (2, 10), "not TOML");
}

#[test]
fn a_file_of_something_else_is_refused_without_a_flood() {
    let errors = errors(&"key: value\n".repeat(20_000));
    assert_eq!(errors.iter().count(), 100);
    assert!(
        errors
            .to_string()
            .ends_with("more than 100 errors in ringway.toml")
    );
}

#[test]
fn what_the_config_takes_the_route_table_takes() {
    for text in [FULL, REST, &example()] {
        assert!(crate::route::Table::new(&read(text).routes).is_ok());
    }
}

#[test]
fn a_file_that_cannot_be_read_is_one_plain_sentence() {
    let errors = load(Path::new("/nonexistent/ringway.toml")).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "error: cannot read `/nonexistent/ringway.toml`: there is no such file; check the path; \
         `ringway config --example` prints a file to start from"
    );
    let errors = load(Path::new("/")).unwrap_err();
    assert!(errors.to_string().contains("it is a directory"), "{errors}");
}

#[test]
fn the_example_is_a_good_file() {
    let settings = read(&example());
    assert_eq!(settings.listeners.len(), 1);
    assert_eq!(settings.upstreams[0].name, "app");
}

#[test]
fn what_the_example_keeps_behind_a_hash_is_good_too() {
    let mut text = String::new();
    let mut skipping = false;
    for line in example().lines() {
        let plain = line
            .strip_prefix('#')
            .filter(|rest| !rest.starts_with(' '))
            .unwrap_or(line);
        if plain.starts_with('[') {
            // A route goes one way, and the example's goes upstream.
            skipping =
                plain.starts_with("[route.respond]") || plain.starts_with("[route.redirect]");
        }
        if !skipping {
            text.push_str(plain);
            text.push('\n');
        }
    }
    let settings = read(&text);
    assert_eq!(settings.workers, Some(8));
    assert_eq!(settings.routes[0].path.as_deref(), Some("/users/{id}"));
}

#[test]
fn the_reference_lists_every_key() {
    let text = reference();
    each_section(&mut |key, table| {
        assert!(
            text.contains(&format!("\n{}", key.header().unwrap())),
            "{}",
            table.path
        );
        for key in table.keys.iter().filter(|key| key.section().is_none()) {
            assert!(
                text.contains(&format!("\n  {}  (", key.name)),
                "{}",
                key.name
            );
            assert!(!key.doc.is_empty());
        }
    });
    assert!(text.contains("        weight  ") || text.contains("      weight  "));
    assert!(
        text.lines().all(|line| line.chars().count() <= 120),
        "lines fit a terminal"
    );
}

#[test]
fn every_default_and_example_passes_its_own_check() {
    each_section(&mut |_, table| {
        for key in table.keys.iter().filter(|key| key.section().is_none()) {
            let text = match key.absent {
                Absent::Is(text) => text,
                Absent::Means { example, .. } => example,
            };
            assert!(!text.is_empty(), "{} of [{}]", key.name, table.path);
            let line = format!("{} = {text}\n", key.name);
            let values = DeTable::parse(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
            let faults = check::check(table, values.get_ref(), &line);
            if key.implemented {
                assert!(faults.is_empty(), "[{}] {line}: {faults:?}", table.path);
            }
        }
    });
}

#[test]
fn quick_is_a_proxy_in_one_line() {
    let built_in = quick(&[], &[], None, None).unwrap();
    assert_eq!(built_in.admin, "127.0.0.1:9900".parse().ok());
    assert!(built_in.upstreams.is_empty());
    assert!(matches!(built_in.routes[0].action, Action::Builtin));

    let address = "127.0.0.1:0".parse().unwrap();
    let urls = ["http://a:1".to_owned(), "http://b:2".to_owned()];
    let settings = quick(&[address], &urls, Some(address), Some(2)).unwrap();
    assert_eq!(settings.listeners[0].bind, [address]);
    assert_eq!((settings.admin, settings.workers), (Some(address), Some(2)));
    assert_eq!(settings.upstreams[0].name, "default");
    assert_eq!(settings.upstreams[0].endpoints.len(), 2);
    assert!(crate::route::Table::new(&settings.routes).is_ok());
    assert_eq!(settings.routes[0].body_bytes, Some(0), "no cap on bodies");

    let error = quick(&[], &["a:1".to_owned()], None, None).unwrap_err();
    assert!(error.contains("did you mean \"http://a:1\"?"), "{error}");
}

proptest! {
    #[test]
    fn arbitrary_text_is_refused_and_shown_without_a_panic(text in "(?s).{0,200}") {
        if let Err(errors) = parse(&text, Path::new("a.toml")) {
            prop_assert!(!errors.render(true).is_empty());
        }
    }

    #[test]
    fn arbitrary_lines_of_toml_are_refused_and_shown_without_a_panic(
        lines in prop::collection::vec(
            "(\\[\\[?(process|listener|route|upstream|upstream\\.a|listener\\.limits|route\\.rewrite)\\]\\]?\
             |(workers|bind|hosts|path|upstream|endpoints|respond|set|é|\"a b\"|rewrite\\.add_prefix) = \
             (1|-1|\"[^\"\\\\\n\r]{0,8}\"|\\[\\]|\\[\"a\", \"/\"\\]|\\{\\}|\\{ status = 1 \\}|true|0\\.5|1979-05-27|'''\né\n'''|)|#.{0,5})",
            0..20,
        )
    ) {
        let text = lines.join("\n");
        if let Err(errors) = parse(&text, Path::new("a.toml")) {
            prop_assert!(!errors.to_string().is_empty());
            for problem in errors.iter() {
                prop_assert!(problem.at.is_some());
            }
        }
    }

    #[test]
    fn a_slip_anywhere_in_a_good_file_never_panics(at in 0..FULL.len(), slip in "(?s).{0,3}") {
        let mut text = FULL.to_owned();
        text.replace_range(at..=at, &slip);
        if let Err(errors) = parse(&text, Path::new("a.toml")) {
            prop_assert!(!errors.to_string().is_empty());
        }
    }
}
