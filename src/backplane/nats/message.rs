//! A batch as one message of the stream, and the sequences of its drafts.
//!
//! A message owns a block of 1024 sequences, and its last draft has the last one. So the end of the log and the
//! begin of a message follow from the stream's own sequences.

use crate::backplane::{
    Content, Draft, Entry,
    block::{self, Label, MAX_DRAFTS},
};
use async_nats::HeaderMap;
use bytes::Bytes;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Highest sequence of a stream whose blocks fit into 64 bits.
pub(super) const MAX_MESSAGE: u64 = u64::MAX / BLOCK - 2;

/// Number of sequences of a message.
const BLOCK: u64 = MAX_DRAFTS as u64;

/// The server skips a message whose id it has stored already.
const ID: &str = "Nats-Msg-Id";
const COUNT: &str = "Eventstream-Drafts";

/// The sequence of a message's last draft.
pub(super) fn last_of(message: u64) -> u64 {
    message * BLOCK + (BLOCK - 1)
}

/// The message with this sequence.
pub(super) fn message_of(sequence: u64) -> u64 {
    sequence / BLOCK
}

/// A sequence that no message before this one has.
pub(super) fn begin_of(message: u64) -> u64 {
    message * BLOCK
}

impl Label {
    pub(super) fn headers(self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(ID, format!("{}:{}", self.origin, self.first_number));
        headers.insert(COUNT, self.count.to_string());
        headers
    }

    /// Reads headers like input: other programs can write to the stream.
    pub(super) fn read<'a>(header: impl Fn(&'static str) -> Option<&'a str>) -> Option<Self> {
        let (origin, number) = header(ID)?.split_once(':')?;
        let label = Self {
            origin: origin.parse().ok()?,
            first_number: number.parse().ok()?,
            count: header(COUNT)?.parse().ok()?,
        };
        label.first_number.checked_add(BLOCK)?;
        (1..=MAX_DRAFTS).contains(&label.count).then_some(label)
    }

    /// The number of the draft with this sequence, if it is one of the message.
    pub(super) fn number_at(self, sequence: u64) -> Option<u64> {
        let from_end = last_of(message_of(sequence)) - sequence;
        let last_number = self.first_number + self.count as u64 - 1;
        (from_end < self.count as u64).then(|| last_number - from_end)
    }

    /// Distinguishes the message from one that has its place in another history.
    pub(super) fn mark(self, at: SystemTime) -> Bytes {
        let at = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let Self {
            origin,
            first_number,
            count,
        } = self;
        format!("{origin}:{first_number}:{count}:{at}").into()
    }
}

/// A message of the stream as a consumer delivers it.
#[derive(Debug)]
pub(super) struct Delivered {
    pub(super) message: u64,
    pub(super) at: SystemTime,
}

impl Delivered {
    /// Parses the subject for acknowledgements: `$JS.ACK.` stream, consumer, deliveries, sequence, sequence in the
    /// consumer, nanoseconds, messages left. Newer servers have a domain and an account before the stream.
    pub(super) fn parse(subject: &str) -> Option<Self> {
        let parts: Vec<_> = subject.strip_prefix("$JS.ACK.")?.split('.').collect();
        let offset = if parts.len() == 7 { 3 } else { 5 };
        let number = |index: usize| parts.get(index)?.parse::<u64>().ok();
        let message = number(offset).filter(|message| (1..=MAX_MESSAGE).contains(message));
        Some(Self {
            message: message?,
            at: UNIX_EPOCH.checked_add(Duration::from_nanos(number(offset + 2)?))?,
        })
    }

    /// The entries of the message.
    pub(super) fn entries(&self, label: Option<Label>, payload: Bytes) -> Vec<Entry> {
        let last = last_of(self.message);
        let entries =
            label.and_then(|label| label.entries(last, &label.mark(self.at), self.at, payload));
        // Without a mark, an attach compares nothing.
        let foreign = || vec![Entry::new(last, Bytes::new(), Content::Foreign)];
        let mut entries = entries.unwrap_or_else(foreign);
        if let Some(first) = entries.first_mut() {
            first.previous = begin_of(self.message) - 1;
        }
        entries
    }
}

/// The largest draft of a message with at most this many bytes of drafts.
pub(super) fn max_draft(bytes: usize) -> usize {
    bytes.saturating_sub(block::LENGTHS)
}

