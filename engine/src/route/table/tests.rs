//! The table's claims, by example and against a matcher too simple to be wrong.

use proptest::prelude::*;

use super::*;
use crate::route::{FieldEdits, Rewrite};

fn route(hosts: &[&str], path: Option<&str>, methods: &[&str]) -> Settings {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    Settings {
        name: String::new(),
        hosts: owned(hosts),
        path: path.map(str::to_owned),
        methods: owned(methods),
        action: Action::Builtin,
        request_headers: FieldEdits::default(),
        response_headers: FieldEdits::default(),
        timeout: None,
        body_bytes: None,
        websocket: true,
    }
}

fn table(routes: &[Settings]) -> Table {
    Table::new(routes).expect("the routes can be told apart")
}

/// The index of the route found, or the methods that would have been taken, or nothing.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Found(usize),
    Allow(Vec<String>),
    NotFound,
}

fn outcome(table: &Table, host: &str, path: &str, method: &str) -> Outcome {
    match table.find(host.as_bytes(), path.as_bytes(), method.as_bytes()) {
        Match::Found(route) => Found(route.index),
        Match::NotFound => NotFound,
        Match::MethodNotAllowed { allow } => Allowed(allow.methods().map(str::to_owned).collect()),
    }
}

/// Which of the templates takes `path`.
fn by_path(templates: &[&str], path: &str) -> Outcome {
    let routes: Vec<_> = templates
        .iter()
        .map(|path| route(&[], Some(path), &[]))
        .collect();
    outcome(&table(&routes), "a.test", path, "GET")
}

/// Which of the hosts takes `host`.
fn by_host(hosts: &[&str], host: &str) -> Outcome {
    let routes: Vec<_> = hosts.iter().map(|host| route(&[host], None, &[])).collect();
    outcome(&table(&routes), host, "/", "GET")
}

use Outcome::{Allow as Allowed, Found, NotFound};

#[test]
fn a_route_without_conditions_takes_everything() {
    let table = table(&[route(&[], None, &[])]);
    assert_eq!(outcome(&table, "a.test", "/x", "GET"), Found(0));
    assert_eq!(outcome(&table, "", "*", "OPTIONS"), Found(0));
    assert_eq!(outcome(&table, &"a".repeat(9000), "", "BREW"), Found(0));
}

#[test]
fn an_empty_table_finds_nothing() {
    assert_eq!(outcome(&table(&[]), "a.test", "/", "GET"), NotFound);
}

#[test]
fn text_goes_before_a_parameter_and_a_parameter_before_the_rest() {
    let templates = ["/users/{*rest}", "/users/{id}", "/users/me"];
    assert_eq!(by_path(&templates, "/users/me"), Found(2));
    assert_eq!(by_path(&templates, "/users/7"), Found(1));
    assert_eq!(by_path(&templates, "/users/7/files"), Found(0));
}

#[test]
fn segments_are_compared_from_the_left() {
    let templates = ["/a/{*rest}", "/{x}/b"];
    assert_eq!(by_path(&templates, "/a/b"), Found(0));
    assert_eq!(by_path(&templates, "/c/b"), Found(1));
}

#[test]
fn a_dead_end_below_text_goes_back_to_the_parameter() {
    let templates = ["/a/b/c", "/{x}/b/d"];
    assert_eq!(by_path(&templates, "/a/b/d"), Found(1));
    assert_eq!(by_path(&templates, "/a/b/e"), NotFound);
}

#[test]
fn a_rest_takes_what_follows_its_slash_even_nothing() {
    assert_eq!(by_path(&["/static/{*rest}"], "/static/a/b.css"), Found(0));
    assert_eq!(by_path(&["/static/{*rest}"], "/static/"), Found(0));
    assert_eq!(by_path(&["/static/{*rest}"], "/static"), NotFound);
    assert_eq!(by_path(&["/static/{*rest}"], "/statics/a"), NotFound);
}

#[test]
fn a_parameter_is_one_segment_and_not_empty() {
    assert_eq!(by_path(&["/users/{id}"], "/users/7"), Found(0));
    assert_eq!(by_path(&["/users/{id}"], "/users/"), NotFound);
    assert_eq!(by_path(&["/users/{id}"], "/users/7/"), NotFound);
    assert_eq!(by_path(&["/users/{id}/"], "/users/7/"), Found(0));
}

#[test]
fn a_slash_at_the_end_is_another_path() {
    assert_eq!(by_path(&["/a", "/a/"], "/a"), Found(0));
    assert_eq!(by_path(&["/a", "/a/"], "/a/"), Found(1));
    assert_eq!(by_path(&["/"], "/"), Found(0));
    assert_eq!(by_path(&["/"], "/a"), NotFound);
}

