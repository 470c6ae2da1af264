//! Channel names with route parameters in them: `room-{room}`.

use std::borrow::Cow;

/// A channel name in which `{name}` and `<name>` stand for route parameters.
///
/// A parameter's name is a letter or `_`, then letters, digits and `_`, all ASCII. Everything else is
/// literal text, so that no template is an error: `{1a}`, `{ id }` and `{id` stay as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ChannelTemplate(Vec<Segment>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(String),
    Parameter(String),
}

impl ChannelTemplate {
    pub(crate) fn new(template: impl Into<String>) -> Self {
        let template = template.into();
        let mut segments = Vec::new();
        let (mut literal, mut at) = (0, 0);
        while let Some(found) = template[at..].find(['{', '<']) {
            at += found;
            let Some(name) = parameter_at(&template[at..]) else {
                at += 1;
                continue;
            };
            push_literal(&mut segments, &template[literal..at]);
            segments.push(Segment::Parameter(name.to_owned()));
            at += name.len() + 2;
            literal = at;
        }
        push_literal(&mut segments, &template[literal..]);
        Self(segments)
    }

    /// The template with each parameter replaced by its value, which is not expanded again.
    ///
    /// A parameter without a value is left out.
    pub(crate) fn expand<'a>(&'a self, value: impl Fn(&str) -> Option<&'a str>) -> Cow<'a, str> {
        let expand = |segment: &'a Segment| match segment {
            Segment::Literal(text) => text,
            Segment::Parameter(name) => value(name).unwrap_or_default(),
        };
        match &*self.0 {
            [segment] => expand(segment).into(),
            segments => segments.iter().map(expand).collect(),
        }
    }

    /// The names of the parameters, in the order of the template.
    pub(crate) fn parameters(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|segment| match segment {
            Segment::Parameter(name) => Some(name.as_str()),
            Segment::Literal(_) => None,
        })
    }
}

fn push_literal(segments: &mut Vec<Segment>, text: &str) {
    if !text.is_empty() {
        segments.push(Segment::Literal(text.to_owned()));
    }
}

/// The name of the parameter that `text` starts with.
fn parameter_at(text: &str) -> Option<&str> {
    let (open, close) = match text.as_bytes().first()? {
        b'{' => ('{', '}'),
        _ => ('<', '>'),
    };
    let text = text.strip_prefix(open)?;
    let end = text.find(|c: char| c != '_' && !c.is_ascii_alphanumeric())?;
    let (name, rest) = text.split_at(end);
    (name.starts_with(|c: char| !c.is_ascii_digit()) && rest.starts_with(close)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(template: &str) -> String {
        let template = ChannelTemplate::new(template);
        let expanded = template.expand(|name| match name {
            "id" => Some("7"),
            "_u1" => Some("{id}<id>"),
            "Ab" => Some("é"),
            _ => None,
        });
        expanded.into_owned()
    }

    #[test]
    fn parameters_are_replaced_and_all_else_is_literal() {
        let cases = [
            ("", ""),
            ("plain", "plain"),
            ("{id}", "7"),
            ("<id>", "7"),
            ("room-{id}.<Ab>!", "room-7.é!"),
            ("{id}{id}<id>", "777"),
            ("{{id}}", "{7}"),
            ("<<id>>", "<7>"),
            ("<{id}>", "<7>"),
            ("{<id>}", "{7}"),
            ("{_u1}", "{id}<id>"),
            ("a{missing}b", "ab"),
            ("{1a}", "{1a}"),
            ("{a-b}", "{a-b}"),
            ("{id", "{id"),
            ("id}", "id}"),
            ("<id", "<id"),
            ("{}<>", "{}<>"),
            ("{ id }", "{ id }"),
            ("{id>", "{id>"),
            ("<id}", "<id}"),
            ("{id{id}", "{id7"),
            ("{é}{id}é", "{é}7é"),
            ("é<é{id", "é<é{id"),
        ];
        for (template, expanded) in cases {
            assert_eq!(expand(template), expanded, "{template}");
        }
    }

    #[test]
    fn parameters_are_listed_in_order() {
        let template = ChannelTemplate::new("a{b}-<c>{1}{b}{_9}");
        assert!(template.parameters().eq(["b", "c", "b", "_9"]));
        assert_eq!(ChannelTemplate::new("{x").parameters().next(), None);
    }
}
