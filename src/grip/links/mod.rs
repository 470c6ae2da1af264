//! Recovery links: the URIs by which a proxy requests missed events.
//!
//! Pushpin merges concurrent link requests with equal `Grip-Last` headers whose URIs are equal without the
//! query, and sends the response to all of those clients. So a link names a [`Digest`] of everything that its
//! response depends on, as a path segment or as a fragment: links with different responses differ there.
//!
//! No part of a link belongs to one client: Pushpin updates up to a hundred clients at once if their whole
//! links are equal. The token signs the digest and an expiry, and the digest authorizes the rest of the query
//! and the names in `Grip-Last`.
//!
//! Each response to a link has a new link, so an expiry does not bound how long a stream lasts. A later close
//! of one of its channels revokes a link.

mod digest;
mod names;
mod poll;
mod query;
mod settings;
mod terms;

pub(crate) use digest::canonical;
pub(crate) use query::{LinkQuery, Page};
pub(crate) use settings::LinkSettings;
pub(crate) use terms::{Terms, expires};

use crate::{
    Channel, Error,
    grip::{Key, SigningKey, Verifier},
    trace,
};
use digest::{Digest, Route};
use http::Uri;
use poll::Polls;
use serde::{Deserialize, Serialize};
use std::{
    fmt,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::{Duration, Instant, SystemTime},
};

/// Limit of the channels of one stream behind a proxy with history. Pushpin 1.41 accepts 64 header lines, and a
/// link request has up to four of its own and one for each channel.
pub(crate) const MAX_CHANNELS: usize = 60;

/// Pushpin's default `connection_subscription_max`. Of a stream with more channels it may hold only the first
/// ones, and `Grip-Last` then repeats no others.
pub(crate) const PUSHPIN_CHANNELS: usize = 20;

/// The end of the year 9999, as a Unix time.
const NEVER: u64 = 253_402_300_799;

pub(crate) struct Links {
    settings: LinkSettings,
    /// The prefix of channels at the proxies.
    channel_prefix: String,
    signing: SigningKey,
    verifier: Verifier,
    polls: Polls,
    /// Whether a handler for the link path was created.
    is_routed: AtomicBool,
    /// Whether a mistake in the routes was logged.
    has_warned: AtomicBool,
}

/// The claims of a token.
#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    #[serde(rename = "h")]
    digest: String,
    #[serde(flatten)]
    terms: Terms,
    exp: u64,
}

/// The parts of a request that links depend on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LinkRequest<'a> {
    /// The URI as the origin received it.
    pub(crate) uri: &'a Uri,
    /// Whether the request was routed to the handler of the link path.
    pub(crate) is_link_path: bool,
    /// The channels in `Grip-Last`, without their prefix.
    pub(crate) last: &'a [&'a str],
}

/// The content of a valid link.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Followed {
    pub(crate) channels: Vec<String>,
    pub(crate) purpose: Purpose,
    pub(crate) terms: Terms,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Recover from the positions in `Grip-Last`.
    Resume,
    /// Send the next page.
    Page(Page),
    /// Report that the client has disconnected.
    Gone,
}

/// The reason why a link is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InvalidLink {
    /// The link has expired, or another key has signed it.
    Token,
    /// The link is for other channels than `Grip-Last` names, or for another route.
    Digest,
}

impl Links {
    /// `secret` is shared by all instances of the application, if it is set.
    pub(super) fn new(
        mut settings: LinkSettings,
        channel_prefix: &str,
        secret: Option<&Key>,
    ) -> Result<Self, Error> {
        settings.check()?;
        let key = settings.take_key(secret)?;
        let wrong = |error| Error::config(format!("the key for next links: {error}"));
        let signing = SigningKey::new(&key).map_err(|error| wrong(error.to_string()))?;
        let verifier = Verifier::new(&key).map_err(|error| wrong(error.to_string()))?;
        Ok(Self {
            polls: Polls::new(settings.shortest_poll(), settings.longest_poll()),
            channel_prefix: channel_prefix.to_owned(),
            settings,
            signing,
            verifier,
            is_routed: AtomicBool::new(false),
            has_warned: AtomicBool::new(false),
        })
    }

    /// Records that a handler for the link path was created.
    pub(crate) fn set_routed(&self) {
        self.is_routed.store(true, Relaxed);
    }

    /// Logs once that links will probably not reach a handler. The proxy then delivers nothing more to its
    /// clients, without an error. `is_custom`: a custom handler holds the client.
    pub(crate) fn warn_of_routes(&self, is_custom: bool) {
        let has_path = self.settings.path.is_some();
        if has_path && !self.is_routed.load(Relaxed) && self.is_first_warning() {
            trace::event!(
                error,
                "`grip_link_path` is set, and `link_handler` was never called: without its route a proxy gets no missed events, and holds back all others"
            );
        }
        if !has_path && is_custom && self.is_first_warning() {
            trace::event!(
                warn,
                "a custom handler holds a client of a proxy with history, without `grip_link_path`: if it refuses requests without the client's cookies or query, the proxy gets no missed events, and holds back all others"
            );
        }
    }

    fn is_first_warning(&self) -> bool {
        !self.has_warned.swap(true, Relaxed)
    }

