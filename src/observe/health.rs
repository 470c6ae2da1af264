//! Health of the proxies and the backplane.

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use std::{fmt, time::Duration};

/// Health of each proxy and of the [backplane](crate::backplane), returned by
/// [`EventStream::health`](crate::EventStream::health).
///
/// As a response, it is 200 with the body `ok`, or 503 with one line for each that is unhealthy.
///
/// When the engine of a backplane fails, every instance is unhealthy. Their streams are open and continue when the
/// engine is back, so do not let a load balancer remove instances because of it.
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
    backplane: Option<BackplaneHealth>,
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
    pub(crate) fn new(proxies: Vec<ProxyHealth>, backplane: Option<BackplaneHealth>) -> Self {
        Self { proxies, backplane }
    }

    /// Returns `true` if all proxies are healthy, and the instance is attached to the engine of its backplane.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        let is_attached = self
            .backplane
            .as_ref()
            .is_none_or(|backplane| backplane.attached);
        is_attached && self.proxies.iter().all(|proxy| proxy.healthy)
    }

    /// Returns the state of the engine of the [backplane](crate::backplane), if there is one.
    #[must_use]
    pub fn backplane(&self) -> Option<&BackplaneHealth> {
        self.backplane.as_ref()
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
        let detached = self
            .backplane
            .iter()
            .filter(|backplane| !backplane.attached);
        let detached = detached.map(BackplaneHealth::to_string);
        let lines: Vec<_> = silent.map(line).chain(detached).collect();
        f.write_str(&lines.join("\n"))
    }
}

/// The state of the engine of a [backplane](crate::backplane), as one instance sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackplaneHealth {
    /// The engine's kind and address.
    pub engine: String,
    /// Whether the instance is attached to the log, and has read it.
    pub attached: bool,
    /// How long it has been attached, or has not been.
    pub since: Duration,
    /// Number of entries that the instance had not read when it asked the engine last, at most 5 seconds ago. It is an upper
    /// bound if the engine's sequences have gaps.
    pub behind: u64,
    /// Why the connection to the engine ended, until the instance is attached again.
    pub failure: Option<String>,
}

impl fmt::Display for BackplaneHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            engine,
            since,
            behind,
            ..
        } = self;
        if self.attached {
            return write!(f, "attached to {engine}, {behind} entries behind");
        }
        write!(f, "not attached to {engine} for {} s", since.as_secs())?;
        match &self.failure {
            Some(failure) => write!(f, ": {failure}"),
            None => Ok(()),
        }
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
