//! Limits on subscriptions and events.

use crate::{
    Error,
    channel::{Channels, ChannelsError},
};
use std::time::Duration;

/// Limits of an [`EventStream`](crate::EventStream), which bound the memory that clients and publishers can use.
///
/// [`Stats::refused`](crate::Stats::refused) counts what a limit refuses.
///
/// | limit | default | when exceeded |
/// | --- | --- | --- |
/// | subscriptions in total | 1,000,000 | a stream that ends at once with a `retry` of 5 to 15 s |
/// | subscriptions per channel | 1,000,000 | a stream that ends at once with a `retry` of 5 to 15 s |
/// | channels per subscription | 100 | 400 with the reason |
/// | bytes per encoded event | 16 MiB | the publish fails and nothing is delivered |
/// | concurrent snapshots | 64 | a client waits for its turn |
/// | time of a snapshot | 10 s | the stream ends with a `retry` |
///
/// # Examples
///
/// ```
/// use axum_eventstream::{EventStream, Limits};
///
/// # fn main() -> Result<(), axum_eventstream::Error> {
/// let es = EventStream::builder()
///     .limits(Limits::new().subscriptions(50_000).channels_per_subscription(20))
///     .build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    pub(crate) subscriptions: usize,
    pub(crate) subscriptions_per_channel: usize,
    pub(crate) channels_per_subscription: usize,
    pub(crate) event_bytes: usize,
    pub(crate) concurrent_snapshots: usize,
    pub(crate) snapshot_timeout: Duration,
}

impl Limits {
    /// Returns the default limits.
    #[must_use]
    pub fn new() -> Self {
        Self {
            subscriptions: 1_000_000,
            subscriptions_per_channel: 1_000_000,
            channels_per_subscription: 100,
            event_bytes: 16 << 20,
            concurrent_snapshots: 64,
            snapshot_timeout: Duration::from_secs(10),
        }
    }

    /// Sets the maximum number of concurrent subscriptions, at least 1.
    #[must_use]
    pub fn subscriptions(mut self, limit: usize) -> Self {
        self.subscriptions = limit;
        self
    }

    /// Sets the maximum number of concurrent subscriptions per channel, at least 1.
    #[must_use]
    pub fn subscriptions_per_channel(mut self, limit: usize) -> Self {
        self.subscriptions_per_channel = limit;
        self
    }

    /// Sets the maximum number of channels per subscription, at least 1.
    ///
    /// Pushpin subscribes a client to the first 20 channels only (`connection_subscription_max`). Behind a
    /// proxy with history, the maximum is 60 at any setting. The names must also fit into the response
    /// head: 20 names of 255 bytes do, or 60 names of 41.
    #[must_use]
    pub fn channels_per_subscription(mut self, limit: usize) -> Self {
        self.channels_per_subscription = limit;
        self
    }

    /// Sets the maximum size of an encoded event in bytes.
    ///
    /// Choose at most a quarter of [`History::bytes`](crate::History::bytes) if events must be replayed. A larger
    /// event is delivered to current subscribers. Once they have read it, the next publish evicts it
    /// from the history.
    ///
    /// A client that does not read can keep one event in memory beside the history, until it reads or is
    /// disconnected.
    #[must_use]
    pub fn event_bytes(mut self, limit: usize) -> Self {
        self.event_bytes = limit;
        self
    }

    /// Sets how many [snapshots](crate::StreamHandler::snapshot) are taken at the same time, at least 1. Other
    /// clients wait for their turn.
    #[must_use]
    pub fn concurrent_snapshots(mut self, limit: usize) -> Self {
        self.concurrent_snapshots = limit;
        self
    }

    /// Sets how long the function for a snapshot may run: more than zero. The stream ends otherwise, and its client
    /// reconnects.
    #[must_use]
    pub fn snapshot_timeout(mut self, limit: Duration) -> Self {
        self.snapshot_timeout = limit;
        self
    }

    /// Collects the channels of one subscription and checks their number.
    pub(crate) fn channels<I>(&self, names: I) -> Result<Channels, ChannelsError>
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        Channels::collect(names, self.channels_per_subscription)
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        let limits = [
            ("subscriptions", self.subscriptions),
            ("subscriptions_per_channel", self.subscriptions_per_channel),
            ("channels_per_subscription", self.channels_per_subscription),
            ("event_bytes", self.event_bytes),
            ("concurrent_snapshots", self.concurrent_snapshots),
        ];
        if let Some((name, _)) = limits.iter().find(|(_, limit)| *limit == 0) {
            return Err(Error::config(format!(
                "the limit `{name}` is 0; it must be at least 1"
            )));
        }
        if self.snapshot_timeout.is_zero() {
            return Err(Error::config(
                "the limit `snapshot_timeout` is 0; it must be greater than zero",
            ));
        }
        Ok(())
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ErrorKind, Event, EventStream, History};

    #[tokio::test]
    async fn the_largest_event_is_a_channels_share_of_the_history() {
        assert_eq!(Limits::new().event_bytes, History::memory().bytes / 4);
        let es = EventStream::new();
        let data = "x".repeat(Limits::new().event_bytes);
        let error = es.publish_event("a", Event::text("message", data).unwrap());
        assert_eq!(error.await.unwrap_err().kind(), ErrorKind::LimitReached);
    }
}
