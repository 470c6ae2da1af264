//! Server-sent events on named channels for axum.

mod channel;
mod error;
mod excerpt;
mod hub;
mod sse;

pub use channel::{Channel, InvalidChannel};
pub use error::{Error, ErrorKind};
pub use sse::{Event, EventBuilder, InvalidEvent, InvalidLastEventId, LastEventId, ReceivedEvent};
