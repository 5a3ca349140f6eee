//! `ringway config --example`: a file to start from, made of the same tables.
//!
//! What a first file needs is written out; every other key stands behind a `#`, with its default or an example.

use std::fmt::Write as _;

use super::keys::{Absent, Key, Table, each_section};
use super::reference::prose;

/// What is not behind a `#`: the table, the key, the value.
const WRITTEN: [(&str, &str, &str); 5] = [
    ("listener", "name", "\"edge\""),
    ("listener", "bind", "[\"127.0.0.1:8080\"]"),
    ("route", "name", "\"everything\""),
    ("route", "upstream", "\"app\""),
    ("upstream.app", "endpoints", "[\"http://127.0.0.1:3000\"]"),
];

/// A commented file that is valid as it stands.
pub fn example() -> String {
    let mut out = String::from(
        "# Ringway's configuration. What stands behind a `#` without a space is a key with its default, or an example\n\
         # of a value where it has none. `ringway config` explains every key.\n\
         # Check this file:  ringway check --config FILE\n\
         # Run it:           ringway run --config FILE\n",
    );
    each_section(&mut |key, table| {
        // The tables of one that is not implemented are not either, and neither is one without keys.
        if key.implemented && table.keys.iter().any(shown) {
            section(&mut out, key, table);
        }
    });
    out
}

fn section(out: &mut String, key: &Key, table: &'static Table) {
    let path = table.path.replace("NAME", "app");
    let header = key.header().unwrap_or_default().replace("NAME", "app");
    let hash = |is_written: bool| if is_written { "" } else { "#" };
    let written = |name: &str| {
        let found = |(table, key, _): &&(&str, &str, &str)| *table == path && *key == name;
        WRITTEN.iter().find(found).map(|(_, _, value)| *value)
    };
    out.push('\n');
    prose(out, "# ", table.about);
    let any = table.keys.iter().any(|key| written(key.name).is_some());
    let _ = writeln!(out, "{}{header}", hash(any));
    for key in table.keys.iter().filter(|key| shown(key)) {
        let value = written(key.name);
        let example = match key.absent {
            Absent::Is(default) => default,
            Absent::Means { example, .. } => example,
        };
        let line = format!(
            "{}{} = {}",
            hash(value.is_some()),
            key.name,
            value.unwrap_or(example)
        );
        let _ = writeln!(out, "{line:<44}  # {}", key.doc);
    }
}

fn shown(key: &Key) -> bool {
    key.implemented && key.section().is_none()
}
