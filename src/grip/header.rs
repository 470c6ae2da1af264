//! The names of the GRIP headers.

use http::HeaderName;

/// Request: the proxy's signed token ([`Verifier`](super::Verifier) checks it).
pub const GRIP_SIG: HeaderName = HeaderName::from_static("grip-sig");
/// Request: what this proxy can do, as a comma-separated list.
pub const GRIP_FEATURE: HeaderName = HeaderName::from_static("grip-feature");
/// Request: the id of the last message the client got, one header per channel.
pub const GRIP_LAST: HeaderName = HeaderName::from_static("grip-last");
/// Response: keep the client, as a stream or for one late response.
pub const GRIP_HOLD: HeaderName = HeaderName::from_static("grip-hold");
/// Response: the channels the held client hears.
pub const GRIP_CHANNEL: HeaderName = HeaderName::from_static("grip-channel");
/// Response: what the proxy writes to a silent stream, and after how many seconds.
pub const GRIP_KEEP_ALIVE: HeaderName = HeaderName::from_static("grip-keep-alive");
/// Response: seconds a client is held for one late response.
pub const GRIP_TIMEOUT: HeaderName = HeaderName::from_static("grip-timeout");
/// Response: where the proxy goes on reading, or reports that the client has left.
pub const GRIP_LINK: HeaderName = HeaderName::from_static("grip-link");
/// Response: the status the client gets.
pub const GRIP_STATUS: HeaderName = HeaderName::from_static("grip-status");
/// Response: values for the proxy's filters.
pub const GRIP_SET_META: HeaderName = HeaderName::from_static("grip-set-meta");
/// Response: the headers of a followed link that the client may see.
pub const GRIP_EXPOSE_HEADERS: HeaderName = HeaderName::from_static("grip-expose-headers");
