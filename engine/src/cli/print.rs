//! What the commands print: the outcome of a check, errors as JSON, the manual page.

use std::io::{self, Write};
use std::path::Path;

use crate::config::{Errors, Problem};
use crate::process::Settings;

/// One line on a good file.
pub(super) fn summary(path: &Path, settings: &Settings) -> String {
    let count = |number: usize, noun: &str| {
        let plural = if number == 1 { "" } else { "s" };
        format!("{number} {noun}{plural}")
    };
    format!(
        "{} is good: {}, {}, {}\n",
        path.display(),
        count(settings.listeners.len(), "listener"),
        count(settings.routes.len(), "route"),
        count(settings.upstreams.len(), "upstream"),
    )
}

/// One object a line: file, line, column, message, help; null where there is none.
pub(super) fn json_lines(errors: &Errors) -> String {
    errors.iter().map(|problem| json_line(&problem)).collect()
}

fn json_line(problem: &Problem<'_>) -> String {
    let number = |number: Option<usize>| number.map_or("null".to_owned(), |it| it.to_string());
    format!(
        "{{\"file\":{},\"line\":{},\"column\":{},\"message\":{},\"help\":{}}}\n",
        json_string(problem.file),
        number(problem.at.map(|(line, _)| line)),
        number(problem.at.map(|(_, column)| column)),
        json_string(problem.message),
        problem.help.map_or("null".to_owned(), json_string),
    )
}

/// RFC 8259 §7.
fn json_string(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// The page of the command, then the synopsis and options of each of its commands.
pub(super) fn manual(mut command: clap::Command, out: &mut impl Write) -> io::Result<()> {
    command.build();
    let commands: Vec<clap::Command> = command.get_subcommands().cloned().collect();
    let page = clap_mangen::Man::new(command);
    page.render_title(out)?;
    page.render_name_section(out)?;
    page.render_synopsis_section(out)?;
    page.render_description_section(out)?;
    for command in commands {
        let name = command.get_name().to_uppercase();
        let mut own = Vec::new();
        let page = clap_mangen::Man::new(command);
        page.render_synopsis_section(&mut own)?;
        page.render_description_section(&mut own)?;
        page.render_options_section(&mut own)?;
        writeln!(out, ".SH {name}")?;
        out.write_all(&subsections(&own))?;
    }
    page.render_extra_section(out)?;
    page.render_version_section(out)
}

/// A command's sections, one level down.
fn subsections(roff: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(roff.len());
    for line in roff.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_prefix(b".SH ") {
            Some(title) => {
                out.extend_from_slice(b".SS ");
                out.extend_from_slice(title);
            }
            None => out.extend_from_slice(line),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_strings_escape_what_json_asks_for() {
        assert_eq!(
            json_string("a\"b\\c\n\t\u{7f}é"),
            "\"a\\\"b\\\\c\\n\\u0009\\u007fé\""
        );
    }

    #[test]
    fn an_error_without_a_place_has_null_for_it() {
        let errors = crate::config::load(Path::new("/nonexistent/ringway.toml")).unwrap_err();
        let lines = json_lines(&errors);
        assert_eq!(lines.lines().count(), 1);
        assert!(
            lines.starts_with(
                "{\"file\":\"/nonexistent/ringway.toml\",\"line\":null,\"column\":null,"
            ),
            "{lines}"
        );
    }
}
