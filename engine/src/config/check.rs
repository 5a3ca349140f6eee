//! Everything a key can say about itself: whether it is known, implemented, of the right kind and within its range.
//!
//! Driven by the tables of `keys` alone. What needs more than one key is checked by who reads them.

use std::collections::HashMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeArray, DeInteger, DeTable, DeValue};

use super::error::{Fault, Wrong, line_and_column, nearest, quoted};
use super::keys::{Choice, Key, Kind, Table, each_section};
use super::syntax;
use super::units;

/// The field edits refused: the connection's own framing, which is the proxy's to write. RFC 9110 §7.6.1, RFC 9112 §6.
const FIELDS_OWNED: [&str; 11] = [
    "connection",
    "content-length",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "trailers",
    "transfer-encoding",
    "upgrade",
];

/// All faults of `root` that one key alone can have.
pub(super) fn check(table: &'static Table, root: &DeTable<'_>, text: &str) -> Vec<Fault> {
    let mut checker = Checker {
        text,
        faults: Vec::new(),
    };
    checker.table(table, root);
    checker.faults
}

/// Whether a field of this name may be edited; the name in lower case.
pub(super) fn field_editable(name: &str) -> Result<(), Wrong> {
    syntax::field_name(name)?;
    let lower = name.to_ascii_lowercase();
    if lower == "host" {
        return Err(Wrong::new("`host` is not changed by an edit")
            .help("`preserve_host` chooses between the client's and the endpoint's"));
    }
    if FIELDS_OWNED.contains(&lower.as_str()) {
        return Err(Wrong::new(format!(
            "`{lower}` frames the message; only the proxy writes it"
        ))
        .help("take it out: the proxy sets and removes it as each connection needs"));
    }
    Ok(())
}

struct Checker<'t> {
    text: &'t str,
    faults: Vec<Fault>,
}

