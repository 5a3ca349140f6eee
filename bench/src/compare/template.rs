//! Config templates: `{{name}}` is a value; lines between `{{#flag}}` and `{{/flag}}` are for when the flag is set,
//! those between `{{^flag}}` and `{{/flag}}` for when it is not. Sections do not nest.

use std::fmt;

/// Names with their values. A value that is empty counts as a flag that is not set.
pub(super) type Values<'a> = [(&'a str, String)];

/// What is wrong with a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TemplateError {
    line: usize,
    name: String,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "line {} of the template: `{}` is not known here",
            self.line, self.name
        )
    }
}

/// The template with its values filled in.
pub(super) fn render(template: &str, values: &Values<'_>) -> Result<String, TemplateError> {
    let value = |name: &str, line: usize| {
        let found = values.iter().find(|(known, _)| *known == name);
        found
            .map(|(_, value)| value.as_str())
            .ok_or_else(|| TemplateError {
                line,
                name: name.to_owned(),
            })
    };
    let mut out = String::with_capacity(template.len() + 256);
    let mut shown = true;
    for (index, line) in template.lines().enumerate() {
        let tag = line
            .trim()
            .strip_prefix("{{")
            .and_then(|rest| rest.strip_suffix("}}"));
        match tag.and_then(|tag| tag.split_at_checked(1)) {
            Some(("#", flag)) => shown = !value(flag, index + 1)?.is_empty(),
            Some(("^", flag)) => shown = value(flag, index + 1)?.is_empty(),
            Some(("/", _)) => shown = true,
            _ if !shown => {}
            _ => {
                let mut rest = line;
                while let Some((before, name, after)) = next_placeholder(rest) {
                    out.push_str(before);
                    out.push_str(value(name, index + 1)?);
                    rest = after;
                }
                out.push_str(rest);
                out.push('\n');
            }
        }
    }
    Ok(out)
}

fn next_placeholder(line: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = line.split_once("{{")?;
    let (name, after) = rest.split_once("}}")?;
    Some((before, name, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_sections_are_filled_in() {
        let template =
            "a {{x}} b {{x}}\n  {{#on}}\nshown\n  {{/on}}\n{{^on}}\nhidden\n{{/on}}\nend { x }";
        let values = [("x", "1".to_owned()), ("on", "yes".to_owned())];
        assert_eq!(
            render(template, &values).unwrap(),
            "a 1 b 1\nshown\nend { x }\n"
        );
    }

    #[test]
    fn an_unknown_name_is_an_error_with_its_line() {
        let error = render("\n{{nobody}}", &[]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "line 2 of the template: `nobody` is not known here"
        );
    }
}
