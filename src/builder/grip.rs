//! The settings of GRIP proxies.

use super::EventStreamBuilder;
use crate::grip::{IntoProxies, Key};
use std::time::Duration;

/// # GRIP proxies
impl EventStreamBuilder {
    /// Adds GRIP proxies: see [`IntoProxies`] for the types.
    ///
    /// Requests that come through one of them get instructions for it as their response, and every event is
    /// published to each of them.
    ///
    /// # Examples
    ///
    /// ```
    /// use axum_eventstream::{EventStream, grip::GripConfig};
    ///
    /// # fn main() -> Result<(), axum_eventstream::Error> {
    /// let one = EventStream::builder().grip("http://localhost:5561").build()?;
    /// let two = EventStream::builder()
    ///     .grip("http://10.0.0.1:5561?verify-key=secret http://10.0.0.2:5561?verify-key=secret")
    ///     .build()?;
    /// let configs = vec![GripConfig::new("http://localhost:5561")];
    /// let three = EventStream::builder().grip(configs).build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn grip(mut self, proxies: impl IntoProxies) -> Self {
        self.grip.add(proxies);
        self
    }

    /// Sets the prefix of channel names at the proxies: `events-` by default. Direct delivery does not use it.
    ///
    /// It has no control character, comma or semicolon, and does not begin with white space.
    pub fn grip_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.grip.prefix = prefix.into();
        self
    }

    /// Sets whether requests that did not come through a proxy are refused with 501: `false` by default. With
    /// `true`, `build` fails if no proxy is set.
    pub fn require_grip_proxy(mut self, required: bool) -> Self {
        self.grip.required = required;
        self
    }

    /// Sets a prefix for the path of links for missed events, if the proxy's routes remove that prefix before they
    /// forward. Empty by default.
    ///
    /// Links exist only with history and proxies: a proxy that detects a gap requests the missed events with
    /// one.
    pub fn grip_link_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.grip.links.prefix = prefix.into();
        self
    }

    /// Sets the path, as the proxy's clients see it, below which all links for missed events are. They are
    /// served by a route with one more segment and
    /// [`EventStream::link_handler`](crate::EventStream::link_handler). By default links lead to the route of
    /// the stream.
    ///
    /// It is needed where
    ///
    /// - a custom handler or middleware needs the client's cookies, headers or query: the proxy sends
    ///   requests of its own, without them. The link itself authorizes its channels;
    /// - HAProxy is between proxy and application: without a path a link has a fragment, which Pushpin sends
    ///   from version 1.41 on, and HAProxy answers with 400.
    ///
    /// # Examples
    ///
    /// ```
    /// use axum::{Router, routing::get};
    /// use axum_eventstream::{EventStream, History};
    ///
    /// # fn main() -> Result<(), axum_eventstream::Error> {
    /// let es = EventStream::builder()
    ///     .grip("http://localhost:5561")
    ///     .history(History::memory())
    ///     .grip_link_path("/missed")
    ///     .build()?;
    /// let app: Router = Router::new().route("/missed/{link}", get(es.link_handler()));
    /// # Ok(())
    /// # }
    /// ```
    pub fn grip_link_path(mut self, path: impl Into<String>) -> Self {
        self.grip.links.path = Some(path.into());
        self
    }

    /// Sets the key that signs links for missed events. The default is derived from the first secret among the proxies'
    /// keys: a `key`, or a `verify_key` that is a shared secret. All instances have it.
    ///
    /// Without such a secret, the key is random, and links are valid for this process only. After a restart, a stream
    /// that a proxy holds ends when the proxy requests missed events, and its client reconnects. With a
    /// [backplane](crate::backplane) and history, `build` then returns an error.
    pub fn grip_link_key(mut self, key: impl Into<Key>) -> Self {
        self.grip.links.key = Some(key.into());
        self
    }

    /// Sets for how long a link for missed events is valid: between a second and 366 days, a day by default. Up
    /// to a quarter is added, so that
    /// clients on the same channels have the same link. A stream whose link has expired ends when the proxy
    /// uses it, and its client reconnects.
    ///
    /// Each response to a link has a new link. So this limits how long an unused link is valid, and not how
    /// long a stream lasts.
    pub fn grip_link_valid_for(mut self, time: Duration) -> Self {
        self.grip.links.valid_for = time;
        self
    }

    /// Sets the shortest time without an event after which a proxy checks for missed ones: 120 seconds by
    /// default.
    ///
    /// Pushpin requests at most ten links a second. Clients wait for their turn, and their events wait with them. The
    /// time grows with the number of links, to keep about five requests a second. It differs between links by up to a
    /// factor of two, so that clients are not updated together. Clients on the same channels have the same link.
    ///
    /// The time is at least a second, and at most half of [`grip_link_valid_for`](Self::grip_link_valid_for):
    /// `build` refuses a longer one, and the default is shortened.
    pub fn grip_poll(mut self, interval: Duration) -> Self {
        self.grip.links.poll = Some(interval);
        self
    }
}