impl Checker<'_> {
    fn push(&mut self, span: Range<usize>, wrong: Wrong) {
        self.faults.push(wrong.at(span));
    }

    fn table(&mut self, table: &'static Table, values: &DeTable<'_>) {
        for (name, value) in values {
            match table.key(name.get_ref()) {
                None => self.push(name.span(), unknown(table, name.get_ref())),
                Some(key) if !key.implemented => {
                    let fault = format!("{} is not implemented in this version", key.title());
                    let help = "take it out; `ringway config` says what there is";
                    self.push(name.span(), Wrong::new(fault).help(help));
                }
                Some(key) => self.value(key, &key.kind, name.span(), value),
            }
        }
    }

    /// `name` is where the key stands: for tables, whose values have no place of their own.
    fn value(
        &mut self,
        key: &'static Key,
        kind: &'static Kind,
        name: Range<usize>,
        value: &Spanned<DeValue<'_>>,
    ) {
        let span = value.span();
        let outcome = match (kind, value.get_ref()) {
            (Kind::Integer { min, max }, DeValue::Integer(number)) => {
                in_range(number, *min, *max, &|bound| bound.to_string())
            }
            (Kind::Fraction, DeValue::Float(_) | DeValue::Integer(_)) => Ok(()),
            (Kind::Switch, DeValue::Boolean(_)) => Ok(()),
            (Kind::Duration { min, max }, DeValue::String(text)) => {
                units::duration(text).and_then(|found| {
                    within(found, *min, *max, &quoted(text), &|bound| {
                        format!("\"{}\"", units::show_duration(bound))
                    })
                })
            }
            (Kind::Duration { .. }, DeValue::Integer(number)) => {
                Err(Wrong::new("a duration has a unit").help(format!(
                    "did you mean \"{0}s\", or \"{0}ms\"?",
                    number.as_str()
                )))
            }
            (Kind::Size { min, max }, DeValue::String(text)) => units::size(text)
                .and_then(|found| within(found, *min, *max, &quoted(text), &units::show_size)),
            (Kind::Size { min, max }, DeValue::Integer(number)) => {
                in_range(number, *min, *max, &units::show_size)
            }
            (Kind::Choice(choices), DeValue::String(text)) => chosen(key, choices, text),
            (Kind::Text(syntax), DeValue::String(text)) => (syntax.check)(text),
            (Kind::List { of, min }, DeValue::Array(items)) => {
                return self.list(key, of, *min, name, span, items);
            }
            (Kind::Fields, DeValue::Table(fields)) => return self.fields(fields),
            (Kind::Either(_, table), DeValue::Table(values)) => return self.table(table, values),
            (Kind::Either(short, _), _) => return self.value(key, short, name, value),
            (Kind::Table(table), DeValue::Table(values)) => return self.table(table, values),
            (Kind::Tables(table), DeValue::Array(items)) => {
                return self.tables(key, table, items);
            }
            (Kind::Tables(table), found @ DeValue::Table(values)) => {
                self.table(table, values);
                Err(mismatch(key, kind, found))
            }
            (Kind::Named(table), DeValue::Table(entries)) => {
                return self.named(key, table, entries);
            }
            (_, found) => Err(mismatch(key, kind, found)),
        };
        if let Err(wrong) = outcome {
            let own_place = !matches!(
                kind,
                Kind::Table(_) | Kind::Tables(_) | Kind::Named(_) | Kind::Fields
            );
            self.push(if own_place { span } else { name }, wrong);
        }
    }

    fn list(
        &mut self,
        key: &'static Key,
        of: &'static Kind,
        min: usize,
        name: Range<usize>,
        span: Range<usize>,
        items: &DeArray<'_>,
    ) {
        if items.len() < min {
            let wrong = Wrong::new(format!("`{}` needs at least one", key.name));
            self.push(span, wrong.help(format!("it is {}", key.kind.describe())));
        }
        let mut seen: HashMap<String, Range<usize>> = HashMap::new();
        for item in items.iter() {
            self.value(key, of, name.clone(), item);
            let Some(text) = item.get_ref().as_str() else {
                continue;
            };
            match seen.get(&text.to_lowercase()) {
                Some(first) => {
                    let fault = Fault::new(item.span(), format!("{} is given twice", quoted(text)))
                        .also(first.clone(), "the first one")
                        .help("take one of them out");
                    self.faults.push(fault);
                }
                None => {
                    seen.insert(text.to_lowercase(), item.span());
                }
            }
        }
    }

    fn tables(&mut self, key: &'static Key, table: &'static Table, items: &DeArray<'_>) {
        for item in items.iter() {
            match item.get_ref() {
                DeValue::Table(values) => self.table(table, values),
                found => self.push(item.span(), mismatch(key, &key.kind, found)),
            }
        }
    }

    fn named(&mut self, key: &'static Key, table: &'static Table, entries: &DeTable<'_>) {
        for (name, value) in entries {
            match value.get_ref() {
                DeValue::Table(values) => {
                    if let Err(wrong) = syntax::name(name.get_ref()) {
                        self.push(name.span(), wrong);
                    }
                    self.table(table, values);
                }
                found => {
                    let wrong = if table.key(name.get_ref()).is_some() {
                        Wrong::new(format!("[{}] has no name", key.name)).help(format!(
                            "write [{}.NAME] above `{}`, with a name of your own",
                            key.name,
                            name.get_ref()
                        ))
                    } else {
                        mismatch(key, &key.kind, found)
                    };
                    self.push(name.span(), wrong);
                }
            }
        }
    }

    fn fields(&mut self, fields: &DeTable<'_>) {
        let mut seen: HashMap<String, Range<usize>> = HashMap::new();
        for (name, value) in fields {
            if let Err(wrong) = field_editable(name.get_ref()) {
                self.push(name.span(), wrong);
            }
            let lower = name.get_ref().to_ascii_lowercase();
            if let Some(first) = seen.get(&lower) {
                let (line, _) = line_and_column(self.text, first.start);
                let message = format!("`{lower}` is given twice, first on line {line}");
                let fault = Fault::new(name.span(), message)
                    .also(first.clone(), "the first one")
                    .help("names of fields are the same in any case; put both values in a list");
                self.faults.push(fault);
            } else {
                seen.insert(lower, name.span());
            }
            match value.get_ref() {
                DeValue::Array(items) => {
                    for item in items.iter() {
                        self.field_value(item);
                    }
                }
                _ => self.field_value(value),
            }
        }
    }

    fn field_value(&mut self, value: &Spanned<DeValue<'_>>) {
        let outcome = match value.get_ref() {
            DeValue::String(text) => syntax::field_value(text),
            found => Err(Wrong::new(format!(
                "a field's value is a string, not {}",
                found_as(found)
            ))
            .help("put it between quotes")),
        };
        if let Err(wrong) = outcome {
            self.push(value.span(), wrong);
        }
    }
}

