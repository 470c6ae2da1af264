//! The one error type of the operations: building, publishing, subscribing.

use std::{error, fmt};

type Source = Box<dyn error::Error + Send + Sync>;

/// Why building, publishing or subscribing failed.
///
/// [`kind`](Error::kind) says what class of failure it is, [`source`](error::Error::source) holds the
/// cause where there is one. Keys and tokens never appear in it. As an axum response it is a plain
/// `500 Internal Server Error` that says nothing of the cause, or 400 with the reason when a channel's name
/// is invalid.
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
    /// A channel name breaks a rule of [`Channel`](crate::Channel), or there is no channel at all.
    InvalidChannel,
    /// An event breaks a rule of [`Event`](crate::Event), or its value cannot be serialised.
    InvalidEvent,
    /// The configuration is wrong; the message names the setting.
    InvalidConfig,
    /// At least one proxy did not take the event. Local subscribers have it.
    Publish,
    /// A limit was reached; the message names it.
    LimitReached,
    /// The stream is closed.
    Closed,
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

    /// An error that says no more than its cause.
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

    /// The class of this failure.
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
