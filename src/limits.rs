//! How much is allowed.

use crate::{
    Error,
    channel::{Channels, ChannelsError},
};

/// How much an [`EventStream`](crate::EventStream) allows, so that no client and no caller can use up memory.
///
/// What is refused is counted in [`Stats::refused`](crate::Stats::refused).
///
/// | limit | default | beyond it |
/// | --- | --- | --- |
/// | subscriptions in all | 1,000,000 | a stream that ends at once with a `retry` of 5 to 15 s |
/// | subscriptions per channel | 1,000,000 | a stream that ends at once with a `retry` of 5 to 15 s |
/// | channels per subscription | 100 | 400 with the reason |
/// | bytes per encoded event | 16 MiB | the publish fails, nothing is delivered |
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
}

impl Limits {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self {
            subscriptions: 1_000_000,
            subscriptions_per_channel: 1_000_000,
            channels_per_subscription: 100,
            event_bytes: 16 << 20,
        }
    }

    /// Sets how many subscriptions are open at a time in all.
    #[must_use]
    pub fn subscriptions(mut self, limit: usize) -> Self {
        self.subscriptions = limit;
        self
    }

    /// Sets how many subscriptions are open at a time on one channel.
    #[must_use]
    pub fn subscriptions_per_channel(mut self, limit: usize) -> Self {
        self.subscriptions_per_channel = limit;
        self
    }

    /// Sets how many channels one subscription may have. Pushpin holds a client on the first 20
    /// (`connection_subscription_max`). Behind a proxy with history there are never more than 60, and the
    /// names must fit into the head of a response: 20 names of 255 bytes do, or 60 of 41.
    #[must_use]
    pub fn channels_per_subscription(mut self, limit: usize) -> Self {
        self.channels_per_subscription = limit;
        self
    }

    /// Sets how many bytes an encoded event may have: a quarter of
    /// [`History::bytes`](crate::History::bytes) at most, if it should be replayed.
    ///
    /// Each client that does not read can keep one event in memory beside the history, until it reads or is
    /// dropped.
    ///
    /// A larger event is delivered to the current subscribers. A later publish removes it from the
    /// history as soon as they have read it.
    #[must_use]
    pub fn event_bytes(mut self, limit: usize) -> Self {
        self.event_bytes = limit;
        self
    }

    /// The channels of one subscription, if there are not too many.
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
        ];
        match limits.iter().find(|(_, limit)| *limit == 0) {
            Some((name, _)) => Err(Error::config(format!(
                "the limit `{name}` is 0; it must be 1 at least"
            ))),
            None => Ok(()),
        }
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
        let (_, _, _, history_bytes) = History::memory().parts();
        assert_eq!(Limits::new().event_bytes, history_bytes / 4);
        let es = EventStream::new();
        let data = "x".repeat(Limits::new().event_bytes);
        let error = es.publish_event("a", Event::text("message", data).unwrap());
        assert_eq!(error.await.unwrap_err().kind(), ErrorKind::LimitReached);
    }
}
