//! Path templates: `/users/{id}`, `/static/{*rest}`, parsed into segments.

use std::fmt;

/// One segment of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Segment {
    /// Exactly these bytes; empty at the end of a template that ends with `/`.
    Static(Box<[u8]>),
    /// `{name}`: one segment of one byte or more.
    Param,
    /// `{*name}`: everything that is left, nothing included. Always last.
    Rest,
}

/// Why a template cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TemplateError {
    /// It does not begin with `/`.
    NoLeadingSlash,
    /// A brace that is not a whole segment's: `{name}` and `{*name}` stand between slashes, alone.
    StrayBrace,
    /// A parameter's name is empty, or has other characters than letters, digits and `_`.
    BadName,
    /// The same name twice.
    DuplicateName,
    /// Something follows `{*name}`.
    RestNotLast,
    /// It has a `?` or `#`: a path ends before them, so it could never match.
    NotAPath,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoLeadingSlash => "a path begins with '/'",
            Self::StrayBrace => "a parameter is a whole segment: '/{name}/' or '/{*name}'",
            Self::BadName => "a parameter's name is letters, digits and '_'",
            Self::DuplicateName => "two parameters have the same name",
            Self::RestNotLast => "'{*name}' takes all that is left, so nothing can follow it",
            Self::NotAPath => "a path has no '?' and no '#'",
        })
    }
}

impl std::error::Error for TemplateError {}

/// The segments of `template`, one or more.
pub(super) fn parse(template: &str) -> Result<Vec<Segment>, TemplateError> {
    if template.contains(['?', '#']) {
        return Err(TemplateError::NotAPath);
    }
    let inner = template
        .strip_prefix('/')
        .ok_or(TemplateError::NoLeadingSlash)?;
    let mut segments = Vec::new();
    let mut names = Vec::new();
    for text in inner.split('/') {
        if segments.last() == Some(&Segment::Rest) {
            return Err(TemplateError::RestNotLast);
        }
        segments.push(parse_segment(text, &mut names)?);
    }
    Ok(segments)
}

fn parse_segment<'a>(text: &'a str, names: &mut Vec<&'a str>) -> Result<Segment, TemplateError> {
    let Some(inside) = text
        .strip_prefix('{')
        .and_then(|text| text.strip_suffix('}'))
    else {
        if text.contains(['{', '}']) {
            return Err(TemplateError::StrayBrace);
        }
        return Ok(Segment::Static(text.as_bytes().into()));
    };
    let (segment, name) = match inside.strip_prefix('*') {
        Some(name) => (Segment::Rest, name),
        None => (Segment::Param, inside),
    };
    if name.contains(['{', '}']) {
        return Err(TemplateError::StrayBrace);
    }
    if name.is_empty()
        || !name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    {
        return Err(TemplateError::BadName);
    }
    if names.contains(&name) {
        return Err(TemplateError::DuplicateName);
    }
    names.push(name);
    Ok(segment)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Segment {
        Segment::Static(text.as_bytes().into())
    }

    #[test]
    fn segments_are_text_parameters_and_a_rest() {
        let segments = parse("/users/{id}/files/{*rest}").expect("it is a template");
        assert_eq!(
            segments,
            [text("users"), Segment::Param, text("files"), Segment::Rest]
        );
    }

    #[test]
    fn a_slash_at_the_end_is_an_empty_segment() {
        assert_eq!(parse("/"), Ok(vec![text("")]));
        assert_eq!(parse("/a/"), Ok(vec![text("a"), text("")]));
    }

    #[test]
    fn what_is_not_a_template_says_why() {
        for (template, error) in [
            ("", TemplateError::NoLeadingSlash),
            ("users", TemplateError::NoLeadingSlash),
            ("/{id", TemplateError::StrayBrace),
            ("/id}", TemplateError::StrayBrace),
            ("/file-{id}", TemplateError::StrayBrace),
            ("/{a}{b}", TemplateError::StrayBrace),
            ("/{}", TemplateError::BadName),
            ("/{*}", TemplateError::BadName),
            ("/{a-b}", TemplateError::BadName),
            ("/{a}/{a}", TemplateError::DuplicateName),
            ("/{*rest}/a", TemplateError::RestNotLast),
            ("/{*rest}/", TemplateError::RestNotLast),
            ("/a?b", TemplateError::NotAPath),
            ("/a#b", TemplateError::NotAPath),
        ] {
            assert_eq!(parse(template), Err(error), "{template}");
        }
    }
}
