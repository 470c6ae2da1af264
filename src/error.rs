//! The error type of building, publishing and subscribing.

use std::{error, fmt};

type Source = Box<dyn error::Error + Send + Sync>;

/// Why building, publishing or subscribing failed.
///
/// [`kind`](Error::kind) returns the class of the failure, and [`source`](error::Error::source) its cause, if
/// any. Keys and tokens never appear in an error. As an axum response, it is a plain
/// `500 Internal Server Error` without the cause, or 400 with the reason if a channel name is invalid.
///
/// # Examples
///
/// ```
/// use axum_eventstream::{ErrorKind, EventStream};
///
/// let error = EventStream::new().subscribe(["a,b"]).unwrap_err();
/// assert_eq!(error.kind(), ErrorKind::InvalidChannel);
/// assert!(error.to_string().contains("a,b"));
/// ```
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: Option<String>,
    source: Option<Source>,
}

/// The classes of [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A channel name breaks a rule of [`Channel`](crate::Channel), or no channel was given.
    InvalidChannel,
    /// An event breaks a rule of [`Event`](crate::Event), or its value cannot be serialised.
    InvalidEvent,
    /// The configuration is invalid; the message names the setting.
    InvalidConfig,
    /// At least one proxy did not accept the event. Its other subscribers have it.
    Publish,
    /// The engine of the [backplane](crate::backplane) did not accept the event. It is not published.
    NotPublished,
    /// The engine of the [backplane](crate::backplane) did not answer. The event may have been published, also
    /// later.
    MaybePublished,
    /// A limit was reached; the message names it.
    LimitReached,
    /// The `EventStream` is closed.
    Closed,
}

impl ErrorKind {
    /// The label of metrics.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::InvalidChannel => "invalid_channel",
            Self::InvalidEvent => "invalid_event",
            Self::InvalidConfig => "invalid_config",
            Self::Publish => "publish",
            Self::NotPublished => "not_published",
            Self::MaybePublished => "maybe_published",
            Self::LimitReached => "limit_reached",
            Self::Closed => "closed",
        }
    }
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: Some(message.into()),
            source: None,
        }
    }

    pub(crate) fn config(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidConfig, message)
    }

    /// An error that displays its source.
    pub(crate) fn transparent(kind: ErrorKind, source: impl Into<Source>) -> Self {
        Self {
            kind,
            message: None,
            source: Some(source.into()),
        }
    }

    pub(crate) fn caused_by(mut self, source: impl Into<Source>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Returns the class of the failure.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.message, &self.source) {
            (Some(message), _) => f.write_str(message),
            (None, Some(source)) => source.fmt(f),
            (None, None) => fmt::Debug::fmt(&self.kind, f),
        }
    }
}

impl error::Error for Error {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn error::Error + 'static))
    }
}
