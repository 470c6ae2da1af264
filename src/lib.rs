//! Server-sent events on named channels for axum.

mod error;

pub use error::{Error, ErrorKind};

#[cfg(feature = "grip")]
pub mod grip;
