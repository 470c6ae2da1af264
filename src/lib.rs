//! Server-sent events on named channels for axum.

mod error;

pub use error::{Error, ErrorKind};
