//! The proxies of an `EventStream`: publishing to them, verifying their requests, and the prefix of channels.
//! No other module applies the prefix.

use super::links::{LinkSettings, Links};
use crate::{
    Channel, Error, ErrorKind, LastEventId, Rejection, Stats,
    builder::EventStreamBuilder,
    excerpt::excerpt,
    grip::{GripConfig, Item, Key, Publisher},
    handler::Delivery,
    health::{Health, ProxyHealth},
    publish::grip::Ticket,
    trace,
    white_space::is_white_space,
};
use bytes::Bytes;
use http::HeaderValue;
use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::{Duration, SystemTime},
};

const DEFAULT_PREFIX: &str = "events-";

#[derive(Debug)]
pub(crate) struct Proxies {
    publisher: Option<Publisher>,
    prefix: String,
    required: bool,
    /// `Some` with history: a proxy recovers missed events by links.
    links: Option<Links>,
    /// Whether a refused signature was logged: probably the keys differ.
    has_refused: AtomicBool,
}

/// A publish to proxies that have not all answered.
#[must_use]
pub(crate) struct InFlight(Option<Ticket>);

impl Proxies {
    pub(crate) fn are_required(&self) -> bool {
        self.required
    }

    /// The name of a channel at the proxies.
    pub(crate) fn name(&self, channel: &Channel) -> String {
        [&self.prefix, channel.as_str()].concat()
    }

    /// The channel with this name at the proxies, if the name has the prefix.
    pub(crate) fn channel<'a>(&self, name: &'a str) -> Option<&'a str> {
        name.strip_prefix(&self.prefix)
    }

    /// What holds the stream of a request with this signature.
    pub(crate) fn delivery(&self, grip_sig: Option<&HeaderValue>) -> Result<Delivery, Rejection> {
        let (Some(publisher), Some(grip_sig)) = (&self.publisher, grip_sig) else {
            return Ok(Delivery::Direct);
        };
        match publisher.verify(grip_sig.as_bytes(), SystemTime::now()) {
            Ok(true) => Ok(Delivery::Proxied),
            Ok(false) => Ok(Delivery::Direct),
            Err(error) => {
                // Anyone can send a signature, so only the first refusal is logged as a warning.
                if !self.has_refused.swap(true, Relaxed) {
                    trace::event!(
                        warn,
                        %error,
                        "a Grip-Sig was refused: if all requests of a proxy are, its key and `verify_key` differ; later refusals are logged at debug"
                    );
                }
                trace::event!(debug, %error, "Grip-Sig refused");
                let _ = error;
                Err(Rejection::InvalidGripSignature)
            }
        }
    }

    /// The links for missed events, if there is history.
    pub(crate) fn links(&self) -> Option<&Links> {
        self.links.as_ref()
    }

    /// Queues an event for all proxies, without waiting. With history, a proxy that lacks the channel's
    /// `previous` event requests it.
    pub(crate) fn enqueue(
        &self,
        channel: &Channel,
        bytes: &Bytes,
        id: LastEventId,
        previous: LastEventId,
    ) -> InFlight {
        let item = || {
            let item = Item::stream(self.name(channel), bytes.clone());
            match self.links {
                Some(_) => item.id(id.to_string()).prev_id(previous.to_string()),
                None => item,
            }
        };
        let publisher = self.publisher.as_ref();
        InFlight(publisher.map(|publisher| publisher.enqueue(item())))
    }

    /// Queues the end of all streams that the proxies hold on this channel, after its `last` event. With
    /// history, a proxy takes an item that does not follow its last one for a gap.
    pub(crate) fn close_channel(&self, channel: &Channel, last: LastEventId) -> InFlight {
        let item = || {
            let item = Item::close(self.name(channel));
            match self.links {
                Some(_) => item.prev_id(last.to_string()),
                None => item,
            }
        };
        let publisher = self.publisher.as_ref();
        InFlight(publisher.map(|publisher| publisher.enqueue(item())))
    }

    pub(crate) fn health(&self) -> Health {
        let endpoints = self.publisher.iter().flat_map(Publisher::stats);
        let proxies = endpoints.map(|endpoint| ProxyHealth {
            endpoint: endpoint.endpoint,
            healthy: endpoint.healthy,
        });
        Health::new(proxies.collect())
    }

    pub(crate) fn count(&self, mut stats: Stats) -> Stats {
        for endpoint in self.publisher.iter().flat_map(Publisher::stats) {
            stats.grip_published += endpoint.sent;
            stats.grip_failures += endpoint.failed;
            stats.grip_queued += endpoint.queued as usize;
        }
        stats
    }
}

impl InFlight {
    /// Starts sending, after the sequencer is unlocked.
    pub(crate) fn start(&mut self) {
        if let Some(ticket) = &mut self.0 {
            ticket.start();
        }
    }

