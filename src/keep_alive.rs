//! What an idle stream sends, and how often.

use crate::{Error, sse};
use bytes::Bytes;
use std::time::Duration;

/// What is sent on a stream after a time without events, so that nothing on the way takes it for dead.
///
/// The default is the event `keep-alive` with empty data after 20 seconds. The time starts anew with
/// each event, when that is published. It must not be zero; a proxy counts whole seconds, so there it is
/// rounded up.
///
/// # Examples
///
/// ```
/// use axum_eventstream::{EventStream, KeepAlive};
/// use std::time::Duration;
///
/// # fn main() -> Result<(), axum_eventstream::Error> {
/// let es = EventStream::builder()
///     .keep_alive(KeepAlive::new().interval(Duration::from_secs(50)).comment(""))
///     .build()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct KeepAlive {
    interval: Duration,
    frame: Bytes,
}

impl KeepAlive {
    /// The event `keep-alive` with empty data, every 20 seconds.
    #[must_use]
    pub fn new() -> Self {
        Self {
            interval: Duration::from_secs(20),
            frame: sse::keep_alive(),
        }
    }

    /// Sets how long a stream is idle before something is sent.
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Sends a comment instead of an event: clients do not see it. Each line of `text` is a comment line.
    #[must_use]
    pub fn comment(mut self, text: impl AsRef<str>) -> Self {
        self.frame = sse::comment(text.as_ref());
        self
    }

    pub(crate) fn after(&self) -> Duration {
        self.interval
    }

    pub(crate) fn frame(&self) -> &Bytes {
        &self.frame
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        const DAY: Duration = Duration::from_secs(86_400);
        if self.interval.is_zero() || self.interval > DAY {
            let interval = self.interval;
            return Err(Error::config(format!(
                "the keep-alive interval is {interval:?}; it must be more than zero and at most a day"
            )));
        }
        Ok(())
    }
}

impl Default for KeepAlive {
    fn default() -> Self {
        Self::new()
    }
}
