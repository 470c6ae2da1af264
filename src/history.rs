//! What is kept for clients that come back.

use crate::Error;
use std::time::Duration;

/// How many events are kept for clients that come back, and for how long.
///
/// With history each event carries an id, and a client that reconnects with the last id it has seen
/// (browsers do so by themselves) gets what it missed. If that is no longer there, it is told by the
/// event `stream-reset`.
///
/// The history is in this process's memory. With a proxy it is off unless asked for, since several
/// instances of the application would not share it.
///
/// An event goes when its channel has more than [`events`](Self::events), when it is older than
/// [`max_age`](Self::max_age), or when all channels take more memory than [`bytes`](Self::bytes). With a
/// tokio runtime, expired events are freed even if nothing is published any more.
///
/// Ids begin with an epoch: a random number from the operating system, which no other process has. Two
/// processes that are restored from one snapshot (a virtual machine, CRIU) share the epoch, and then the
/// ids. Build the `EventStream` after the snapshot is restored.
///
/// # Examples
///
/// ```
/// use axum_eventstream::{EventStream, History};
/// use std::time::Duration;
///
/// # fn main() -> Result<(), axum_eventstream::Error> {
/// let es = EventStream::builder()
///     .history(History::memory().events(1000).max_age(Duration::from_secs(600)))
///     .build()?;
/// let plain = EventStream::builder().history(History::off()).build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    on: bool,
    events: usize,
    max_age: Duration,
    bytes: usize,
}

impl History {
    /// In memory: 256 events and 5 minutes a channel, 64 MiB in all.
    #[must_use]
    pub fn memory() -> Self {
        Self {
            on: true,
            events: 256,
            max_age: Duration::from_secs(300),
            bytes: 64 << 20,
        }
    }

    /// No ids and no replay: the bytes of events are exactly what was published.
    ///
    /// A ring of the same size remains for live delivery, as long as a channel has subscribers: a
    /// subscriber that falls out of it is told by `stream-reset`.
    #[must_use]
    pub fn off() -> Self {
        Self {
            on: false,
            ..Self::memory()
        }
    }

    /// Sets how many events each channel keeps: 1 at least.
    #[must_use]
    pub fn events(mut self, events: usize) -> Self {
        self.events = events;
        self
    }

    /// Sets how long an event is kept: more than zero.
    #[must_use]
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = max_age;
        self
    }

    /// Sets how much memory all channels may take together, in bytes: 1 at least.
    ///
    /// An event counts with its bytes and about 100 more, a channel with events with about 500 and its
    /// name. Bytes that were joined for several subscribers count too.
    /// [`Stats::history_bytes`](crate::Stats::history_bytes) shows the sum.
    ///
    /// Above the limit, channels that take more than a quarter of it lose their oldest events first. Then
    /// the oldest events of all channels go. One channel may use the whole limit if the others need no
    /// room. The last published event stays; if it has more than a quarter of the limit, until the next
    /// publish.
    #[must_use]
    pub fn bytes(mut self, bytes: usize) -> Self {
        self.bytes = bytes;
        self
    }

    pub(crate) fn is_on(&self) -> bool {
        self.on
    }

    pub(crate) fn parts(&self) -> (bool, usize, Duration, usize) {
        (self.on, self.events, self.max_age, self.bytes)
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        let zero = [
            ("events", self.events == 0),
            ("max_age", self.max_age.is_zero()),
            ("bytes", self.bytes == 0),
        ];
        match zero.iter().find(|(_, zero)| *zero) {
            Some((name, _)) => Err(Error::config(format!(
                "the history's `{name}` is 0; it must be more (use `History::off()` to keep none)"
            ))),
            None => Ok(()),
        }
    }
}

/// What happens to a subscriber that reads so slowly that events are gone before it got them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LagPolicy {
    /// It is told by `stream-reset` how many, and goes on with the oldest event there is.
    #[default]
    Continue,
    /// Its stream ends. With history it resumes by its last id, and is told then; without, it is told
    /// before the end.
    Disconnect,
}
