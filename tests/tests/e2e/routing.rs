//! Which route takes a request, and what it makes of it.

use ringway_tests::client::get;
use ringway_tests::origin::ok;
use ringway_tests::{Config, Origin, Proxy};

/// A route that answers by its own name.
fn naming(config: Config, name: &str, lines: &str) -> Config {
    config.route(&format!(
        "name = \"{name}\"\n{lines}\nrespond = {{ status = 200, body = \"{name}\" }}"
    ))
}

fn ask(proxy: &Proxy, method: &str, host: &str, target: &str) -> String {
    let mut client = proxy.client();
    client.send(format!(
        "{method} {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"
    ));
    let response = client.read_response_to(method);
    match response.status() {
        200 => response.text(),
        status => status.to_string(),
    }
}

#[test]
fn the_most_specific_host_wins() {
    let mut config = naming(Config::new(), "any", "");
    config = naming(config, "wild", "hosts = [\"*.example.com\"]");
    config = naming(
        config,
        "api",
        "hosts = [\"api.example.com\", \"api.example.net\"]",
    );
    let proxy = config.start();
    for (host, route) in [
        ("api.example.com", "api"),
        ("API.Example.COM", "api"),
        ("api.example.com:8080", "api"),
        ("api.example.net", "api"),
        ("www.example.com", "wild"),
        ("WWW.example.com:80", "wild"),
        ("example.com", "any"),
        ("notexample.com", "any"),
        ("www.example.net", "any"),
        ("example.com.evil.net", "any"),
        ("127.0.0.1", "any"),
        ("[::1]:80", "any"),
    ] {
        assert_eq!(ask(&proxy, "GET", host, "/"), route, "{host}");
    }
}

#[test]
fn the_most_specific_path_wins() {
    let mut config = naming(Config::new(), "rest", "path = \"/users/{id}/{*rest}\"");
    config = naming(config, "one", "path = \"/users/{id}\"");
    config = naming(config, "me", "path = \"/users/me\"");
    config = naming(config, "posts", "path = \"/users/{id}/posts\"");
    config = naming(config, "root", "path = \"/\"");
    let proxy = config.start();
    for (target, route) in [
        ("/", "root"),
        ("/?q=/users/me", "root"),
        ("/users/me", "me"),
        ("/users/me?q", "me"),
        ("/users/7", "one"),
        ("/users/mee", "one"),
        ("/users/a%20b", "one"),
        ("/users/7/posts", "posts"),
        ("/users/me/posts", "posts"),
        ("/users/7/x/y/z", "rest"),
        ("/Users/me", "404"),
        ("/users", "404"),
        ("/other", "404"),
    ] {
        assert_eq!(
            ask(&proxy, "GET", "site.example", target),
            route,
            "{target}"
        );
    }
}

#[test]
fn the_host_decides_before_the_path() {
    let mut config = naming(Config::new(), "host", "hosts = [\"a.example\"]");
    config = naming(config, "path", "path = \"/x\"");
    let proxy = config.start();
    assert_eq!(ask(&proxy, "GET", "a.example", "/x"), "host");
    assert_eq!(ask(&proxy, "GET", "b.example", "/x"), "path");
    assert_eq!(ask(&proxy, "GET", "b.example", "/y"), "404");
}

