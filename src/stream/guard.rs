//! A value that lives as long as a stream.

use std::{
    any::Any,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

/// A value that is dropped when the stream has ended.
#[derive(Clone)]
pub(crate) struct Guard(Option<Arc<dyn Any + Send + Sync>>);

impl Guard {
    pub(crate) fn new(value: impl Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(value)))
    }

    /// Adds a value, which is dropped together with the others.
    pub(crate) fn and(self, value: impl Send + Sync + 'static) -> Self {
        // Each is a guard of its own, so that a panic of one does not reach the other.
        Self::new((self, Self::new(value)))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let value = self.0.take();
        contain("the guard of an event stream panicked", || drop(value));
    }
}

/// Runs code of the application, and logs its panic, which would otherwise end other streams on the same thread.
pub(super) fn contain(panicked: &str, run: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(run)).is_err() {
        crate::trace::event!(error, "{panicked}");
        let _ = panicked;
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Guard")
    }
}
