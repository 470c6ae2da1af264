//! Keep-alives of idle streams.

use crate::{Error, sse};
use bytes::Bytes;
use std::time::Duration;

/// Keep-alives of idle streams, so that intermediaries do not close the idle connection.
///
/// By default, a `keep-alive` event with empty data is sent after 20 seconds without an event. Each published event
/// restarts the interval. The interval must not be zero. A proxy counts whole seconds, so the interval is rounded up
/// there.
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
    /// Creates the default: a `keep-alive` event with empty data every 20 seconds.
    #[must_use]
    pub fn new() -> Self {
        Self {
            interval: Duration::from_secs(20),
            frame: sse::keep_alive(),
        }
    }

    /// Sets the idle time after which a keep-alive is sent.
    ///
    /// It must be greater than zero and at most a day.
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Sends a comment instead of an event, which clients ignore.
    ///
    /// Each line of `text` becomes a comment line.
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
                "the keep-alive interval is {interval:?}; it must be greater than zero and at most a day"
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
