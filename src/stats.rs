//! Counters of an `EventStream`.

/// Current sizes of an [`EventStream`](crate::EventStream) and its counters since it was built.
///
/// Reading them takes constant time for any number of channels.
///
/// With the `metrics` feature, the metrics below are recorded through the `metrics` facade, summed over all
/// streams of the process. `eventstream_refused_total` counts every refused request, and
/// [`refused`](Self::refused) only subscriptions that a limit or a close refuses. Install a recorder before the first stream is used. Channel names are never
/// used as labels.
///
/// | name | type | labels | meaning |
/// | --- | --- | --- | --- |
/// | `eventstream_subscriptions` | gauge | | open subscriptions in this process |
/// | `eventstream_published_total` | counter | | published events |
/// | `eventstream_delivered_total` | counter | | subscribers of each event, counted when it is published |
/// | `eventstream_lagged_total` | counter | | delivered events that a subscription missed because it lagged |
/// | `eventstream_resets_total` | counter | | `stream-reset` events |
/// | `eventstream_replayed_total` | counter | | events replayed to new subscriptions |
/// | `eventstream_refused_total` | counter | `reason` | requests refused a stream |
/// | `eventstream_grip_published_total` | counter | `endpoint` | events accepted by a proxy |
/// | `eventstream_grip_failures_total` | counter | `endpoint`, `kind` | events not accepted by a proxy |
/// | `eventstream_grip_publish_seconds` | histogram | `endpoint` | time from the publish to the proxy's response |
/// | `eventstream_grip_queued` | gauge | `endpoint` | events without a response, updated with each request |
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
    /// Open subscriptions in this process, without the clients that a proxy holds.
    pub subscriptions: usize,
    /// Channels with at least one subscription.
    pub channels: usize,
    /// Estimated memory of the history of all channels, including overhead.
    /// [`History::bytes`](crate::History::bytes) limits it.
    pub history_bytes: usize,
    /// Published events.
    pub published: u64,
    /// Events delivered to subscriptions, counted once per subscription.
    pub delivered: u64,
    /// Events missed by lagging subscriptions, counted once per subscription.
    pub lagged: u64,
    /// Events replayed to subscriptions that resumed from a position.
    pub replayed: u64,
    /// Subscriptions refused because of a limit, or because the stream is closed.
    pub refused: u64,
    /// Events accepted by proxies, counted once per proxy.
    pub grip_published: u64,
    /// Events not accepted by proxies, counted once per proxy.
    pub grip_failures: u64,
    /// Events queued for proxies, counted once per proxy.
    pub grip_queued: usize,
}
