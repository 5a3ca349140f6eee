//! `ringway proxy`: settings from a command line, everything else as by default.

use std::net::SocketAddr;

use super::error::{Wrong, quoted};
use super::reader::{Findings, Section};
use super::{address, keys, listener, process, upstream};
use crate::process::Settings;
use crate::route::{self, Action, FieldEdits, Rewrite};
use crate::upstream::Endpoint;

/// Settings of one listener and one upstream, or the built-in origin where `to` is empty.
pub fn quick(
    listen: &[SocketAddr],
    to: &[String],
    admin: Option<SocketAddr>,
    workers: Option<usize>,
) -> Result<Settings, String> {
    let endpoints = to
        .iter()
        .map(|url| address::endpoint(url).map_err(sentence))
        .collect::<Result<Vec<Endpoint>, String>>()?;
    if workers.is_some_and(|workers| workers == 0 || workers > process::WORKERS_MAX) {
        return Err(format!("workers: it may be 1 to {}", process::WORKERS_MAX));
    }
    let mut settings = super::settings(&Section::absent(&keys::ROOT), std::path::Path::new(""));
    let mut findings = Findings::default();
    let mut edge = listener::one(
        &Section::absent(&listener::LISTENER),
        "proxy".to_owned(),
        &mut findings,
    );
    if !listen.is_empty() {
        edge.bind = listen.to_vec();
    }
    let admin = admin.or(settings.admin);
    for (index, address) in edge.bind.iter().enumerate() {
        let again = edge.bind[..index].contains(address) || admin == Some(*address);
        if address.port() != 0 && again {
            let address = quoted(&address.to_string());
            return Err(format!(
                "the address {address} is given twice; choose another"
            ));
        }
    }
    settings.listeners = vec![edge];
    settings.admin = admin;
    settings.workers = workers;
    settings.routes = vec![everything(if endpoints.is_empty() {
        Action::Builtin
    } else {
        Action::Forward {
            upstream: 0,
            preserve_host: true,
            rewrite: Rewrite::default(),
        }
    })];
    if !endpoints.is_empty() {
        settings.upstreams = vec![crate::upstream::Settings {
            name: "default".to_owned(),
            endpoints,
            pool: upstream::default_pool(),
        }];
    }
    Ok(settings)
}

/// Checks one `--to`.
pub fn check_url(url: &str) -> Result<(), String> {
    address::endpoint(url).map(drop).map_err(sentence)
}

/// Reads one `--listen` or `--admin`.
pub fn read_address(text: &str) -> Result<SocketAddr, String> {
    address::socket(text).map_err(sentence)
}

fn sentence(wrong: Wrong) -> String {
    match wrong.help {
        Some(help) => format!("{}; {help}", wrong.message),
        None => wrong.message,
    }
}

/// The route that takes every request.
fn everything(action: Action) -> route::Settings {
    route::Settings {
        name: "default".to_owned(),
        hosts: Vec::new(),
        path: None,
        methods: Vec::new(),
        action,
        request_headers: FieldEdits::default(),
        response_headers: FieldEdits::default(),
        timeout: None,
        // One line is for trying out: what streams through is not ours to cut. A file has its cap by default.
        body_bytes: Some(0),
        websocket: true,
    }
}
