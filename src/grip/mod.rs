//! The GRIP protocol alone: usable without axum, and without an [`EventStream`](crate::EventStream).
//!
//! A [GRIP](https://pushpin.org/docs/protocols/grip/) proxy (Pushpin, Fastly Fanout) sits between clients and application:
//!
//! 1. It signs each request it forwards: [`Grip-Sig`](GRIP_SIG). A [`Verifier`] checks that.
//! 2. The application answers at once with an [`Instruct`]: hold this client, on these channels.
//! 3. A [`Publisher`] posts [`Item`]s to the proxy's control endpoint, and the proxy appends them to
//!    the streams it holds. The [`GripConfig`] of a proxy says where that is and which [`Key`]s count.
//!
//! Proxies do not talk to each other: every item goes to every one of them.
//!
//! Whoever sees a request can use its token until it expires (an hour with Pushpin): the connection
//! between proxy and application must be private. Pushpin's control endpoint asks for no authorization
//! at all: protect it by its address.

mod config;
mod header;
mod instruct;
mod item;
mod jwk;
mod jws;
mod key;
mod key_parts;
mod last;
mod pem;
mod signature;
mod token;

pub use crate::publish::grip::{
    EndpointFailure, EndpointStats, FailureKind, PublishError, Publisher, PublisherBuilder,
};
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
pub use signature::{InvalidSignature, Verifier};
pub(crate) use token::Authorization;
