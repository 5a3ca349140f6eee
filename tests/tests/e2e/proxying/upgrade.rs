//! Upgrades: a tunnel after the 101, and nothing of one before.

use ringway_tests::client::get;
use ringway_tests::origin::{Connection, ok};
use ringway_tests::pattern::{Check, Pattern};
use ringway_tests::wire::{Head, WireError};
use ringway_tests::{Client, Config, Origin, Signal};

const UPGRADE: &str = "GET /chat HTTP/1.1\r\nHost: site.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

fn switch(connection: &mut Connection) -> Head {
    let head = connection.read_head().expect("a request");
    connection.send(SWITCHING).expect("taken");
    head
}

fn upgraded(client: &mut Client) {
    client.send(UPGRADE);
    let head = client.read_head();
    assert_eq!(head.start.split(' ').nth(1), Some("101"));
    assert!(head.lists("connection", "upgrade"), "{head:?}");
    assert_eq!(head.value("upgrade"), Some("websocket"));
    assert_eq!(
        head.value("sec-websocket-accept"),
        Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    );
}

#[test]
fn after_the_101_bytes_pass_both_ways() {
    let origin = Origin::script(|connection| {
        let head = switch(connection);
        assert!(head.lists("connection", "upgrade"), "{head:?}");
        assert_eq!(head.value("upgrade"), Some("websocket"));
        assert_eq!(
            head.value("sec-websocket-key"),
            Some("dGhlIHNhbXBsZSBub25jZQ==")
        );
        connection.send("hello from the origin").expect("taken");
        for _ in 0..50 {
            let said = connection
                .wire()
                .read_exactly(5)
                .expect("the client says more");
            connection
                .send([b"echo ", said.as_slice()].concat())
                .expect("taken");
        }
    });
    let proxy = Config::to(&origin).start();
    let mut client = proxy.client();
    upgraded(&mut client);
    assert_eq!(
        client.wire().read_exactly(21).expect("a greeting"),
        b"hello from the origin"
    );
    for number in 0..50 {
        let said = format!("n {number:03}");
        client.send(&said);
        assert_eq!(
            client.wire().read_exactly(10).expect("an echo"),
            format!("echo {said}").as_bytes()
        );
    }
    client.assert_closed();
}

#[test]
fn bytes_that_come_with_the_101_are_the_tunnels_first() {
    let origin = Origin::script(|connection| {
        connection.read_head().expect("a request");
        connection
            .send([SWITCHING, "early bird"].concat())
            .expect("taken");
        connection.read_to_end();
    });
    let proxy = Config::to(&origin).start();
    let mut client = proxy.client();
    upgraded(&mut client);
    assert_eq!(
        client.wire().read_exactly(10).expect("they pass"),
        b"early bird"
    );
}

#[test]
fn much_passes_through_a_tunnel_both_ways_at_once() {
    const BYTES: u64 = 8 * 1024 * 1024;
    let send = |mut to: std::net::TcpStream| {
        use std::io::Write;
        let pattern = Pattern::new();
        let mut sent = 0;
        while sent < BYTES {
            let piece = pattern.from(sent, BYTES - sent);
            to.write_all(piece).expect("taken");
            sent += piece.len() as u64;
        }
    };
    let origin = Origin::script(move |connection| {
        switch(connection);
        let sender = connection.sender();
        let sending = std::thread::spawn(move || send(sender));
        let mut check = Check::new();
        while check.seen() < BYTES {
            check.take(&connection.wire().read_some().expect("more comes"));
        }
        sending.join().expect("sending does not panic");
        connection.read_to_end();
    });
    let proxy = Config::to(&origin).start();
    let mut client = proxy.client();
    upgraded(&mut client);
    let sender = client.sender();
    let sending = std::thread::spawn(move || send(sender));
    let mut check = Check::new();
    while check.seen() < BYTES {
        check.take(&client.wire().read_some().expect("more comes"));
    }
    sending.join().expect("sending does not panic");
}

#[test]
fn a_client_that_closes_its_end_closes_the_origins() {
    let ended = Signal::new();
    let raise = ended.clone();
    let origin = Origin::script(move |connection| {
        switch(connection);
        assert_eq!(connection.read_to_end(), b"bye");
        raise.raise();
    });
    let proxy = Config::to(&origin).start();
    let mut client = proxy.client();
    upgraded(&mut client);
    client.send("bye");
    drop(client);
    ended.wait();
}

#[test]
fn a_tunnel_that_ended_counts_no_longer() {
    let origin = Origin::script(|connection| {
        switch(connection);
        connection.send("bye").expect("taken");
    });
    let proxy = Config::to(&origin).start();
    let mut client = proxy.client();
    upgraded(&mut client);
    assert_eq!(client.wire().read_to_end().expect("it ends"), b"bye");
    drop(client);
    proxy.wait_until_idle();
    origin.wait_until("the tunnel's end", |seen| seen.open == 0);
}

