//! Reads a checked table by the names of its keys, filling in what the tables of `keys` say holds by default.
//!
//! A value that was found wrong reads as its type's empty value: its fault is already known, and what is built from
//! it is thrown away. So nothing here fails, and every fault of a file is found in one reading.

use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use ipnet::IpNet;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::address;
use super::error::Fault;
use super::keys::{Absent, Key, Kind, Table};
use super::units;

/// One table of the file, or the defaults of one that is absent.
#[derive(Clone)]
pub(super) struct Section<'a, 'i> {
    table: &'static Table,
    values: Option<&'a DeTable<'i>>,
    span: Range<usize>,
}

/// A type that a value is read as.
pub(super) trait Value: Sized {
    /// `None` where the value is not one; `check` has said so.
    fn from_toml(value: &DeValue<'_>) -> Option<Self>;
}

/// What one reading finds: settings are built, faults are collected.
#[derive(Default)]
pub(super) struct Findings {
    pub(super) faults: Vec<Fault>,
}

impl Findings {
    pub(super) fn push(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    /// Whether something was found at this place before.
    pub(super) fn told(&self, span: &Range<usize>) -> bool {
        self.faults.iter().any(|fault| fault.start() == span.start)
    }
}

impl<'a, 'i> Section<'a, 'i> {
    pub(super) fn new(
        table: &'static Table,
        values: Option<&'a DeTable<'i>>,
        span: Range<usize>,
    ) -> Self {
        Self {
            table,
            values,
            span,
        }
    }

    /// A table of which nothing was written.
    pub(super) fn absent(table: &'static Table) -> Self {
        Self::new(table, None, 0..0)
    }

    /// Its header.
    pub(super) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Whether the key was written.
    pub(super) fn has(&self, name: &str) -> bool {
        self.entry(name).is_some()
    }

    /// Where the key's name stands; the header where it was not written.
    pub(super) fn key_span(&self, name: &str) -> Range<usize> {
        self.entry(name).map_or(self.span(), |(key, _)| key.span())
    }

    /// Where the key's value stands; the header where it was not written.
    pub(super) fn value_span(&self, name: &str) -> Range<usize> {
        self.entry(name)
            .map_or(self.span(), |(_, value)| value.span())
    }

    /// The key's value, or its default.
    pub(super) fn of<T: Value + Default>(&self, name: &str) -> T {
        self.maybe(name).unwrap_or_default()
    }

    /// The key's value, or its default, where it has one.
    pub(super) fn maybe<T: Value>(&self, name: &str) -> Option<T> {
        let key = self.known(name);
        if let Some((_, value)) = self.entry(name) {
            return T::from_toml(value.get_ref());
        }
        default_of(key).and_then(|value| T::from_toml(&value))
    }

    /// The good items of a list, or of its default, each with its place.
    pub(super) fn items<T: Value>(&self, name: &str) -> Vec<(T, Range<usize>)> {
        let key = self.known(name);
        let placed = |value: &DeValue<'_>, of_item: &dyn Fn(Range<usize>) -> Range<usize>| {
            let items = value.as_array().into_iter().flat_map(|items| items.iter());
            items
                .filter_map(|item| {
                    T::from_toml(item.get_ref()).map(|read| (read, of_item(item.span())))
                })
                .collect()
        };
        if let Some((_, value)) = self.entry(name) {
            return placed(value.get_ref(), &|span| span);
        }
        // A default has no place in the file; its table's header stands for it.
        default_of(key).map_or(Vec::new(), |value| placed(&value, &|_| self.span()))
    }

    /// A table within.
    pub(super) fn section(&self, name: &str) -> Section<'a, 'i> {
        let (Kind::Table(of) | Kind::Either(_, of)) = self.known(name).kind else {
            unreachable!("`{name}` is no table of [{}]", self.table.path);
        };
        match self.entry(name) {
            Some((key, value)) => Section::new(of, value.get_ref().as_table(), key.span()),
            None => Section::new(of, None, self.span()),
        }
    }

