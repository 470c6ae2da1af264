//! The interval after which proxies check for missed events without a gap.
//!
//! Pushpin carries out at most ten updates a second, each for all clients with one link. Beyond that, clients
//! wait for their turn, and their events wait with them. So the interval grows with the number of live links,
//! and differs between links.
//!
//! That number is estimated from the links that proxies follow. A link of silent channels is followed once per
//! interval, and a link whose clients have disconnected is not. So short connections do not count.

use super::digest::Digest;
use crate::lock::lock;
use std::{
    mem,
    sync::{Mutex, MutexGuard},
    time::{Duration, Instant},
};

/// Updates per second: half of Pushpin's limit, since recoveries after a gap count too.
const LINKS_PER_SECOND: f64 = 5.0;

/// Bits of the estimate: good to about 1 % up to 100,000 links, saturated at 700,000.
const BITS: usize = 1 << 16;

pub(super) struct Polls {
    shortest: Duration,
    /// A poll after the expiry of its link would end the stream.
    longest: Duration,
    seen: Mutex<Seen>,
}

/// The links that were followed in the current and in the previous interval. Each sets the bit that its digest
/// selects.
#[derive(Default)]
struct Seen {
    current: Bits,
    previous: Bits,
    /// The bits that are set in either.
    count: usize,
    since: Option<Instant>,
}

struct Bits(Box<[u64]>);

impl Polls {
    pub(super) fn new(shortest: Duration, longest: Duration) -> Self {
        Self {
            shortest,
            longest,
            seen: Mutex::default(),
        }
    }

    /// Counts a link that a proxy follows `now`.
    pub(super) fn followed(&self, digest: &Digest, now: Instant) {
        let mut seen = self.seen();
        let (shortest, spread) = seen.pace(self.shortest);
        let interval = shortest + Duration::from_secs(spread);
        seen.advance(now, interval.min(self.longest));
        seen.insert(digest.bits() as usize % BITS);
    }

    /// The interval of a link, in whole seconds.
    pub(super) fn interval(&self, digest: &Digest) -> Duration {
        let (shortest, spread) = self.seen().pace(self.shortest);
        let interval = shortest + Duration::from_secs((digest.bits() >> 32) % (spread + 1));
        interval.min(self.longest)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        lock(&self.seen)
    }
}

impl Seen {
    fn insert(&mut self, bit: usize) {
        let is_new = !self.current.contains(bit) && !self.previous.contains(bit);
        self.count += usize::from(is_new);
        self.current.insert(bit);
    }

    /// Begins the next interval if the current one is over.
    fn advance(&mut self, now: Instant, interval: Duration) {
        let elapsed = now.saturating_duration_since(*self.since.get_or_insert(now));
        if elapsed < interval {
            return;
        }
        self.previous = mem::take(&mut self.current);
        if elapsed >= 2 * interval {
            self.previous = Bits::default();
        }
        self.count = self.previous.count();
        self.since = Some(now);
    }

    /// The shortest interval, and the seconds over which the intervals of all links are spread, so that clients
    /// that have connected together are not updated together.
    fn pace(&self, shortest: Duration) -> (Duration, u64) {
        let seconds = self.links() / LINKS_PER_SECOND;
        let shortest = shortest.max(Duration::from_secs(seconds.ceil() as u64));
        (shortest, seconds as u64)
    }

    /// The expected number of links for this number of set bits.
    fn links(&self) -> f64 {
        let free = (BITS - self.count).max(1) as f64;
        -(BITS as f64) * (free / BITS as f64).ln()
    }
}

impl Default for Bits {
    fn default() -> Self {
        Self(vec![0; BITS / 64].into())
    }
}

impl Bits {
    fn contains(&self, bit: usize) -> bool {
        self.0[bit / 64] & 1 << (bit % 64) != 0
    }

    fn insert(&mut self, bit: usize) {
        self.0[bit / 64] |= 1 << (bit % 64);
    }

    fn count(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Purpose, Terms, digest::Route},
        *,
    };

    const SHORTEST: Duration = Duration::from_secs(20);

    fn digest(channel: usize) -> Digest {
        let (route, terms) = (Route::Stream("/"), Terms::default());
        let channels = [channel.to_string()];
        Digest::new(route, &Purpose::Resume, "", &channels, &terms)
    }

    fn polls() -> Polls {
        Polls::new(SHORTEST, Duration::from_secs(86_400))
    }

    /// The shortest and the longest interval of `links` links that have all been followed.
    fn intervals(polls: &Polls, links: usize, now: Instant) -> (u64, u64) {
        (0..links).for_each(|link| polls.followed(&digest(link), now));
        let intervals = || (0..links).map(|link| polls.interval(&digest(link)).as_secs());
        (intervals().min().unwrap(), intervals().max().unwrap())
    }

    #[test]
    fn the_interval_grows_with_the_number_of_links_and_is_spread() {
        let now = Instant::now();
        for (links, shortest, longest) in [
            (1, 20, 20),
            (4, 20, 20),
            (90, 20, 38),
            (300, 60, 120),
            (20_000, 4000, 8000),
        ] {
            let (least, most) = intervals(&polls(), links, now);
            let is_near = |seconds: u64, expected: u64| seconds.abs_diff(expected) <= expected / 20;
            assert!(is_near(least, shortest), "{links} links: {least} s");
            assert!(is_near(most, longest), "{links} links: {most} s");
        }
    }

    #[test]
    fn the_clients_of_a_link_have_the_same_interval() {
        let (polls, now) = (polls(), Instant::now());
        intervals(&polls, 300, now);
        let interval = polls.interval(&digest(7));
        assert_eq!(polls.interval(&digest(7)), interval);
    }

    #[test]
    fn short_connections_do_not_count() {
        let polls = polls();
        for client in 0..100_000 {
            assert_eq!(polls.interval(&digest(client)), SHORTEST);
        }
    }

    #[test]
    fn the_interval_is_at_most_half_of_the_validity() {
        let polls = Polls::new(SHORTEST, Duration::from_secs(30));
        assert_eq!(intervals(&polls, 20_000, Instant::now()), (30, 30));
    }

    #[test]
    fn links_that_are_no_longer_followed_do_not_count() {
        let (polls, start) = (polls(), Instant::now());
        let long = intervals(&polls, 300, start);
        let at = |seconds| start + Duration::from_secs(seconds);
        let one = |seconds| {
            polls.followed(&digest(0), at(seconds));
            polls.interval(&digest(0)).as_secs()
        };
        assert!(
            one(130) >= long.0,
            "the others are of the previous interval"
        );
        assert_eq!(one(260), 20);
        assert_eq!(intervals(&polls, 300, at(261)), long);
        assert_eq!(one(100_000), 20, "after a long pause");
    }

    #[test]
    fn every_number_of_links_has_an_interval() {
        let mut seen = Seen::default();
        (0..BITS).for_each(|bit| seen.insert(bit));
        assert_eq!(seen.count, BITS);
        assert!((700_000.0..800_000.0).contains(&seen.links()));
    }
}
