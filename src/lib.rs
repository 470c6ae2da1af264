//! Server-sent events on named channels for axum.

mod channel;
mod error;
mod hub;

pub use error::{Error, ErrorKind};
