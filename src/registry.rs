//! Named streams that every module of a program can find.
//!
//! 1. A name is initialised once, however many ask for it at the same time; the others wait.
//! 2. Two names never wait for each other.
//! 3. A failed initialisation leaves the name free: the next one tries again.
//!
//! An initialisation must not ask for its own name, or it waits for itself.
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

use crate::EventStream;
use once_cell::sync::OnceCell;
use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The name that the [`EventStream`] extractor falls back to.
pub const DEFAULT_NAME: &str = "eventStream";

type Cell = Arc<OnceCell<EventStream>>;

static REGISTRY: OnceCell<Mutex<HashMap<String, Cell>>> = OnceCell::new();

fn cells() -> MutexGuard<'static, HashMap<String, Cell>> {
    let cells = REGISTRY.get_or_init(Mutex::default).lock();
    cells.unwrap_or_else(PoisonError::into_inner)
}

/// The stream of this name, made by `init` if there is none yet.
pub fn get_or_init(name: impl AsRef<str>, init: impl FnOnce() -> EventStream) -> EventStream {
    match get_or_try_init(name, || Ok::<_, Infallible>(init())) {
        Ok(event_stream) => event_stream,
        Err(never) => match never {},
    }
}

/// The stream of this name, made by `init` if there is none yet.
///
/// # Errors
///
/// Those of `init`; the name then stays free.
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
    // The registry is free again: only who asks for the same name waits here.
    cell.get_or_try_init(init).cloned()
}

/// The stream of this name, if it has been initialised.
#[must_use]
pub fn get(name: impl AsRef<str>) -> Option<EventStream> {
    cells().get(name.as_ref())?.get().cloned()
}
