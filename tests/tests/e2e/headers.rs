//! What fields reach the other side: hop-by-hop ones never, the client's word about itself only when it is trusted.

use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use ringway_tests::client::get;
use ringway_tests::origin::{Request, ok};
use ringway_tests::wire::{Head, values};
use ringway_tests::{Client, Config, Origin};

/// Fields of a hop that say nothing about framing, so that a test can send each of them. BEHAVIOUR §2.
const HOP_BY_HOP: [(&str, &str); 8] = [
    ("Keep-Alive", "timeout=5"),
    ("Proxy-Connection", "keep-alive"),
    ("Proxy-Authenticate", "Basic"),
    ("Proxy-Authorization", "Basic dXNlcjpwYXNz"),
    ("TE", "gzip"),
    ("Trailer", "X-Sum"),
    ("Trailers", "X-Sum"),
    ("Upgrade", "h2c"),
];

/// Asks with these extra fields, and passes what the origin got.
fn forwarded(config: &Config, origin: &Origin, fields: &str) -> Request {
    let proxy = config.start();
    let response = proxy.ask(format!(
        "GET / HTTP/1.1\r\nHost: site.example\r\n{fields}\r\n"
    ));
    assert_eq!(response.status(), 200, "{fields}");
    origin.only_request()
}

/// Answers with these extra fields, and passes what the client got.
fn returned(fields: &str) -> Head {
    let origin = Origin::answering(format!(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{fields}\r\nok"
    ));
    let response = Config::to(&origin).start().get("/");
    assert_eq!(response.text(), "ok");
    response.head
}

#[test]
fn no_field_of_the_clients_hop_reaches_the_origin() {
    let fields: String = HOP_BY_HOP
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let origin = Origin::answering(ok(""));
    let head = forwarded(&Config::to(&origin), &origin, &fields).head;
    for (name, _) in HOP_BY_HOP {
        assert!(!head.has(name), "{name}: {head:?}");
    }
}

#[test]
fn no_field_of_the_origins_hop_reaches_the_client() {
    let fields: String = HOP_BY_HOP
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let head = returned(&fields);
    for (name, _) in HOP_BY_HOP {
        assert!(!head.has(name), "{name}: {head:?}");
    }
}

#[test]
fn no_field_of_the_origins_hop_is_in_an_interim_response_or_a_trailer() {
    let fields: String = HOP_BY_HOP
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let trailers = fields.replace("Trailer: X-Sum\r\n", "");
    let origin = Origin::answering(format!(
        "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: x-own\r\nX-Own: 1\r\n{fields}\r\n\
         HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n{trailers}\r\n"
    ));
    let proxy = Config::to(&origin).start();
    let mut client = proxy.client();
    client.send("GET / HTTP/1.1\r\nHost: site.example\r\nTE: trailers\r\nConnection: TE\r\n\r\n");
    let hints = client.read_response();
    assert_eq!(
        (hints.status(), hints.head.value("link")),
        (103, Some("</a>"))
    );
    let response = client.read_response();
    assert_eq!(response.trailer("x-sum"), Some("1"));
    for (name, _) in HOP_BY_HOP.into_iter().chain([("x-own", "")]) {
        assert!(!hints.head.has(name), "{name}: {:?}", hints.head);
        assert!(
            values(&response.trailers, name).is_empty(),
            "{name}: {:?}",
            response.trailers
        );
    }
}

#[test]
fn every_line_of_connection_nominates() {
    let nominating = "Connection: x-first , X-SECOND\r\nX-First: 1\r\nX-Second: 2\r\nX-Kept: 3\r\nX-Third: 4\r\n\
        connection: ,x-third,\r\n";
    let origin = Origin::answering(ok(""));
    let head = forwarded(&Config::to(&origin), &origin, nominating).head;
    assert_eq!(head.value("x-kept"), Some("3"));
    for name in ["connection", "x-first", "x-second", "x-third"] {
        assert!(!head.has(name), "{name}: {head:?}");
    }
    let head = returned(nominating);
    assert_eq!(head.value("x-kept"), Some("3"));
    for name in ["x-first", "x-second", "x-third"] {
        assert!(!head.has(name), "{name}: {head:?}");
    }
}

/// The hop-by-hop abuse: nominating what the origin relies on must not take it away.
#[test]
fn nominating_what_the_proxy_needs_or_adds_removes_none_of_it() {
    let origin = Origin::answering(ok(""));
    let proxy = Config::to(&origin)
        .route("upstream = \"app\"\npreserve_host = true")
        .start();
    let response = proxy.ask(
        "POST / HTTP/1.1\r\nHost: site.example\r\nContent-Length: 4\r\n\
         Connection: close, Host, Content-Length, X-Forwarded-For, X-Forwarded-Proto\r\n\
         Connection: X-Forwarded-Host, X-Real-IP, Forwarded, Via\r\n\r\nbody",
    );
    assert_eq!(response.status(), 200);
    let request = origin.only_request();
    assert_eq!(request.body, b"body");
    assert_eq!(request.head.value("host"), Some("site.example"));
    assert_eq!(request.head.value("x-forwarded-for"), Some("127.0.0.1"));
    for name in [
        "x-forwarded-proto",
        "x-forwarded-host",
        "x-real-ip",
        "forwarded",
        "via",
    ] {
        assert!(request.head.has(name), "{name}: {:?}", request.head);
    }
}

