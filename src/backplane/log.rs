//! What an engine stores and returns.

use bytes::Bytes;
use std::{fmt, str::FromStr, time::SystemTime};

/// An `EventStream` that appends to the log: a random number, written as 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin(u64);

impl Origin {
    /// Creates an origin from a random number.
    #[must_use]
    pub fn new(number: u64) -> Self {
        Self(number)
    }

    /// Returns the number.
    #[must_use]
    pub fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Origin({self})")
    }
}

impl FromStr for Origin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        let is_valid = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u64::from_str_radix(text, 16).ok().filter(|_| is_valid);
        number.map(Self).ok_or(InvalidOrigin)
    }
}

/// A text that is not an [`Origin`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an origin has 16 hexadecimal digits")]
pub struct InvalidOrigin;

/// What an instance knows of the log when it attaches.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Known {
    /// The instance.
    pub origin: Origin,
    /// The highest number of the origin whose append was acknowledged, or 0.
    pub acknowledged: u64,
    /// The sequence of that number's entry. `None` if it is not known, or if it belongs to another epoch than `seen`.
    pub acknowledged_at: Option<u64>,
    /// The end of the log as the instance has seen it. `None` before it has attached for the first time.
    pub seen: Option<Seen>,
    /// The epoch to begin, if one begins: a random number of 48 bits.
    pub fresh_epoch: u64,
}

impl Known {
    /// What an instance knows that has not attached before.
    #[must_use]
    pub fn nothing(origin: Origin, fresh_epoch: u64) -> Self {
        Self {
            origin,
            acknowledged: 0,
            acknowledged_at: None,
            seen: None,
            fresh_epoch,
        }
    }

    /// Sets the highest acknowledged number.
    #[must_use]
    pub fn acknowledged(mut self, number: u64) -> Self {
        self.acknowledged = number;
        self
    }

    /// Sets the sequence of the highest acknowledged number.
    #[must_use]
    pub fn acknowledged_at(mut self, sequence: u64) -> Self {
        self.acknowledged_at = Some(sequence);
        self
    }

    /// Sets the end of the log as the instance has seen it.
    #[must_use]
    pub fn seen(mut self, seen: Seen) -> Self {
        self.seen = Some(seen);
        self
    }
}

/// The end of a log as an instance has seen it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Seen {
    /// The epoch.
    pub epoch: u64,
    /// The sequence of the last entry that the instance has read, or [`Attached::last`] if it has read none since.
    pub last: u64,
    /// The mark of that entry, or [`Attached::mark`].
    pub mark: Bytes,
}

impl Seen {
    /// Creates what an instance has seen.
    pub fn new(epoch: u64, last: u64, mark: impl Into<Bytes>) -> Self {
        Self {
            epoch,
            last,
            mark: mark.into(),
        }
    }
}

/// The state of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attached {
    /// The epoch: a number of 48 bits.
    pub epoch: u64,
    /// The sequence of the last entry. In a new epoch, it is above all earlier ones.
    pub last: u64,
    /// The sequence of the oldest entry in the log, or a lower one that is above its [`previous`](Entry::previous).
    /// `None` if the log has no entry.
    pub first: Option<u64>,
    /// The mark of `last`, for [`Seen`].
    pub mark: Bytes,
    /// The largest draft that the engine accepts, in bytes of channel and payload. `None` without a limit.
    pub max_draft: Option<usize>,
    /// Why this attach has begun a new epoch, if it has: a word for logs and metrics.
    pub cause: Option<String>,
    /// The engine's time.
    pub time: SystemTime,
}

impl Attached {
    /// Creates the state of a log without entries, in which no epoch has begun now.
    pub fn new(epoch: u64, last: u64, mark: impl Into<Bytes>, time: SystemTime) -> Self {
        Self {
            epoch,
            last,
            first: None,
            mark: mark.into(),
            max_draft: None,
            cause: None,
            time,
        }
    }

    /// Sets the sequence of the oldest entry.
    #[must_use]
    pub fn first(mut self, first: u64) -> Self {
        self.first = Some(first);
        self
    }

    /// Sets the largest draft that the engine accepts.
    #[must_use]
    pub fn max_draft(mut self, bytes: usize) -> Self {
        self.max_draft = Some(bytes);
        self
    }

