//! Several instances of an application on one ordered log, which an engine such as Redis or NATS holds.
//!
//! Every instance appends its events to the log, and follows the whole log. A client may therefore connect to any
//! instance, and reconnect to any other with its `Last-Event-ID`. No route changes, and the load balancer needs no
//! stickiness.
//!
#![cfg_attr(
    feature = "redis",
    doc = r#"
```no_run
use axum_eventstream::{EventStream, backplane::Redis};

# fn main() -> Result<(), axum_eventstream::Error> {
let redis = Redis::new("redis://127.0.0.1:6379").namespace("chat");
let es = EventStream::builder().backplane(redis).build()?;
# Ok(())
# }
```
"#
)]
//! [`EventStream::from_env`](crate::EventStream::from_env) reads the URL from `EVENTSTREAM_BACKPLANE`.
//!
//! # Guarantees
//!
//! - **Each event once.** A client receives the events of its channels in the order of the log, each once, even if it
//!   reconnects to another instance.
//! - **No silent loss.** If the engine loses entries that a living instance has published or read, all clients receive
//!   `stream-reset`. The recipe lists each fault and what no instance can notice.
//! - **Repetitions are harmless.** An instance repeats an append until the engine answers, and the log has the event
//!   once.
//! - **An absent engine ends no stream.** Streams send keep-alives, and continue when the engine is back.
//!
//! # What changes
//!
//! - **Errors.** A publish waits up to 10 seconds for the engine. Then it fails with
//!   [`ErrorKind::NotPublished`](crate::ErrorKind::NotPublished) or
//!   [`ErrorKind::MaybePublished`](crate::ErrorKind::MaybePublished).
//! - **Ids.** All instances give an event the same id. [`try_publish`](crate::EventStream::try_publish) returns before
//!   the event has one.
//! - **Waiting.** A client of a new instance waits until that has read the log: see
//!   [`StreamResponse::ready`](crate::StreamResponse::ready). [`catch_up`](crate::EventStream::catch_up) waits in other
//!   code.
//! - **History** is on by default, also with proxies. Every instance may publish to the same proxies.
//!
//! Counts, hooks, [`close`](crate::EventStream::close) and [`drain`](crate::EventStream::drain) concern one instance
//! only.
#![cfg_attr(
    all(feature = "grip", feature = "redis", any(doc, doctest)),
    doc = " The recipe [several instances](crate::recipes::several_instances) has the faults, the settings and the operation."
)]
#![cfg_attr(
    not(all(feature = "grip", feature = "redis", any(doc, doctest))),
    doc = " The recipe \"several instances\" has the faults, the settings and the operation."
)]
//!
//! # Engines
//!
//! An engine implements three traits: [`Backplane`] connects, a [`Writer`] attaches and appends, a [`Reader`] reads.
//! Queues, batches, retries and the search for gaps are not part of an engine. The [example `postgres`][postgres] is one
//! on PostgreSQL, to be copied.
//!
//! [postgres]: https://github.com/axum-eventstream/axum-eventstream/tree/main/examples/postgres
//!
//! # Rules of an engine
//!
//! 1. The log has one order, and each entry has a *sequence*. An append returns after its entries are in the log.
//! 2. Sequences ascend, also from one epoch to the next. They may have gaps, because each entry names the
//!    [`previous`](Entry::previous) one. The drafts of an append are neighbours, unless it is too large to be stored as one.
//! 3. An *epoch* is one unbroken order. If entries that an instance has read or appended are gone from its end, or
//!    another history has taken their place, a new epoch begins. Entries may leave the log at its beginning.
//! 4. An [`Origin`] numbers its appends. A number that was appended already is skipped, so an append can be repeated.
//!
//! `testing::backplane::contract` checks them.

#[cfg(any(feature = "nats", feature = "redis"))]
mod block;
mod driver;
mod failure;
mod follower;
mod handle;
mod log;
#[cfg(feature = "nats")]
mod nats;
mod outbox;
#[cfg(feature = "redis")]
mod redis;
mod shared;
#[cfg(all(feature = "rustls", any(feature = "nats", feature = "redis")))]
mod tls;
#[cfg(any(feature = "nats", feature = "redis"))]
mod url;

pub use failure::{Failure, FailureKind};
pub use log::{
    Attached, Batch, Committed, Content, Draft, Entry, Head, InvalidOrigin, Known, Origin,
    Publication, Seen,
};
#[cfg(feature = "nats")]
pub use nats::Nats;
#[cfg(feature = "redis")]
pub use redis::Redis;

pub(crate) use handle::{BackplaneHandle, Engine};
pub(crate) use outbox::{Finished, Receipt, finish};

use std::future::Future;

/// An engine that holds the log of several instances.
///
/// See [the module](self) for the rules that it keeps.
pub trait Backplane: Send + Sync + 'static {
    /// Attaches and appends.
    type Writer: Writer;
    /// Reads the log.
    type Reader: Reader;

    /// Returns the engine's kind and address for logs and health, without passwords: `redis 10.0.0.1:6379`.
    fn name(&self) -> String;

    /// Checks the configuration, without connecting. [`build`](crate::EventStreamBuilder::build) returns the error.
    fn check(&self) -> Result<(), Failure> {
        Ok(())
    }

    /// Connects to the engine. Both halves use the same server, so that they see the same log.
    ///
    /// A session is both halves. It ends with any [`Failure`] of [`Reader::read`] and of [`Writer::attach`], with one of
    /// [`Writer::head`] that is not [stale](FailureKind::Stale), and with one of [`Writer::append`] that is
    /// [unavailable](FailureKind::Unavailable) or [lost](FailureKind::Lost). Then this is called again, so it looks up
    /// the server's address each time. After 5 seconds it is dropped, and counts as unavailable.
    fn connect(&self)
    -> impl Future<Output = Result<(Self::Writer, Self::Reader), Failure>> + Send;
}

/// Attaches to a log and appends to it.
///
/// Methods run concurrently. Each completes or fails within a few seconds, even if the server does not answer.
pub trait Writer: Send + Sync + 'static {
    /// Returns the state of the log. Begins a new epoch if there is no log, or if something of `known` is gone from
    /// its end.
    ///
    /// It is called after each connect, every 5 seconds, and when a [`Reader`] finds a gap or an epoch.
    fn attach(&self, known: &Known) -> impl Future<Output = Result<Attached, Failure>> + Send;

    /// Appends the drafts in order, except those whose numbers the origin has appended already.
    ///
    /// Fails with [`FailureKind::Stale`] if the log has another epoch than the batch.
    fn append(&self, batch: Batch<'_>) -> impl Future<Output = Result<Committed, Failure>> + Send;

    /// Returns the epoch and the last sequence. Fails with [`FailureKind::Stale`] if there is no log.
    fn head(&self) -> impl Future<Output = Result<Head, Failure>> + Send;
}

/// Reads a log.
pub trait Reader: Send + 'static {
    /// Returns the next entries after the sequence `after`, oldest first, some thousand at most. Waits up to 5 seconds
    /// for one, and then returns none.
    ///
    /// `after` is the sequence of the last entry that this returned, unless the log has another epoch or
    /// lacks entries. An epoch that begins wakes it: it returns the first entry or a [`Failure`]. It fails too if the
    /// engine's data may have been replaced since the last attach: what follows `after` in another history is not the
    /// next entry.
    fn read(&mut self, after: u64) -> impl Future<Output = Result<Vec<Entry>, Failure>> + Send;
}
