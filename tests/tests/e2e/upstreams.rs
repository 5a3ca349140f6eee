//! Where requests go: balance, pools, and what happens when an origin is late, gone or back.

use std::io::Write;

use ringway_tests::client::{get, post};
use ringway_tests::origin::{BlackHole, ReservedPort, ok};
use ringway_tests::signal::eventually;
use ringway_tests::{Client, Config, Origin, Signal};

#[test]
fn requests_are_spread_by_weight() {
    let origins: Vec<_> = (0..3).map(|_| Origin::answering(ok(""))).collect();
    let endpoints: Vec<_> = origins.iter().map(Origin::url).zip([2, 1, 1]).collect();
    let proxy = Config::new().weighted("app", &endpoints).start();
    let mut client = proxy.client();
    for _ in 0..40 {
        assert_eq!(client.get("/").status(), 200);
    }
    let counts: Vec<_> = origins
        .iter()
        .map(|origin| origin.seen().requests.len())
        .collect();
    assert_eq!(counts, [20, 10, 10]);
}

#[test]
fn a_route_reaches_its_own_upstream_only() {
    let (users, orders) = (
        Origin::answering(ok("users")),
        Origin::answering(ok("orders")),
    );
    let proxy = Config::new()
        .upstream("users", [users.url()])
        .upstream("orders", [orders.url()])
        .route("path = \"/users/{*rest}\"\nupstream = \"users\"")
        .route("path = \"/orders/{*rest}\"\nupstream = \"orders\"")
        .start();
    let mut client = proxy.client();
    for path in ["/users/1", "/orders/1", "/users/2"] {
        assert!(path[1..].starts_with(&client.get(path).text()), "{path}");
    }
}

#[test]
fn an_origin_that_refuses_is_a_502_and_its_return_is_noticed() {
    let mut origin = Origin::answering(ok("here"));
    let proxy = Config::to(&origin).start();
    let mut client = proxy.client();
    assert_eq!(client.get("/").status(), 200);
    origin.stop();
    for _ in 0..3 {
        let response = client.get("/");
        assert_eq!(response.status(), 502);
        assert!(!response.body.is_empty(), "a few plain words");
        assert!(!response.closes(), "the client did nothing wrong");
    }
    origin.restart();
    assert_eq!(client.get("/").text(), "here");
}

#[test]
fn an_origin_that_was_never_there_is_a_502() {
    let port = ReservedPort::new();
    assert_eq!(Config::to_url(port.url()).start().get("/").status(), 502);
}

#[test]
fn a_name_nobody_knows_is_a_503() {
    let response = Config::to_url("http://ringway.invalid:80").start().get("/");
    assert_eq!(response.status(), 503);
}

/// A name may have addresses of both families, and the origin listens on one of them: that is not an error.
#[test]
fn a_name_is_resolved_and_any_of_its_addresses_will_do() {
    let origin = Origin::script(|connection| {
        if connection.read_request().is_some() {
            connection.send(ok("here")).expect("taken");
        }
    });
    let url = format!("http://localhost:{}", origin.addr().port());
    let proxy = Config::to_url(url).start();
    let mut client = proxy.client();
    eventually("localhost resolved", || {
        let response = client.get("/");
        assert!(
            [200, 503].contains(&response.status()),
            "{}",
            response.status()
        );
        (response.status() == 200).then_some(())
    });
    for number in 0..10 {
        assert_eq!(client.get("/").text(), "here", "connection {number}");
    }
}

/// Nothing has been sent yet: that is safe to try elsewhere, for any method.
#[test]
fn an_endpoint_that_refuses_costs_no_request_while_another_is_there() {
    let origin = Origin::serving(|request| ok(&request.body));
    let port = ReservedPort::new();
    let proxy = Config::new()
        .upstream("app", [port.url(), origin.url()])
        .start();
    let mut client = proxy.client();
    for _ in 0..10 {
        client.send(post("/", b"kept"));
        let response = client.read_response();
        assert_eq!((response.status(), response.text().as_str()), (200, "kept"));
    }
}

#[test]
fn connecting_too_long_is_a_504() {
    let hole = BlackHole::new();
    let proxy = Config::to_url(hole.url())
        .pool("connect_timeout = \"200ms\"")
        .start();
    let mut client = proxy.client();
    assert_eq!(client.get("/").status(), 504);
    assert_eq!(client.get("/").status(), 504);
}