#[test]
fn the_asterisk_form_goes_to_routes_without_a_path_only() {
    assert_eq!(by_path(&["/{*rest}", "/*"], "*"), NotFound);
    let table = table(&[route(&[], Some("/{*rest}"), &[]), route(&[], None, &[])]);
    assert_eq!(outcome(&table, "a.test", "*", "OPTIONS"), Found(1));
    assert_eq!(outcome(&table, "a.test", "/", "OPTIONS"), Found(0));
}

#[test]
fn paths_are_case_sensitive_and_hosts_are_not() {
    assert_eq!(by_path(&["/Users"], "/users"), NotFound);
    assert_eq!(by_host(&["api.Example.com"], "API.example.COM"), Found(0));
}

#[test]
fn an_exact_host_goes_before_wildcards_and_longer_wildcards_before_shorter_ones() {
    let hosts = ["*.com", "*.example.com", "api.example.com"];
    assert_eq!(by_host(&hosts, "api.example.com"), Found(2));
    assert_eq!(by_host(&hosts, "www.example.com"), Found(1));
    assert_eq!(by_host(&hosts, "a.b.example.com"), Found(1));
    assert_eq!(by_host(&hosts, "example.com"), Found(0));
    assert_eq!(by_host(&hosts, "example.org"), NotFound);
}

#[test]
fn a_wildcard_needs_a_label_of_its_own() {
    assert_eq!(by_host(&["*.example.com"], "example.com"), NotFound);
    assert_eq!(by_host(&["*.example.com"], ".example.com"), NotFound);
    assert_eq!(by_host(&["*.example.com"], "notexample.com"), NotFound);
}

#[test]
fn a_final_dot_makes_no_difference() {
    assert_eq!(by_host(&["example.com"], "example.com."), Found(0));
    assert_eq!(by_host(&["*.example.com."], "a.example.com"), Found(0));
}

#[test]
fn a_host_too_long_for_a_name_still_reaches_routes_for_every_host() {
    let long = "a.".repeat(200) + "test";
    let table = table(&[route(&["*.test"], None, &[]), route(&[], None, &[])]);
    assert_eq!(outcome(&table, &long, "/", "GET"), Found(1));
}

#[test]
fn an_address_is_a_host_as_well() {
    assert_eq!(by_host(&["[::1]"], "[::1]"), Found(0));
    assert_eq!(by_host(&["127.0.0.1"], "127.0.0.1"), Found(0));
}

#[test]
fn the_host_decides_before_the_path() {
    let table = table(&[
        route(&[], Some("/users/me"), &[]),
        route(&["*.example.com"], Some("/{*rest}"), &[]),
    ]);
    assert_eq!(
        outcome(&table, "api.example.com", "/users/me", "GET"),
        Found(1)
    );
    assert_eq!(outcome(&table, "other.test", "/users/me", "GET"), Found(0));
}

#[test]
fn a_host_without_a_fitting_path_does_not_hide_the_others() {
    let table = table(&[
        route(&["api.example.com"], Some("/v1"), &[]),
        route(&["*.example.com"], Some("/v2"), &[]),
        route(&[], None, &[]),
    ]);
    assert_eq!(outcome(&table, "api.example.com", "/v1", "GET"), Found(0));
    assert_eq!(outcome(&table, "api.example.com", "/v2", "GET"), Found(1));
    assert_eq!(outcome(&table, "api.example.com", "/v3", "GET"), Found(2));
}

#[test]
fn named_methods_go_before_every_method() {
    let table = table(&[
        route(&[], Some("/a"), &[]),
        route(&[], Some("/a"), &["POST"]),
    ]);
    assert_eq!(outcome(&table, "", "/a", "POST"), Found(1));
    assert_eq!(outcome(&table, "", "/a", "GET"), Found(0));
}

#[test]
fn a_method_nobody_takes_is_405_with_all_there_are() {
    let table = table(&[
        route(&[], Some("/users/{id}"), &["GET", "HEAD"]),
        route(&[], Some("/users/{*rest}"), &["POST"]),
        route(&[], Some("/other"), &["PUT"]),
    ]);
    let Match::MethodNotAllowed { allow } = table.find(b"", b"/users/7", b"DELETE") else {
        panic!("no route takes DELETE");
    };
    assert_eq!(allow.to_string(), "GET, HEAD, POST");
    assert_eq!(outcome(&table, "", "/users/7", "POST"), Found(1));
    assert_eq!(outcome(&table, "", "/nothing", "DELETE"), NotFound);
}

