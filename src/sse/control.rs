//! Events of the stream itself, such as its opening and keep-alives.

use std::time::Duration;

use bytes::Bytes;
use serde_json::json;

use super::{Event, LastEventId};
use crate::Channel;

const STREAM_OPEN: &[u8] = b"event: stream-open\ndata: \n\n";
const STREAM_OPEN_COMMENT: &[u8] = b":stream-open\n\n";
const KEEP_ALIVE: &[u8] = b"event: keep-alive\ndata: \n\n";

/// The form of a stream's opening.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Opening {
    /// The event `stream-open`.
    #[default]
    Event,
    /// A comment, for clients that parse the data of every event.
    Comment,
}

impl Opening {
    /// The first bytes of a stream, with the position that it starts from.
    ///
    /// Browsers store the id of a block without data too, although they dispatch nothing for it.
    pub(crate) fn frame(self, id: Option<LastEventId>) -> Bytes {
        match (self, id) {
            (Self::Event, None) => Bytes::from_static(STREAM_OPEN),
            (Self::Event, Some(_)) => Event::own("stream-open", "").seal(id),
            (Self::Comment, None) => Bytes::from_static(STREAM_OPEN_COMMENT),
            (Self::Comment, Some(id)) => format!(":stream-open\nid: {id}\n\n").into(),
        }
    }
}

/// The event that keeps an idle stream alive.
pub(crate) fn keep_alive() -> Bytes {
    Bytes::from_static(KEEP_ALIVE)
}

/// Sets how long a client waits before it reconnects. Clients dispatch nothing for it.
pub(crate) fn retry(wait: Duration) -> Bytes {
    format!("retry: {}\n\n", wait.as_millis()).into()
}

/// Sets the position of the client. Clients dispatch nothing for it.
pub(crate) fn position(id: LastEventId) -> Bytes {
    format!("id: {id}\n\n").into()
}

/// A comment, which clients ignore.
pub(crate) fn comment(text: &str) -> Bytes {
    let lines = text.replace("\r\n", "\n").replace('\r', "\n");
    let lines = lines.split('\n').map(|line| format!(":{line}\n"));
    Bytes::from(lines.collect::<String>() + "\n")
}

/// The event that reports missed events of these channels, and their number if it is known.
pub(crate) fn stream_reset(
    channels: &[Channel],
    missed: Option<u64>,
    id: Option<LastEventId>,
) -> Bytes {
    let channels: Vec<_> = channels.iter().map(Channel::as_str).collect();
    let data = json!({"channels": channels, "missed": missed}).to_string();
    Event::own("stream-reset", &data).seal(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: Option<LastEventId> = Some(LastEventId::new(0xab, 3));

    #[test]
    fn events_of_the_stream_itself_have_these_bytes() {
        let channels = ["b", "a\"\u{e9}\\"].map(|name| Channel::new(name).unwrap());
        let cases = [
            (Opening::Event.frame(None), "event: stream-open\ndata: \n\n"),
            (
                Opening::Event.frame(ID),
                "event: stream-open\ndata: \nid: 0000000000ab-3\n\n",
            ),
            (Opening::Comment.frame(None), ":stream-open\n\n"),
            (
                Opening::Comment.frame(ID),
                ":stream-open\nid: 0000000000ab-3\n\n",
            ),
            (keep_alive(), "event: keep-alive\ndata: \n\n"),
            (retry(Duration::from_micros(1_234_567)), "retry: 1234\n\n"),
            (
                position(LastEventId::new(0xab, 3)),
                "id: 0000000000ab-3\n\n",
            ),
            (comment(""), ":\n\n"),
            (comment("a\r\nb\rc\n"), ":a\n:b\n:c\n:\n\n"),
            (
                stream_reset(&channels, Some(7), None),
                "event: stream-reset\ndata: {\"channels\":[\"b\",\"a\\\"é\\\\\"],\"missed\":7}\n\n",
            ),
            (
                stream_reset(&channels[..1], None, ID),
                "event: stream-reset\ndata: {\"channels\":[\"b\"],\"missed\":null}\nid: 0000000000ab-3\n\n",
            ),
        ];
        for (bytes, expected) in cases {
            assert_eq!(bytes, expected);
        }
    }
}