#[test]
fn an_origin_cannot_nominate_its_framing_away() {
    let head = returned("Connection: content-length, date, x-own\r\nX-Own: 1\r\n");
    assert_eq!(head.value("content-length"), Some("2"));
    assert!(!head.has("x-own"));
}

#[test]
fn te_trailers_is_kept_and_nothing_else_of_te() {
    let origin = Origin::answering(ok(""));
    let head = forwarded(
        &Config::to(&origin),
        &origin,
        "TE: gzip;q=0.5, trailers\r\nConnection: TE\r\n",
    )
    .head;
    assert_eq!(head.value("te"), Some("trailers"));
}

/// What a client may claim about itself.
const CLAIMS: &str = "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Host: evil.example\r\nX-Forwarded-Proto: https\r\n\
    X-Real-IP: 6.6.6.6\r\nForwarded: for=6.6.6.6;host=evil.example;proto=https\r\n";

#[test]
fn the_proxy_says_who_asked_whatever_an_unknown_client_claims() {
    for claims in ["", CLAIMS] {
        let origin = Origin::answering(ok(""));
        let head = forwarded(&Config::to(&origin), &origin, claims).head;
        assert_eq!(head.value("x-forwarded-for"), Some("127.0.0.1"));
        assert_eq!(head.value("x-forwarded-host"), Some("site.example"));
        assert_eq!(head.value("x-forwarded-proto"), Some("http"));
        assert_eq!(head.value("x-real-ip"), Some("127.0.0.1"));
        let forwarded = head.value("forwarded").expect("RFC 7239");
        let pairs: Vec<_> = forwarded.split(';').map(str::trim).collect();
        assert!(pairs.contains(&"for=127.0.0.1"), "{forwarded}");
        assert!(pairs.contains(&"proto=http"), "{forwarded}");
        assert!(
            pairs.contains(&"host=site.example") || pairs.contains(&"host=\"site.example\""),
            "{forwarded}"
        );
        assert!(
            !head
                .fields
                .iter()
                .any(|(_, value)| value.contains("6.6.6.6") || value.contains("evil")),
            "{head:?}"
        );
    }
}

/// Many origins read `X_Forwarded_For` as `X-Forwarded-For`: CGI made no difference between them.
#[test]
fn spellings_with_underscores_claim_nothing() {
    let origin = Origin::answering(ok(""));
    let claims = "X_Forwarded_For: 6.6.6.6\r\nx_forwarded-for: 6.6.6.6\r\nX_Forwarded_Host: evil\r\n\
        X_FORWARDED_PROTO: evil\r\nX_Real_IP: 6.6.6.6\r\nX-Real_IP: 6.6.6.6\r\n";
    let head = forwarded(&Config::to(&origin), &origin, claims).head;
    assert!(
        !head
            .fields
            .iter()
            .any(|(_, value)| value.contains("6.6.6.6") || value.contains("evil")),
        "{head:?}"
    );
}

#[test]
fn a_trusted_proxys_word_is_kept_and_its_own_address_added() {
    let origin = Origin::answering(ok(""));
    let config = Config::to(&origin).listener("trusted_proxies = [\"127.0.0.0/8\"]");
    let head = forwarded(&config, &origin, CLAIMS).head;
    let chain: Vec<_> = head
        .values("x-forwarded-for")
        .iter()
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect();
    assert_eq!(chain, ["6.6.6.6", "127.0.0.1"]);
    assert_eq!(head.value("x-forwarded-host"), Some("evil.example"));
    assert_eq!(head.value("x-forwarded-proto"), Some("https"));
    assert_eq!(head.value("x-real-ip"), Some("6.6.6.6"));
    let hops: Vec<_> = head
        .values("forwarded")
        .iter()
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect();
    assert_eq!(hops.len(), 2, "{hops:?}");
    assert_eq!(hops[0], "for=6.6.6.6;host=evil.example;proto=https");
    assert!(hops[1].contains("for=127.0.0.1"), "{hops:?}");
}

#[test]
fn a_proxy_elsewhere_is_not_trusted() {
    let origin = Origin::answering(ok(""));
    let config = Config::to(&origin).listener("trusted_proxies = [\"10.0.0.0/8\", \"::1/128\"]");
    let head = forwarded(&config, &origin, CLAIMS).head;
    assert_eq!(head.value("x-forwarded-for"), Some("127.0.0.1"));
}

#[test]
fn via_is_added_to_what_is_there() {
    let origin = Origin::answering(ok(""));
    let head = forwarded(&Config::to(&origin), &origin, "Via: 1.0 before\r\n").head;
    let hops: Vec<_> = head
        .values("via")
        .iter()
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect();
    assert_eq!(hops.len(), 2, "{hops:?}");
    assert_eq!(hops[0], "1.0 before");
    assert!(hops[1].starts_with("1.1 "), "{hops:?}");
}