    /// The link of a hold, and the silence after which the proxy requests it. `channels` are [`canonical`], as
    /// in every link.
    pub(crate) fn resume(
        &self,
        uri: &Uri,
        channels: &[Channel],
        terms: &Terms,
    ) -> Result<(String, Duration), Error> {
        let (link, digest) = self.link(uri, &Purpose::Resume, channels, terms)?;
        let poll = self.polls.interval(&digest);
        Ok((link, poll.min(terms.poll(SystemTime::now()))))
    }

    /// The link to the next page of a replay.
    pub(crate) fn page(
        &self,
        uri: &Uri,
        channels: &[Channel],
        terms: &Terms,
        page: Page,
    ) -> Result<String, Error> {
        let (link, _) = self.link(uri, &Purpose::Page(page), channels, terms)?;
        Ok(link)
    }

    /// The link by which a proxy reports a disconnect, if there is a route for it.
    pub(crate) fn gone(&self, uri: &Uri, channels: &[Channel]) -> Option<String> {
        self.settings.path.as_ref()?;
        let link = self.link(uri, &Purpose::Gone, channels, &Terms::default());
        link.ok().map(|(link, _)| link)
    }

    /// The content of a request's link. Returns `None` if the request follows no link.
    pub(crate) fn follow(&self, request: LinkRequest<'_>) -> Option<Result<Followed, InvalidLink>> {
        let query = LinkQuery::of(request.uri)?;
        let claims = self.claims(query.token);
        Some(claims.and_then(|claims| {
            let followed = self.check(request, &query, &claims);
            followed.ok_or(InvalidLink::Digest)
        }))
    }

    fn claims(&self, token: &str) -> Result<Claims, InvalidLink> {
        let claims = self.verifier.claims(token, SystemTime::now());
        let claims = claims.map_err(|_| InvalidLink::Token)?;
        serde_json::from_value(claims.into()).map_err(|_| InvalidLink::Token)
    }

    /// Checks that the signed digest is the one of this request.
    fn check(
        &self,
        request: LinkRequest<'_>,
        query: &LinkQuery<'_>,
        claims: &Claims,
    ) -> Option<Followed> {
        let route = match request.is_link_path {
            true => self.link_path(request.uri, &claims.digest)?,
            false => Route::Stream(request.uri.path()),
        };
        let (channels, purpose) = query.followed(request.last)?;
        let followed = Followed {
            channels,
            purpose,
            terms: claims.terms,
        };
        let Followed {
            channels, purpose, ..
        } = &followed;
        let digest = self.digest(route, purpose, channels, &claims.terms);
        if digest.as_str() != claims.digest {
            return None;
        }
        if *purpose == Purpose::Resume {
            self.polls.followed(&digest, Instant::now());
        }
        Some(followed)
    }

    /// The link path, if the last segment of a request below it is the signed digest.
    fn link_path(&self, uri: &Uri, signed: &str) -> Option<Route<'_>> {
        let (_, segment) = uri.path().rsplit_once('/')?;
        let path = self.settings.path.as_deref()?;
        (segment == signed).then_some(Route::Links(path))
    }

    /// The route of links for a request to `uri`.
    fn route<'a>(&'a self, uri: &'a Uri) -> Route<'a> {
        match &self.settings.path {
            Some(path) => Route::Links(path),
            None => Route::Stream(uri.path()),
        }
    }

    fn digest(
        &self,
        route: Route<'_>,
        purpose: &Purpose,
        channels: &[impl AsRef<str>],
        terms: &Terms,
    ) -> Digest {
        Digest::new(route, purpose, &self.channel_prefix, channels, terms)
    }

    fn expiry(&self, purpose: &Purpose, terms: &Terms) -> u64 {
        match purpose {
            // Pushpin keeps the first one for as long as the stream lasts.
            Purpose::Gone => NEVER,
            _ => terms.expiry(self.settings.expiry(SystemTime::now())),
        }
    }

    fn link(
        &self,
        uri: &Uri,
        purpose: &Purpose,
        channels: &[Channel],
        terms: &Terms,
    ) -> Result<(String, Digest), Error> {
        let digest = self.digest(self.route(uri), purpose, channels, terms);
        let token = self.token(&digest, terms, self.expiry(purpose, terms))?;
        let (parameter, rest) = (query::TOKEN, query::after_token(purpose, channels));
        let link = match &self.settings.path {
            Some(path) => {
                let path = path.trim_end_matches('/');
                format!("{path}/{}?{parameter}={token}{rest}", digest.as_str())
            }
            None => {
                let prefix = &self.settings.prefix;
                // Two leading slashes would begin an authority.
                let path = plain(uri.path().trim_start_matches('/'));
                format!(
                    "{prefix}/{path}?{parameter}={token}{rest}#{}",
                    digest.as_str()
                )
            }
        };
        Ok((link, digest))
    }

    fn token(&self, digest: &Digest, terms: &Terms, exp: u64) -> Result<String, Error> {
        let claims = Claims {
            digest: digest.as_str().to_owned(),
            terms: *terms,
            exp,
        };
        let claims = serde_json::to_string(&claims).ok();
        let token = claims.and_then(|claims| self.signing.token(&claims));
        token.ok_or_else(|| Error::config("the key for next links does not sign"))
    }
}

/// Escapes the characters that have a meaning in `Grip-Link`.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b',' | b';' | b'"' | b'<' | b'>' | b'\\' => plain += &format!("%{byte:02X}"),
            _ if byte.is_ascii_graphic() => plain.push(byte.into()),
            _ => plain += &format!("%{byte:02X}"),
        }
    }
    plain
}

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Links").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
