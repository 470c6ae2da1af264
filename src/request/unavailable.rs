//! The response to a client beyond a limit, or of a stream that is closed.

use super::ended;
use crate::{hub::Refused, sse, stream};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header::RETRY_AFTER};
use std::{fmt, time::Duration};

/// The reason why no stream is available now, and the time after which a client should retry.
///
/// As a response it is 200 and a stream that ends at once with a `retry`. A browser's `EventSource` reconnects
/// after that time, but never after another status. With
/// [`refuse_with_status`](crate::EventStreamBuilder::refuse_with_status) it is 503 with `Retry-After`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unavailable {
    reason: String,
    retry_after: Duration,
    with_status: bool,
}

impl Unavailable {
    pub(crate) fn new(refused: &Refused, with_status: bool) -> Self {
        let retry_after = match refused {
            // Another process is expected to take over soon.
            Refused::Closed => stream::reconnect_after(),
            // At a limit, retries should put little load on the server.
            Refused::Subscriptions(_) | Refused::OnChannel(..) => {
                Duration::from_millis(fastrand::u64(5000..=15_000))
            }
        };
        Self {
            reason: refused.to_string(),
            retry_after,
            with_status,
        }
    }

    /// Returns the time after which the client should retry: 1 to 5 seconds while the stream closes, 5 to 15
    /// seconds at a limit.
    #[must_use]
    pub fn retry_after(&self) -> Duration {
        self.retry_after
    }

    pub(super) fn status(&self) -> StatusCode {
        match self.with_status {
            true => StatusCode::SERVICE_UNAVAILABLE,
            false => StatusCode::OK,
        }
    }

    pub(super) fn body_text(&self) -> String {
        match self.with_status {
            true => format!("{}\n", self.reason),
            false => String::from_utf8_lossy(&sse::retry(self.retry_after)).into_owned(),
        }
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl IntoResponse for Unavailable {
    fn into_response(self) -> Response {
        if !self.with_status {
            return ended(self.retry_after);
        }
        let seconds = self.retry_after.as_millis().div_ceil(1000).to_string();
        (self.status(), [(RETRY_AFTER, seconds)], self.body_text()).into_response()
    }
}
