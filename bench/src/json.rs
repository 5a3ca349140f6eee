//! JSON, writing only.

use std::fmt::{self, Write};

/// A value. Numbers that JSON cannot hold (NaN, infinities) are written as null.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    /// Nothing known.
    Null,
    /// True or false.
    Bool(bool),
    /// A count.
    Whole(u64),
    /// A measured number.
    Number(f64),
    /// Text.
    Text(String),
    /// Values in order.
    List(Vec<Json>),
    /// Named values, in the order given.
    Object(Vec<(String, Json)>),
}

/// An object of these fields.
pub fn object<K: Into<String>>(fields: impl IntoIterator<Item = (K, Json)>) -> Json {
    Json::Object(
        fields
            .into_iter()
            .map(|(name, value)| (name.into(), value))
            .collect(),
    )
}

/// A list of what can be made a value.
pub fn list<T: Into<Json>>(items: impl IntoIterator<Item = T>) -> Json {
    Json::List(items.into_iter().map(Into::into).collect())
}

impl From<f64> for Json {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<u64> for Json {
    fn from(number: u64) -> Self {
        Self::Whole(number)
    }
}

impl From<bool> for Json {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Json {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl<T: Into<Json>> From<Option<T>> for Json {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, 0)
    }
}

impl Json {
    fn write(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Whole(number) => write!(f, "{number}"),
            Self::Number(number) if number.is_finite() => write!(f, "{number}"),
            Self::Number(_) => f.write_str("null"),
            Self::Text(text) => write_text(f, text),
            // What holds nothing nested is read more easily on one line.
            Self::List(items) if items.iter().all(Self::is_plain) => {
                f.write_char('[')?;
                for (index, item) in items.iter().enumerate() {
                    f.write_str(if index == 0 { "" } else { ", " })?;
                    item.write(f, depth)?;
                }
                f.write_char(']')
            }
            Self::List(items) => write_nested(f, depth, '[', ']', items, |f, item| {
                item.write(f, depth + 1)
            }),
            Self::Object(fields) => write_nested(f, depth, '{', '}', fields, |f, (name, value)| {
                write_text(f, name)?;
                f.write_str(": ")?;
                value.write(f, depth + 1)
            }),
        }
    }

    fn is_plain(&self) -> bool {
        !matches!(self, Self::List(_) | Self::Object(_))
    }
}

fn write_nested<T>(
    f: &mut fmt::Formatter<'_>,
    depth: usize,
    open: char,
    close: char,
    items: &[T],
    mut write_item: impl FnMut(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    f.write_char(open)?;
    for (index, item) in items.iter().enumerate() {
        write!(
            f,
            "{}\n{:width$}",
            if index == 0 { "" } else { "," },
            "",
            width = (depth + 1) * 2
        )?;
        write_item(f, item)?;
    }
    if !items.is_empty() {
        write!(f, "\n{:width$}", "", width = depth * 2)?;
    }
    f.write_char(close)
}

fn write_text(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_char('"')?;
    for character in text.chars() {
        match character {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            // Escaped so that the text may stand inside an HTML script element.
            '<' => f.write_str("\\u003c")?,
            control if control.is_control() => write!(f, "\\u{:04x}", u32::from(control))?,
            other => f.write_char(other)?,
        }
    }
    f.write_char('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_json() {
        let value = object([
            ("text", "a \"b\"\\\n\u{1}</".into()),
            ("list", list([1_u64, 2])),
            ("none", Json::Number(f64::NAN)),
            ("nested", object([("half", 0.5.into())])),
            ("empty", object::<&str>([])),
        ]);
        let expected = "{\n  \"text\": \"a \\\"b\\\"\\\\\\n\\u0001\\u003c/\",\n  \"list\": [1, 2],\n  \"none\": null,\n  \
            \"nested\": {\n    \"half\": 0.5\n  },\n  \"empty\": {}\n}";
        assert_eq!(value.to_string(), expected);
    }
}
