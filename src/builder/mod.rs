//! The settings of an `EventStream`, their defaults and their checks.

#[cfg(feature = "grip")]
mod grip;

#[cfg(feature = "grip")]
use crate::grip::ProxiesBuilder;
use crate::{
    Channel, Error, EventStream, History, KeepAlive, LagPolicy, Limits,
    backplane::{Backplane, Engine, Failure},
    core::Core,
    hub::{Config, Hub},
    proxies::Proxies,
    sse::Opening,
    stream::Hooks,
    stream::Streams,
};
use http::request::Parts;
use std::{env::VarError, fmt, sync::Arc, time::Duration};

/// # Creating
impl EventStream {
    /// Creates an `EventStream` with the default settings and direct delivery only.
    ///
    /// # Panics
    ///
    /// If the operating system provides no random number. [`builder`](Self::builder) returns that as an
    /// error.
    #[must_use]
    pub fn new() -> Self {
        let built = Self::builder().build();
        built.expect("the defaults are valid")
    }

    /// Creates an `EventStream` with the settings of the environment. Without such settings it delivers directly.
    ///
    /// `GRIP_URL` is the control URI of a proxy as in
    /// [`GripConfig`](https://docs.rs/axum-eventstream/latest/axum_eventstream/grip/struct.GripConfig.html),
    /// or several of them separated by white space. `GRIP_VERIFY_KEY` is the key that verifies the signatures
    /// of proxies without a `verify-key` in their URL. Without `GRIP_URL` it is not read.
    ///
    /// `EVENTSTREAM_BACKPLANE` is the URL of the engine of a [backplane](crate::backplane): for Redis as in
    #[cfg_attr(
        feature = "redis",
        doc = "[`Redis::new`](crate::backplane::Redis::new), and for NATS as in"
    )]
    #[cfg_attr(
        not(feature = "redis"),
        doc = "`Redis::new`, with the feature `redis`, and for NATS as in"
    )]
    #[cfg_attr(feature = "nats", doc = "[`Nats::new`](crate::backplane::Nats::new).")]
    #[cfg_attr(not(feature = "nats"), doc = "`Nats::new`, with the feature `nats`.")]
    ///
    /// # Errors
    ///
    /// When a value is wrong; the message names the variable.
    pub fn from_env() -> Result<Self, Error> {
        Self::builder().from_env()?.build()
    }

    /// Creates a builder for settings other than the defaults.
    pub fn builder() -> EventStreamBuilder {
        EventStreamBuilder::default()
    }
}

impl Default for EventStream {
    fn default() -> Self {
        Self::new()
    }
}

/// A variable of the environment. One that cannot be read must not pass for one that is not set.
fn variable(name: &str) -> Result<Option<String>, Error> {
    match std::env::var(name) {
        Ok(value) => Ok(Some(value)),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err(Error::config(format!("{name} is not UTF-8"))),
    }
}

/// Builds an [`EventStream`].
///
/// [`build`](Self::build) checks all settings.
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
    #[cfg(feature = "grip")]
    grip: ProxiesBuilder,
    keep_alive: KeepAlive,
    history: Option<History>,
    limits: Limits,
    hooks: Hooks,
    opening: Opening,
    lag_policy: LagPolicy,
    max_age: Option<Duration>,
    refuse_with_status: bool,
    backplane: Option<Backend>,
}

/// The engine of a backplane.
struct Backend(Arc<dyn Engine>);

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.name())
    }
}

