//! The settings of an `EventStream`: every default, and every check of them.

use crate::{
    Channel, Error, EventStream, History, KeepAlive, LagPolicy, Limits,
    event_stream::Inner,
    hooks::Hooks,
    hub::{Config, Hub},
    publish::ProxiesBuilder,
    sse::Opening,
    stream::Streams,
};
use http::request::Parts;
use std::{sync::Arc, time::Duration};

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
    hooks: Hooks,
    opening: Opening,
    lag_policy: LagPolicy,
    max_age: Option<Duration>,
    refuse_with_status: bool,
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

    /// Sets whether a stream begins with the event `stream-open`: by default it does.
    ///
    /// Without it the stream begins with the comment `:stream-open`, for clients that parse the data of
    /// every event, as JSON for example. [`KeepAlive::comment`] makes keep-alives comments too.
    ///
    /// With history the comment is followed by an `id` line, which the HTML standard lets a client keep,
    /// and browsers do. A client that ignores an id without data has no position until its first event: if
    /// its connection breaks before, it resumes from the time of its reconnect.
    ///
    /// # Examples
    ///
    /// ```
    /// use axum_eventstream::{EventStream, KeepAlive};
    ///
    /// # fn main() -> Result<(), axum_eventstream::Error> {
    /// let es = EventStream::builder()
    ///     .stream_open(false)
    ///     .keep_alive(KeepAlive::new().comment("keep-alive"))
    ///     .build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn stream_open(mut self, is_event: bool) -> Self {
        self.opening = match is_event {
            true => Opening::Event,
            false => Opening::Comment,
        };
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

    /// Sets what happens to a subscriber that reads too slowly: [`LagPolicy::Continue`] by default.
    pub fn lag_policy(mut self, lag_policy: LagPolicy) -> Self {
        self.lag_policy = lag_policy;
        self
    }

    /// Ends each stream at about this age, so that clients spread anew over the instances behind a load
    /// balancer; each at its own moment, up to a tenth earlier or later. No limit by default.
    pub fn max_stream_age(mut self, age: Duration) -> Self {
        self.max_age = Some(age);
        self
    }

    /// Calls `hook` when a client has subscribed, with its channels and its request. It must not block.
    ///
    /// The request is its method, URI, version and headers. Extensions are not part of it: use
    /// [`StreamResponse::guard`](crate::StreamResponse::guard) for a value that lives as long as the stream.
    ///
    /// A client that a proxy holds is reported if the proxy reports when it leaves (the feature `link:gone` of
    /// Pushpin 1.41 and later), there is history, and a route for links (`grip_link_path`) that takes POST
    /// requests too. `on_unsubscribe` then gets the proxy's own request. With very many or long channel names
    /// there is no room for that link, and neither hook is called.
    ///
    /// # Examples
    ///
    /// ```
    /// use axum_eventstream::EventStream;
    ///
    /// # fn main() -> Result<(), axum_eventstream::Error> {
    /// let es = EventStream::builder()
    ///     .on_subscribe(|channels, parts| println!("{} listens to {}", parts.uri, channels[0]))
    ///     .on_unsubscribe(|channels, _| println!("one less listens to {}", channels[0]))
    ///     .build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn on_subscribe<F>(mut self, hook: F) -> Self
    where
        F: Fn(&[Channel], &Parts) + Send + Sync + 'static,
    {
        self.hooks.on_subscribe = Some(Arc::new(hook));
        self
    }

    /// Calls `hook` when a client's stream has ended, for whatever reason: its subscription is gone then.
    /// It must not block.
    pub fn on_unsubscribe<F>(mut self, hook: F) -> Self
    where
        F: Fn(&[Channel], &Parts) + Send + Sync + 'static,
    {
        self.hooks.on_unsubscribe = Some(Arc::new(hook));
        self
    }

    /// Sets whether a client that finds no room gets 503 with `Retry-After`: `false` by default.
    ///
    /// By default it gets 200 and a stream that ends at once with a `retry`, since a browser's `EventSource`
    /// is closed for good by any other status. It concerns clients that connect while the stream closes, or
    /// at a limit of subscriptions. Choose the status for clients that are not browsers and read it.
    pub fn refuse_with_status(mut self, with_status: bool) -> Self {
        self.refuse_with_status = with_status;
        self
    }

    /// Builds the stream.
    ///
    /// # Errors
    ///
    /// When a setting is wrong; the message names it. Also when the operating system gives no random
    /// number.
    pub fn build(self) -> Result<EventStream, Error> {
        let Self {
            proxies,
            keep_alive,
            history,
            limits,
            hooks,
            opening,
            lag_policy,
            max_age,
            refuse_with_status,
        } = self;
        let default = || match proxies.is_empty() {
            true => History::memory(),
            false => History::off(),
        };
        let history = history.unwrap_or_else(default);
        let proxies = proxies.build(history.is_on())?;
        keep_alive.check()?;
        history.check()?;
        limits.check()?;
        check_age(max_age)?;
        let hub = Hub::new(hub_config(&history, &limits), epoch()?);
        Ok(EventStream::from_inner(Inner {
            hub,
            streams: Arc::new(Streams::new(keep_alive)),
            limits,
            proxies,
            publishes: Default::default(),
            hooks,
            opening,
            lag_policy,
            max_age,
            refuse_with_status,
        }))
    }
}

fn check_age(age: Option<Duration>) -> Result<(), Error> {
    const YEAR: Duration = Duration::from_secs(366 * 86_400);
    match age {
        Some(age) if age.is_zero() || age > YEAR => Err(Error::config(format!(
            "the maximum stream age is {age:?}; it must be more than zero and at most a year"
        ))),
        _ => Ok(()),
    }
}

/// A number of 48 bits that no other run of the program has, nor a fork of this one.
fn epoch() -> Result<u64, Error> {
    let random = getrandom::u64().map_err(|error| {
        let text = "the operating system gives no random number, which tells the ids of this run from those of others";
        Error::config(text).caused_by(error)
    })?;
    Ok(random >> 16)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_epoch_is_not_that_of_a_fork() {
        let epoch = || {
            // A fork has the state of every generator of its parent.
            fastrand::seed(7);
            EventStream::new().inner().hub.epoch()
        };
        let epochs = [epoch(), epoch()];
        assert_ne!(epochs[0], epochs[1]);
        assert!(epochs.iter().all(|epoch| *epoch < 1 << 48));
    }
}
