//! When the client of a stream that is ended on purpose reconnects.

use std::time::Duration;

/// Reconnect delay sent before a stream is ended on purpose: 1 to 5 seconds, random so that clients do not
/// reconnect at once.
///
/// Browsers also use the delay after later disconnects, so it must not be near zero.
pub(crate) fn reconnect_after() -> Duration {
    Duration::from_millis(fastrand::u64(1000..=5000))
}