/// Whoever smuggles bytes past the head of an upgrade must not find them in the tunnel.
#[test]
fn bytes_before_the_101_are_not_tunnelled() {
    let origin = Origin::script(|connection| {
        let Some(head) = connection.read_head() else {
            return;
        };
        if head.has("upgrade") {
            connection.send(SWITCHING).expect("taken");
            let tunnelled = String::from_utf8_lossy(&connection.read_to_end()).into_owned();
            assert!(!tunnelled.contains("smuggled"), "tunnelled: {tunnelled}");
        }
    });
    let proxy = Config::to(&origin).start();
    let mut client = proxy.client();
    client.send(
        [
            UPGRADE,
            "GET /smuggled HTTP/1.1\r\nHost: site.example\r\n\r\n",
        ]
        .concat(),
    );
    // Refused, or upgraded without them: both are well, and both end when this side does.
    let _ = client.try_response();
    client.finish_sending();
    drop(client);
    proxy.wait_until_idle();
    origin.wait_until("the tunnel's end", |seen| seen.open == 0);
}

/// Sends bytes while the 101 is awaited, on a connection that has had so many answers before.
fn assert_not_tunnelled_while_awaited(answers_before: usize) {
    let (asked, answer) = (Signal::new(), Signal::new());
    let (raise, wait) = (asked.clone(), answer.clone());
    let origin = Origin::script(move |connection| {
        let head = connection.read_head().expect("a request");
        if !head.has("upgrade") {
            connection.send(ok("plain")).expect("taken");
            return;
        }
        raise.raise();
        wait.wait();
        // The proxy may have closed by then.
        let _ = connection.send(SWITCHING);
        assert_eq!(connection.read_to_end(), b"", "tunnelled");
    });
    let proxy = Config::to(&origin).start();
    let mut client = proxy.client();
    for _ in 0..answers_before {
        assert_eq!(client.get("/before").text(), "plain");
    }
    client.send(UPGRADE);
    asked.wait();
    client.send("EARLY BYTES");
    // The one worker has had them when it has served what came after them.
    assert_eq!(proxy.get("/beside").text(), "plain");
    answer.raise();
    match client.try_response() {
        Ok(response) => assert_eq!(response.status(), 400),
        Err(WireError::Closed | WireError::Reset) => {}
        Err(failure) => panic!("neither refused nor closed: {failure}"),
    }
    client.assert_closed();
    origin.wait_until("the tunnel's end", |seen| seen.open == 0);
}

#[test]
fn bytes_sent_while_the_101_is_awaited_are_not_tunnelled() {
    assert_not_tunnelled_while_awaited(1);
}

#[test]
fn bytes_sent_while_the_101_to_a_first_request_is_awaited_are_not_tunnelled() {
    assert_not_tunnelled_while_awaited(0);
}

#[test]
fn an_upgrade_that_the_origin_declines_is_an_ordinary_answer() {
    let origin = Origin::serving(|request| ok(request.target()));
    let proxy = Config::to(&origin).start();
    let mut client = proxy.client();
    client.send(UPGRADE);
    assert_eq!(client.read_response().text(), "/chat");
    assert_eq!(client.get("/next").text(), "/next");
}

#[test]
fn an_upgrade_that_the_route_does_not_allow_is_not_passed_on() {
    for (config, field) in [("upgrades = []", "websocket"), ("", "h2c")] {
        let origin = Origin::answering(ok("plain"));
        let proxy = Config::to(&origin)
            .route(&format!("upstream = \"app\"\n{config}"))
            .start();
        let mut client = proxy.client();
        client.send(UPGRADE.replace("Upgrade: websocket", &format!("Upgrade: {field}")));
        let response = client.read_response();
        assert!(
            [200, 400, 403, 501].contains(&response.status()),
            "{}",
            response.status()
        );
        for request in origin.seen().requests {
            assert!(
                !request.head.has("upgrade") && !request.head.lists("connection", "upgrade"),
                "{request:?}"
            );
        }
    }
}

#[test]
fn after_a_tunnel_other_requests_go_on() {
    let origin = Origin::script(|connection| {
        while let Some(head) = connection.read_head() {
            if head.has("upgrade") {
                connection.send(SWITCHING).expect("taken");
                return;
            }
            connection.send(ok("plain")).expect("taken");
        }
    });
    let proxy = Config::to(&origin).start();
    for _ in 0..3 {
        let mut client = proxy.client();
        client.send(get("/"));
        assert_eq!(client.read_response().text(), "plain");
        upgraded(&mut client);
        client.assert_closed();
    }
}
