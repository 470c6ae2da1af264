//! The links by which a proxy asks for what it has missed: who may, for how long, and where.
//!
//! The request is the proxy's own, without the client's cookies, so the link says which channels the
//! client was allowed to hear. It is signed, and it expires.

use crate::{
    Error,
    channel::Channel,
    excerpt::excerpt,
    grip::{Key, SigningKey, Verifier},
};
use http::Uri;
use serde::{Deserialize, Serialize};
use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// The query parameter that carries a link's token.
pub(crate) const PARAMETER: &str = "grip-next";

/// What a token may have: `Verifier` takes no longer ones.
const MAX_TOKEN: usize = 8 << 10;

/// What a link is good for.
#[derive(Debug, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct Claims {
    #[serde(rename = "c")]
    pub(crate) channels: Vec<String>,
    /// Where the next page begins, as an id for each channel. Without it, the proxy knows.
    #[serde(rename = "p", skip_serializing_if = "Option::is_none", default)]
    pub(crate) page: Option<Vec<String>>,
    /// The client has gone.
    #[serde(rename = "g", skip_serializing_if = "std::ops::Not::not", default)]
    pub(crate) gone: bool,
    #[serde(default)]
    exp: u64,
}

impl Claims {
    pub(crate) fn new(channels: &[Channel], page: Option<Vec<String>>) -> Self {
        let channels = channels.iter().map(|channel| channel.as_str().to_owned());
        Self {
            channels: channels.collect(),
            page,
            gone: false,
            exp: 0,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct LinkSettings {
    /// What comes before the path of a request, for proxies that rewrite paths.
    pub(crate) prefix: String,
    /// The path of all links, instead of that of the request.
    pub(crate) path: Option<String>,
    pub(crate) key: Option<Key>,
    pub(crate) valid_for: Duration,
    /// After how long without an event the proxy asks.
    pub(crate) poll: Duration,
}

impl Default for LinkSettings {
    fn default() -> Self {
        Self {
            prefix: String::new(),
            path: None,
            key: None,
            valid_for: Duration::from_secs(86_400),
            poll: Duration::from_secs(120),
        }
    }
}

pub(crate) struct Links {
    settings: LinkSettings,
    signing: SigningKey,
    verifier: Verifier,
}

impl Links {
    /// `secret` is what all instances of the application have in common, if they have anything.
    pub(super) fn new(mut settings: LinkSettings, secret: Option<&Key>) -> Result<Self, Error> {
        settings.check()?;
        let key = settings.key.take().or_else(|| derived(secret));
        let key = key.map_or_else(random, Ok)?;
        let wrong = |error| Error::config(format!("the key for next links: {error}"));
        let signing = SigningKey::new(&key).map_err(|error| wrong(error.to_string()))?;
        let verifier = Verifier::new(&key).map_err(|error| wrong(error.to_string()))?;
        Ok(Self {
            settings,
            signing,
            verifier,
        })
    }

    /// The link by which a proxy tells that a client has gone, where there is a route for it.
    pub(crate) fn gone_link(&self, uri: &Uri, channels: &[Channel]) -> Option<String> {
        self.settings.path.as_ref()?;
        let claims = Claims {
            gone: true,
            ..Claims::new(channels, None)
        };
        self.link(uri, claims)
    }

    pub(crate) fn poll(&self) -> Duration {
        self.settings.poll
    }

    /// The link of a request to `uri`, unless its channels make it too long.
    pub(crate) fn link(&self, uri: &Uri, mut claims: Claims) -> Option<String> {
        claims.exp = unix(SystemTime::now() + self.settings.valid_for);
        let claims = serde_json::to_string(&claims).ok()?;
        let token = self.signing.token(&claims)?;
        if token.len() > MAX_TOKEN {
            return None;
        }
        let LinkSettings { prefix, path, .. } = &self.settings;
        Some(match path {
            Some(path) => format!("{path}?{PARAMETER}={token}"),
            None => {
                // Two slashes would begin the name of another host.
                let path = plain(uri.path().trim_start_matches('/'));
                format!("{prefix}/{path}?{}{PARAMETER}={token}", other(uri))
            }
        })
    }

    /// What the token of a link is good for, if it is ours and still valid.
    pub(crate) fn claims(&self, token: &str) -> Option<Claims> {
        let claims = self.verifier.claims(token, SystemTime::now()).ok()?;
        serde_json::from_value(claims.into()).ok()
    }
}

impl LinkSettings {
    fn check(&self) -> Result<(), Error> {
        for (name, path) in [
            (
                "grip_link_prefix",
                Some(&self.prefix).filter(|prefix| !prefix.is_empty()),
            ),
            ("grip_link_path", self.path.as_ref()),
        ] {
            let plain = |path: &&String| {
                path.starts_with('/') && plain(path) == **path && !path.contains('?')
            };
            if path.is_some_and(|path| !plain(&path)) {
                let path = excerpt(path.map_or("", String::as_str));
                return Err(Error::config(format!(
                    "`{name}` is {path}; it must be a path: a slash, then what needs no escaping in a URL"
                )));
            }
        }
        for (name, time) in [
            ("grip_link_valid_for", self.valid_for),
            ("grip_poll", self.poll),
        ] {
            if time < Duration::from_secs(1) || time > Duration::from_secs(366 * 86_400) {
                return Err(Error::config(format!(
                    "`{name}` is {time:?}; it must be between a second and a year"
                )));
            }
        }
        Ok(())
    }
}

fn unix(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

/// With what has a meaning in `Grip-Link` escaped.
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

/// The rest of the query, with an `&` at its end.
fn other(uri: &Uri) -> String {
    let pairs = uri.query().unwrap_or_default().split('&');
    let name = |pair: &str| pair.split('=').next().unwrap_or_default().to_owned();
    let others = pairs.filter(|pair| ![PARAMETER, "lastEventId", ""].contains(&&*name(pair)));
    others.map(|pair| plain(pair) + "&").collect()
}

/// A key that every instance with the same secret comes to, and that does not tell the secret.
fn derived(secret: Option<&Key>) -> Option<Key> {
    let secret = SigningKey::new(&Key::from(secret?.as_text()?)).ok()?;
    let token = secret.token(r#"{"sub":"axum-eventstream next link"}"#)?;
    Some(Key::from(token))
}

fn random() -> Result<Key, Error> {
    let mut bytes = [0; 32];
    let failed = |error| Error::config(format!("no random key for next links: {error}"));
    getrandom::fill(&mut bytes).map_err(failed)?;
    Ok(Key::from(&bytes[..]))
}

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Links").finish_non_exhaustive()
    }
}
