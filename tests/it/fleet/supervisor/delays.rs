//! The times from publishes to receipts.

use std::collections::VecDeque;

/// Microseconds for which delays are recent.
const RECENT: u64 = 5_000_000;

/// Buckets for each power of two.
const STEPS: u64 = 16;

#[derive(Default)]
pub(super) struct Delays {
    /// When each was received, and its delay.
    recent: VecDeque<(u64, u64)>,
    /// How many there were of each size since the start.
    buckets: Vec<u64>,
}

impl Delays {
    pub(super) fn add(&mut self, now: u64, delay: u64) {
        self.forget(now);
        self.recent.push_back((now, delay));
        let bucket = bucket(delay);
        let length = self.buckets.len().max(bucket + 1);
        self.buckets.resize(length, 0);
        self.buckets[bucket] += 1;
    }

    /// The delays of half and of 99 % of the recent events, and of all.
    pub(super) fn percentiles(&mut self, now: u64) -> ([u64; 2], [u64; 2]) {
        self.forget(now);
        let mut recent: Vec<_> = self.recent.iter().map(|(_, delay)| *delay).collect();
        recent.sort_unstable();
        let of_recent = |percent| {
            let index = recent.len() * percent / 100;
            recent.get(index).copied().unwrap_or_default()
        };
        (
            [of_recent(50), of_recent(99)],
            [self.of_all(50), self.of_all(99)],
        )
    }

    fn forget(&mut self, now: u64) {
        while let Some((at, _)) = self.recent.front()
            && at + RECENT < now
        {
            self.recent.pop_front();
        }
    }

    fn of_all(&self, percent: u64) -> u64 {
        let count: u64 = self.buckets.iter().sum();
        let mut left = count * percent / 100;
        let is_it = |in_bucket: &u64| {
            let is_it = left < *in_bucket;
            left = left.saturating_sub(*in_bucket);
            is_it
        };
        self.buckets.iter().position(is_it).map_or(0, upper)
    }
}

fn bucket(delay: u64) -> usize {
    let delay = delay.max(STEPS);
    let power = u64::from(delay.ilog2() - STEPS.ilog2());
    (power * STEPS + (delay >> power) - STEPS) as usize
}

/// The end of a bucket.
fn upper(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    (bucket % STEPS + STEPS + 1) << (bucket / STEPS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_within_a_sixteenth() {
        let mut delays = Delays::default();
        (1..=1000).for_each(|delay| delays.add(0, delay * 100));
        let (recent, all) = delays.percentiles(1);
        assert_eq!(recent, [50_100, 99_100]);
        for (found, exact) in all.into_iter().zip(recent) {
            assert!((exact..=exact + exact / 16).contains(&found), "{found}");
        }
        let (recent, _) = delays.percentiles(RECENT + 1);
        assert_eq!(recent, [0, 0], "they are too old");
    }
}
