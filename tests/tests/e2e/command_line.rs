//! What a user types, and what comes back when it is wrong.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::process::Output;

use ringway_tests::origin::{ReservedPort, ok};
use ringway_tests::proxy::{Scratch, ringway};
use ringway_tests::{Client, Config, Origin, Proxy};

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn check(text: &str) -> (Option<i32>, String, String) {
    let scratch = Scratch::new();
    let file = scratch.file("ringway.toml", text);
    let name = file.to_str().expect("UTF-8").to_owned();
    let output = ringway(&["check", "--config", &name]);
    (output.status.code(), printed(&output), name)
}

#[test]
fn a_good_file_passes_its_check() {
    let (code, text, _) = check(&Config::to_url("http://127.0.0.1:3000").text());
    assert_eq!(code, Some(0), "{text}");
}

#[test]
fn every_error_has_its_place_and_the_near_names_are_suggested() {
    let (code, text, file) = check(
        "[[listener]]\nname = \"edge\"\nbnid = [\"127.0.0.1:0\"]\nbind = [\"127.0.0.1:0\"]\n\
         [[route]]\nname = \"all\"\nupstream = \"usres\"\n\
         [upstream.users]\nendpoints = [\"http://127.0.0.1:1\"]\n\
         [upstream.users.pool]\nidle_timeuot = \"5s\"\nconnect_timeout = \"fast\"\n",
    );
    assert_eq!(code, Some(1), "{text}");
    for place in [":3:1", ":7:12", ":11:1", ":12:19"] {
        assert!(
            text.contains(&format!("{file}{place}")),
            "no {place} in:\n{text}"
        );
    }
    for suggestion in ["`bind`", "`users`", "`idle_timeout`"] {
        assert!(text.contains(suggestion), "no {suggestion} in:\n{text}");
    }
    assert!(
        text.contains("bnid = "),
        "the text itself is shown:\n{text}"
    );
    assert!(text.contains("^^^^"), "and underlined:\n{text}");
}

#[test]
fn what_is_not_there_yet_is_refused_and_not_ignored() {
    let base = Config::to_url("http://127.0.0.1:3000").text();
    for section in [
        "[listener.tls]\ncertificates = [{ cert = \"a.pem\", key = \"a.key\" }]\n",
        "[store]\nkind = \"memory\"\n",
        "[upstream.other]\nendpoints = [\"https://127.0.0.1:1\"]\n",
        "[upstream.app.health]\npath = \"/healthz\"\n",
    ] {
        let text = if section.starts_with("[listener.tls]") {
            base.replace(
                "[listener.timeouts]",
                &format!("{section}[listener.timeouts]"),
            )
        } else {
            format!("{base}{section}")
        };
        let (code, printed, _) = check(&text);
        assert_eq!(code, Some(1), "{section}{printed}");
    }
}

#[test]
fn a_file_that_is_no_toml_has_its_place() {
    let (code, text, file) = check("[process]\nworkers = = 1\n");
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains(&format!("{file}:2:")), "{text}");
}

#[test]
fn a_broken_file_does_not_start() {
    let scratch = Scratch::new();
    let file = scratch.file("ringway.toml", "[process]\nworker = 1\n");
    let name = file.to_str().expect("UTF-8");
    let output = ringway(&["run", "--config", name]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        printed(&output).contains(&format!("{name}:2:1")),
        "{}",
        printed(&output)
    );
}

