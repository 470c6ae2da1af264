//! Failures of an engine.

use std::{error, fmt};

type Source = Box<dyn error::Error + Send + Sync>;

/// Why an operation of an engine failed, and whether it had an effect.
///
/// The message names the cause, without passwords.
#[derive(Debug)]
pub struct Failure {
    kind: FailureKind,
    message: String,
    source: Option<Source>,
}

/// What a failed operation has done, and what helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureKind {
    /// Nothing was done. The log has another epoch: attach, then repeat.
    Stale,
    /// Nothing was done. Repeat in some milliseconds.
    Busy,
    /// Nothing was done, and a repetition will not help: the engine is full, or a right is missing.
    Refused,
    /// Nothing was done. Connect again.
    Unavailable,
    /// An answer is missing, so it may have been done. Connect again.
    Lost,
}

impl Failure {
    /// Creates a failure. The message continues a sentence: `the server answered "OOM .."`.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            source: None,
        }
    }

    pub(crate) fn refused(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Refused, message)
    }

    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Unavailable, message)
    }

    /// Sets the cause.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Source>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Returns what the operation has done.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        self.kind
    }
}

impl FailureKind {
    /// The label of metrics.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Stale => "stale",
            Self::Busy => "busy",
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
            Self::Lost => "lost",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl error::Error for Failure {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.source
            .as_deref()
            .map(|source| source as &(dyn error::Error + 'static))
    }
}
