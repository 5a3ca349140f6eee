//! Routes that cannot be told apart: a host, the shape of a path and a method in common.
//!
//! A route for every host (path, method) is less specific than one that names it, so these two never clash.

use std::collections::HashMap;

use super::error::{Fault, line_and_column};
use super::reader::{Findings, Section};
use super::syntax::path_template;
use crate::route::{Settings, Table, TableError};

/// One fault for each route that an earlier one makes unreachable in part.
pub(super) fn find(
    routes: &[Settings],
    sections: &[Section<'_, '_>],
    text: &str,
    findings: &mut Findings,
) {
    let mut places: HashMap<(Option<&str>, Option<String>), Vec<usize>> = HashMap::new();
    for (index, route) in routes.iter().enumerate() {
        // A path that is no template has its own fault, and no shape.
        let shape = match route.path.as_deref().map(path_template) {
            None => None,
            Some(Ok(shape)) => Some(shape),
            Some(Err(_)) => continue,
        };
        let hosts = if route.hosts.is_empty() {
            vec![None]
        } else {
            route.hosts.iter().map(|host| Some(host.as_str())).collect()
        };
        let mut told = false;
        for host in hosts {
            let there = places.entry((host, shape.clone())).or_default();
            let other = there
                .iter()
                .filter(|other| **other != index)
                .find_map(|other| Some((*other, overlap(&routes[*other], route)?)));
            if let (Some((other, method)), false) = (other, told) {
                let (line, _) = line_and_column(text, sections[other].span().start);
                let fault = Fault::new(
                    sections[index].span(),
                    format!(
                        "routes `{}` (line {line}) and `{}` cannot be told apart: both take {}",
                        routes[other].name,
                        route.name,
                        what(&method, host, route.path.as_deref())
                    ),
                )
                .also(sections[other].span(), "the other one")
                .help("give one of them another host, path or methods, or take it out");
                findings.push(fault);
                told = true;
            }
            there.push(index);
        }
    }
}

/// What the route table itself refuses, so that a file that is good here is good there.
pub(super) fn table(routes: &[Settings], sections: &[Section<'_, '_>]) -> Option<Fault> {
    let error = Table::new(routes).err()?;
    let route = match error {
        TableError::Conflict { second, .. } => second,
        TableError::Path { route, .. }
        | TableError::Host { route, .. }
        | TableError::TooManyMethods { route } => route,
    };
    Some(Fault::new(sections[route].span(), error.to_string()))
}

/// A method both take, empty where both take every one; `None` where the methods tell them apart.
fn overlap(one: &Settings, other: &Settings) -> Option<String> {
    if one.methods.is_empty() && other.methods.is_empty() {
        return Some(String::new());
    }
    one.methods
        .iter()
        .find(|method| other.methods.contains(method))
        .cloned()
}

fn what(method: &str, host: Option<&str>, path: Option<&str>) -> String {
    let method = if method.is_empty() {
        "every method"
    } else {
        method
    };
    let path = path.map_or("every path".to_owned(), |path| format!("`{path}`"));
    let host = host.map_or("every host".to_owned(), |host| format!("`{host}`"));
    format!("{method}, {path}, {host}")
}