    pub(crate) async fn wait(self) -> Result<(), Error> {
        match self.0 {
            Some(ticket) => ticket.wait().await.map_err(|error| {
                let text = format!("subscribers in this process have the event, but {error}");
                Error::new(ErrorKind::Publish, text).caused_by(error)
            }),
            None => Ok(()),
        }
    }
}

/// Proxies for [`EventStreamBuilder::grip`]. They are the text of a `GRIP_URL` (also several, separated by
/// white space), a [`GripConfig`], an array, a slice or a `Vec` of these, or a [`Publisher`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say which GRIP proxies to use",
    label = "expected the text of a GRIP_URL, or several",
    note = "proxies are text, a `GripConfig`, an array, a slice or a `Vec` of these, or a `grip::Publisher`"
)]
pub trait IntoProxies {
    #[doc(hidden)]
    fn add_to(self, source: &mut ProxySource);
}

/// The argument of [`EventStreamBuilder::grip`].
#[derive(Debug, Default)]
pub struct ProxySource {
    configs: Vec<GripConfig>,
    publishers: Vec<Publisher>,
    error: Option<Error>,
}

impl IntoProxies for &str {
    fn add_to(self, source: &mut ProxySource) {
        match GripConfig::parse_list(self) {
            Ok(configs) => source.configs.extend(configs),
            Err(error) => _ = source.error.get_or_insert(error),
        }
    }
}

impl IntoProxies for String {
    fn add_to(self, source: &mut ProxySource) {
        self.as_str().add_to(source);
    }
}

impl IntoProxies for &String {
    fn add_to(self, source: &mut ProxySource) {
        self.as_str().add_to(source);
    }
}

impl IntoProxies for GripConfig {
    fn add_to(self, source: &mut ProxySource) {
        source.configs.push(self);
    }
}

impl IntoProxies for Publisher {
    fn add_to(self, source: &mut ProxySource) {
        source.publishers.push(self);
    }
}

impl<T: IntoProxies> IntoProxies for Vec<T> {
    fn add_to(self, source: &mut ProxySource) {
        self.into_iter().for_each(|one| one.add_to(source));
    }
}

impl<T: IntoProxies, const N: usize> IntoProxies for [T; N] {
    fn add_to(self, source: &mut ProxySource) {
        self.into_iter().for_each(|one| one.add_to(source));
    }
}

impl<T: IntoProxies + Clone> IntoProxies for &[T] {
    fn add_to(self, source: &mut ProxySource) {
        self.iter().for_each(|one| one.clone().add_to(source));
    }
}

#[derive(Debug)]
pub(crate) struct ProxiesBuilder {
    /// `None` until a setter or the environment names proxies.
    source: Option<ProxySource>,
    prefix: String,
    required: bool,
    links: LinkSettings,
}

impl Default for ProxiesBuilder {
    fn default() -> Self {
        Self {
            source: None,
            prefix: DEFAULT_PREFIX.to_owned(),
            required: false,
            links: LinkSettings::default(),
        }
    }
}

impl ProxiesBuilder {
    pub(crate) fn is_empty(&self) -> bool {
        self.source.is_none()
    }

    pub(crate) fn build(self, history: bool) -> Result<Proxies, Error> {
        let Self {
            source,
            prefix,
            required,
            links,
        } = self;
        check_prefix(&prefix)?;
        let secret = source.as_ref().and_then(ProxySource::secret);
        let links = Links::new(links, &prefix, secret.as_ref())?;
        let links = (history && source.is_some()).then_some(links);
        let publisher = source.map(ProxySource::build).transpose()?;
        if required && publisher.is_none() {
            return Err(Error::config(
                "`require_grip_proxy` is set, but there is no proxy: set one with `grip`",
            ));
        }
        Ok(Proxies {
            publisher,
            prefix,
            required,
            links,
            has_refused: AtomicBool::new(false),
        })
    }
}

impl ProxySource {
    /// A secret that all instances of the application share, if there is one.
    fn secret(&self) -> Option<Key> {
        // A key that only verifies signatures may be public.
        let checks = |config: &GripConfig| config.verify_key.clone().filter(Key::is_shared_secret);
        let knows = |config: &GripConfig| config.key.clone().or_else(|| checks(config));
        self.configs.iter().find_map(knows)
    }

    fn build(self) -> Result<Publisher, Error> {
        let Self {
            configs,
            mut publishers,
            error,
        } = self;
        if let Some(error) = error {
            return Err(error);
        }
        if !configs.is_empty() {
            publishers.push(Publisher::new(configs)?);
        }
        let publisher = Publisher::joined(&publishers);
        if publisher.stats().is_empty() {
            return Err(Error::config(
                "`grip` names no proxy: give a control URI, or leave it out for direct delivery",
            ));
        }
        Ok(publisher)
    }
}

