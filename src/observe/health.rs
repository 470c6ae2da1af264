//! Health of the proxies.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use std::fmt;

/// Health of each proxy, returned by [`EventStream::health`](crate::EventStream::health).
///
/// As a response, it is 200 with the body `ok`, or 503 with one line per unhealthy proxy.
///
/// Only a publish contacts a proxy. If this instance is the only one that publishes to it, do not take the
/// instance out of service because of this check. Nothing would be published, and the proxy would stay
/// unhealthy.
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

/// Health of one proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProxyHealth {
    /// The control URI without user, password and query.
    pub endpoint: String,
    /// Whether the last response was 2xx; true before the first request. The statuses 400 and 413 concern
    /// an event, not the proxy, and leave the value unchanged.
    pub healthy: bool,
}

impl Health {
    pub(crate) fn new(proxies: Vec<ProxyHealth>) -> Self {
        Self { proxies }
    }

    /// Returns `true` if all proxies are healthy.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.proxies.iter().all(|proxy| proxy.healthy)
    }

    /// Returns the health of each proxy.
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