impl EventStreamBuilder {
    /// Adds the settings of the environment: see [`EventStream::from_env`].
    ///
    /// # Errors
    ///
    /// When a value is wrong; the message names the variable.
    ///
    /// # Examples
    ///
    /// ```
    /// use axum_eventstream::{EventStream, History};
    ///
    /// # fn main() -> Result<(), axum_eventstream::Error> {
    /// let builder = EventStream::builder().from_env()?;
    /// let es = builder.history(History::memory()).build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_env(self) -> Result<Self, Error> {
        self.env(variable)?.env_backplane()
    }

    /// A variable that is set and cannot be used is an error: ignoring it would publish to one instance only.
    fn env_backplane(self) -> Result<Self, Error> {
        const NAME: &str = "EVENTSTREAM_BACKPLANE";
        match variable(NAME)?.filter(|url| !url.trim().is_empty()) {
            Some(url) => self.url_of_backplane(url.trim(), NAME),
            None => Ok(self),
        }
    }

    fn url_of_backplane(self, url: &str, name: &str) -> Result<Self, Error> {
        let feature = match url.split_once("://") {
            Some(("nats" | "tls", _)) => "nats",
            _ => "redis",
        };
        match feature {
            #[cfg(feature = "nats")]
            "nats" => self.checked_backplane(crate::backplane::Nats::new(url), name),
            #[cfg(feature = "redis")]
            "redis" => self.checked_backplane(crate::backplane::Redis::new(url), name),
            _ => Err(Error::config(format!(
                "{name} is set, but axum-eventstream was built without its feature `{feature}`: switch it on, or unset the variable"
            ))),
        }
    }

    #[cfg(any(feature = "nats", feature = "redis"))]
    fn checked_backplane(self, engine: impl Backplane, name: &str) -> Result<Self, Error> {
        Backplane::check(&engine).map_err(|failure| invalid_backplane(name, failure))?;
        Ok(self.backplane(engine))
    }

    /// Sets the keep-alives of idle streams: by default, a `keep-alive` event every 20 seconds.
    pub fn keep_alive(mut self, keep_alive: KeepAlive) -> Self {
        self.keep_alive = keep_alive;
        self
    }

    /// Sets whether a stream begins with a `stream-open` event: `true` by default.
    ///
    /// With `false`, the stream begins with the comment `:stream-open`, for clients that parse the data of
    /// every event, for example as JSON. [`KeepAlive::comment`] turns keep-alives into comments too.
    ///
    /// With history, an `id` line follows the comment. By the HTML standard, a client keeps this id, and
    /// browsers do. A client that ignores an id without data has no position until its first event. If it
    /// disconnects before, it resumes from the time of its reconnect.
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

    /// Sets the history for clients that reconnect.
    ///
    /// The default is [`History::memory()`] without proxies or with a [backplane](Self::backplane), and
    /// [`History::off()`] with proxies alone.
    pub fn history(mut self, history: History) -> Self {
        self.history = Some(history);
        self
    }

    /// Shares the events with the other instances of the application through a log that an engine holds: see
    /// [`backplane`](crate::backplane).
    ///
    /// `build` does not wait for the engine. The first call on a tokio runtime connects, and a connection that breaks is
    /// replaced. [`EventStream::catch_up`] waits for the first connection.
    pub fn backplane(mut self, engine: impl Backplane) -> Self {
        self.backplane = Some(Backend(Arc::new(engine)));
        self
    }

    /// Sets the limits on subscriptions and events.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets the policy for a subscriber that lags: [`LagPolicy::Continue`] by default.
    pub fn lag_policy(mut self, lag_policy: LagPolicy) -> Self {
        self.lag_policy = lag_policy;
        self
    }

    /// Sets the maximum age of a stream, more than zero: no limit by default.
    ///
    /// Each stream ends at a random age between 90 % and 110 % of `age`. Its client reconnects, so that a load balancer
    /// can redistribute clients over its instances.
    pub fn max_stream_age(mut self, age: Duration) -> Self {
        self.max_age = Some(age);
        self
    }

    /// Calls `hook` with the channels and the request of a client that has subscribed. It must not block.
    ///
    /// The request parts have the method, URI, version and headers, but no extensions. To keep a value alive
    /// as long as the stream, use [`StreamResponse::guard`](crate::StreamResponse::guard).
    ///
    /// For a client that a proxy holds, the hooks are called only if all of these hold:
    ///
    /// - The proxy reports when the client disconnects (the feature `link:gone` of Pushpin 1.41 and later).
    /// - History is on.
    /// - A route for links (`grip_link_path`) accepts POST requests.
    /// - The channel names are few and short enough for the link to fit.
    ///
    /// # Examples
    ///
    /// ```
    /// use axum_eventstream::EventStream;
    ///
    /// # fn main() -> Result<(), axum_eventstream::Error> {
    /// let es = EventStream::builder()
    ///     .on_subscribe(|channels, parts| println!("{} subscribed to {}", parts.uri, channels[0]))
    ///     .on_unsubscribe(|channels, _| println!("a client unsubscribed from {}", channels[0]))
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

    /// Calls `hook` after a client's stream has ended for any reason. It must not block.
    ///
    /// The subscription is already removed when the hook runs. For a client that a proxy holds, the hook is
    /// called under the conditions of [`on_subscribe`](Self::on_subscribe), and receives the request by which
    /// the proxy reports the disconnect.
    pub fn on_unsubscribe<F>(mut self, hook: F) -> Self
    where
        F: Fn(&[Channel], &Parts) + Send + Sync + 'static,
    {
        self.hooks.on_unsubscribe = Some(Arc::new(hook));
        self
    }

    /// Sets whether a refused client receives 503 with `Retry-After`: `false` by default.
    ///
    /// A client is refused while the `EventStream` closes and when a subscription limit is reached. By default, it
    /// receives 200 and a stream that ends at once with a `retry`, since a browser's `EventSource` does not reconnect
    /// after any other status. Use `true` if your clients are not browsers and handle 503.
    pub fn refuse_with_status(mut self, with_status: bool) -> Self {
        self.refuse_with_status = with_status;
        self
    }

    /// Builds the `EventStream`.
    ///
    /// # Errors
    ///
    /// Returns an error if a setting is invalid; the message names it. Also returns an error if the operating
    /// system provides no random number.
    pub fn build(mut self) -> Result<EventStream, Error> {
        let history = self.history.take();
        let history = history.unwrap_or_else(|| self.default_history());
        let proxies = self.proxies(&history)?;
        let Self {
            keep_alive,
            limits,
            hooks,
            opening,
            lag_policy,
            max_age,
            refuse_with_status,
            backplane,
            ..
        } = self;
        keep_alive.check()?;
        history.check()?;
        limits.check()?;
        check_age(max_age)?;
        let engine = backplane.map(|Backend(engine)| engine);
        let checked = engine.as_deref().map_or(Ok(()), Engine::check);
        checked.map_err(|failure| invalid_backplane("the backplane", failure))?;
        let config = hub_config(&history, &limits, proxies.is_some());
        let core = Core {
            hub: match engine {
                // The log of the engine has an epoch.
                Some(_) => Hub::following(config),
                None => Hub::new(config, epoch()?),
            },
            streams: Arc::new(Streams::new(keep_alive, &limits)),
            limits,
            hooks,
            opening,
            lag_policy,
            max_age,
            refuse_with_status,
        };
        EventStream::from_parts(core, proxies, engine)
    }
}

