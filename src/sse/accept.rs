//! Content negotiation for event streams.

use http::{HeaderMap, header::ACCEPT};

const MEDIA_TYPE: &[u8] = b"text/event-stream";

/// Whether the `Accept` headers admit `text/event-stream`, by
/// [RFC 9110, 12.5.1](https://www.rfc-editor.org/rfc/rfc9110#section-12.5.1).
///
/// 1. No header, or a header without an item, admits everything.
/// 2. `text/event-stream` takes precedence over `text/*`, and `text/*` over `*/*`. Among equals, one with a
///    weight above 0 admits.
/// 3. A range with a parameter before `q` is another media type. `charset=utf-8` is the exception, since every
///    event stream is UTF-8. Parameters after `q` are ignored.
/// 4. A weight is any number (`q=1.5` admits). A text that is not a number (`q=`, `q=x`) is 0.
/// 5. An item that is not a media range is ignored, but it counts as an item.
pub(crate) fn admits_event_stream(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT);
    let mut items = values
        .into_iter()
        .flat_map(|value| split_unquoted(value.as_bytes(), b','))
        .filter(|item| !item.is_empty())
        .peekable();
    if items.peek().is_none() {
        return true;
    }
    let best = items.filter_map(matching).max();
    best.is_some_and(|(_, admitted)| admitted)
}

/// How specific the media range is, and whether its weight is above 0. `None` if it does not match.
fn matching(item: &[u8]) -> Option<(Specificity, bool)> {
    let mut parts = split_unquoted(item, b';');
    let specificity = Specificity::of(parts.next()?)?;
    match parts.find(|part| !part.is_empty() && !is_utf_8(part)) {
        None => Some((specificity, true)),
        Some(parameter) => Some((specificity, is_positive(weight(parameter)?))),
    }
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Specificity {
    Any,
    Text,
    EventStream,
}

impl Specificity {
    fn of(range: &[u8]) -> Option<Self> {
        match range {
            b"*/*" => Some(Self::Any),
            _ if range.eq_ignore_ascii_case(b"text/*") => Some(Self::Text),
            _ if range.eq_ignore_ascii_case(MEDIA_TYPE) => Some(Self::EventStream),
            _ => None,
        }
    }
}

fn is_utf_8(parameter: &[u8]) -> bool {
    value_of(b"charset", parameter).is_some_and(|charset| charset.eq_ignore_ascii_case(b"utf-8"))
}

fn weight(parameter: &[u8]) -> Option<&[u8]> {
    value_of(b"q", parameter)
}

/// The value of the parameter with this name, without quotes.
fn value_of<'a>(expected: &[u8], parameter: &'a [u8]) -> Option<&'a [u8]> {
    let mut parts = parameter.splitn(2, |&byte| byte == b'=');
    let name = parts.next()?.trim_ascii();
    let value = parts.next().unwrap_or_default().trim_ascii();
    let unquoted = value
        .strip_prefix(b"\"")
        .and_then(|value| value.strip_suffix(b"\""));
    name.eq_ignore_ascii_case(expected)
        .then_some(unquoted.unwrap_or(value))
}

/// A weight that is not a number is 0.
fn is_positive(weight: &[u8]) -> bool {
    let weight = str::from_utf8(weight).ok();
    weight.is_some_and(|weight| weight.parse::<f32>().is_ok_and(|weight| weight > 0.0))
}