#[test]
fn a_file_that_is_not_there_is_one_plain_sentence() {
    let output = ringway(&["run", "--config", "/nonexistent/ringway.toml"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        printed(&output).contains("/nonexistent/ringway.toml"),
        "{}",
        printed(&output)
    );
    assert!(
        !printed(&output).contains("panicked"),
        "{}",
        printed(&output)
    );
}

#[test]
fn the_example_passes_its_own_check() {
    let output = ringway(&["config", "--example"]);
    assert_eq!(output.status.code(), Some(0));
    let (code, text, _) = check(&String::from_utf8(output.stdout).expect("UTF-8"));
    assert_eq!(code, Some(0), "{text}");
}

#[test]
fn the_reference_describes_every_key_of_the_contract() {
    let output = ringway(&["config"]);
    assert_eq!(output.status.code(), Some(0));
    let text = printed(&output);
    for key in [
        "drain_notice",
        "drain_deadline",
        "workers",
        "bind",
        "access",
        "trusted_proxies",
        "max_connections",
        "max_connections_per_ip",
        "request_head",
        "body_idle",
        "min_rate_bytes_per_second",
        "keep_alive",
        "head_bytes",
        "fields",
        "target_bytes",
        "body_bytes",
        "requests_per_connection",
        "hosts",
        "methods",
        "preserve_host",
        "rewrite",
        "request_headers",
        "response_headers",
        "respond",
        "redirect",
        "endpoints",
        "queue_timeout",
        "idle_max",
        "idle_timeout",
        "connect_timeout",
        "response_head_timeout",
        "expect_continue_timeout",
    ] {
        assert!(text.contains(key), "no {key} in:\n{text}");
    }
}

#[test]
fn a_port_in_use_is_one_plain_sentence() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let addr = taken.local_addr().expect("it is bound").to_string();
    for args in [
        ["--listen", &addr, "--admin", "127.0.0.1:0"],
        ["--listen", "127.0.0.1:0", "--admin", &addr],
    ] {
        let output = ringway(&[&["proxy"], &args[..]].concat());
        assert_eq!(output.status.code(), Some(1), "{}", printed(&output));
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let lines: Vec<_> = text.lines().filter(|line| line.contains(&addr)).collect();
        assert_eq!(lines.len(), 1, "{text}");
        assert!(!text.contains("panicked"), "{text}");
    }
}

/// Whether this machine has `::1`. Said where it has not, and believed only if the kernel lists no such address either.
fn has_ipv6_loopback() -> bool {
    let Err(error) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) else {
        return true;
    };
    // proc(5): an address a line, 32 hex digits first; no such file where the kernel has no IPv6 at all.
    let listed = fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    let loopback = format!("{:032x}", Ipv6Addr::LOCALHOST.to_bits());
    assert!(
        !listed.contains(&loopback),
        "::1 is there and cannot be bound: {error}"
    );
    eprintln!("not tried: this machine has no ::1 ({error})");
    false
}

#[test]
fn one_listener_takes_addresses_of_both_families() {
    if !has_ipv6_loopback() {
        return;
    }
    let origin = Origin::answering(ok("here"));
    let proxy = Config::to(&origin).bind(["127.0.0.1:0", "[::1]:0"]).start();
    let addrs = proxy.addrs();
    assert!(addrs[0].is_ipv4() && addrs[1].is_ipv6(), "{addrs:?}");
    for addr in addrs {
        assert_eq!(Client::connect(addr).get("/").text(), "here", "{addr}");
    }
}

/// `[::]` once took IPv4 too, and the second address of the two was in use.
#[test]
fn every_address_of_both_families_is_listened_on_at_one_port() {
    if !has_ipv6_loopback() {
        return;
    }
    let origin = Origin::answering(ok("here"));
    let reserved = ReservedPort::new();
    let port = reserved.addr().port();
    for bind in [["0.0.0.0", "[::]"], ["[::]", "0.0.0.0"]] {
        let _proxy = Config::to(&origin)
            .workers(2)
            .bind(bind.map(|host| format!("{host}:{port}")))
            .start();
        for host in [
            IpAddr::from(Ipv4Addr::LOCALHOST),
            IpAddr::from(Ipv6Addr::LOCALHOST),
        ] {
            let mut client = Client::connect(SocketAddr::from((host, port)));
            assert_eq!(client.get("/").text(), "here", "{bind:?}, {host}");
        }
    }
}

#[test]
fn wrong_usage_exits_with_2() {
    for args in [
        &["proxy", "--nonsense"][..],
        &["fly"],
        &["run"],
        &["proxy", "--to", "not a url"],
        &["proxy", "--workers", "no"],
    ] {
        assert_eq!(ringway(args).status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn one_line_says_what_to_try_next() {
    let proxy = Proxy::quick(&[]);
    let addr = proxy.addr().to_string();
    proxy.stderr().wait_for("a command to try", |lines| {
        lines
            .iter()
            .any(|line| line.contains("curl") && line.contains(&addr))
            .then_some(())
    });
}