#[cfg(feature = "grip")]
impl EventStreamBuilder {
    fn env(mut self, variable: fn(&str) -> Result<Option<String>, Error>) -> Result<Self, Error> {
        self.grip.env(variable)?;
        Ok(self)
    }

    fn default_history(&self) -> History {
        match self.grip.is_empty() || self.backplane.is_some() {
            true => History::memory(),
            false => History::off(),
        }
    }

    fn proxies(&mut self, history: &History) -> Result<Option<Box<dyn Proxies>>, Error> {
        std::mem::take(&mut self.grip).build(history.on, self.backplane.is_some())
    }
}

#[cfg(not(feature = "grip"))]
impl EventStreamBuilder {
    /// `GRIP_URL` without this feature is an error: ignoring it would publish to no proxy silently.
    fn env(self, variable: fn(&str) -> Result<Option<String>, Error>) -> Result<Self, Error> {
        match variable("GRIP_URL")?.filter(|url| !url.trim().is_empty()) {
            Some(_) => Err(Error::config(
                "GRIP_URL is set, but axum-eventstream was built without its feature `grip`: switch it on, or unset the variable",
            )),
            None => Ok(self),
        }
    }

    fn default_history(&self) -> History {
        History::memory()
    }

    fn proxies(&mut self, _history: &History) -> Result<Option<Box<dyn Proxies>>, Error> {
        Ok(None)
    }
}

/// `name`: the variable of the environment, or the setting.
fn invalid_backplane(name: &str, failure: Failure) -> Error {
    Error::config(format!("{name}: {failure}")).caused_by(failure)
}

fn check_age(age: Option<Duration>) -> Result<(), Error> {
    const YEAR: Duration = Duration::from_secs(366 * 86_400);
    match age {
        Some(age) if age.is_zero() || age > YEAR => Err(Error::config(format!(
            "the maximum stream age is {age:?}; it must be greater than zero and at most a year"
        ))),
        _ => Ok(()),
    }
}

/// A random number of 48 bits. The operating system provides it, since a fork shares the state of every other
/// generator.
fn epoch() -> Result<u64, Error> {
    let random = getrandom::u64().map_err(|error| {
        let text = "the operating system provides no random number for the epoch of event ids";
        Error::config(text).caused_by(error)
    })?;
    Ok(random >> 16)
}

fn hub_config(history: &History, limits: &Limits, has_proxies: bool) -> Config {
    Config {
        history: history.on,
        events: history.events,
        max_age: history.max_age,
        bytes: history.bytes,
        max_subscriptions: limits.subscriptions,
        max_subscriptions_per_channel: limits.subscriptions_per_channel,
        // Only the links of proxies with history read them.
        records_closes: history.on && has_proxies,
        latest_per_key: history.on && history.latest_per_key,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fork_has_another_epoch() {
        let epoch = || {
            // A fork has the state of every generator of its parent.
            fastrand::seed(7);
            EventStream::new().core().hub.epoch()
        };
        let epochs = [epoch(), epoch()];
        assert_ne!(epochs[0], epochs[1]);
        assert!(epochs.iter().all(|epoch| *epoch < 1 << 48));
    }
}
