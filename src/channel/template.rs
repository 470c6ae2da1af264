//! Channel names with route parameters, such as `room-{room}`.

use super::invalid_template::{BraceError, InvalidTemplate};
use crate::text::is_white_space;
use std::borrow::Cow;

/// A channel name in which `{name}` and `<name>` stand for route parameters.
///
/// 1. `{name}` takes any name that a route can have, and `{*name}` is the same parameter. Whether the route has
///    it is checked at the request.
/// 2. `{{` and `}}` are literal braces. Any other brace is a mistake, never literal text.
/// 3. `<name>` is a parameter if the route has it. Otherwise it is a mistake where the name is an identifier
///    (ASCII letters, digits and `_`, no digit first), and literal text in all other cases.
/// 4. `:name`, and `*name` between slashes, are literal text. They are a mistake where the route has a
///    parameter of that name: this is the syntax of routes before axum 0.8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChannelTemplate {
    text: Box<str>,
    segments: Result<Vec<Segment>, BraceError>,
    /// The parts of the text that have the form `:name`, or between slashes `*name`.
    old_forms: Vec<Box<str>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(String),
    Braces(String),
    /// Includes the angle brackets, since it may be literal text.
    Angles(String),
}

impl ChannelTemplate {
    /// Trims the text, which is a literal of the application. Values of parameters are never trimmed.
    pub(crate) fn new(text: &str) -> Self {
        let text = text.trim_matches(is_white_space);
        Self {
            text: text.into(),
            segments: parse(text),
            old_forms: old_forms(text),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Whether the text depends on the parameters of the route.
    pub(crate) fn has_parameters(&self) -> bool {
        let is_literal = |segment: &Segment| matches!(segment, Segment::Literal(_));
        let segments = self.segments.as_deref().unwrap_or_default();
        !segments.iter().all(is_literal) || !self.old_forms.is_empty()
    }

    /// Replaces each parameter by its value, which is not expanded again.
    ///
    /// # Errors
    ///
    /// The template is wrong for this route. The message names the parameter or the brace.
    pub(crate) fn expand<'a>(
        &'a self,
        value: impl Fn(&str) -> Option<&'a str>,
    ) -> Result<Cow<'a, str>, InvalidTemplate> {
        let brace = |error: &BraceError| InvalidTemplate::brace(&self.text, *error);
        let segments = self.segments.as_ref().map_err(brace)?;
        let mut old_forms = self.old_forms.iter();
        if let Some(text) = old_forms.find(|text| value(&text[1..]).is_some()) {
            return Err(InvalidTemplate::old_form(&self.text, text));
        }
        let expand = |segment: &'a Segment| match segment.expand(&value) {
            Ok(text) => Ok(text),
            Err(name) => Err(InvalidTemplate::missing(&self.text, name)),
        };
        match &**segments {
            [segment] => expand(segment).map(Cow::Borrowed),
            segments => segments.iter().map(expand).collect(),
        }
    }
}

impl Segment {
    /// The text, or the name of the missing parameter.
    fn expand<'a>(&'a self, value: impl Fn(&str) -> Option<&'a str>) -> Result<&'a str, &'a str> {
        match self {
            Self::Literal(text) => Ok(text),
            Self::Braces(name) => value(name).ok_or(name),
            Self::Angles(text) => {
                let name = &text[1..text.len() - 1];
                match value(name) {
                    Some(value) => Ok(value),
                    None if is_identifier(name) => Err(name),
                    None => Ok(text),
                }
            }
        }
    }
}

fn is_identifier(name: &str) -> bool {
    name.starts_with(|c: char| c == '_' || c.is_ascii_alphabetic())
        && name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric())
}

fn parse(text: &str) -> Result<Vec<Segment>, BraceError> {
    let mut segments = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}', '<']) {
        let (before, special) = rest.split_at(at);
        literal.push_str(before);
        let (segment, length) = special_at(special)?;
        if let Segment::Literal(text) = &segment {
            literal.push_str(text);
        } else {
            push_literal(&mut segments, &mut literal);
            segments.push(segment);
        }
        rest = &special[length..];
    }
    literal.push_str(rest);
    push_literal(&mut segments, &mut literal);
    Ok(segments)
}

/// The segment that begins with a brace or an angle bracket, and the length of its text.
fn special_at(text: &str) -> Result<(Segment, usize), BraceError> {
    match text.as_bytes() {
        [b'{', b'{', ..] => Ok((Segment::Literal("{".into()), 2)),
        [b'}', b'}', ..] => Ok((Segment::Literal("}".into()), 2)),
        [b'{', ..] => {
            let end = text.find('}').ok_or(BraceError::Unclosed)?;
            match text[1..end].strip_prefix('*').unwrap_or(&text[1..end]) {
                "" => Err(BraceError::Nameless),
                name => Ok((Segment::Braces(name.into()), end + 1)),
            }
        }
        [b'}', ..] => Err(BraceError::Unopened),
        _ => Ok(angles_at(text)),
    }
}

/// `<name>`. Without a name after it, the angle bracket is literal text.
fn angles_at(text: &str) -> (Segment, usize) {
    match text[1..].find(['<', '>', '{', '}']).map(|end| end + 1) {
        Some(end) if end > 1 && text[end..].starts_with('>') => {
            (Segment::Angles(text[..=end].into()), end + 1)
        }
        _ => (Segment::Literal("<".into()), 1),
    }
}

