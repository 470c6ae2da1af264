//! A request for a stream, and the reasons to refuse it.

mod head;
mod parameters;
mod rejection;
mod stream_request;
mod unavailable;

pub(crate) use head::{ended, head, with_head};
pub(crate) use parameters::Parameters;
pub use rejection::Rejection;
pub(crate) use stream_request::Route;
pub use stream_request::{Delivery, StreamRequest};
pub use unavailable::Unavailable;
