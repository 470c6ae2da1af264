//! The drafts of a batch as one value, for engines that store a batch as one entry.
//!
//! Each draft is the length of its channel in one byte, the channel, the length of its payload in four bytes,
//! big-endian, and the payload.

use super::{Content, Draft, Entry, Origin, Publication};
use bytes::{Buf, Bytes};
use std::time::SystemTime;

/// Bytes of both lengths.
pub(super) const LENGTHS: usize = 5;

/// Maximum number of drafts.
pub(super) const MAX_DRAFTS: usize = 1024;

/// Number of bytes of a draft in a block.
pub(super) fn size(draft: &Draft) -> usize {
    LENGTHS + draft.channel.len() + draft.payload.len()
}

/// Joins drafts. A channel has at most 255 bytes, and a payload less than 4 GiB.
pub(super) fn encode(drafts: &[Draft]) -> Vec<u8> {
    let mut block = Vec::with_capacity(drafts.iter().map(size).sum());
    for Draft { channel, payload } in drafts {
        block.push(channel.len() as u8);
        block.extend_from_slice(channel.as_bytes());
        block.extend_from_slice(&(payload.len() as u32).to_be_bytes());
        block.extend_from_slice(payload);
    }
    block
}

/// Returns the drafts of a block, or `None` if it has not exactly so many.
///
/// Payloads share the memory of the block.
pub(super) fn decode(mut block: Bytes, count: usize) -> Option<Vec<Draft>> {
    if count > MAX_DRAFTS {
        return None;
    }
    let mut drafts = Vec::with_capacity(count);
    for _ in 0..count {
        let length = usize::from(block.try_get_u8().ok()?);
        let channel = take(&mut block, length)?;
        let length = block.try_get_u32().ok()?;
        let payload = take(&mut block, usize::try_from(length).ok()?)?;
        let channel = String::from_utf8(channel.into()).ok()?;
        drafts.push(Draft { channel, payload });
    }
    block.is_empty().then_some(drafts)
}

/// Which drafts a batch has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Label {
    pub(super) origin: Origin,
    pub(super) first_number: u64,
    pub(super) count: usize,
}

impl Label {
    /// Returns the entries of a block whose last draft has the sequence `last`, or `None` if it does not have these drafts.
    pub(super) fn entries(
        self,
        last: u64,
        mark: &Bytes,
        at: SystemTime,
        block: Bytes,
    ) -> Option<Vec<Entry>> {
        let drafts = decode(block, self.count)?;
        let first = last.checked_sub(self.count as u64 - 1)?;
        let entry = |(index, Draft { channel, payload })| {
            let publication = Publication {
                origin: self.origin,
                number: self.first_number + index,
                channel,
                payload,
                at,
            };
            Entry::new(first + index, mark.clone(), Content::Published(publication))
        };
        Some((0..).zip(drafts).map(entry).collect())
    }
}

fn take(block: &mut Bytes, length: usize) -> Option<Bytes> {
    (length <= block.len()).then(|| block.split_to(length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn drafts() -> Vec<Draft> {
        vec![
            Draft::new("a", "1"),
            Draft::new("ü".repeat(127) + "x", vec![0; 70_000]),
            Draft::new("c", Bytes::new()),
        ]
    }

    #[test]
    fn a_block_has_its_drafts_in_order() {
        let block = encode(&drafts());
        assert_eq!(block[..7], *b"\x01a\0\0\0\x011");
        assert_eq!(decode(block.into(), 3), Some(drafts()));
    }

    #[test]
    fn a_block_with_another_count_or_length_is_refused() {
        let block = encode(&drafts()[..1]);
        for count in [0, 2, usize::MAX] {
            assert_eq!(decode(block.clone().into(), count), None, "{count}");
        }
        for length in 0..block.len() {
            let cut = Bytes::copy_from_slice(&block[..length]);
            assert_eq!(decode(cut, 1), None, "{length}");
        }
        assert_eq!(decode([&*block, b"x"].concat().into(), 1), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_or_refused(
            bytes in proptest::collection::vec(any::<u8>(), 0..64), count in 0..9_usize,
        ) {
            if let Some(drafts) = decode(bytes.clone().into(), count) {
                prop_assert_eq!(encode(&drafts), bytes);
            }
        }
    }
}
