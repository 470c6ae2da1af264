//! The answer to a client that finds no room.

use super::direct;
use crate::{hub::Refused, stream};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header::RETRY_AFTER};
use std::{fmt, time::Duration};

/// Why there is no room for a stream now, and when a client should try again.
///
/// As a response it is 200 and a stream that ends at once with a `retry`: a browser's `EventSource`
/// reconnects after that time, while any other status would close it for good. With
/// [`refuse_with_status`](crate::EventStreamBuilder::refuse_with_status) it is 503 with `Retry-After`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unavailable {
    reason: String,
    retry_after: Duration,
    with_status: bool,
}

impl Unavailable {
    pub(super) fn new(refused: &Refused, with_status: bool) -> Self {
        let retry_after = match refused {
            // The next process takes over soon.
            Refused::Closed => stream::reconnect_after(),
            // There is no room for this client yet: it should put little load on the server until there is.
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

    /// After what time the client should try again: 1 to 5 seconds while the stream closes, 5 to 15 seconds
    /// at a limit.
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
            false => format!("retry: {}\n\n", self.retry_after.as_millis()),
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
            return direct::ended(self.retry_after);
        }
        let seconds = self.retry_after.as_millis().div_ceil(1000).to_string();
        (self.status(), [(RETRY_AFTER, seconds)], self.body_text()).into_response()
    }
}
