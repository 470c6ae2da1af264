//! Counters of an `EventStream`.

/// Current sizes of an [`EventStream`](crate::EventStream) and its counters since it was built.
///
/// Reading them takes constant time for any number of channels.
///
/// # Metrics
///
/// With the `metrics` feature, the same numbers are recorded through the `metrics` facade, summed over all streams
/// of the process. Install a recorder before the first stream is used. Channel names are never used as labels.
///
/// | field | metric | type | labels |
/// | --- | --- | --- | --- |
/// | [`subscriptions`](Self::subscriptions) | `eventstream_subscriptions` | gauge | |
/// | [`channels`](Self::channels) | `eventstream_channels` | gauge | |
/// | [`history_bytes`](Self::history_bytes) | `eventstream_history_bytes` | gauge, updated with each publish, and when a subscription begins or ends | |
/// | [`published`](Self::published) | `eventstream_published_total` | counter | |
/// | [`delivered`](Self::delivered) | `eventstream_delivered_total` | counter | |
/// | [`lagged`](Self::lagged) | `eventstream_lagged_total` | counter | |
/// | [`resets`](Self::resets) | `eventstream_resets_total` | counter | |
/// | [`replayed`](Self::replayed) | `eventstream_replayed_total` | counter | |
/// | [`refused`](Self::refused) | `eventstream_refused_total` | counter | `reason` |
/// | [`snapshots`](Self::snapshots), [`snapshot_failures`](Self::snapshot_failures) | `eventstream_snapshots_total` | counter | `outcome`: `sent`, `failed`, `panicked`, `timed_out`, `late` |
/// | [`grip_published`](Self::grip_published) | `eventstream_grip_published_total` | counter | `endpoint` |
/// | [`grip_failures`](Self::grip_failures) | `eventstream_grip_failures_total` | counter | `endpoint`, `kind` |
/// | [`grip_queued`](Self::grip_queued) | `eventstream_grip_queued` | gauge, updated with each request to the proxy | `endpoint` |
/// | [`backplane_appended`](Self::backplane_appended) | `eventstream_backplane_appended_total` | counter | |
/// | [`backplane_unpublished`](Self::backplane_unpublished) | `eventstream_backplane_unpublished_total` | counter | |
/// | [`backplane_failures`](Self::backplane_failures) | `eventstream_backplane_failures_total` | counter | `kind` |
/// | [`backplane_resets`](Self::backplane_resets) | `eventstream_backplane_resets_total` | counter | |
/// | [`backplane_skipped`](Self::backplane_skipped) | `eventstream_backplane_skipped_total` | counter | |
/// | | `eventstream_backplane_attaches_total` | counter | `new_epoch`: why the attach has begun an epoch, or `none` |
/// | | `eventstream_backplane_append_seconds` | histogram of the time from a request to the engine's answer | |
/// | | `eventstream_backplane_queued` | gauge of events without an outcome | |
/// | | `eventstream_backplane_behind` | gauge of entries that the instance has not read, updated every 5 seconds | |
/// | | `eventstream_grip_publish_seconds` | histogram of the time from a publish to the proxy's response | `endpoint` |
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
    /// Subscriptions to the channel of each event, counted when it is published.
    pub delivered: u64,
    /// Events of these that lagging subscriptions missed, counted once per subscription.
    pub lagged: u64,
    /// `stream-reset` events. Snapshots and ends of streams in their place count too.
    pub resets: u64,
    /// Events replayed to subscriptions that resumed from a position. Events that were skipped, because a newer one
    /// with their [key](crate::EventBuilder::key) supersedes them, count too.
    pub replayed: u64,
    /// Requests and subscriptions that were refused for any reason, and events beyond
    /// [`Limits::event_bytes`](crate::Limits::event_bytes).
    ///
    /// A request that an extractor refuses has no `EventStream` yet, so it is only logged.
    pub refused: u64,
    /// [Snapshots](crate::StreamHandler::snapshot) sent to clients.
    pub snapshots: u64,
    /// Snapshots that failed. Each has ended a stream.
    pub snapshot_failures: u64,
    /// Events accepted by proxies, counted once per proxy.
    pub grip_published: u64,
    /// Events not accepted by proxies, counted once per proxy.
    pub grip_failures: u64,
    /// Events queued for proxies, counted once per proxy.
    pub grip_queued: usize,
    /// Events and closes that this instance has appended to the log of its [backplane](crate::backplane).
    pub backplane_appended: u64,
    /// Events and closes that failed: the engine has refused them, or has not answered in time.
    pub backplane_unpublished: u64,
    /// Attempts to append that failed. Most are repeated.
    pub backplane_failures: u64,
    /// Times that entries of the log were lost for the clients of this instance: because the engine has lost them,
    /// or the instance could not read them in time.
    pub backplane_resets: u64,
    /// Entries of the log that were skipped, because no known version of this crate has written them.
    pub backplane_skipped: u64,
}
