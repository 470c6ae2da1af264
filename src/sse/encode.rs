//! The encoder, which writes the lines of an event. No other module writes them.

use memchr::memchr2;
use serde::Serialize;

use super::{LastEventId, last_event_id};

/// Bytes of [`event_line`] and a `data` line beside their values.
pub(super) const OVERHEAD: usize = "event: \ndata: \n".len();

/// Bytes of an `id` line with a [`LastEventId`] and the blank line.
pub(super) const END: usize = "id: \n\n".len() + last_event_id::MAX_LEN;

const DATA: &[u8] = b"data: ";

/// Writes each line of the text as a comment line.
pub(super) fn comment_lines(out: &mut Vec<u8>, text: &str) {
    lines(out, b":", text.as_bytes());
}

pub(super) fn event_line(out: &mut Vec<u8>, name: &str) {
    line(out, b"event: ", name.as_bytes());
}

pub(super) fn data_lines(out: &mut Vec<u8>, text: &str) {
    lines(out, DATA, text.as_bytes());
}

/// Serialises the value directly into `out`.
pub(super) fn json_lines<T>(out: &mut Vec<u8>, value: &T) -> serde_json::Result<()>
where
    T: Serialize + ?Sized,
{
    let start = begin_json(out);
    serde_json::to_writer(&mut *out, value)?;
    end_json(out, start);
    Ok(())
}

/// Begins a data line, and returns its position. JSON follows, and [`end_json`].
pub(super) fn begin_json(out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.extend_from_slice(DATA);
    start
}

/// Ends the data line that begins at `start`.
pub(super) fn end_json(out: &mut Vec<u8>, start: usize) {
    // Only a `RawValue` can contain a line break.
    if memchr2(b'\r', b'\n', &out[start..]).is_some() {
        let json = out.split_off(start);
        lines(out, DATA, &json[DATA.len()..]);
    } else {
        out.push(b'\n');
    }
}

/// The value of an `id` line.
#[derive(Clone, Copy)]
pub(super) enum Id<'a> {
    Own(&'a str),
    Position(LastEventId),
}

/// Writes the lines after the data, and the blank line.
pub(super) fn end(out: &mut Vec<u8>, id: Option<Id<'_>>, retry_ms: Option<u64>) {
    match id {
        Some(Id::Own(id)) => line(out, b"id: ", id.as_bytes()),
        Some(Id::Position(id)) => {
            out.extend_from_slice(b"id: ");
            id.write_to(out);
            out.push(b'\n');
        }
        None => {}
    }
    if let Some(milliseconds) = retry_ms {
        let mut digits = itoa::Buffer::new();
        line(out, b"retry: ", digits.format(milliseconds).as_bytes());
    }
    out.push(b'\n');
}

fn line(out: &mut Vec<u8>, prefix: &[u8], value: &[u8]) {
    out.extend_from_slice(prefix);
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// Splits at LF, CR and CRLF, the line breaks of the format.
fn lines(out: &mut Vec<u8>, prefix: &[u8], mut text: &[u8]) {
    while let Some(end) = memchr2(b'\r', b'\n', text) {
        line(out, prefix, &text[..end]);
        text = &text[end..];
        text = text.strip_prefix(b"\r\n").unwrap_or(&text[1..]);
    }
    line(out, prefix, text);
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_line_break_of_data_starts_a_data_line() {
        let cases = [
            ("", "data: \n"),
            ("a", "data: a\n"),
            (" a ", "data:  a \n"),
            ("a\nb", "data: a\ndata: b\n"),
            ("a\rb", "data: a\ndata: b\n"),
            ("a\r\nb", "data: a\ndata: b\n"),
            ("a\n\rb", "data: a\ndata: \ndata: b\n"),
            ("a\r\r\nb", "data: a\ndata: \ndata: b\n"),
            ("a\n", "data: a\ndata: \n"),
            ("a\r\n", "data: a\ndata: \n"),
            ("\r", "data: \ndata: \n"),
            ("\n\n", "data: \ndata: \ndata: \n"),
            (":a\0\u{2028}\u{85}é", "data: :a\0\u{2028}\u{85}é\n"),
            (
                "\n\nevent: x\n\n",
                "data: \ndata: \ndata: event: x\ndata: \ndata: \n",
            ),
        ];
        for (text, lines) in cases {
            assert_eq!(written(|out| data_lines(out, text)), lines, "{text:?}");
        }
    }

    #[test]
    fn each_line_break_of_a_comment_starts_a_comment_line() {
        let cases = [
            ("", ":\n"),
            ("hi", ":hi\n"),
            ("a\rb\nc\r\nd", ":a\n:b\n:c\n:d\n"),
            ("\n", ":\n:\n"),
        ];
        for (text, lines) in cases {
            assert_eq!(written(|out| comment_lines(out, text)), lines, "{text:?}");
        }
    }

    #[test]
    fn json_is_compact_and_on_one_line() {
        let value = serde_json::json!({"a": [1, null], "b": "x\r\ny"});
        let lines = written(|out| json_lines(out, &value).unwrap());
        assert_eq!(lines, "data: {\"a\":[1,null],\"b\":\"x\\r\\ny\"}\n");
    }

    #[test]
    fn raw_json_with_line_breaks_is_split() {
        let raw: &RawValue = serde_json::from_str("[1,\r\n2,\r3\n]").unwrap();
        let lines = written(|out| {
            event_line(out, "raw");
            json_lines(out, raw).unwrap();
        });
        assert_eq!(lines, "event: raw\ndata: [1,\ndata: 2,\ndata: 3\ndata: ]\n");
    }

    #[test]
    fn an_event_ends_with_id_retry_and_a_blank_line() {
        let position = Id::Position(LastEventId::new(0xab, 10));
        let cases = [
            (None, None, "\n"),
            (Some(Id::Own("")), None, "id: \n\n"),
            (Some(Id::Own("x")), Some(0), "id: x\nretry: 0\n\n"),
            (Some(position), None, "id: 0000000000ab-10\n\n"),
            (None, Some(u64::MAX), "retry: 18446744073709551615\n\n"),
        ];
        for (id, retry, lines) in cases {
            assert_eq!(written(|out| end(out, id, retry)), lines);
        }
        let longest = Id::Position(LastEventId::new(u64::MAX, u64::MAX));
        assert_eq!(written(|out| end(out, Some(longest), None)).len(), END);
    }
}
