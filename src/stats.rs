//! What has been counted.

/// What an [`EventStream`](crate::EventStream) holds now and has counted since its start.
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
    /// Bytes of events that are kept, of all channels.
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