#[test]
fn get_does_not_stand_for_head() {
    let table = table(&[route(&[], None, &["GET"])]);
    assert_eq!(
        outcome(&table, "", "/", "HEAD"),
        Allowed(vec!["GET".to_owned()])
    );
    assert_eq!(
        outcome(&table, "", "/", "get"),
        Allowed(vec!["GET".to_owned()])
    );
}

#[test]
fn the_label_is_the_template_or_a_star() {
    let table = table(&[route(&[], Some("/users/{id}"), &[]), route(&[], None, &[])]);
    assert_eq!(table.labels(), ["/users/{id}", "/*"]);
}

#[test]
fn a_rewrite_of_the_table_begins_with_a_slash() {
    let mut settings = route(&[], None, &[]);
    settings.action = Action::Forward {
        upstream: 0,
        preserve_host: false,
        rewrite: Rewrite {
            strip_prefix: "/v1/".to_owned(),
            add_prefix: "api".to_owned(),
        },
    };
    let table = table(&[settings]);
    let Action::Forward { rewrite, .. } = &table.routes()[0].action else {
        panic!("it forwards");
    };
    assert_eq!(
        crate::route::rewrite(rewrite, b"/v1/x"),
        (&b"/api"[..], &b"/x"[..])
    );
}

fn conflict(first: Settings, second: Settings) -> Option<TableError> {
    Table::new(&[first, second]).err()
}

#[test]
fn routes_that_cannot_be_told_apart_are_a_conflict() {
    let error = conflict(
        route(&["a.test", "b.test"], Some("/users/{id}"), &["GET", "POST"]),
        route(&["B.test"], Some("/users/{name}"), &["PUT", "POST"]),
    );
    assert_eq!(
        error,
        Some(TableError::Conflict {
            first: 0,
            second: 1,
            host: Some("B.test".to_owned()),
            method: Some("POST".to_owned()),
        })
    );
    assert!(conflict(route(&[], None, &[]), route(&[], None, &[])).is_some());
}

#[test]
fn routes_that_differ_in_one_thing_are_no_conflict() {
    let base = || route(&["a.test"], Some("/{id}"), &["GET"]);
    assert_eq!(
        conflict(base(), route(&["*.a.test"], Some("/{id}"), &["GET"])),
        None
    );
    assert_eq!(conflict(base(), route(&[], Some("/{id}"), &["GET"])), None);
    assert_eq!(
        conflict(base(), route(&["a.test"], Some("/{*id}"), &["GET"])),
        None
    );
    assert_eq!(conflict(base(), route(&["a.test"], None, &["GET"])), None);
    assert_eq!(
        conflict(base(), route(&["a.test"], Some("/{id}"), &["PUT"])),
        None
    );
    assert_eq!(
        conflict(base(), route(&["a.test"], Some("/{id}"), &[])),
        None
    );
}

#[test]
fn the_same_host_twice_in_one_route_is_no_conflict() {
    assert!(Table::new(&[route(&["a.test", "A.test"], None, &["GET", "GET"])]).is_ok());
}

#[test]
fn bad_paths_and_hosts_name_their_route() {
    let path = conflict(route(&[], None, &[]), route(&[], Some("/{"), &[]));
    let error = TemplateError::StrayBrace;
    assert_eq!(path, Some(TableError::Path { route: 1, error }));
    for host in ["", "*", "*.", "a.*.test", "*a.test", "a/b", "..test"] {
        let error = conflict(route(&[], None, &[]), route(&[host], None, &[]));
        let host = host.to_owned();
        assert_eq!(error, Some(TableError::Host { route: 1, host }));
    }
}

#[test]
fn more_methods_than_a_set_holds_are_an_error() {
    let names: Vec<String> = (0..=METHODS_MAX)
        .map(|number| format!("M{number}"))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let all_but_one = &names[..METHODS_MAX];
    assert_eq!(
        outcome(&table(&[route(&[], None, all_but_one)]), "", "/", "M127"),
        Found(0)
    );
    let error = Table::new(&[route(&[], None, &names)]).err();
    assert_eq!(error, Some(TableError::TooManyMethods { route: 0 }));
}

#[test]
fn a_flood_of_segments_and_labels_is_refused_without_deep_recursion() {
    let table = table(&[route(&["*.test"], Some("/{a}/{b}/x"), &[])]);
    let path = "/".to_owned() + &"a/".repeat(500_000);
    assert_eq!(outcome(&table, "a.test", &path, "GET"), NotFound);
    assert_eq!(outcome(&table, &".".repeat(255), "/", "GET"), NotFound);
}