    /// Sets why the attach has begun a new epoch.
    #[must_use]
    pub fn cause(mut self, cause: impl Into<String>) -> Self {
        self.cause = Some(cause.into());
        self
    }
}

/// The epoch of a log, and its last sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Head {
    /// The epoch.
    pub epoch: u64,
    /// The sequence of the last entry.
    pub last: u64,
}

impl Head {
    /// Creates the end of a log.
    #[must_use]
    pub fn new(epoch: u64, last: u64) -> Self {
        Self { epoch, last }
    }
}

/// Drafts to append, with consecutive numbers.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Batch<'a> {
    /// The epoch that the log must have.
    pub epoch: u64,
    /// The instance.
    pub origin: Origin,
    /// The number of the first draft: at least 1, and higher than in earlier batches unless one is repeated.
    pub first_number: u64,
    /// 1 to 1024 drafts.
    pub drafts: &'a [Draft],
}

impl<'a> Batch<'a> {
    /// Creates a batch.
    #[must_use]
    pub fn new(epoch: u64, origin: Origin, first_number: u64, drafts: &'a [Draft]) -> Self {
        Self {
            epoch,
            origin,
            first_number,
            drafts,
        }
    }
}

/// What an instance appends.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Draft {
    /// The channel, 1 to 255 bytes of UTF-8.
    pub channel: String,
    /// Any bytes.
    pub payload: Bytes,
}

impl Draft {
    /// Creates a draft.
    pub fn new(channel: impl Into<String>, payload: impl Into<Bytes>) -> Self {
        Self {
            channel: channel.into(),
            payload: payload.into(),
        }
    }
}

/// Result of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Committed {
    /// The sequence of the batch's last draft.
    pub last: u64,
    /// The number of entries that this append has added: fewer than drafts if some were in the log already.
    pub added: usize,
}

impl Committed {
    /// Creates the result of an append.
    #[must_use]
    pub fn new(last: u64, added: usize) -> Self {
        Self { last, added }
    }
}

/// An entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// Its sequence.
    pub sequence: u64,
    /// The sequence of the entry before it, or a higher one that is below `sequence`: nothing is missing between the
    /// two.
    pub previous: u64,
    /// Distinguishes it from an entry that took its place in another history. Any bytes, for [`Seen`].
    pub mark: Bytes,
    /// Its content.
    pub content: Content,
}

impl Entry {
    /// Creates an entry that directly follows the one before it: its sequence is one more.
    pub fn new(sequence: u64, mark: impl Into<Bytes>, content: Content) -> Self {
        Self {
            sequence,
            previous: sequence.saturating_sub(1),
            mark: mark.into(),
            content,
        }
    }

    /// Sets the sequence of the entry before it.
    #[must_use]
    pub fn previous(mut self, previous: u64) -> Self {
        self.previous = previous;
        self
    }
}

/// The content of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Content {
    /// A draft that was appended.
    Published(Publication),
    /// An epoch begins here.
    NewEpoch,
    /// Something that no [`Writer`](super::Writer) of this version has appended. It is counted and skipped. If it has a
    /// sequence of its own, it may be a batch of another version, so all clients are reset.
    Foreign,
}

/// An appended draft.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Publication {
    /// The instance that has appended it.
    pub origin: Origin,
    /// The instance's number for it.
    pub number: u64,
    /// The channel.
    pub channel: String,
    /// The bytes.
    pub payload: Bytes,
    /// When it was appended, by the engine's clock.
    pub at: SystemTime,
}

impl Publication {
    /// Creates an appended draft.
    pub fn new(
        origin: Origin,
        number: u64,
        channel: impl Into<String>,
        payload: impl Into<Bytes>,
        at: SystemTime,
    ) -> Self {
        Self {
            origin,
            number,
            channel: channel.into(),
            payload: payload.into(),
            at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_survives_a_round_trip() {
        for number in [0, 1, u64::MAX] {
            let origin = Origin::new(number);
            assert_eq!(origin.to_string().parse(), Ok(origin));
        }
        for text in [
            "",
            "1",
            "+000000000000001",
            "00000000000000001",
            "000000000000000g",
        ] {
            assert_eq!(text.parse::<Origin>(), Err(InvalidOrigin), "{text}");
        }
    }
}
