//! Server-sent events on named channels for axum.

mod error;
mod publish;

pub use error::{Error, ErrorKind};

#[cfg(feature = "grip")]
pub mod grip;
