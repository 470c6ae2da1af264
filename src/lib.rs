//! Server-sent events on named channels for axum.

mod channel;
mod error;
mod excerpt;

pub use channel::{Channel, InvalidChannel};
pub use error::{Error, ErrorKind};
