//! Times of channel closes. A link for missed events that was issued before a close is refused.

use crate::channel::Channel;
use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, RandomState},
    time::{SystemTime, UNIX_EPOCH},
};

/// Maximum number of recorded closes. A proxy replaces a link in use within minutes, so older closes hardly
/// matter.
const REMEMBERED: usize = 65_536;

#[derive(Debug, Default)]
pub(super) struct Closes {
    hasher: RandomState,
    /// The number of the last close of a channel, by the hash of its name.
    last: HashMap<u64, u64>,
    /// Hashes and numbers of closes, oldest first. A channel that was closed again occurs more than once.
    by_age: VecDeque<(u64, u64)>,
    newest: u64,
}

impl Closes {
    /// Records a close. Its number is in microseconds since 1970, so that numbers increase across restarts.
    pub(super) fn insert(&mut self, channel: &Channel, now: SystemTime) {
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let micros = u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
        self.insert_number(channel, micros.max(self.newest + 1));
    }

    /// Records a close under its sequence number in a shared log. The sequence numbers of an epoch begin above the time
    /// in microseconds.
    pub(super) fn insert_number(&mut self, channel: &Channel, number: u64) {
        self.newest = number;
        let key = self.hasher.hash_one(channel);
        self.last.insert(key, self.newest);
        self.by_age.push_back((key, self.newest));
        if self.by_age.len() > REMEMBERED {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some((key, number)) = self.by_age.pop_front() else {
            return;
        };
        if self.last.get(&key) == Some(&number) {
            self.last.remove(&key);
        }
    }

    /// The highest number of a recorded close of these channels, or 0.
    pub(super) fn last(&self, channels: &[Channel]) -> u64 {
        let numbers = channels.iter().map(|channel| {
            let key = self.hasher.hash_one(channel);
            self.last.get(&key).copied().unwrap_or(0)
        });
        numbers.max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn channel(name: usize) -> Channel {
        Channel::new(name.to_string()).unwrap()
    }

    #[test]
    fn close_numbers_increase_even_if_the_clock_is_set_back() {
        let mut closes = Closes::default();
        let (a, b) = (channel(0), channel(1));
        let now = UNIX_EPOCH + Duration::from_secs(1);
        assert_eq!(closes.last(&[a.clone(), b.clone()]), 0);
        closes.insert(&a, now);
        assert_eq!(closes.last(&[a.clone(), b.clone()]), 1_000_000);
        closes.insert(&b, UNIX_EPOCH);
        closes.insert(&a, now);
        assert_eq!(closes.last(&[b]), 1_000_001);
        assert_eq!(closes.last(&[a]), 1_000_002);
    }

    #[test]
    fn a_close_of_a_shared_log_has_its_sequence_number() {
        let mut closes = Closes::default();
        let (a, b) = (channel(0), channel(1));
        closes.insert_number(&a, 2_000_000);
        closes.insert_number(&b, 2_000_007);
        assert_eq!(closes.last(std::slice::from_ref(&a)), 2_000_000);
        assert_eq!(closes.last(&[a, b]), 2_000_007);
    }

    #[test]
    fn beyond_the_limit_the_oldest_closes_are_dropped() {
        let mut closes = Closes::default();
        for name in 0..REMEMBERED + 10 {
            closes.insert(&channel(name), UNIX_EPOCH);
            closes.insert(&channel(0), UNIX_EPOCH);
        }
        assert!(closes.by_age.len() <= REMEMBERED && closes.last.len() <= REMEMBERED);
        for name in [0, REMEMBERED + 9, REMEMBERED / 2 + 100] {
            assert_ne!(closes.last(&[channel(name)]), 0, "{name}");
        }
        assert_eq!(closes.last(&[channel(1)]), 0);
    }
}
