//! Event history for clients that reconnect.

use crate::Error;
use std::time::Duration;

/// Retention of events for clients that reconnect.
///
/// With history, each event carries an id. A client that reconnects with its last id, as browsers do
/// automatically, receives the events it missed. If these were evicted, it receives a `stream-reset`
/// event instead.
///
/// The history is kept in the memory of this process. It is off by default if there is a proxy and no
/// [backplane](crate::backplane), since several instances would not share it.
///
/// An event is evicted when its channel exceeds [`events`](Self::events), or when all channels exceed
/// [`bytes`](Self::bytes). It is also evicted when it is older than [`max_age`](Self::max_age). On a tokio runtime,
/// expired events are freed even if nothing is published. An event that a newer event of its
/// [key](crate::EventBuilder::key) supersedes is not replayed, and its eviction is no loss.
///
/// Ids begin with an epoch: a random number of this `EventStream`, or the epoch of the backplane's log. Processes
/// restored from one snapshot (a virtual machine, CRIU) share the epoch and therefore produce the same ids. Build the
/// `EventStream` after the snapshot is restored.
///
/// With a backplane, an instance that starts fills its history from the log, within these limits. It does not read
/// evicted events again.
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
    pub(crate) on: bool,
    pub(crate) events: usize,
    pub(crate) max_age: Duration,
    pub(crate) bytes: usize,
    pub(crate) latest_per_key: bool,
}

impl History {
    /// Keeps events in memory: up to 256 events per channel, 5 minutes, and 64 MiB in total.
    #[must_use]
    pub fn memory() -> Self {
        Self {
            on: true,
            events: 256,
            max_age: Duration::from_secs(300),
            bytes: 64 << 20,
            latest_per_key: false,
        }
    }

    /// Turns history off: events are sent exactly as published, without generated ids, and are not replayed.
    ///
    /// While a channel has subscribers, a ring buffer of the same size remains for live delivery. A
    /// subscriber that lags behind it receives a `stream-reset`.
    #[must_use]
    pub fn off() -> Self {
        Self {
            on: false,
            ..Self::memory()
        }
    }

    /// Sets the maximum number of events per channel. It must be at least 1.
    #[must_use]
    pub fn events(mut self, events: usize) -> Self {
        self.events = events;
        self
    }

    /// Sets the maximum age of an event. It must be greater than zero.
    #[must_use]
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = max_age;
        self
    }

    /// Sets the maximum memory of all channels together, in bytes. It must be at least 1.
    ///
    /// An event counts its bytes and about 100 more. A [key](crate::EventBuilder::key) adds its length and about 100
    /// bytes. A channel with events counts its name and about 500 bytes. Buffers that join events for several
    /// subscribers count too. [`Stats::history_bytes`](crate::Stats::history_bytes) returns the sum.
    ///
    /// Above the limit, channels that use more than a quarter of it lose their oldest events first. Then the oldest
    /// events of all channels are evicted. A single channel may use the whole limit while others need no space. The
    /// most recently published event is always kept until the next publish. An event larger than a quarter of the limit
    /// may exceed the limit until then.
    #[must_use]
    pub fn bytes(mut self, bytes: usize) -> Self {
        self.bytes = bytes;
        self
    }

    /// Keeps the newest event of every [key](crate::EventBuilder::key) on each channel, beyond
    /// [`events`](Self::events) and [`max_age`](Self::max_age).
    ///
    /// A client that reconnects, or a subscriber that lags, receives the kept events after its position first, then
    /// the others. It has missed something only if an event without a newer one of its key was evicted: an event
    /// without a key, one that [removed its key](crate::EventBuilder::remove_key), or one that exceeded
    /// [`bytes`](Self::bytes).
    ///
    /// A key and its channel are kept until an event removes the key, even without subscribers. Remove keys that are no
    /// longer needed. Above [`bytes`](Self::bytes), the oldest events are evicted first, kept ones included. A kept
    /// event counts its bytes, its key and about 300 bytes.
    ///
    /// A client behind a proxy receives each event, since the proxy does not skip superseded events. The kept events
    /// are in the answers to a proxy that asks for missed events.
    ///
    /// Without history, the method has no effect.
    ///
    /// # Examples
    ///
    /// ```
    /// use axum_eventstream::{Event, EventStream, History};
    /// use tokio_stream::StreamExt;
    ///
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), axum_eventstream::Error> {
    /// let history = History::memory().events(1).latest_per_key();
    /// let es = EventStream::builder().history(history).build()?;
    /// let start = es.publish_event("prices", Event::text("open", "")?).await?;
    /// for (symbol, price) in [("AAPL", "190.5"), ("MSFT", "410"), ("AAPL", "191")] {
    ///     let event = Event::builder().event(symbol).key(symbol).data(price).build()?;
    ///     es.publish_event("prices", event).await?;
    /// }
    /// let mut subscription = es.subscribe_from(["prices"], start.id.expect("there is history"))?;
    /// for expected in ["410", "191"] {
    ///     assert_eq!(subscription.next().await.expect("it is open").data(), expected);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn latest_per_key(mut self) -> Self {
        self.latest_per_key = true;
        self
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        let zero = [
            ("events", self.events == 0),
            ("max_age", self.max_age.is_zero()),
            ("bytes", self.bytes == 0),
        ];
        match zero.iter().find(|(_, zero)| *zero) {
            Some((name, _)) => Err(Error::config(format!(
                "the history's `{name}` is 0; it must be greater than 0 (use `History::off()` to keep no events)"
            ))),
            None => Ok(()),
        }
    }
}

/// Policy for a subscriber that lags: events were evicted before it read them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum LagPolicy {
    /// Sends a `stream-reset` with the number of missed events, and continues with the oldest event.
    #[default]
    Continue,
    /// Ends the stream. Without history, a `stream-reset` is sent first. With history, the client reconnects
    /// with its last id and receives the `stream-reset` then.
    Disconnect,
}
