//! What has been counted.

/// What an [`EventStream`](crate::EventStream) holds now and has counted since its start.
///
/// Reading it takes the same short time for any number of channels.
///
/// With the feature `metrics` the program's recorder of the `metrics` facade gets the same, over all
/// streams of the process; install it before the first of them is used. No label is ever the name of a
/// channel.
///
/// | name | type | labels | what |
/// | --- | --- | --- | --- |
/// | `eventstream_subscriptions` | gauge | | subscriptions that are open in this process |
/// | `eventstream_published_total` | counter | | events that were published |
/// | `eventstream_delivered_total` | counter | | subscriptions that an event was for, counted when it is published |
/// | `eventstream_lagged_total` | counter | | events of these that a subscription missed |
/// | `eventstream_resets_total` | counter | | `stream-reset`s |
/// | `eventstream_replayed_total` | counter | | events that a subscription began with |
/// | `eventstream_refused_total` | counter | `reason` | requests that got no stream |
/// | `eventstream_grip_published_total` | counter | `endpoint` | events that a proxy has taken |
/// | `eventstream_grip_failures_total` | counter | `endpoint`, `kind` | events that it has not |
/// | `eventstream_grip_publish_seconds` | histogram | `endpoint` | from the publish to the proxy's answer |
/// | `eventstream_grip_queued` | gauge | `endpoint` | events without an answer, as of the last request |
///
/// # Examples
///
/// ```
/// use axum_eventstream::EventStream;
///
/// let es = EventStream::new();
/// let subscription = es.subscribe(["a", "b"])?;
/// assert_eq!((es.stats().subscriptions, es.stats().channels), (1, 2));
/// drop(subscription);
/// assert_eq!((es.stats().subscriptions, es.stats().channels), (0, 0));
/// # Ok::<(), axum_eventstream::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Subscriptions that are open in this process. Clients that a proxy holds are not among them.
    pub subscriptions: usize,
    /// Channels with at least one subscription.
    pub channels: usize,
    /// Memory of the kept events of all channels, overhead included. It is an estimate, which
    /// [`History::bytes`](crate::History::bytes) limits.
    pub history_bytes: usize,
    /// Events that were published.
    pub published: u64,
    /// Events that were handed to a subscription, once for each.
    pub delivered: u64,
    /// Events that a subscription missed because it fell behind, once for each.
    pub lagged: u64,
    /// Events that a subscription began with because it resumed from a position.
    pub replayed: u64,
    /// Subscriptions that were refused because of a limit, or because the stream is closed.
    pub refused: u64,
    /// Events that the proxies have taken, once for each proxy.
    pub grip_published: u64,
    /// Events that a proxy did not take, once for each proxy.
    pub grip_failures: u64,
    /// Events that wait to be sent to a proxy, once for each proxy.
    pub grip_queued: usize,
}