#[test]
fn an_answer_that_does_not_come_is_a_504_and_its_connection_closes() {
    let origin = Origin::script(|connection| {
        connection.read_request();
        connection.read_to_end();
    });
    let proxy = Config::to(&origin)
        .pool("response_head_timeout = \"200ms\"")
        .start();
    let mut client = proxy.client();
    assert_eq!(client.get("/").status(), 504);
    origin.wait_until("the connection's end", |seen| seen.open == 0);
    client.send(post("/", b"body"));
    assert_eq!(client.read_response().status(), 504);
}

#[test]
fn a_head_that_trickles_is_late_too() {
    let origin = Origin::script(|connection| {
        connection.read_request();
        connection
            .send("HTTP/1.1 200 OK\r\nContent-")
            .expect("taken");
        connection.read_to_end();
    });
    let proxy = Config::to(&origin)
        .pool("response_head_timeout = \"200ms\"")
        .start();
    assert_eq!(proxy.get("/").status(), 504);
}

/// The client sends as fast as it is let: it is the origin that is late.
#[test]
fn an_origin_that_stops_reading_an_upload_is_late_and_not_the_client() {
    let late = Signal::new();
    let wait = late.clone();
    let origin = Origin::script(move |connection| {
        connection.read_head();
        wait.wait();
    });
    let proxy = Config::to(&origin)
        .limits("body_bytes = 0")
        .timeouts("body_idle = \"500ms\"")
        .start();
    let mut client = proxy.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000000\r\n\r\n");
    let mut sender = client.sender();
    let uploading = std::thread::spawn(move || {
        // Until nobody takes it any more.
        while sender.write_all(&[b'x'; 64 * 1024]).is_ok() {}
    });
    assert_eq!(client.read_response().status(), 504);
    late.raise();
    drop(client);
    drop(proxy);
    uploading.join().expect("sending does not panic");
}

#[test]
fn a_routes_time_is_the_whole_exchanges() {
    let origin = Origin::script(|connection| {
        connection.read_request();
        connection.read_to_end();
    });
    let proxy = Config::to(&origin)
        .route("upstream = \"app\"\ntimeout = \"200ms\"")
        .start();
    assert_eq!(proxy.get("/").status(), 504);
    origin.wait_until("the connection's end", |seen| seen.open == 0);
}

/// The origin closes an idle connection in the moment the next request takes it.
#[test]
fn a_get_on_a_stale_connection_is_sent_again_on_a_fresh_one() {
    let origin = Origin::script(|connection| {
        if connection.index() == 0 {
            connection.read_request();
            connection.send(ok("first")).expect("taken");
            // Read and not answered: as if the close had crossed the request.
            connection.read_head();
            return;
        }
        while connection.read_request().is_some() {
            connection.send(ok("fresh")).expect("taken");
        }
    });
    let proxy = Config::to(&origin).start();
    let mut client = proxy.client();
    assert_eq!(client.get("/").text(), "first");
    assert_eq!(client.get("/").text(), "fresh");
    assert_eq!(origin.seen().accepted, 2);
}

/// The dead connection's place is free for the fresh one.
#[test]
fn a_stale_connection_does_not_hold_the_only_place() {
    let origin = Origin::script(|connection| {
        if connection.index() == 0 {
            connection.read_request();
            connection.send(ok("first")).expect("taken");
            connection.read_head();
            return;
        }
        while connection.read_request().is_some() {
            connection.send(ok("fresh")).expect("taken");
        }
    });
    let proxy = Config::to(&origin)
        .pool("max_connections = 1\nqueue_timeout = \"500ms\"")
        .start();
    let mut client = proxy.client();
    assert_eq!(client.get("/").text(), "first");
    assert_eq!(client.get("/").text(), "fresh");
}

#[test]
fn a_get_on_a_connection_that_closed_while_idle_never_fails() {
    let origin = Origin::script(|connection| {
        if connection.read_request().is_some() {
            connection.send(ok("once")).expect("taken");
        }
    });
    let proxy = Config::to(&origin).start();
    let mut client = proxy.client();
    for number in 0..50 {
        assert_eq!(client.get("/").text(), "once", "request {number}");
    }
}