/// How specific a template's segment is; less is more.
fn reference_rank(path: Option<&str>) -> Vec<u8> {
    let Some(path) = path else { return vec![3] };
    let rank = |segment: &str| match segment {
        _ if segment.starts_with("{*") => 2,
        _ if segment.starts_with('{') => 1,
        _ => 0,
    };
    path[1..].split('/').map(rank).collect()
}

fn reference_path_matches(template: Option<&str>, path: &str) -> bool {
    let Some(template) = template else {
        return true;
    };
    let Some(path) = path.strip_prefix('/') else {
        return false;
    };
    let mut segments = path.split('/');
    for wanted in template[1..].split('/') {
        if wanted.starts_with("{*") {
            return segments.next().is_some();
        }
        match segments.next() {
            None => return false,
            Some("") if wanted.starts_with('{') => return false,
            Some(_) if wanted.starts_with('{') => {}
            Some(segment) if segment == wanted => {}
            Some(_) => return false,
        }
    }
    segments.next().is_none()
}

/// How specific a matching host is; less is more. `None`: it does not match.
fn reference_host(hosts: &[String], host: &str) -> Option<usize> {
    if hosts.is_empty() {
        return Some(usize::MAX);
    }
    let rank = |pattern: &String| match pattern.strip_prefix('*') {
        None => (pattern == host).then_some(0),
        Some(suffix) => {
            (host.len() > suffix.len() && host.ends_with(suffix)).then_some(1000 - suffix.len())
        }
    };
    hosts.iter().filter_map(rank).min()
}

fn reference(routes: &[Settings], host: &str, path: &str, method: &str) -> Outcome {
    let fitting = |settings: &&Settings| {
        reference_host(&settings.hosts, host).is_some()
            && reference_path_matches(settings.path.as_deref(), path)
    };
    let all: Vec<&Settings> = routes.iter().filter(fitting).collect();
    let best = all
        .iter()
        .filter(|settings| {
            settings.methods.is_empty() || settings.methods.iter().any(|name| name == method)
        })
        .min_by_key(|settings| {
            let path = reference_rank(settings.path.as_deref());
            (
                reference_host(&settings.hosts, host),
                path,
                settings.methods.is_empty(),
            )
        });
    match best {
        Some(best) => Found(
            routes
                .iter()
                .position(|one| std::ptr::eq(one, *best))
                .expect("it is one of them"),
        ),
        None if all.is_empty() => NotFound,
        None => {
            let mut known: Vec<&String> = Vec::new();
            for name in routes.iter().flat_map(|settings| &settings.methods) {
                if !known.contains(&name) {
                    known.push(name);
                }
            }
            let taken = |name: &&String| all.iter().any(|settings| settings.methods.contains(name));
            Allowed(known.into_iter().filter(taken).cloned().collect())
        }
    }
}

fn any_route() -> impl Strategy<Value = Settings> {
    let host = prop::sample::select(vec!["a.x", "b.a.x", "*.x", "*.a.x", "x"]);
    let path = prop::option::weighted(0.9, "(/(a|b|\\{p\\})){1,3}(/|/\\{\\*r\\})?|/|/\\{\\*r\\}");
    let method = prop::sample::select(vec!["GET", "PUT", "POST"]);
    (
        prop::collection::vec(host, 0..3),
        path,
        prop::collection::vec(method, 0..3),
    )
        .prop_map(|(hosts, path, methods)| {
            // Parameters need names of their own.
            let path = path.map(|path: String| {
                let mut parts = path.split("{p}");
                let first = parts.next().unwrap_or_default().to_owned();
                parts.enumerate().fold(first, |path, (index, part)| {
                    format!("{path}{{p{index}}}{part}")
                })
            });
            route(&hosts, path.as_deref(), &methods)
        })
}

proptest! {
    #[test]
    fn the_table_agrees_with_a_search_over_all_routes(
        candidates in prop::collection::vec(any_route(), 1..12),
        requests in prop::collection::vec(("(b\\.)?(a\\.)?x|y", "(/(a|b|c|)){1,4}|\\*", "GET|PUT|DELETE"), 1..30),
    ) {
        // Those that conflict with an earlier one are left out.
        let mut routes: Vec<Settings> = Vec::new();
        for candidate in candidates {
            routes.push(candidate);
            if Table::new(&routes).is_err() {
                routes.pop();
            }
        }
        let table = table(&routes);
        for (host, path, method) in &requests {
            prop_assert_eq!(
                outcome(&table, host, path, method),
                reference(&routes, host, path, method),
                "{} {} {}", method, host, path
            );
        }
    }
}
