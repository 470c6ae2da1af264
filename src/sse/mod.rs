//! Server-sent events: encoding, decoding, and the request headers about them.
//!
//! 1. An [`Event`] is validated and encoded when it is built. Sealing adds its position, its `retry` and the
//!    blank line. The same bytes then go to every client.
//! 2. The order of the lines is: comments, `event`, `data`, `id`, `retry`, blank line.
//! 3. LF, CR and CRLF in data and comments are one line break each. Names and ids contain none.
//! 4. Empty data is a `data: ` line, since clients dispatch nothing without one.
//! 5. A client's position is a [`LastEventId`].
//! 6. A typed event is a variant of an enum: its name is the event's name, its content the data as JSON.
//!
//! The [HTML standard](https://html.spec.whatwg.org/multipage/server-sent-events.html) defines the format. This
//! module depends on neither time nor I/O nor an HTTP framework.

mod accept;
mod builder;
mod control;
mod decode;
mod encode;
mod event;
mod invalid_event;
mod last_event_id;
mod received;
mod stored;
mod tagged;

pub use builder::EventBuilder;
pub use event::Event;
pub use invalid_event::InvalidEvent;
pub use last_event_id::{InvalidLastEventId, LastEventId};
pub use received::ReceivedEvent;

pub(crate) use accept::admits_event_stream;
pub(crate) use control::{Opening, comment, keep_alive, position, retry, stream_reset};
pub(crate) use stored::Stored;