/// Passes bytes both ways between a port of its own, known before the proxy's is, and the proxy.
struct Relay {
    addr: SocketAddr,
    target: Arc<OnceLock<SocketAddr>>,
    relayed: Arc<AtomicUsize>,
}

impl Relay {
    fn new() -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let relay = Relay {
            addr: listener.local_addr().expect("it is bound"),
            target: Arc::default(),
            relayed: Arc::default(),
        };
        let (target, relayed) = (Arc::clone(&relay.target), Arc::clone(&relay.relayed));
        std::thread::spawn(move || {
            while let Ok((from, _)) = listener.accept() {
                relayed.fetch_add(1, Ordering::Relaxed);
                let to = TcpStream::connect(target.get().expect("known before anyone asks"))
                    .expect("the proxy listens");
                let back = (
                    to.try_clone().expect("a descriptor is free"),
                    from.try_clone().expect("a descriptor is free"),
                );
                std::thread::spawn(move || pass(from, to));
                std::thread::spawn(move || pass(back.0, back.1));
            }
        });
        relay
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream) {
    // Either end may go first; the other is told.
    let _ = io::copy(&mut from, &mut to);
    let _ = to.flush();
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

#[test]
fn a_proxy_that_is_its_own_origin_answers_508() {
    let relay = Relay::new();
    let proxy = Config::to_url(format!("http://{}", relay.addr)).start();
    relay.target.set(proxy.addr()).expect("set once");
    assert_eq!(proxy.get("/").status(), 508);
    let hops = relay.relayed.load(Ordering::Relaxed);
    assert!(hops < 200, "{hops} hops");
}

#[test]
fn host_is_kept_or_replaced_as_the_route_says() {
    let origin = Origin::answering(ok(""));
    let authority = origin.addr().to_string();
    for (preserve, expected) in [("true", "site.example:8080"), ("false", authority.as_str())] {
        let origin_seen = origin.seen().requests.len();
        let proxy = Config::to(&origin)
            .route(&format!("upstream = \"app\"\npreserve_host = {preserve}"))
            .start();
        assert_eq!(
            proxy
                .ask("GET / HTTP/1.1\r\nHost: site.example:8080\r\n\r\n")
                .status(),
            200
        );
        let request = &origin.seen().requests[origin_seen];
        assert_eq!(request.head.value("host"), Some(expected));
        assert_eq!(
            request.head.value("x-forwarded-host"),
            Some("site.example:8080")
        );
    }
}

#[test]
fn a_route_edits_the_fields_of_request_and_response() {
    let origin = Origin::answering(
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nServer: secret/1.0\r\nX-Set: theirs\r\nX-Add: theirs\r\n\r\n",
    );
    let proxy = Config::to(&origin)
        .route(
            "upstream = \"app\"\n\
             request_headers = { set = { \"x-env\" = \"prod\", \"x-new\" = \"1\" }, add = { \"x-more\" = \"b\" }, \
             remove = [\"Authorization\", \"x-gone\"] }\n\
             response_headers = { set = { \"X-Set\" = \"ours\" }, add = { \"x-add\" = \"ours\" }, remove = [\"server\"] }",
        )
        .start();
    let response = proxy.ask(
        "GET / HTTP/1.1\r\nHost: site.example\r\nAuthorization: Basic x\r\nX-Env: theirs\r\nx-env: twice\r\nX-Gone: 1\r\n\
         X-More: a\r\nX-Kept: 1\r\n\r\n",
    );
    let head = origin.only_request().head;
    assert_eq!(head.value("x-env"), Some("prod"));
    assert_eq!(head.value("x-new"), Some("1"));
    assert_eq!(head.values("x-more"), ["a", "b"]);
    assert_eq!(head.value("x-kept"), Some("1"));
    assert!(
        !head.has("authorization") && !head.has("x-gone"),
        "{head:?}"
    );
    assert_eq!(response.head.value("x-set"), Some("ours"));
    assert_eq!(response.head.values("x-add"), ["theirs", "ours"]);
    assert!(!response.head.has("server"), "{:?}", response.head);
}

#[test]
fn edits_of_one_route_do_not_touch_another() {
    let origin = Origin::answering(ok(""));
    let proxy = Config::to(&origin)
        .route("path = \"/edited\"\nupstream = \"app\"\nrequest_headers = { set = { \"x-env\" = \"prod\" } }")
        .route("upstream = \"app\"")
        .start();
    let mut client: Client = proxy.client();
    client.send([get("/edited"), get("/other")].concat());
    client.read_response();
    client.read_response();
    let seen = origin.seen();
    assert_eq!(seen.requests[0].head.value("x-env"), Some("prod"));
    assert_eq!(seen.requests[1].head.value("x-env"), None);
}

#[test]
fn an_origins_word_about_the_client_reaches_no_client() {
    let head = returned("Connection: close\r\nX-Kept: 1\r\n");
    assert!(!head.lists("connection", "close"), "{head:?}");
    assert_eq!(head.value("x-kept"), Some("1"));
}
