//! Numbered events with the time of their publish.

use crate::load::machine;
use memchr::memmem;
use std::fmt::Write as _;

/// The name of the events.
pub(crate) const NAME: &str = "message";

/// The data of event number `number`: JSON of at least `size` bytes.
pub(crate) fn data(number: u64, size: usize) -> String {
    let mut data = String::with_capacity(size + 8);
    let at = machine::now();
    // Writing to a `String` does not fail.
    let _ = write!(data, r#"{{"number":{number},"at":{at},"pad":""#);
    let pad = size.saturating_sub(data.len() + 2);
    data.extend(std::iter::repeat_n('x', pad));
    data.push_str("\"}");
    data
}

/// The lines of the event, for hand-written peers.
pub(crate) fn event(data: &str) -> String {
    format!("event: {NAME}\ndata: {data}\n\n")
}

/// The client's view of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Received {
    Event {
        number: u64,
        at: u64,
    },
    /// The server reports this number of missing events.
    Missed(u64),
    /// An opening, a keep-alive or a comment.
    Other,
}

/// Parses an event as it was on the wire, without the blank line.
pub(crate) fn read(event: &[u8]) -> Received {
    match event.strip_prefix(b"event: message\ndata: {\"number\":") {
        Some(data) => {
            let (number, data) = digits(data);
            let (at, data) = digits(data.strip_prefix(b",\"at\":").expect("the time"));
            let end = memchr::memchr(b'\n', data).unwrap_or(data.len());
            assert!(data[..end].ends_with(b"x\"}"), "the data is cut off");
            Received::Event { number, at }
        }
        None => match memmem::find(event, b"\"missed\":") {
            Some(at) => Received::Missed(digits(&event[at + 9..]).0),
            None => Received::Other,
        },
    }
}

fn digits(text: &[u8]) -> (u64, &[u8]) {
    let end = text.iter().position(|byte| !byte.is_ascii_digit());
    let (digits, rest) = text.split_at(end.unwrap_or(text.len()));
    let number = digits
        .iter()
        .fold(0, |number, digit| number * 10 + u64::from(digit - b'0'));
    (number, rest)
}
