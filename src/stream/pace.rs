//! The minimum time between two bursts of a stream.

use super::{Feed, Next};
use std::time::Duration;
use tokio::time::Instant;

/// Longest time until a paused stream looks whether the hub is closing: no event wakes it.
const LOOK: Duration = Duration::from_secs(1);

/// Streams with the same interval resume at common times, so that one pass over many sockets serves them all.
/// They differ by at most this part of the interval.
const GRID: u32 = 8;

/// Caps the interval: `Instant + Duration` may overflow.
const LONGEST: Duration = Duration::from_secs(86_400);

/// Pauses a stream after each burst: everything that was ready at the same time.
#[derive(Debug)]
pub(crate) struct Pace {
    interval: Duration,
    /// Origin of the common times.
    started: Instant,
    /// `Some` while the stream is paused.
    until: Option<Instant>,
    /// When a paused stream is polled at the latest.
    look: Instant,
    in_burst: bool,
}

impl Pace {
    pub(super) fn new(interval: Duration, started: Instant) -> Self {
        Self {
            interval: interval.min(LONGEST),
            started,
            until: None,
            look: started,
            in_burst: false,
        }
    }

    /// Whether the stream must not send now.
    pub(super) fn pauses(&mut self, feed: &Feed) -> bool {
        let now = Instant::now();
        self.until = self.until.filter(|until| now < *until);
        self.look = now + LOOK;
        self.until.is_some() && !feed.hub().is_closing()
    }

    /// When a paused stream may send again.
    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// When a paused stream must be polled.
    pub(super) fn wakes_at(&self) -> Option<Instant> {
        self.until.map(|until| until.min(self.look))
    }

    /// Begins a pause after the last frame of a burst.
    pub(super) fn sent(&mut self, next: &Next, feed: &mut Feed) {
        let ends_burst = match next {
            Next::Frame { more, .. } => {
                self.in_burst = true;
                !more
            }
            Next::Empty => true,
            Next::End => false,
        };
        if self.in_burst && ends_burst {
            self.in_burst = false;
            self.until = Some(self.next_time(Instant::now()));
            // No publish wakes it, and none waits for it.
            feed.reader.pause();
        }
    }

    /// The first common time that is at least an interval after `now`.
    fn next_time(&self, now: Instant) -> Instant {
        let earliest = now.saturating_duration_since(self.started) + self.interval;
        let step = (self.interval / GRID)
            .max(Duration::from_millis(1))
            .as_nanos();
        let steps = earliest.as_nanos().div_ceil(step);
        let time = u64::try_from(steps * step).unwrap_or(u64::MAX);
        let at = self.started.checked_add(Duration::from_nanos(time));
        at.unwrap_or(now + self.interval)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_lasts_an_interval_and_at_most_an_eighth_more() {
        let started = Instant::now();
        for interval in [1, 7, 100, 60_000].map(Duration::from_millis) {
            let pace = Pace::new(interval, started);
            let longest = interval + (interval / GRID).max(Duration::from_millis(1));
            for now in (0..1000).map(|n| started + Duration::from_micros(n * 317)) {
                let pause = pace.next_time(now) - now;
                assert!(
                    interval <= pause && pause < longest,
                    "{interval:?}: {pause:?}"
                );
            }
        }
    }

    #[test]
    fn streams_resume_at_common_times() {
        let started = Instant::now();
        let pace = Pace::new(Duration::from_millis(80), started);
        let times = (1..10).map(|n| pace.next_time(started + Duration::from_millis(n)));
        let first = started + Duration::from_millis(90);
        assert!(times.eq([first; 9]));
    }
}