/// An origin that may have acted on a request must not get it twice.
#[test]
fn a_post_that_an_origin_may_have_acted_on_is_not_sent_again() {
    let origin = Origin::script(|connection| {
        while let Some(request) = connection.read_request() {
            if request.target() == "/pay" {
                return;
            }
            connection.send(ok("first")).expect("taken");
        }
    });
    let proxy = Config::to(&origin).start();
    let mut client = proxy.client();
    assert_eq!(client.get("/").text(), "first");
    client.send(post("/pay", b"100"));
    assert_eq!(client.read_response().status(), 502);
    let paid = origin
        .seen()
        .requests
        .iter()
        .filter(|request| request.target() == "/pay")
        .count();
    assert_eq!(paid, 1);
}

/// PUT may be sent twice, but what has been passed on of its body is not kept: half of it must not be a second attempt.
#[test]
fn a_put_whose_body_came_late_is_not_sent_again_when_its_connection_closes() {
    let head_read = Signal::new();
    let raise = head_read.clone();
    let origin = Origin::script(move |connection| {
        while let Some(head) = connection.read_head() {
            let late = head.start.starts_with("PUT ");
            if late {
                raise.raise();
            }
            if connection.read_body(head).is_none() || late {
                return;
            }
            connection.send(ok("first")).expect("taken");
        }
    });
    let proxy = Config::to(&origin)
        .pool("response_head_timeout = \"60s\"")
        .start();
    let mut client = proxy.client();
    assert_eq!(client.get("/").text(), "first");
    client.send("PUT /late HTTP/1.1\r\nHost: a\r\nContent-Length: 5000\r\n\r\n");
    client.send([b'x'; 100]);
    head_read.wait();
    client.send([b'y'; 4900]);
    assert_eq!(client.read_response().status(), 502);
    let seen = origin.seen();
    assert_eq!((seen.requests.len(), seen.accepted), (2, 1), "{seen:?}");
    assert!(seen.broken_off.is_empty(), "{:?}", seen.broken_off);
    let put = &seen.requests[1];
    assert_eq!((put.method(), put.body.len()), ("PUT", 5000));
}

/// On a fresh connection there is no stale one to blame.
#[test]
fn a_get_that_kills_its_origin_is_not_sent_for_ever() {
    let origin = Origin::script(|connection| {
        connection.read_request();
    });
    let proxy = Config::to(&origin).start();
    assert_eq!(proxy.get("/").status(), 502);
    assert!(
        origin.seen().requests.len() <= 2,
        "{:?}",
        origin.seen().requests
    );
}

#[test]
fn an_idle_connection_is_closed_after_its_time() {
    let origin = Origin::answering(ok("here"));
    let proxy = Config::to(&origin).pool("idle_timeout = \"200ms\"").start();
    let mut client = proxy.client();
    assert_eq!(client.get("/").text(), "here");
    origin.wait_until("the idle connection closed", |seen| seen.open == 0);
    assert_eq!(client.get("/").text(), "here");
    assert_eq!(origin.seen().accepted, 2);
}

/// Asks `count` times at once, and passes the clients once the origin has all the requests.
fn ask_at_once(proxy: &ringway_tests::Proxy, origin: &Origin, count: usize) -> Vec<Client> {
    let before = origin.seen().requests.len();
    let clients: Vec<_> = (0..count)
        .map(|_| {
            let mut client = proxy.client();
            client.send(get("/"));
            client
        })
        .collect();
    origin.wait_until("all requests at once", |seen| {
        seen.requests.len() == before + count
    });
    clients
}

#[test]
fn no_more_connections_are_kept_idle_than_allowed() {
    let answer = Signal::new();
    let answered = answer.clone();
    let origin = Origin::serving(move |_| {
        answered.wait();
        ok("here")
    });
    let proxy = Config::to(&origin).pool("idle_max = 1").start();
    let clients = ask_at_once(&proxy, &origin, 3);
    for _ in 0..3 {
        answer.raise();
    }
    for mut client in clients {
        assert_eq!(client.read_response().text(), "here");
    }
    origin.wait_until("all but one closed", |seen| seen.open == 1);
    answer.raise();
    assert_eq!(proxy.get("/").text(), "here");
    assert_eq!(origin.seen().accepted, 3, "the one kept is used");
}

#[test]
fn an_origin_of_http_1_0_is_not_asked_twice_on_one_connection() {
    let origin = Origin::script(|connection| {
        connection.read_request();
        connection
            .send("HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nold")
            .expect("taken");
        assert_eq!(connection.read_to_end(), b"");
    });
    let proxy = Config::to(&origin).start();
    let mut client = proxy.client();
    for _ in 0..2 {
        assert_eq!(client.get("/").text(), "old");
    }
    assert_eq!(origin.seen().accepted, 2);
}
