//! The state of an application, for clients that have no position in the log.

use super::guard::contain;
use crate::{Event, LastEventId, hub::Hub};
use std::{fmt, future::Future, pin::Pin, sync::Arc};

/// The current state, as events: what a function for
/// [`StreamHandler::snapshot`](crate::StreamHandler::snapshot) returns.
///
/// An [`Event`], an array and a `Vec` of them convert into it, so the function may return these as well.
///
/// # Examples
///
/// ```
/// use axum_eventstream::{Event, EventStream, Snapshot};
///
/// let es = EventStream::new();
/// let board = Event::json("board", &["one", "two"])?;
/// let snapshot = Snapshot::from(board).at(es.current_id());
/// # Ok::<(), axum_eventstream::InvalidEvent>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Snapshot {
    events: Vec<Event>,
    at: Option<LastEventId>,
}

impl Snapshot {
    /// Sets the position that the state belongs to: it has every event up to `id`, and none after it. Each
    /// event is then delivered exactly once, in the state or after it.
    ///
    /// Read the state and [`current_id`](crate::EventStream::current_id) under the lock under which
    /// the application changes its state and calls [`try_publish`](crate::EventStream::try_publish).
    ///
    /// If you set no position, the state belongs to the last event before the function was called. An event that is
    /// published while the function runs may then be in the state, and come again after it. The same holds without
    /// history, for `None`, for a position of another process, and for one that was not reached yet.
    pub fn at(mut self, id: impl Into<Option<LastEventId>>) -> Self {
        self.at = id.into();
        self
    }

    /// The events, and the position if it is one of `hub`.
    pub(crate) fn into_parts(self, hub: &Hub) -> (Vec<Event>, Option<LastEventId>) {
        let (epoch, sequence) = hub.position();
        let is_known = |id: &LastEventId| id.epoch() == epoch && id.sequence() <= sequence;
        (self.events, self.at.filter(is_known))
    }
}

impl From<Event> for Snapshot {
    fn from(event: Event) -> Self {
        vec![event].into()
    }
}

impl From<Vec<Event>> for Snapshot {
    fn from(events: Vec<Event>) -> Self {
        Self { events, at: None }
    }
}

impl<const N: usize> From<[Event; N]> for Snapshot {
    fn from(events: [Event; N]) -> Self {
        Vec::from(events).into()
    }
}

impl FromIterator<Event> for Snapshot {
    fn from_iter<I: IntoIterator<Item = Event>>(events: I) -> Self {
        events.into_iter().collect::<Vec<_>>().into()
    }
}

type SnapshotFuture = Pin<Box<dyn Future<Output = Result<Snapshot, String>> + Send>>;

/// Where the snapshots of a stream come from.
#[derive(Clone, Debug)]
pub(crate) enum SnapshotSource {
    Function(TakeSnapshot),
    /// The newest event of each key.
    Latest,
}

/// The function of one stream that returns its snapshots.
#[derive(Clone)]
pub(crate) struct TakeSnapshot(Option<Arc<dyn Fn() -> SnapshotFuture + Send + Sync>>);

impl Drop for TakeSnapshot {
    fn drop(&mut self) {
        let function = self.0.take();
        let panicked = "the function of a snapshot panicked when it was dropped";
        contain(panicked, || drop(function));
    }
}

impl TakeSnapshot {
    pub(crate) fn new<F, Fut, S, E>(function: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<S, E>> + Send + 'static,
        S: Into<Snapshot>,
        E: fmt::Display,
    {
        Self(Some(Arc::new(move || {
            let taken = function();
            Box::pin(async move {
                let taken = taken.await.map(Into::into);
                taken.map_err(|error| error.to_string())
            })
        })))
    }

    /// The function runs when the future is polled.
    pub(crate) async fn call(&self) -> Result<Snapshot, String> {
        match &self.0 {
            Some(function) => function().await,
            // Only while it is dropped.
            None => Err(String::new()),
        }
    }
}

impl fmt::Debug for TakeSnapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TakeSnapshot")
    }
}
