//! The GRIP protocol. It works without axum and without an [`EventStream`](crate::EventStream).
//!
//! A [GRIP](https://pushpin.org/docs/protocols/grip/) proxy (Pushpin, Fastly Fanout) stands between clients and application:
//!
//! 1. The proxy signs each request it forwards with a token in [`Grip-Sig`](GRIP_SIG). A [`Verifier`] checks it.
//! 2. The application responds at once with an [`Instruct`]: hold this client, on these channels.
//! 3. A [`Publisher`] posts [`Item`]s to the proxy's control endpoint, and the proxy appends them to
//!    the streams it holds. The [`GripConfig`] of a proxy has the endpoint's URI and the [`Key`]s.
//!
//! Proxies do not share items: a publisher posts each item to all of its proxies.
//!
//! A token is not bound to its request, and can be replayed until it expires (after an hour with Pushpin).
//! Keep the connection between proxy and application private. Pushpin's control endpoint checks no
//! authorization: bind it to a private address.

mod config;
mod head_limit;
mod header;
mod hold;
mod instruct;
mod item;
mod jwk;
mod jws;
mod key;
mod key_parts;
mod last;
mod links;
mod pem;
mod prefix;
mod proxies;
mod publisher;
mod recovery;
mod settings;
mod signature;
#[cfg(test)]
pub(crate) mod test_keys;
mod token;

pub use config::{FASTLY_FANOUT_PUBLIC_KEY, GripConfig};
pub(crate) use config::{invalid, parse_url, public_uri};
pub use header::{
    GRIP_CHANNEL, GRIP_EXPOSE_HEADERS, GRIP_FEATURE, GRIP_HOLD, GRIP_KEEP_ALIVE, GRIP_LAST,
    GRIP_LINK, GRIP_SET_META, GRIP_SIG, GRIP_STATUS, GRIP_TIMEOUT,
};
pub use instruct::{Hold, Instruct, InvalidInstruct};
pub use item::Item;
pub(crate) use jws::SigningKey;
pub use key::Key;
pub(crate) use last::last_ids;
pub use publisher::{
    EndpointFailure, EndpointStats, FailureKind, PublishError, Publisher, PublisherBuilder,
};
pub use settings::IntoProxies;
pub(crate) use settings::ProxiesBuilder;
pub use signature::{InvalidSignature, Verifier};
pub(crate) use token::Authorization;
