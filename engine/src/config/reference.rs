//! `ringway config`: every key, printed from the tables that read it.

use std::fmt::Write as _;

use super::keys::{Absent, Key, Kind, Table, each_section};

/// Widest line of prose.
const WIDTH: usize = 100;

/// Every key with its kind, default and meaning.
pub fn reference() -> String {
    let mut out = String::from(
        "The configuration file is TOML. Every key has a default; keys that are not listed here are errors.\n\
         `ringway config --example` prints a file to start from, `ringway check --config FILE` checks one.\n",
    );
    each_section(&mut |key, table| section(&mut out, key, table));
    out
}

fn section(out: &mut String, key: &Key, table: &'static Table) {
    let header = key.header().unwrap_or_default();
    let _ = writeln!(out, "\n{header}{}", mark(key));
    prose(out, "  ", table.about);
    for key in table.keys.iter().filter(|key| key.section().is_none()) {
        entry(out, "  ", key);
    }
}

fn entry(out: &mut String, indent: &str, key: &Key) {
    let default = match key.absent {
        Absent::Is(value) => format!("default {value}"),
        Absent::Means { says, .. } => format!("without it: {says}"),
    };
    let _ = writeln!(out, "\n{indent}{}  ({default}){}", key.name, mark(key));
    let inner = format!("{indent}    ");
    prose(out, &inner, key.doc);
    prose(out, &inner, &format!("It is {}.", key.kind.describe()));
    if let Absent::Means { example, .. } = key.absent {
        let _ = writeln!(out, "{inner}{} = {example}", key.name);
    }
    if let Some(inline) = inline_table(&key.kind) {
        for key in inline.keys {
            entry(out, &inner, key);
        }
    }
}

/// The table a value may be, where it has no header of its own.
fn inline_table(kind: &Kind) -> Option<&'static Table> {
    match kind {
        Kind::List { of, .. } => inline_table(of),
        Kind::Either(_, table) | Kind::Table(table) => Some(table),
        _ => None,
    }
}

fn mark(key: &Key) -> &'static str {
    if key.implemented {
        ""
    } else {
        "  -- not in this version"
    }
}

/// `text` in lines of at most `WIDTH` characters.
pub(super) fn prose(out: &mut String, indent: &str, text: &str) {
    let mut line = String::new();
    for word in text.split_whitespace() {
        let length = indent.chars().count() + line.chars().count() + 1 + word.chars().count();
        if !line.is_empty() && length > WIDTH {
            let _ = writeln!(out, "{indent}{line}");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    let _ = writeln!(out, "{indent}{line}");
}
