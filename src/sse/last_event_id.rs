//! Positions in a stream, used as ids of events.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::{borrow::Cow, fmt, str::FromStr};

use crate::text::excerpt;

/// The maximum length of such an id in bytes.
pub(super) const MAX_LEN: usize = EPOCH_LEN + "-18446744073709551615".len();

const EPOCH_LEN: usize = 12;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// A position in the events of an `EventStream`. The stream assigns it to an event as its id, and a client
/// returns it as `Last-Event-ID`.
///
/// Its text is the epoch as 12 hexadecimal digits, `-`, and the sequence number. That is at most 33 bytes of
/// `0-9a-f-`, which are safe in a header and in CORS. The epoch differs between runs of a program: see
/// [`History`](crate::History). With serde it is this text.
///
/// # Examples
///
/// ```
/// use axum_eventstream::LastEventId;
///
/// let id: LastEventId = "00c0ffee0123-42".parse()?;
/// assert_eq!(id.sequence(), 42);
/// assert_eq!(id.to_string(), "00c0ffee0123-42");
/// # Ok::<(), axum_eventstream::InvalidLastEventId>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct LastEventId {
    epoch: u64,
    sequence: u64,
}

impl LastEventId {
    /// Creates a position from the low 48 bits of the epoch and a sequence number.
    pub(crate) const fn new(epoch: u64, sequence: u64) -> Self {
        Self {
            epoch: epoch & 0xffff_ffff_ffff,
            sequence,
        }
    }

    /// Returns the number of the program's run, of 48 bits.
    #[must_use]
    pub fn epoch(self) -> u64 {
        self.epoch
    }

    /// Returns the number of the event in that run.
    #[must_use]
    pub fn sequence(self) -> u64 {
        self.sequence
    }

    /// Appends the text of the id.
    pub(super) fn write_to(self, out: &mut Vec<u8>) {
        let nibble = |shift| HEX[(self.epoch >> shift) as usize & 0xf];
        out.extend((0..EPOCH_LEN).rev().map(|digit| nibble(4 * digit)));
        out.push(b'-');
        out.extend_from_slice(itoa::Buffer::new().format(self.sequence).as_bytes());
    }
}

impl fmt::Debug for LastEventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LastEventId({self})")
    }
}

impl fmt::Display for LastEventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:012x}-{}", self.epoch, self.sequence)
    }
}

impl FromStr for LastEventId {
    type Err = InvalidLastEventId;

    /// Accepts only the form that [`Display`](fmt::Display) writes.
    fn from_str(text: &str) -> Result<Self, InvalidLastEventId> {
        parse(text).ok_or_else(|| InvalidLastEventId(excerpt(text)))
    }
}

impl Serialize for LastEventId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for LastEventId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

fn parse(text: &str) -> Option<LastEventId> {
    let (epoch, sequence) = text.split_at_checked(EPOCH_LEN)?;
    let sequence = sequence.strip_prefix('-')?;
    let canonical = epoch.bytes().all(|byte| HEX.contains(&byte))
        && sequence.bytes().all(|byte| byte.is_ascii_digit())
        && (sequence == "0" || !sequence.starts_with('0'));
    canonical.then_some(())?;
    Some(LastEventId {
        epoch: u64::from_str_radix(epoch, 16).ok()?,
        sequence: sequence.parse().ok()?,
    })
}

/// The error of text that is not a [`LastEventId`]. The message shows the start of the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid last event id {0}: it is not 12 hexadecimal digits, '-', and a number")]
pub struct InvalidLastEventId(Box<str>);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const VALID: [(&str, u64, u64); 4] = [
        ("000000000000-0", 0, 0),
        ("00c0ffee0123-42", 0xc0_ffee_0123, 42),
        ("0123456789ab-10", 0x0123_4567_89ab, 10),
        (
            "ffffffffffff-18446744073709551615",
            0xffff_ffff_ffff,
            u64::MAX,
        ),
    ];

    #[test]
    fn the_text_is_epoch_and_sequence() {
        for (text, epoch, sequence) in VALID {
            let id: LastEventId = text.parse().unwrap();
            assert_eq!((id.epoch(), id.sequence()), (epoch, sequence));
            assert_eq!(id, LastEventId::new(epoch, sequence));
            assert!(text.len() <= MAX_LEN);
        }
        assert_eq!(VALID[3].0.len(), MAX_LEN);
        assert_eq!(LastEventId::new(u64::MAX, 1).epoch(), 0xffff_ffff_ffff);
    }

    #[test]
    fn text_of_another_form_is_refused() {
        let cases = [
            "",
            "-",
            "0",
            "error",
            "000000000000",
            "000000000000-",
            "00000000000-0",
            "0000000000000-0",
            "00000000000A-0",
            "00000000000g-0",
            "+00000000000-0",
            "000000000000+0",
            "000000000000-+1",
            "000000000000--1",
            "000000000000-01",
            "000000000000-00",
            "000000000000-1 ",
            " 00000000000-1",
            "000000000000-1\n",
            "000000000000-1-1",
            "000000000000-1.0",
            "000000000000-0x1",
            "000000000000-18446744073709551616",
            "00000000000é-1",
            "000000000000-٣",
        ];
        for text in cases {
            assert!(text.parse::<LastEventId>().is_err(), "{text:?}");
        }
        for json in ["\"error\"", "1", "null"] {
            assert!(serde_json::from_str::<LastEventId>(json).is_err(), "{json}");
        }
        let long = "000000000000-".to_owned() + &"1".repeat(1_000_000);
        assert!(long.parse::<LastEventId>().unwrap_err().to_string().len() < 200);
        assert_eq!(
            "a\r\n".parse::<LastEventId>().unwrap_err().to_string(),
            r#"invalid last event id "a\r\n": it is not 12 hexadecimal digits, '-', and a number"#
        );
    }

    proptest! {
        #[test]
        fn written_and_displayed_text_are_equal_and_survive_a_round_trip(epoch: u64, sequence: u64) {
            let id = LastEventId::new(epoch, sequence);
            let mut written = Vec::new();
            id.write_to(&mut written);
            let text = id.to_string();
            prop_assert_eq!(&written, text.as_bytes());
            prop_assert_eq!(text.parse(), Ok(id));
            let json = serde_json::to_string(&id).unwrap();
            prop_assert_eq!(&json, &format!("\"{text}\""));
            prop_assert_eq!(serde_json::from_str::<LastEventId>(&json).unwrap(), id);
        }
    }
}
