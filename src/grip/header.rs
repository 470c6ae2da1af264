//! The names of the GRIP headers.

use http::HeaderName;

/// Request: the proxy's signed token, which a [`Verifier`](super::Verifier) checks.
pub const GRIP_SIG: HeaderName = HeaderName::from_static("grip-sig");
/// Request: the features of this proxy, as a comma-separated list.
pub const GRIP_FEATURE: HeaderName = HeaderName::from_static("grip-feature");
/// Request: the id of the last message that the client received, one header per channel.
pub const GRIP_LAST: HeaderName = HeaderName::from_static("grip-last");
/// Response: hold the client, as a stream or for one late response.
pub const GRIP_HOLD: HeaderName = HeaderName::from_static("grip-hold");
/// Response: the channels of the held client.
pub const GRIP_CHANNEL: HeaderName = HeaderName::from_static("grip-channel");
/// Response: the data that the proxy writes to an idle stream, and the seconds after which it does.
pub const GRIP_KEEP_ALIVE: HeaderName = HeaderName::from_static("grip-keep-alive");
/// Response: the seconds for which a client is held for one late response.
pub const GRIP_TIMEOUT: HeaderName = HeaderName::from_static("grip-timeout");
/// Response: the URIs from which the proxy continues a stream, and to which it reports its end.
pub const GRIP_LINK: HeaderName = HeaderName::from_static("grip-link");
/// Response: the status that the client receives.
pub const GRIP_STATUS: HeaderName = HeaderName::from_static("grip-status");
/// Response: values for the proxy's filters.
pub const GRIP_SET_META: HeaderName = HeaderName::from_static("grip-set-meta");
/// Response: the headers of a followed link that the client may see.
pub const GRIP_EXPOSE_HEADERS: HeaderName = HeaderName::from_static("grip-expose-headers");