/// Returns how many of the drafts fit into a message with at most this many bytes. None if the first one does not.
pub(super) fn fitting(drafts: &[Draft], bytes: usize) -> Option<usize> {
    let mut left = bytes;
    let fits = |draft: &&Draft| match left.checked_sub(block::size(draft)) {
        Some(rest) => {
            left = rest;
            true
        }
        None => false,
    };
    let count = drafts.iter().take(MAX_DRAFTS).take_while(fits).count();
    (count > 0).then_some(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backplane::Origin;

    fn label(count: usize) -> Label {
        Label {
            origin: Origin::new(7),
            first_number: 10,
            count,
        }
    }

    fn drafts(count: usize) -> Vec<Draft> {
        (0..count).map(|n| Draft::new("a", n.to_string())).collect()
    }

    fn delivered(message: u64) -> Delivered {
        let subject = format!("$JS.ACK.stream.consumer.1.{message}.1.1500000000.0");
        Delivered::parse(&subject).unwrap()
    }

    #[test]
    fn the_drafts_of_a_message_end_its_block() {
        let payload = block::encode(&drafts(3));
        let entries = delivered(2).entries(Some(label(3)), payload.into());
        let places = entries.iter().map(|entry| (entry.previous, entry.sequence));
        assert_eq!(
            places.collect::<Vec<_>>(),
            [(2047, 3069), (3069, 3070), (3070, 3071)]
        );
        let payload = block::encode(&drafts(MAX_DRAFTS));
        let entries = delivered(3).entries(Some(label(MAX_DRAFTS)), payload.into());
        assert_eq!((entries[0].previous, entries[0].sequence), (3071, 3072));
        assert_eq!(entries[MAX_DRAFTS - 1].sequence, last_of(3));
        for sequence in [begin_of(3), last_of(3)] {
            assert_eq!(message_of(sequence), 3);
        }
    }

    #[test]
    fn a_sequence_has_the_number_of_its_draft() {
        for (sequence, number) in [
            (3068, None),
            (3069, Some(10)),
            (3071, Some(12)),
            (4095, Some(12)),
        ] {
            assert_eq!(label(3).number_at(sequence), number, "{sequence}");
        }
    }

    #[test]
    fn a_label_survives_its_headers() {
        let headers = label(3).headers();
        let read = Label::read(|name| Some(headers.get(name)?.as_str()));
        assert_eq!(read, Some(label(3)));
    }

    #[test]
    fn the_subject_of_a_message_has_its_sequence_and_time() {
        for subject in [
            "$JS.ACK.stream.consumer.1.5.9.1500000000.0",
            "$JS.ACK._.hash.stream.consumer.1.5.9.1500000000.0",
            "$JS.ACK.hub.hash.stream.consumer.1.5.9.1500000000.0.random",
        ] {
            let delivered = Delivered::parse(subject).unwrap();
            assert_eq!(delivered.message, 5, "{subject}");
            assert_eq!(delivered.at, UNIX_EPOCH + Duration::from_millis(1500));
        }
        for subject in [
            "",
            "$JS.ACK.stream.consumer.1.5",
            "$JS.ACK.s.c.1.x.9.15.0",
            "$JS.ACK.s.c.1.0.9.15.0",
            &format!("$JS.ACK.s.c.1.{}.9.15.0", MAX_MESSAGE + 1),
            "a.b.c.d.e.f.g.h.i",
        ] {
            assert!(Delivered::parse(subject).is_none(), "{subject}");
        }
    }

    #[test]
    fn the_highest_message_has_sequences() {
        let entries = delivered(MAX_MESSAGE).entries(None, Bytes::new());
        assert_eq!(entries[0].sequence, last_of(MAX_MESSAGE));
        assert_eq!(entries[0].previous, last_of(MAX_MESSAGE - 1));
        let entries = delivered(1).entries(None, Bytes::new());
        assert_eq!((entries[0].previous, entries[0].sequence), (1023, 2047));
    }

    #[test]
    fn a_message_has_as_many_drafts_as_fit() {
        let drafts = drafts(3);
        let size = block::size(&drafts[0]);
        for (bytes, expected) in [
            (0, None),
            (size - 1, None),
            (size, Some(1)),
            (3 * size - 1, Some(2)),
            (99, Some(3)),
        ] {
            assert_eq!(fitting(&drafts, bytes), expected, "{bytes}");
        }
        assert_eq!(
            fitting(&vec![drafts[0].clone(); 2000], usize::MAX),
            Some(MAX_DRAFTS)
        );
        assert_eq!(max_draft(size), size - block::LENGTHS);
    }
}