    /// The tables of an array of tables, or those with names (in the order of the file).
    pub(super) fn sections(&self, name: &str) -> Vec<(String, Section<'a, 'i>)> {
        let entry = self.entry(name).map(|(_, value)| value.get_ref());
        match (&self.known(name).kind, entry) {
            (Kind::Tables(of), Some(DeValue::Array(items))) => items
                .iter()
                .filter_map(|item| Some((item.get_ref().as_table()?, item.span())))
                .map(|(values, span)| (String::new(), Section::new(of, Some(values), span)))
                .collect(),
            // [name] for [[name]]: a fault that was found; it still reads as one table.
            (Kind::Tables(of), Some(DeValue::Table(values))) => {
                let section = Section::new(of, Some(values), self.key_span(name));
                vec![(String::new(), section)]
            }
            (Kind::Named(of), Some(DeValue::Table(entries))) => {
                let mut found: Vec<_> = entries
                    .iter()
                    .filter_map(|(key, value)| {
                        let values = value.get_ref().as_table()?;
                        let section = Section::new(of, Some(values), key.span());
                        Some((key.get_ref().to_string(), section))
                    })
                    .collect();
                // `toml` sorts keys by name.
                found.sort_by_key(|(_, section)| section.span.start);
                found
            }
            _ => Vec::new(),
        }
    }

    /// The items of a list as they are, each a text or a table of `Kind::Either`.
    pub(super) fn raw_items(&self, name: &str) -> Vec<&'a Spanned<DeValue<'i>>> {
        self.entry(name)
            .and_then(|(_, value)| value.get_ref().as_array())
            .map_or(Vec::new(), |items| items.iter().collect())
    }

    /// Names and values of a table without a fixed set of keys, in the order of the file.
    pub(super) fn fields(&self, name: &str) -> Vec<(String, String)> {
        let fields = self
            .entry(name)
            .and_then(|(_, value)| value.get_ref().as_table());
        let mut entries: Vec<_> = fields.into_iter().flatten().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let mut out = Vec::new();
        for (key, value) in entries {
            let values = match value.get_ref() {
                DeValue::Array(items) => items.iter().map(Spanned::get_ref).collect(),
                value => vec![value],
            };
            let name = key.get_ref().to_ascii_lowercase();
            for value in values.into_iter().filter_map(DeValue::as_str) {
                out.push((name.clone(), value.to_owned()));
            }
        }
        out
    }

    fn known(&self, name: &str) -> &'static Key {
        let Some(key) = self.table.key(name) else {
            unreachable!("`{name}` is no key of [{}]", self.table.path);
        };
        key
    }

    fn entry(
        &self,
        name: &str,
    ) -> Option<(
        &'a Spanned<toml::de::DeString<'i>>,
        &'a Spanned<DeValue<'i>>,
    )> {
        self.values?.iter().find(|(key, _)| key.get_ref() == name)
    }
}

fn default_of(key: &'static Key) -> Option<DeValue<'static>> {
    match key.absent {
        Absent::Is(text) => DeValue::parse(text).ok().map(Spanned::into_inner),
        Absent::Means { .. } => None,
    }
}

impl Value for u64 {
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        match value {
            DeValue::Integer(number) => u64::from_str_radix(number.as_str(), number.radix()).ok(),
            DeValue::String(text) => units::size(text).ok(),
            _ => None,
        }
    }
}

impl Value for u32 {
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        u64::from_toml(value).and_then(|number| number.try_into().ok())
    }
}

impl Value for u16 {
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        u64::from_toml(value).and_then(|number| number.try_into().ok())
    }
}

impl Value for usize {
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        u64::from_toml(value).and_then(|number| number.try_into().ok())
    }
}

impl Value for bool {
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        value.as_bool()
    }
}

impl Value for String {
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        value.as_str().map(str::to_owned)
    }
}

impl Value for Duration {
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        units::duration(value.as_str()?).ok()
    }
}

impl Value for SocketAddr {
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        address::socket(value.as_str()?).ok()
    }
}

impl Value for IpNet {
    fn from_toml(value: &DeValue<'_>) -> Option<Self> {
        address::network(value.as_str()?).ok()
    }
}
