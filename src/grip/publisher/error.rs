//! The error of a publish, with the proxies that failed.

use std::sync::Arc;
use std::{error, fmt};

use http::StatusCode;

use crate::{Error, ErrorKind};

/// At least one proxy did not take an item. The others have it.
#[derive(Clone, Debug)]
pub struct PublishError {
    pub(super) failures: Vec<EndpointFailure>,
}

impl PublishError {
    /// Returns one entry for each proxy that did not take the item.
    #[must_use]
    pub fn failures(&self) -> &[EndpointFailure] {
        &self.failures
    }
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("publishing failed")?;
        for (n, failure) in self.failures.iter().enumerate() {
            write!(f, "{}{failure}", if n == 0 { ": " } else { "; " })?;
        }
        Ok(())
    }
}

impl error::Error for PublishError {}

impl From<PublishError> for Error {
    fn from(error: PublishError) -> Self {
        Self::transparent(ErrorKind::Publish, error)
    }
}

/// The failure of one proxy.
#[derive(Clone, Debug)]
pub struct EndpointFailure {
    pub(super) endpoint: Arc<str>,
    pub(super) failure: Failure,
}

impl EndpointFailure {
    /// Returns the control URI without user, password and query.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Returns the class of the failure.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        self.failure.kind
    }

    /// Returns the status of the proxy's response, if there was one.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        match self.failure.kind {
            FailureKind::Status(status) => Some(status),
            _ => None,
        }
    }

    /// Returns the cause, with the first KiB of the proxy's response.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.failure.message
    }
}

impl fmt::Display for EndpointFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.endpoint, self.failure.message)?;
        match self.failure.kind.advice() {
            Some(advice) => write!(f, " ({advice})"),
            None => Ok(()),
        }
    }
}

/// The classes of [`EndpointFailure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailureKind {
    /// No connection: refused, unknown host, TLS. The proxy has not seen the item.
    Connect,
    /// The connection broke before the answer. The proxy may have the item.
    Transport,
    /// The proxy answered with something other than 2xx.
    Status(StatusCode),
    /// The time limit passed. The proxy may have the item.
    Timeout,
    /// The queue for this proxy is full. The proxy has not seen the item.
    QueueFull,
    /// The item is larger than a request may be.
    TooLarge,
    /// There is no tokio runtime, or it has shut down. The proxy may have the item.
    Runtime,
    /// The authorization could not be signed.
    Authorization,
}

impl FailureKind {
    /// The label of metrics.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Transport => "transport",
            Self::Status(_) => "status",
            Self::Timeout => "timeout",
            Self::QueueFull => "queue_full",
            Self::TooLarge => "too_large",
            Self::Runtime => "runtime",
            Self::Authorization => "authorization",
        }
    }

    /// The likely fix.
    fn advice(self) -> Option<&'static str> {
        use StatusCode as S;
        match self {
            Self::Connect => Some("does the proxy run, and is this its control port?"),
            Self::Status(S::UNAUTHORIZED | S::FORBIDDEN) => {
                Some("check `key`, `control_iss`, `user` and `pass`")
            }
            Self::Status(S::NOT_FOUND | S::METHOD_NOT_ALLOWED) => {
                Some("is this the control URI, and not one for clients?")
            }
            Self::Status(status) if status.is_redirection() => {
                Some("name the address behind the redirect: none is followed")
            }
            Self::Timeout => Some("the proxy may have the item all the same"),
            Self::QueueFull => {
                Some("wait for each publish, or raise `queue_limit` and `queue_bytes`")
            }
            Self::TooLarge => Some("publish a link to the data instead"),
            Self::Runtime => Some("publish in a tokio runtime that lasts"),
            Self::Transport | Self::Status(_) | Self::Authorization => None,
        }
    }
}

/// A failure, shared by the items of a batch.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) kind: FailureKind,
    pub(super) message: Arc<str>,
}

impl Failure {
    pub(super) fn new(kind: FailureKind, message: impl Into<Arc<str>>) -> Self {
        let message = message.into();
        Self { kind, message }
    }

    /// Whether the proxy has certainly not seen the items.
    pub(super) fn is_before_sending(&self) -> bool {
        self.kind == FailureKind::Connect
    }

    /// Whether the proxy may take the same items a little later.
    pub(super) fn is_transient(&self) -> bool {
        use StatusCode as S;
        match self.kind {
            FailureKind::Connect | FailureKind::Transport => true,
            FailureKind::Status(status) => {
                [S::BAD_GATEWAY, S::SERVICE_UNAVAILABLE, S::GATEWAY_TIMEOUT].contains(&status)
            }
            _ => false,
        }
    }

    /// Whether one of several items may be the cause; the proxy has then taken none of them.
    pub(super) fn is_about_content(&self) -> bool {
        let content = [StatusCode::BAD_REQUEST, StatusCode::PAYLOAD_TOO_LARGE];
        matches!(self.kind, FailureKind::Status(status) if content.contains(&status))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_its_fix() {
        let status = |code| FailureKind::Status(StatusCode::from_u16(code).unwrap());
        let table = [
            (
                FailureKind::Connect,
                "e: m (does the proxy run, and is this its control port?)",
            ),
            (
                status(401),
                "e: m (check `key`, `control_iss`, `user` and `pass`)",
            ),
            (
                status(404),
                "e: m (is this the control URI, and not one for clients?)",
            ),
            (
                status(302),
                "e: m (name the address behind the redirect: none is followed)",
            ),
            (status(500), "e: m"),
            (
                FailureKind::Timeout,
                "e: m (the proxy may have the item all the same)",
            ),
        ];
        for (kind, expected) in table {
            let (endpoint, failure) = ("e".into(), Failure::new(kind, "m"));
            let failure = EndpointFailure { endpoint, failure };
            assert_eq!(failure.to_string(), expected);
        }
    }
}
