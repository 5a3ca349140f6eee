//! Lines that a process prints, waited for; and the access log's JSON, read strictly.

use std::io::{BufRead, BufReader, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::PATIENCE;

#[derive(Debug, Default)]
struct State {
    lines: Vec<String>,
    ended: bool,
}

/// The lines of one of a process's outputs, as they come.
#[derive(Debug, Clone, Default)]
pub struct Lines {
    shared: Arc<(Mutex<State>, Condvar)>,
}

impl Lines {
    /// Reads `output` on a thread of its own until its end.
    pub fn of(output: impl Read + Send + 'static) -> Lines {
        let lines = Lines::default();
        let filled = lines.clone();
        std::thread::spawn(move || {
            let mut output = BufReader::new(output);
            let mut line = Vec::new();
            while output
                .read_until(b'\n', &mut line)
                .is_ok_and(|read| read > 0)
            {
                let text =
                    String::from_utf8_lossy(line.strip_suffix(b"\n").unwrap_or(&line)).into_owned();
                filled.change(|state| state.lines.push(text));
                line.clear();
            }
            filled.change(|state| state.ended = true);
        });
        lines
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A test that failed while it looked is reported for that, not for the lock.
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.shared.1.notify_all();
    }

    /// Every line so far.
    pub fn all(&self) -> Vec<String> {
        self.state().lines.clone()
    }

    /// Waits until `find` finds something among the lines; panics when it never does or they end before.
    pub fn wait_for<T>(&self, what: &str, find: impl Fn(&[String]) -> Option<T>) -> T {
        let (state, _) = self
            .shared
            .1
            .wait_timeout_while(self.state(), PATIENCE, |state| {
                !state.ended && find(&state.lines).is_none()
            })
            .unwrap_or_else(PoisonError::into_inner);
        find(&state.lines).unwrap_or_else(|| {
            let end = if state.ended {
                "before the end"
            } else {
                "in time"
            };
            panic!(
                "never printed {end}: {what}; only:\n{}",
                state.lines.join("\n")
            )
        })
    }

    /// Waits until the output ends.
    pub fn wait_for_end(&self) {
        let (state, _) = self
            .shared
            .1
            .wait_timeout_while(self.state(), PATIENCE, |state| !state.ended)
            .unwrap_or_else(PoisonError::into_inner);
        assert!(
            state.ended,
            "the process goes on; it printed:\n{}",
            state.lines.join("\n")
        );
    }
}

/// A JSON value, as far as the log uses them.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// Any number.
    Number(f64),
    /// A string, unescaped.
    Text(String),
}

/// One line of the access log.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Its members, in order.
    pub members: Vec<(String, Value)>,
}

impl Record {
    /// Reads one object, strictly: RFC 8259, no nesting, no name twice.
    pub fn read(line: &str) -> Result<Record, String> {
        let mut reader = Reader { rest: line };
        let mut members: Vec<(String, Value)> = Vec::new();
        reader.expect('{')?;
        if !reader.takes('}') {
            loop {
                let name = reader.text()?;
                reader.expect(':')?;
                let value = reader.value()?;
                if members.iter().any(|(other, _)| *other == name) {
                    return Err(format!("{name} twice"));
                }
                members.push((name, value));
                if !reader.takes(',') {
                    break;
                }
            }
            reader.expect('}')?;
        }
        if reader.rest.is_empty() {
            Ok(Record { members })
        } else {
            Err(format!("after the object: {}", reader.rest))
        }
    }

    /// The member `name`; panics where there is none.
    pub fn member(&self, name: &str) -> &Value {
        let found = self.members.iter().find(|(other, _)| other == name);
        &found
            .unwrap_or_else(|| panic!("no {name} in {:?}", self.members))
            .1
    }

    /// The member `name` as text; panics where it is not.
    pub fn text(&self, name: &str) -> &str {
        match self.member(name) {
            Value::Text(text) => text,
            other => panic!("{name} is {other:?}"),
        }
    }

    /// The member `name` as a number; panics where it is not.
    pub fn number(&self, name: &str) -> f64 {
        match self.member(name) {
            Value::Number(number) => *number,
            other => panic!("{name} is {other:?}"),
        }
    }
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn takes(&mut self, token: char) -> bool {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest.trim_start_matches([' ', '\t']);
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, token: char) -> Result<(), String> {
        if self.takes(token) {
            Ok(())
        } else {
            Err(format!("{token:?} expected at {:?}", self.rest))
        }
    }

    fn value(&mut self) -> Result<Value, String> {
        if self.rest.starts_with('"') {
            return self.text().map(Value::Text);
        }
        let end = self
            .rest
            .find([',', '}', ' '])
            .ok_or("a value without end")?;
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        match word {
            "null" => Ok(Value::Null),
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            number if number.starts_with(|c: char| c == '-' || c.is_ascii_digit()) => number
                .parse()
                .map(Value::Number)
                .map_err(|error| format!("{number}: {error}")),
            other => Err(format!("not a value: {other}")),
        }
    }

    fn text(&mut self) -> Result<String, String> {
        if !self.rest.starts_with('"') {
            return Err(format!("a string expected at {:?}", self.rest));
        }
        let mut text = String::new();
        let mut characters = self.rest[1..].chars();
        loop {
            match characters.next().ok_or("a string without end")? {
                '"' => break,
                '\\' => match characters.next().ok_or("an escape without end")? {
                    plain @ ('"' | '\\' | '/') => text.push(plain),
                    'b' => text.push('\u{8}'),
                    'f' => text.push('\u{c}'),
                    'n' => text.push('\n'),
                    'r' => text.push('\r'),
                    't' => text.push('\t'),
                    'u' => {
                        let digits: String = characters.by_ref().take(4).collect();
                        let code = u32::from_str_radix(&digits, 16)
                            .map_err(|error| format!("\\u{digits}: {error}"))?;
                        text.push(char::from_u32(code).ok_or_else(|| format!("\\u{digits}"))?);
                    }
                    other => return Err(format!("the escape \\{other}")),
                },
                control if control.is_control() => {
                    return Err(format!("a control character, {:x}", u32::from(control)));
                }
                plain => text.push(plain),
            }
        }
        self.rest = characters.as_str();
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_in_order_and_unescaped() {
        let record = Record::read(r#"{"a":"x\"\u001b\\","b":-1.5, "c":null,"d":false}"#)
            .expect("it is JSON");
        let names: Vec<_> = record
            .members
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        assert_eq!(names, ["a", "b", "c", "d"]);
        assert_eq!(record.text("a"), "x\"\u{1b}\\");
        assert_eq!(record.number("b"), -1.5);
        assert_eq!(record.member("c"), &Value::Null);
    }

    #[test]
    fn what_is_not_json_is_no_record() {
        for line in [
            r#"{"a":1"#,
            r#"{"a":1}}"#,
            "{\"a\":\"\u{1b}\"}",
            r#"{"a":1,"a":2}"#,
            r#"{a:1}"#,
            r#"{"a":nan}"#,
            "",
        ] {
            assert!(Record::read(line).is_err(), "{line}");
        }
    }
}