/// A channel must stay a valid name for a proxy with the prefix in front.
fn check_prefix(prefix: &str) -> Result<(), Error> {
    let forbidden = |c: char| c.is_control() || c == ',' || c == ';';
    if prefix.contains(forbidden) || prefix.starts_with(is_white_space) {
        let prefix = excerpt(prefix);
        return Err(Error::config(format!(
            "the GRIP prefix {prefix} begins with white space or has a control character, a comma or a semicolon, which GRIP cannot quote"
        )));
    }
    Ok(())
}

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
        proxies.add_to(self.proxies.source.get_or_insert_default());
        self
    }

    /// Sets the prefix of channel names at the proxies: `events-` by default. Direct delivery does not use it.
    ///
    /// It has no control character, comma or semicolon, and does not begin with white space.
    pub fn grip_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.proxies.prefix = prefix.into();
        self
    }

    /// Sets whether requests that did not come through a proxy are refused with 501: `false` by default. With
    /// `true`, `build` fails if no proxy is set.
    pub fn require_grip_proxy(mut self, required: bool) -> Self {
        self.proxies.required = required;
        self
    }

    /// Sets the prefix of the path of links for missed events, for a proxy whose routes rewrite paths: the part
    /// that it removes. Empty by default.
    ///
    /// Links exist only with history and proxies: a proxy that detects a gap requests the missed events with
    /// one.
    pub fn grip_link_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.proxies.links.prefix = prefix.into();
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
        self.proxies.links.path = Some(path.into());
        self
    }

    /// Sets the key that signs links for missed events. By default it is derived from the first proxy's `key`,
    /// or its `verify_key` if that is a shared secret: all instances have it.
    ///
    /// Without either, the key is random, and links are valid for this process only. After a restart, a stream
    /// that a proxy holds ends when the proxy requests missed events, and its client reconnects.
    pub fn grip_link_key(mut self, key: impl Into<Key>) -> Self {
        self.proxies.links.key = Some(key.into());
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
        self.proxies.links.valid_for = time;
        self
    }

    /// Sets the shortest time without an event after which a proxy checks for missed ones: 120 seconds by
    /// default.
    ///
    /// Pushpin requests at most ten links a second. Clients wait for their turn, and their events wait with
    /// them. So the time grows with the number of links, for about five requests a second. For some links it is
    /// up to twice as long, so that clients that have connected together are not updated together. Clients on
    /// the same channels have the same link.
    ///
    /// The time is at least a second, and at most half of [`grip_link_valid_for`](Self::grip_link_valid_for):
    /// `build` refuses a longer one, and the default is shortened.
    pub fn grip_poll(mut self, interval: Duration) -> Self {
        self.proxies.links.poll = Some(interval);
        self
    }

    /// Adds the proxies that the environment names, if any.
    pub(crate) fn env(
        mut self,
        variable: impl Fn(&str) -> Result<Option<String>, Error>,
    ) -> Result<Self, Error> {
        let Some(urls) = variable("GRIP_URL")?.filter(|urls| !urls.trim().is_empty()) else {
            return Ok(self);
        };
        let in_variable = |name, error| Error::config(format!("{name}: {error}"));
        let mut configs =
            GripConfig::parse_list(&urls).map_err(|error| in_variable("GRIP_URL", error))?;
        if let Some(key) = variable("GRIP_VERIFY_KEY")? {
            if key.trim().is_empty() {
                return Err(Error::config(
                    "GRIP_VERIFY_KEY is empty: set a key, or unset it to take any signature",
                ));
            }
            let key = Key::from(key);
            let without = configs
                .iter_mut()
                .filter(|config| config.verify_key.is_none());
            without.for_each(|config| config.verify_key = Some(key.clone()));
        }
        self = self.grip(configs);
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_have_a_secret_in_common_but_no_public_key() {
        let public = include_str!("../../tests/keys/ec-public.pem");
        let secret = |key: Option<&str>, verify_key: Option<&str>| {
            let mut source = ProxySource::default();
            source.configs.push(GripConfig {
                key: key.map(Key::from),
                verify_key: verify_key.map(Key::from),
                ..GripConfig::new("http://localhost:5561")
            });
            source
                .secret()
                .as_ref()
                .and_then(Key::as_text)
                .map(str::to_owned)
        };
        for (key, verify_key, expected) in [
            (None, None, None),
            (Some("a"), None, Some("a")),
            (Some("a"), Some("b"), Some("a")),
            (None, Some("b"), Some("b")),
            (None, Some("base64:Yg=="), Some("base64:Yg==")),
            (None, Some(public), None),
        ] {
            assert_eq!(secret(key, verify_key).as_deref(), expected);
        }
    }
}
