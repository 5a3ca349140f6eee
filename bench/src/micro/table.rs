//! The counts as a table, and as JSON for a later comparison.

use std::fmt::Write as _;

use crate::json::{Json, list, object};

/// What was counted of one piece.
#[derive(Debug, Copy, Clone, PartialEq)]
pub struct Row {
    /// Its name.
    pub name: &'static str,
    /// What it does.
    pub what: &'static str,
    /// Instructions each time.
    pub instructions: f64,
}

/// The rows, one a line.
pub fn to_text(rows: &[Row]) -> String {
    const TITLE: &str = "piece";
    let names = rows.iter().map(|row| row.name.len());
    let width = names.chain([TITLE.len()]).max().unwrap_or(0);
    let mut text = format!("{TITLE:<width$}  instructions  what\n");
    for Row {
        name,
        what,
        instructions,
    } in rows
    {
        writeln!(text, "{name:<width$}  {instructions:>12.1}  {what}")
            .expect("a String takes everything");
    }
    text
}

/// The rows by name.
pub fn to_json(rows: &[Row]) -> Json {
    object([(
        "pieces",
        list(rows.iter().map(|row| {
            object([
                ("name", Json::from(row.name)),
                ("what", Json::from(row.what)),
                ("instructions", Json::from(row.instructions)),
            ])
        })),
    )])
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: [Row; 2] = [
        Row {
            name: "short",
            what: "a thing",
            instructions: 12.0,
        },
        Row {
            name: "a-long-name",
            what: "another",
            instructions: 1234.56,
        },
    ];

    #[test]
    fn columns_stand_below_each_other() {
        assert_eq!(
            to_text(&ROWS),
            "piece        instructions  what\n\
             short                12.0  a thing\n\
             a-long-name        1234.6  another\n"
        );
    }

    #[test]
    fn json_names_every_piece() {
        let piece = object([
            ("name", Json::from("short")),
            ("what", Json::from("a thing")),
            ("instructions", Json::from(12.0)),
        ]);
        assert_eq!(
            to_json(&ROWS[..1]),
            object([("pieces", Json::List(vec![piece]))])
        );
    }
}
