//! The decoder for the encoder's own output.
//!
//! The [rules of the HTML standard](https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation),
//! less those for input that the encoder never writes: CR as a line break and a byte order mark.

use std::{borrow::Cow, str};

use memchr::memchr;

/// The fields of an event, with their values. A comment is a field with an empty name.
fn fields(event: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = event;
    std::iter::from_fn(move || {
        let end = memchr(b'\n', rest)?;
        let line = &rest[..end];
        rest = &rest[end + 1..];
        let (name, value) = line.split_at(memchr(b':', line).unwrap_or(end));
        let value = value.strip_prefix(b":").unwrap_or(value);
        Some((name, value.strip_prefix(b" ").unwrap_or(value)))
    })
}

fn values<'a>(event: &'a [u8], name: &str) -> impl Iterator<Item = &'a str> {
    fields(event)
        .filter(move |(field, _)| *field == name.as_bytes())
        .map(|(_, value)| str::from_utf8(value).unwrap_or_default())
}

/// The value of a field that occurs once.
pub(super) fn value<'a>(event: &'a [u8], name: &str) -> Option<&'a str> {
    values(event, name).next()
}

/// The `data` lines, joined with LF.
pub(super) fn data(event: &[u8]) -> Cow<'_, str> {
    let mut lines = values(event, "data");
    let Some(first) = lines.next() else {
        return Cow::default();
    };
    lines.fold(Cow::Borrowed(first), |mut data, line| {
        let joined = data.to_mut();
        joined.push('\n');
        joined.push_str(line);
        data
    })
}

/// The length of [`data`] in bytes, without joining it.
pub(super) fn data_len(event: &[u8]) -> usize {
    let with_breaks: usize = values(event, "data").map(|line| line.len() + 1).sum();
    with_breaks.saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_is_a_field_with_a_value() {
        let cases: [(&str, &[(&str, &str)]); 5] = [
            ("\n", &[("", "")]),
            (":c\ndata: a\n\n", &[("", "c"), ("data", "a"), ("", "")]),
            ("data:a\ndata:  a \n", &[("data", "a"), ("data", " a ")]),
            ("data: a: b\nid\n", &[("data", "a: b"), ("id", "")]),
            ("data: unfinished", &[]),
        ];
        for (event, expected) in cases {
            let expected = expected.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes()));
            assert!(fields(event.as_bytes()).eq(expected), "{event:?}");
        }
    }

    #[test]
    fn data_lines_are_joined() {
        let cases = [
            ("event: x\n\n", ""),
            ("data: \n\n", ""),
            (":data: x\nxdata: x\n\n", ""),
            ("data: a\n\n", "a"),
            ("data: \ndata: a\ndata: \n\n", "\na\n"),
        ];
        for (event, expected) in cases {
            assert_eq!(data(event.as_bytes()), expected, "{event:?}");
            assert_eq!(data_len(event.as_bytes()), expected.len());
        }
        assert!(matches!(data(b"data: a\n\n"), Cow::Borrowed("a")));
    }
}