fn old_forms(text: &str) -> Vec<Box<str>> {
    let parts = text.split('/').filter(|part| part.len() > 1);
    let whole = parts.filter(|part| part.starts_with([':', '*']));
    let colons = text.match_indices(':').map(|(at, _)| {
        let name = &text[at + 1..];
        let end = name.find(|c: char| c != '_' && !c.is_ascii_alphanumeric());
        &text[at..=at + end.unwrap_or(name.len())]
    });
    let old_forms = whole.chain(colons).filter(|form| form.len() > 1);
    let mut old_forms: Vec<Box<str>> = old_forms.map(Box::from).collect();
    old_forms.dedup();
    old_forms
}

fn push_literal(segments: &mut Vec<Segment>, literal: &mut String) {
    if !literal.is_empty() {
        segments.push(Segment::Literal(std::mem::take(literal)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(template: &str) -> Result<String, String> {
        let template = ChannelTemplate::new(template);
        let expanded = template.expand(|name| match name {
            "id" => Some("7"),
            "_u1" => Some("{id}<id>"),
            "a-b" | "a.b" | "1a" | " id " | "id:uuid" | "é" | "a{b" => Some("ok"),
            "blank" => Some(" \t"),
            "rest" => Some("x/y"),
            "none" => Some(""),
            _ => None,
        });
        match expanded {
            Ok(text) => Ok(text.into_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn a_parameter_is_replaced_and_other_text_is_literal() {
        let cases = [
            ("", ""),
            ("plain", "plain"),
            ("{id}", "7"),
            ("<id>", "7"),
            ("room-{id}.<id>!", "room-7.7!"),
            ("{id}{id}<id>", "777"),
            ("{_u1}", "{id}<id>"),
            ("{rest}", "x/y"),
            ("{*rest}", "x/y"),
            ("all/{*rest}/{id}", "all/x/y/7"),
            ("{a-b}{a.b}{1a}{é}", "okokokok"),
            ("<a-b><a.b><1a><é>", "okokokok"),
            ("{ id }", "ok"),
            ("{id:uuid}", "ok"),
            ("{a{b}", "ok"),
            ("{{id}}", "{id}"),
            ("{{{id}}}", "{7}"),
            ("}}{{", "}{"),
            ("{{}}", "{}"),
            ("<<id>>", "<7>"),
            ("<{id}>", "<7>"),
            ("a<b", "a<b"),
            ("<>", "<>"),
            ("<id", "<id"),
            ("a>b", "a>b"),
            ("<=>", "<=>"),
            ("< id >", "ok"),
            ("{{{id}", "{7"),
            ("<not here>", "<not here>"),
            ("<9>", "<9>"),
            ("a{none}b", "ab"),
            ("{none}", ""),
            (" \u{feff} {id} \u{3000}", "7"),
            ("{blank}", " \t"),
            ("{blank}{id}{blank}", " \t7 \t"),
            ("é<é{id}é", "é<é7é"),
            (":", ":"),
            ("user:other", "user:other"),
            ("12:00", "12:00"),
            (":{id}", ":7"),
            (":other", ":other"),
            ("a/*other", "a/*other"),
        ];
        for (template, expanded) in cases {
            assert_eq!(expand(template).as_deref(), Ok(expanded), "{template}");
        }
    }

    #[test]
    fn braces_without_a_parameter_of_the_route_are_never_literal() {
        let missing = [
            ("{rom}", "rom"),
            ("room-{rom}", "rom"),
            ("<rom>", "rom"),
            ("{*path}", "path"),
            ("{ rom }", " rom "),
            ("{id{id}", "id{id"),
            ("{<id>}", "<id>"),
            ("{id>}", "id>"),
        ];
        for (template, name) in missing {
            assert_eq!(
                expand(template).unwrap_err(),
                format!(
                    "the route has no parameter {name:?}, which the channel template {template:?} names"
                )
            );
        }
        let braces = [
            ("{id", "a `{` without a `}`"),
            ("{{{id", "a `{` without a `}`"),
            ("{id>", "a `{` without a `}`"),
            ("id}", "a `}` without a `{`"),
            ("{id}}", "a `}` without a `{`"),
            ("{{id}", "a `}` without a `{`"),
            ("a{}", "braces without a name"),
            ("{*}", "braces without a name"),
        ];
        for (template, what) in braces {
            let message = format!("the channel template {template:?} has {what}");
            assert_eq!(expand(template).unwrap_err(), message);
        }
    }

    #[test]
    fn the_old_form_of_a_parameter_of_the_route_is_refused() {
        for (template, form) in [
            (":id", ":id"),
            ("rooms/:id/x", ":id"),
            ("room-:id.x", ":id"),
            ("a/*rest", "*rest"),
        ] {
            let error = expand(template).unwrap_err();
            let message = format!("the channel template {template:?} has {form:?} as literal text");
            assert_eq!(error, message);
        }
    }

    #[test]
    fn only_templates_that_depend_on_the_route_have_parameters() {
        for template in ["", "a", "{{a}}", "a<b", "<>", "a: b", "a:", "{", "}"] {
            assert!(
                !ChannelTemplate::new(template).has_parameters(),
                "{template}"
            );
        }
        for template in ["{a}", "x<a>", "<a b>", ":a", "x/*a"] {
            assert!(
                ChannelTemplate::new(template).has_parameters(),
                "{template}"
            );
        }
    }
}
