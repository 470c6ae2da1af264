//! The end of an instance that is replaced, with the times at which its streams end.

use crate::line::Line;
use axum_eventstream::EventStream;
use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};
use tokio::signal::unix::Signal;

/// When the drain has begun.
#[derive(Clone, Default)]
pub(super) struct Closes(Arc<OnceLock<Instant>>);

impl Closes {
    /// A stream has ended.
    pub(super) fn record(&self) {
        if let Some(began) = self.0.get() {
            Line::Closed(began.elapsed().as_millis() as u64).write();
        }
    }
}

/// Ends the streams one after another when the signal comes.
pub(super) async fn on_signal(
    mut signal: Signal,
    es: EventStream,
    budget: Duration,
    closes: Closes,
) {
    signal.recv().await;
    Line::Draining(es.stats().subscriptions).write();
    let _ = closes.0.set(Instant::now());
    es.drain(budget).await;
}
