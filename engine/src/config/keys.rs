//! What a key is: the shape of the tables that describe every key.
//!
//! The tables themselves stand beside the code that reads them (`process`, `listener`, `route`, `upstream`). What is
//! known, what is suggested, what holds by default and what `ringway config` prints all come from them.

use std::time::Duration;

use super::error::Wrong;
use super::units::{show_duration, show_size};
use super::{listener, process, route, upstream};

/// A TOML table with a fixed set of keys.
pub(super) struct Table {
    /// Its header without brackets, like `listener.timeouts`; empty for the file itself.
    pub(super) path: &'static str,
    /// One sentence on what it holds.
    pub(super) about: &'static str,
    /// Its keys, in the order in which they are explained; tables last.
    pub(super) keys: &'static [Key],
}

/// One key.
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) absent: Absent,
    /// One sentence or two: what it does, what 0 means.
    pub(super) doc: &'static str,
    /// Whether this version does what the key asks; refused where not.
    pub(super) implemented: bool,
}

/// What holds where a key is absent.
pub(super) enum Absent {
    /// This value, as TOML. It is what the reader uses.
    Is(&'static str),
    /// No value, and what that means; with an example of a value.
    Means {
        says: &'static str,
        example: &'static str,
    },
}

/// What a value may be.
pub(super) enum Kind {
    Integer {
        min: u64,
        max: u64,
    },
    Fraction,
    Switch,
    Duration {
        min: Duration,
        max: Duration,
    },
    Size {
        min: u64,
        max: u64,
    },
    Choice(&'static [Choice]),
    Text(Syntax),
    List {
        of: &'static Kind,
        min: usize,
    },
    /// Names of fields, each with a value or a list of them.
    Fields,
    /// A short form, or a table with all of it.
    Either(&'static Kind, &'static Table),
    /// `[name]`.
    Table(&'static Table),
    /// `[[name]]`.
    Tables(&'static Table),
    /// `[name.NAME]`.
    Named(&'static Table),
}

/// One of several words.
pub(super) struct Choice {
    pub(super) word: &'static str,
    pub(super) implemented: bool,
}

/// A string with rules.
#[derive(Clone, Copy)]
pub(super) struct Syntax {
    /// What it is, for the reference.
    pub(super) says: &'static str,
    pub(super) check: fn(&str) -> Result<(), Wrong>,
}

/// The file.
pub(super) static ROOT: Table = Table {
    path: "",
    about: "The file.",
    keys: &[
        table("process", &process::PROCESS),
        table("admin", &process::ADMIN),
        table("log", &process::LOG),
        tables("listener", &listener::LISTENER),
        tables("route", &route::ROUTE),
        named("upstream", &upstream::UPSTREAM),
        table("store", &process::STORE).later(),
    ],
};

/// A key with a default, written as TOML.
pub(super) const fn key(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    doc: &'static str,
) -> Key {
    Key {
        name,
        kind,
        absent: Absent::Is(default),
        doc,
        implemented: true,
    }
}

/// A key without one: what its absence means, and an example.
pub(super) const fn optional(
    name: &'static str,
    kind: Kind,
    says: &'static str,
    example: &'static str,
    doc: &'static str,
) -> Key {
    Key {
        name,
        kind,
        absent: Absent::Means { says, example },
        doc,
        implemented: true,
    }
}

/// A table within a table.
pub(super) const fn table(name: &'static str, of: &'static Table) -> Key {
    optional(name, Kind::Table(of), "", "", of.about)
}

/// An array of tables.
pub(super) const fn tables(name: &'static str, of: &'static Table) -> Key {
    optional(name, Kind::Tables(of), "", "", of.about)
}

/// Tables by name.
pub(super) const fn named(name: &'static str, of: &'static Table) -> Key {
    optional(name, Kind::Named(of), "", "", of.about)
}

/// A word that can be chosen.
pub(super) const fn word(word: &'static str) -> Choice {
    Choice {
        word,
        implemented: true,
    }
}

/// A word for something that is not there yet.
pub(super) const fn later(word: &'static str) -> Choice {
    Choice {
        word,
        implemented: false,
    }
}

impl Key {
    /// Known, but not implemented in this version.
    pub(super) const fn later(mut self) -> Self {
        self.implemented = false;
        self
    }

    /// The table behind it, where it has a header of its own.
    pub(super) fn section(&self) -> Option<&'static Table> {
        match self.kind {
            Kind::Table(of) | Kind::Tables(of) | Kind::Named(of) => Some(of),
            _ => None,
        }
    }

    /// How it is called in a message: `[listener.tls]`, or `` `bind` ``.
    pub(super) fn title(&self) -> String {
        self.header().unwrap_or_else(|| format!("`{}`", self.name))
    }

    /// Its header, where it has one.
    pub(super) fn header(&self) -> Option<String> {
        match self.kind {
            Kind::Table(of) | Kind::Named(of) => Some(format!("[{}]", of.path)),
            Kind::Tables(of) => Some(format!("[[{}]]", of.path)),
            _ => None,
        }
    }
}

impl Table {
    /// The key of that name.
    pub(super) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

impl Kind {
    /// What it is, as the reference and the errors say it.
    pub(super) fn describe(&self) -> String {
        match self {
            Kind::Integer { min, max } => format!("an integer, {min} to {max}"),
            Kind::Fraction => "a number from 0 to 1".to_owned(),
            Kind::Switch => "true or false".to_owned(),
            Kind::Duration { min, max } => format!(
                "a duration, \"{}\" to \"{}\"",
                show_duration(*min),
                show_duration(*max)
            ),
            Kind::Size { min, max } => {
                format!("a size, {} to {}", show_size(*min), show_size(*max))
            }
            Kind::Choice(choices) => choices
                .iter()
                .map(|choice| {
                    let mark = if choice.implemented {
                        ""
                    } else {
                        " (not in this version)"
                    };
                    format!("\"{}\"{mark}", choice.word)
                })
                .collect::<Vec<_>>()
                .join(" or "),
            Kind::Text(syntax) => syntax.says.to_owned(),
            Kind::List { of, min: 0 } => format!("a list of: {}", of.describe()),
            Kind::List { of, .. } => format!("a list, not empty, of: {}", of.describe()),
            Kind::Fields => {
                "a table of field names and values, like { \"x-env\" = \"prod\" }".to_owned()
            }
            Kind::Either(short, table) => {
                let names: Vec<&str> = table.keys.iter().map(|key| key.name).collect();
                format!(
                    "{}, or a table of {}",
                    short.describe(),
                    names.join(" and ")
                )
            }
            Kind::Table(of) | Kind::Tables(of) | Kind::Named(of) => {
                let names: Vec<&str> = of.keys.iter().map(|key| key.name).collect();
                format!("a table of {}", names.join(", "))
            }
        }
    }
}

/// Calls `visit` on every table that has a header, with the key it stands under, in the order of the file.
pub(super) fn each_section(visit: &mut impl FnMut(&'static Key, &'static Table)) {
    fn walk(table: &'static Table, visit: &mut impl FnMut(&'static Key, &'static Table)) {
        for key in table.keys {
            if let Some(section) = key.section() {
                visit(key, section);
                walk(section, visit);
            }
        }
    }
    walk(&ROOT, visit);
}
