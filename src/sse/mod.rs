//! Server-sent events: how an event becomes bytes, and what a request says about events.
//!
//! 1. An [`Event`] is checked and encoded when it is built. Sealing adds its position, its `retry`
//!    and the blank line; the same bytes then go to every client.
//! 2. The order of the lines is: comments, `event`, `data`, `id`, `retry`, blank line.
//! 3. LF, CR and CRLF in data and comments are one line break each. Names and ids have none.
//! 4. Empty data is a `data: ` line, since clients dispatch nothing without one.
//! 5. A client's position is a [`LastEventId`].
//!
//! The format is that of the
//! [HTML standard](https://html.spec.whatwg.org/multipage/server-sent-events.html). Nothing here knows
//! of time, I/O, or an HTTP framework.

mod accept;
mod buffer;
mod builder;
mod control;
mod decode;
mod encode;
mod event;
mod invalid_event;
mod last_event_id;
mod received;

pub use builder::EventBuilder;
pub use event::Event;
pub use invalid_event::InvalidEvent;
pub use last_event_id::{InvalidLastEventId, LastEventId};
pub use received::ReceivedEvent;

pub(crate) use accept::admits_event_stream;
pub(crate) use control::{Opening, comment, keep_alive, retry, stream_reset};
