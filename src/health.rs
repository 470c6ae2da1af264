//! Whether the proxies answer.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use std::fmt;

/// Whether each proxy answered last time: what [`EventStream::health`](crate::EventStream::health) gives.
///
/// As a response it is 200 with `ok`, or 503 with the proxies that do not answer, one a line.
///
/// A proxy that does not answer is asked again with the next publish only. So do not take an application
/// that is alone with its proxy out of service because of it: nothing would be published, and the
/// proxy never found well again.
///
/// # Examples
///
/// ```
/// use axum_eventstream::EventStream;
///
/// let health = EventStream::new().health();
/// assert!(health.is_healthy());
/// assert_eq!(health.to_string(), "ok");
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Health {
    proxies: Vec<ProxyHealth>,
}

/// Whether one proxy answered last time.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProxyHealth {
    /// The control URI without user, password and query.
    pub endpoint: String,
    /// Whether the last request was answered with 2xx; true before the first. 400 and 413 say something
    /// of an event and nothing of the proxy.
    pub healthy: bool,
}

impl Health {
    #[cfg(feature = "grip")]
    pub(crate) fn new(proxies: Vec<ProxyHealth>) -> Self {
        Self { proxies }
    }

    /// Whether all proxies answered.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.proxies.iter().all(|proxy| proxy.healthy)
    }

    /// One entry for each proxy.
    #[must_use]
    pub fn proxies(&self) -> &[ProxyHealth] {
        &self.proxies
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_healthy() {
            return f.write_str("ok");
        }
        let silent = self.proxies.iter().filter(|proxy| !proxy.healthy);
        let line = |proxy: &ProxyHealth| format!("no answer from {}", proxy.endpoint);
        let lines: Vec<_> = silent.map(line).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl IntoResponse for Health {
    fn into_response(self) -> Response {
        let status = match self.is_healthy() {
            true => StatusCode::OK,
            false => StatusCode::SERVICE_UNAVAILABLE,
        };
        (status, format!("{self}\n")).into_response()
    }
}