/// The trimmed parts between separators that are not in a quoted string.
fn split_unquoted(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |&byte| {
        if escaped {
            escaped = false;
            return false;
        }
        escaped = quoted && byte == b'\\';
        quoted ^= byte == b'"';
        byte == separator && !quoted
    })
    .map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn admits(lines: &[&str]) -> bool {
        let headers = lines
            .iter()
            .map(|line| (ACCEPT, HeaderValue::from_bytes(line.as_bytes()).unwrap()))
            .collect();
        admits_event_stream(&headers)
    }

    #[test]
    fn matching_ranges_admit() {
        let cases: [&[&str]; 49] = [
            &[],
            &[""],
            &["", " "],
            &[" , ,"],
            &["text/event-stream"],
            &["Text/Event-Stream"],
            &["  text/event-stream  "],
            &["text/*"],
            &["TEXT/*"],
            &["*/*"],
            &["text/html, text/event-stream"],
            &["text/html,,text/event-stream,"],
            &["text/html", "text/event-stream"],
            &["", "text/event-stream"],
            &["text/html, */*;q=0.1"],
            &["text/html;level=1, text/*;q=0.001"],
            &["text/event-stream;"],
            &["text/event-stream; ;q=1"],
            &["text/event-stream;Q=0.5"],
            &["text/event-stream ; q = 0.5"],
            &["text/event-stream\t;\tq=0.5"],
            &["text/event-stream;q=0.5;charset=utf-8"],
            &["text/event-stream;q=0.5;q=0"],
            &["text/event-stream, */*;q=0"],
            &["*/*;q=0, text/event-stream"],
            &["text/*;q=0, text/event-stream;q=0.1"],
            &["*/*;q=0, text/*"],
            &["text/event-stream;q=0, text/event-stream"],
            &["text/event-stream;q=0.1, text/event-stream;q=0"],
            &["*/*;q=0", "*/*;q=0.1"],
            &["text/event-stream;charset=utf-8"],
            &["text/event-stream; charset=UTF-8"],
            &["text/event-stream;Charset=\"utf-8\""],
            &["text/event-stream ; CHARSET = Utf-8"],
            &["text/event-stream;charset=utf-8;q=0.5"],
            &["text/event-stream;charset=utf-8;charset=utf-8"],
            &["text/*;charset=utf-8"],
            &["*/*;charset=utf-8;q=0.1"],
            &["text/html, text/event-stream;charset=utf-8"],
            &["*/*;q=0, text/event-stream;charset=utf-8"],
            &["text/event-stream;charset=latin1;q=0, */*"],
            &["text/event-stream;charset=latin1, */*"],
            &["text/html;a=\"x,text/event-stream;q=0\", */*;q=0.2"],
            &["text/html;a=\"\\\"\", text/event-stream"],
            &["text/html;a=\"\\\\\", text/event-stream"],
            &["\u{e9}, text/event-stream"],
            &["garbage, */*"],
            &["garbage\\, */*"],
            &["text/html;a=\", text/event-stream", "*/*"],
        ];
        for lines in cases {
            assert!(admits(lines), "{lines:?}");
        }
    }

    #[test]
    fn a_weight_above_zero_admits() {
        let above = [
            "1", "0.001", "1.000", ".5", "1.", "+1", "1.5", "10", "\"0.5\"",
        ];
        let others = [
            "0", "0.000", "0e9", "0.0.5", "-1", "-0", "", "x", "x1", "0.5x", "\"\"", "\"",
        ];
        let cases = above.map(|weight| (weight, true));
        for (weight, expected) in cases
            .into_iter()
            .chain(others.map(|weight| (weight, false)))
        {
            let accept = format!("text/event-stream;q={weight}");
            assert_eq!(admits(&[&accept]), expected, "{accept}");
        }
    }

    #[test]
    fn other_ranges_do_not_admit() {
        let cases: [&[&str]; 40] = [
            &["text/html"],
            &["text/html, application/json"],
            &["", "text/html"],
            &["text/event-streams"],
            &["text/event-strea"],
            &["text/event-stream/x"],
            &["text /event-stream"],
            &["text/ event-stream"],
            &["text/event-stream x"],
            &["xtext/event-stream"],
            &["*/event-stream"],
            &["application/*"],
            &["*"],
            &["garbage"],
            &["\u{e9}"],
            &["text/\u{e9}, \u{1f600};q=1"],
            &[";"],
            &[";q=1"],
            &["\""],
            &["\"text/event-stream\""],
            &["text/event-stream;q"],
            &["text/event-stream;q=0;q=1"],
            &["text/event-stream;q=0, */*"],
            &["*/*, text/event-stream;q=0"],
            &["text/*, text/event-stream;q=0"],
            &["text/*;q=0, */*;q=1"],
            &["*/*", "text/event-stream;q=0"],
            &["text/event-stream;charset=utf-8;q=0"],
            &["text/event-stream;charset=utf-8;q=0, */*"],
            &["text/event-stream;charset=latin1"],
            &["text/event-stream;charset=utf-16;q=1"],
            &["text/event-stream;charset"],
            &["text/event-stream;charset="],
            &["text/event-stream;charset=utf-8;level=1"],
            &["text/event-stream;charset=utf-8;charset=latin1"],
            &["text/event-stream;xcharset=utf-8"],
            &["text/event-stream;x"],
            &["text/*;level=1"],
            &["text/html;a=\"x, text/event-stream\""],
            &["text/html;a=\"\\\", text/event-stream"],
        ];
        for lines in cases {
            assert!(!admits(lines), "{lines:?}");
        }
    }
}
