//! The settings of an `EventStream`: every default, and every check of them.

use crate::{
    Error, EventStream, History, KeepAlive, Limits,
    event_stream::Inner,
    hub::{Config, Hub},
    publish::ProxiesBuilder,
};
use std::sync::Arc;

/// Builds an [`EventStream`].
///
/// Nothing is checked before [`build`](Self::build), and nothing can be wrong after it.
///
/// # Examples
///
/// ```
/// use axum_eventstream::{EventStream, History, KeepAlive};
/// use std::time::Duration;
///
/// # fn main() -> Result<(), axum_eventstream::Error> {
/// let es = EventStream::builder()
///     .keep_alive(KeepAlive::new().interval(Duration::from_secs(30)))
///     .history(History::memory().events(1000))
///     .build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
#[must_use = "call `build`"]
pub struct EventStreamBuilder {
    pub(crate) proxies: ProxiesBuilder,
    keep_alive: KeepAlive,
    history: Option<History>,
    limits: Limits,
}

impl EventStreamBuilder {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Sets what an idle stream sends, and how often: the event `keep-alive` every 20 seconds by default.
    pub fn keep_alive(mut self, keep_alive: KeepAlive) -> Self {
        self.keep_alive = keep_alive;
        self
    }

    /// Sets what is kept for clients that come back: by default [`History::memory()`], and
    /// [`History::off()`] when there are proxies.
    pub fn history(mut self, history: History) -> Self {
        self.history = Some(history);
        self
    }

    /// Sets how much is allowed.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Builds the stream.
    ///
    /// # Errors
    ///
    /// When a setting is wrong; the message names it.
    pub fn build(self) -> Result<EventStream, Error> {
        let Self {
            proxies,
            keep_alive,
            history,
            limits,
        } = self;
        let proxies = proxies.build()?;
        let default = || match proxies.is_empty() {
            true => History::memory(),
            false => History::off(),
        };
        let history = history.unwrap_or_else(default);
        keep_alive.check()?;
        history.check()?;
        limits.check()?;
        let hub = Hub::new(hub_config(&history, &limits));
        Ok(EventStream::from_inner(Inner {
            hub,
            keep_alive: Arc::new(keep_alive),
            limits,
            proxies,
            departures: Arc::default(),
        }))
    }
}

fn hub_config(history: &History, limits: &Limits) -> Config {
    let (history, events, max_age, bytes) = history.parts();
    Config {
        history,
        events,
        max_age,
        bytes,
        max_subscriptions: limits.subscriptions,
        max_subscriptions_per_channel: limits.subscriptions_per_channel,
    }
}
