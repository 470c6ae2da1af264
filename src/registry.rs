//! A process-wide registry of named streams.
//!
//! 1. A name is initialised once. Concurrent callers of the same name block until it is initialised.
//! 2. Callers of different names do not block each other.
//! 3. A failed initialisation leaves the name free, and the next caller tries again.
//!
//! An initialiser that looks up its own name deadlocks.
//!
//! # Examples
//!
//! ```
//! use axum_eventstream::{EventStream, registry};
//!
//! let chat = registry::get_or_init("chat", EventStream::new);
//! assert!(registry::get("chat").is_some_and(|again| again.same_stream(&chat)));
//! assert!(registry::get("never initialised").is_none());
//! ```

use crate::{EventStream, lock::lock};
use once_cell::sync::OnceCell;
use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard},
};

/// The name that the [`EventStream`] extractor uses as a fallback.
pub const DEFAULT_NAME: &str = "eventStream";

type Cell = Arc<OnceCell<EventStream>>;

static REGISTRY: OnceCell<Mutex<HashMap<String, Cell>>> = OnceCell::new();

fn cells() -> MutexGuard<'static, HashMap<String, Cell>> {
    lock(REGISTRY.get_or_init(Mutex::default))
}

/// Returns the stream with this name, and calls `init` to create it if it does not exist.
pub fn get_or_init(name: impl AsRef<str>, init: impl FnOnce() -> EventStream) -> EventStream {
    match get_or_try_init(name, || Ok::<_, Infallible>(init())) {
        Ok(event_stream) => event_stream,
        Err(never) => match never {},
    }
}

/// Returns the stream with this name, and calls `init` to create it if it does not exist.
///
/// # Errors
///
/// Returns the error of `init`. The name stays free then.
///
/// # Examples
///
/// ```
/// use axum_eventstream::{Error, EventStream, registry};
///
/// # fn main() -> Result<(), Error> {
/// let es = registry::get_or_try_init("configured", EventStream::from_env)?;
/// # Ok(())
/// # }
/// ```
pub fn get_or_try_init<E>(
    name: impl AsRef<str>,
    init: impl FnOnce() -> Result<EventStream, E>,
) -> Result<EventStream, E> {
    let name = name.as_ref();
    let cell = cells().entry(name.to_owned()).or_default().clone();
    // The registry's lock is released: only callers of the same name block here.
    cell.get_or_try_init(init).cloned()
}

/// Returns the stream with this name, if it was initialised.
#[must_use]
pub fn get(name: impl AsRef<str>) -> Option<EventStream> {
    cells().get(name.as_ref())?.get().cloned()
}