#[test]
fn a_method_no_route_takes_is_a_405_that_says_which_ones_are() {
    let mut config = naming(
        Config::new(),
        "read",
        "path = \"/x\"\nmethods = [\"GET\", \"HEAD\"]",
    );
    config = naming(config, "write", "path = \"/x\"\nmethods = [\"PUT\"]");
    let proxy = config.start();
    assert_eq!(ask(&proxy, "GET", "a", "/x"), "read");
    assert_eq!(ask(&proxy, "PUT", "a", "/x"), "write");
    let response = proxy.ask("DELETE /x HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(response.status(), 405);
    for method in ["GET", "HEAD", "PUT"] {
        assert!(response.head.lists("allow", method), "{:?}", response.head);
    }
    assert!(!response.head.lists("allow", "DELETE"));
    assert_eq!(ask(&proxy, "DELETE", "a", "/y"), "404");
}

#[test]
fn without_a_route_the_answer_is_404_and_the_connection_stays() {
    let proxy = naming(Config::new(), "only", "path = \"/only\"").start();
    let mut client = proxy.client();
    assert_eq!(client.get("/other").status(), 404);
    assert_eq!(client.get("/only").text(), "only");
}

#[test]
fn a_route_answers_by_itself() {
    let proxy = Config::new()
        .route("path = \"/gone\"\nrespond = { status = 410, body = \"gone for good\" }")
        .route("path = \"/empty\"\nrespond = { status = 204 }")
        .start();
    let mut client = proxy.client();
    let response = client.get("/gone");
    assert_eq!(
        (response.status(), response.text().as_str()),
        (410, "gone for good")
    );
    assert!(
        response
            .head
            .value("content-type")
            .is_some_and(|kind| kind.starts_with("text/plain")),
        "{:?}",
        response.head
    );
    client.send("HEAD /gone HTTP/1.1\r\nHost: a\r\n\r\n");
    let response = client.read_response_to("HEAD");
    assert_eq!(
        (response.status(), response.head.value("content-length")),
        (410, Some("13"))
    );
    assert_eq!(client.get("/empty").status(), 204);
}

#[test]
fn a_route_redirects() {
    let proxy = Config::new()
        .route("path = \"/old/{*rest}\"\nredirect = { to = \"https://new.example{path}?{query}\", status = 308 }")
        .route("path = \"/found\"\nredirect = { to = \"/elsewhere\", status = 302 }")
        .start();
    let response = proxy.get("/old/a%20b?c=d");
    assert_eq!(response.status(), 308);
    assert_eq!(
        response.head.value("location"),
        Some("https://new.example/old/a%20b?c=d")
    );
    let response = proxy.get("/found?x");
    assert_eq!(
        (response.status(), response.head.value("location")),
        (302, Some("/elsewhere"))
    );
}

/// What the origin is asked for when the client asks for each of these.
fn forwarded(config: &Config, origin: &Origin, targets: &[(&str, &str)]) {
    let proxy = config.start();
    for (target, expected) in targets {
        let before = origin.seen().requests.len();
        assert_eq!(proxy.get(target).status(), 200, "{target}");
        assert_eq!(
            origin.seen().requests[before].target(),
            *expected,
            "for {target}"
        );
    }
}

#[test]
fn a_rewrite_takes_one_prefix_off_and_puts_another_on() {
    let origin = Origin::answering(ok(""));
    let route = "upstream = \"app\"\nrewrite = { strip_prefix = \"/v1\", add_prefix = \"/api\" }";
    forwarded(
        &Config::to(&origin).route(route),
        &origin,
        &[
            ("/v1/users?q=/v1", "/api/users?q=/v1"),
            ("/v1/", "/api/"),
            ("/v1/v1/x", "/api/v1/x"),
            ("/other", "/api/other"),
            ("/v1x/users", "/api/v1x/users"),
        ],
    );
    let route = "upstream = \"app\"\nrewrite = { strip_prefix = \"/only\" }";
    forwarded(
        &Config::to(&origin).route(route),
        &origin,
        &[("/only/x", "/x"), ("/only", "/"), ("/only?q", "/?q")],
    );
}

#[test]
fn the_endpoints_path_and_query_join_the_requests() {
    let origin = Origin::answering(ok(""));
    let url = format!("{}/base?key=1", origin.url());
    forwarded(
        &Config::to_url(url),
        &origin,
        &[
            ("/a?x=2", "/base/a?key=1&x=2"),
            ("/a", "/base/a?key=1"),
            ("/", "/base/?key=1"),
        ],
    );
    forwarded(
        &Config::to_url(format!("{}/base/", origin.url())),
        &origin,
        &[("/a?x", "/base/a?x")],
    );
    let url = format!("{}/base", origin.url());
    let route = "upstream = \"app\"\nrewrite = { strip_prefix = \"/v1\" }";
    forwarded(
        &Config::to_url(url).route(route),
        &origin,
        &[("/v1/a", "/base/a")],
    );
}

#[test]
fn the_query_passes_as_it_is() {
    let origin = Origin::answering(ok(""));
    let target = "/a?x=%2F..%2f&y=/../&z=//&&=;?%41";
    forwarded(&Config::to(&origin), &origin, &[(target, target)]);
}

/// Two routes to two names of one origin: what it was asked for says which one took a request, and how it reads.
///
/// The property: whatever path the origin is asked for, asked for by a client it takes the same route and reads the same.
/// So no spelling can be routed by one view and served by another.
#[test]
fn the_path_that_routes_is_the_path_that_is_forwarded() {
    let origin = Origin::answering(ok(""));
    let routed = |name: &str| {
        format!("upstream = \"app\"\nrequest_headers = {{ set = {{ \"x-route\" = \"{name}\" }} }}")
    };
    let proxy = Config::to(&origin)
        .route(&format!(
            "path = \"/public/{{*rest}}\"\n{}",
            routed("public")
        ))
        .route(&format!("path = \"/public/secret\"\n{}", routed("secret")))
        .route(&format!("path = \"/admin/{{*rest}}\"\n{}", routed("admin")))
        .route(&routed("other"))
        .start();
    let view = |target: &str| {
        let before = origin.seen().requests.len();
        let response = proxy.get(target);
        let seen = origin.seen();
        match response.status() {
            200 => {
                let request = &seen.requests[before];
                Some((
                    request
                        .head
                        .value("x-route")
                        .expect("every route sets it")
                        .to_owned(),
                    request.target().to_owned(),
                ))
            }
            400 => {
                assert_eq!(
                    seen.requests.len(),
                    before,
                    "{target} was refused and forwarded"
                );
                None
            }
            status => panic!("{target}: {status}"),
        }
    };
    let segments = [
        "public",
        "admin",
        "secret",
        "..",
        ".",
        "",
        "%2e",
        "%2e%2e",
        ".%2E",
        "%2E.",
        "..;",
        "%2f",
        "..%2fadmin",
        "a%5cb",
        "%70ublic",
        "%41",
        "x;y=1",
        "..%00",
        "%252e%252e",
    ];
    let mut targets = Vec::new();
    for first in segments {
        for second in segments {
            targets.push(format!("/{first}/{second}/x"));
            targets.push(format!("/public/{first}/{second}"));
        }
    }
    let mut wrong = Vec::new();
    for target in &targets {
        let Some((route, forwarded)) = view(target) else {
            continue;
        };
        let again = view(&forwarded);
        if again.as_ref() != Some(&(route.clone(), forwarded.clone())) {
            wrong.push(format!(
                "{target} took {route} as {forwarded}, which by itself gives {again:?}"
            ));
        }
        let dots = forwarded.split('/').any(|segment| {
            let plain = segment.to_ascii_lowercase().replace("%2e", ".");
            plain == "." || plain == ".."
        });
        if dots {
            wrong.push(format!(
                "{target} was forwarded with dot segments: {forwarded}"
            ));
        }
        if route == "public" && !forwarded.starts_with("/public/") {
            wrong.push(format!(
                "{target} took the route {route} and left it: {forwarded}"
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        targets.len(),
        wrong.join("\n")
    );
}

#[test]
fn dot_segments_do_not_leave_their_route() {
    let origin = Origin::answering(ok("reached"));
    let proxy = Config::to(&origin)
        .route("path = \"/public/{*rest}\"\nupstream = \"app\"")
        .route("respond = { status = 403, body = \"no\" }")
        .start();
    for target in [
        "/public/../admin",
        "/public/%2e%2e/admin",
        "/public/..%2fadmin",
        "/public/%2e%2e%2fadmin",
        "/public/./../admin",
        "/public/a/../../admin",
        "/public//../../admin",
        "/public/..;/admin",
        "/public/..%5cadmin",
        "/public/..\\admin",
        "/public/%2e%2e",
        "/public/..",
    ] {
        let mut client = proxy.client();
        client.send(get(target));
        let status = client.read_response().status();
        let reached: Vec<_> = origin
            .seen()
            .requests
            .iter()
            .map(|request| request.target().to_owned())
            .collect();
        for forwarded in reached {
            let decoded = forwarded
                .replace("%2f", "/")
                .replace("%5c", "/")
                .replace('\\', "/")
                .replace("%2e", ".");
            let climbs = decoded
                .split('/')
                .any(|segment| segment.split(';').next() == Some(".."));
            assert!(
                !climbs && forwarded.starts_with("/public/"),
                "{target} reached the origin as {forwarded}"
            );
        }
        assert!([200, 400, 403].contains(&status), "{target}: {status}");
    }
}