fn unknown(table: &'static Table, name: &str) -> Wrong {
    let place = if table.path.is_empty() {
        "the file".to_owned()
    } else {
        format!("[{}]", table.path)
    };
    let wrong = Wrong::new(format!("unknown key {} in {place}", quoted(name)));
    let near = nearest(name, table.keys.iter().map(|key| key.name)).map(|near| {
        let header = table.key(near).and_then(Key::header);
        format!("did you mean `{}`?", header.unwrap_or(near.to_owned()))
    });
    let home = elsewhere(name).map(|home| format!("`{name}` belongs in {home}"));
    match (near, home) {
        (Some(near), Some(home)) => return wrong.help(format!("{near} Or {home}")),
        (Some(help), None) | (None, Some(help)) => return wrong.help(help),
        (None, None) => {}
    }
    let known: Vec<&str> = table.keys.iter().map(|key| key.name).collect();
    wrong.help(format!("the keys here are {}", known.join(", ")))
}

/// The header of the first table that has a key of this name.
fn elsewhere(name: &str) -> Option<String> {
    let mut home = None;
    each_section(&mut |key, table| {
        if home.is_none() && table.key(name).is_some() {
            home = key.header();
        }
    });
    home
}

fn chosen(key: &Key, choices: &[Choice], text: &str) -> Result<(), Wrong> {
    let words = choices
        .iter()
        .filter(|choice| choice.implemented)
        .map(|choice| format!("\"{}\"", choice.word))
        .collect::<Vec<_>>()
        .join(" or ");
    match choices.iter().find(|choice| choice.word == text) {
        Some(choice) if choice.implemented => Ok(()),
        Some(_) => Err(Wrong::new(format!(
            "`{}` = \"{text}\" is not implemented in this version",
            key.name
        ))
        .help(format!("what there is: {words}"))),
        None => {
            let near = nearest(text, choices.iter().map(|choice| choice.word));
            Err(
                Wrong::new(format!("{} is not a value of `{}`", quoted(text), key.name)).help(
                    near.map_or(format!("it may be {words}"), |near| {
                        format!("did you mean \"{near}\"?")
                    }),
                ),
            )
        }
    }
}

fn in_range(
    number: &DeInteger<'_>,
    min: u64,
    max: u64,
    show: &dyn Fn(u64) -> String,
) -> Result<(), Wrong> {
    match i128::from_str_radix(number.as_str(), number.radix()) {
        Ok(value) if value < 0 => Err(outside(&number.to_string(), &show(min), &show(max))),
        Ok(value) => {
            let value = u64::try_from(value).unwrap_or(u64::MAX);
            within(value, min, max, &number.to_string(), show)
        }
        Err(_) => Err(outside(&number.to_string(), &show(min), &show(max))),
    }
}

fn within<T: PartialOrd + Copy>(
    value: T,
    min: T,
    max: T,
    typed: &str,
    show: &dyn Fn(T) -> String,
) -> Result<(), Wrong> {
    if value < min || value > max {
        return Err(outside(typed, &show(min), &show(max)));
    }
    Ok(())
}

fn outside(typed: &str, min: &str, max: &str) -> Wrong {
    Wrong::new(format!("{typed} is out of range")).help(format!("it may be {min} to {max}"))
}

fn mismatch(key: &Key, kind: &Kind, found: &DeValue<'_>) -> Wrong {
    let found = found_as(found);
    let wrong = |expected: &str| Wrong::new(format!("{} is {expected}, not {found}", key.title()));
    match kind {
        Kind::Tables(_) => Wrong::new(format!("`{}` may be there several times", key.name))
            .help(format!("write [[{}]], with two brackets", key.name)),
        Kind::Table(of) | Kind::Named(of) => {
            Wrong::new(format!("`{}` is a table of its own, not {found}", key.name))
                .help(format!("write [{}] and its keys below", of.path))
        }
        Kind::List { .. } => wrong("a list").help("put it between [ and ]"),
        _ => wrong(&kind.describe()),
    }
}

fn found_as(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
