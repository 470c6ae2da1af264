//! What a contract checks.

use crate::backplane::{Failure, FailureKind};
use std::{fmt, future::Future, pin::Pin};

type Running = Pin<Box<dyn Future<Output = ()> + Send>>;
type Fault<Input> = Box<dyn FnOnce(Input) -> Running + Send>;

/// An engine with a new, empty log, and the faults that a test can cause in it.
pub struct Subject<B> {
    pub(super) engine: B,
    wipe: Option<Fault<()>>,
    lose_tail: Option<Fault<usize>>,
    trim: Option<Fault<usize>>,
}

/// Why a check has ended early.
pub(super) enum Broken {
    /// The engine breaks the rule.
    Rule(String),
    /// An operation failed.
    Failed(Failure),
    /// The subject does not offer this fault.
    Skipped(&'static str),
}

impl<B> Subject<B> {
    /// Creates a subject without faults.
    pub fn new(engine: B) -> Self {
        Self {
            engine,
            wipe: None,
            lose_tail: None,
            trim: None,
        }
    }

    /// Sets the fault that deletes everything, also the engine's own records of the log.
    #[must_use]
    pub fn wipe<Fut>(mut self, fault: impl FnOnce() -> Fut + Send + 'static) -> Self
    where
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.wipe = Some(Box::new(|()| Box::pin(fault())));
        self
    }

    /// Sets the fault that deletes a number of the newest entries as if they had never been appended. They are all
    /// entries of the last appends.
    #[must_use]
    pub fn lose_tail<Fut>(mut self, fault: impl FnOnce(usize) -> Fut + Send + 'static) -> Self
    where
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.lose_tail = Some(Box::new(|entries| Box::pin(fault(entries))));
        self
    }

    /// Sets the fault that deletes the oldest entries until a number of entries remains, which are all entries of the
    /// last appends.
    #[must_use]
    pub fn trim<Fut>(mut self, fault: impl FnOnce(usize) -> Fut + Send + 'static) -> Self
    where
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.trim = Some(Box::new(|newest| Box::pin(fault(newest))));
        self
    }

    pub(super) async fn run_wipe(&mut self) -> Result<(), Broken> {
        run(&mut self.wipe, (), "`wipe`").await
    }

    pub(super) async fn run_lose_tail(&mut self, entries: usize) -> Result<(), Broken> {
        run(&mut self.lose_tail, entries, "`lose_tail`").await
    }

    pub(super) async fn run_trim(&mut self, newest: usize) -> Result<(), Broken> {
        run(&mut self.trim, newest, "`trim`").await
    }
}

async fn run<I>(fault: &mut Option<Fault<I>>, input: I, name: &'static str) -> Result<(), Broken> {
    let fault = fault.take().ok_or(Broken::Skipped(name))?;
    fault(input).await;
    Ok(())
}

/// Whether a failure ends the session.
pub(super) fn is_broken(failure: &Failure) -> bool {
    matches!(failure.kind(), FailureKind::Unavailable | FailureKind::Lost)
}

impl From<Failure> for Broken {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl<B: fmt::Debug> fmt::Debug for Subject<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject")
            .field("engine", &self.engine)
            .finish_non_exhaustive()
    }
}
