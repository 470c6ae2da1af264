//! A listener whose streams leave the HTTP server.
//!
//! ```no_run
//! use axum::{Router, routing::get};
//! use axum_eventstream::{EventStream, net};
//!
//! # #[tokio::main]
//! # async fn main() -> std::io::Result<()> {
//! let es = EventStream::new();
//! let app = Router::new().route("/events", get(es.handler("news")));
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
//! axum::serve(net::Listener::new(listener), app).await
//! # }
//! ```
//!
//! 1. Once the head and the opening event of a stream are sent, its socket leaves hyper. hyper's buffers
//!    and the connection's task go; a driver, one for each worker thread, owns the sockets and writes
//!    each event with one system call. What clients see is the same, byte for byte.
//! 2. A stream detaches if its socket has written, in one call, exactly the head and the opening of this
//!    response. That is so for a plain HTTP/1.1 `GET` whose body passes all middleware unchanged.
//!    HTTP/1.0, HTTP/2, TLS, a compressed body, or a client whose receive window is full already at the
//!    head: such streams stay in hyper, with the same guarantees.
//! 3. Accepted sockets get `TCP_NODELAY` and no other option. Keep-alive probes, `TCP_NOTSENT_LOWAT` and the
//!    [client timeout](Listener::client_timeout) begin when a stream detaches, so other responses and streams
//!    that stay are as with `axum::serve` alone.
//! 4. Nothing sees or changes a body after it has left: a timer or a byte counter sees it end then, and a
//!    filter, or a stream that is merged with it, is not heard any more if it has let the opening event
//!    pass unchanged. For such a handler switch
//!    [detaching](crate::StreamHandler::detach) off.
//! 5. A request that a client sends behind that for the stream, on the same connection, is not answered: no
//!    stream ends before its connection.
//! 6. `axum::serve`'s own graceful shutdown does not wait for streams that left;
//!    [`EventStream::close_on`](crate::EventStream::close_on) does.
//!
//! # What detaching relies on
//!
//! The body yields its opening as an allocation of its own, and the socket looks for that address among the
//! slices it writes. Content, task and order of requests prove nothing. So any number of connections can
//! share a task, and any server can drive [`Io`]. With hyper 1.x streams detach, since
//!
//! - it queues body bytes without copying them if the transport takes vectored writes (`WriteStrategy::Queue`),
//!   and encodes a chunk as three slices: size, data, line break;
//! - it polls a body until that is pending before it writes (`Dispatcher::poll_loop`), with the waker with which
//!   it polls the socket;
//! - it flushes after the last write, and ends the connection if that fails.
//!
//! With another server, or another version, streams stay: a body that is polled twice after its opening takes
//! its stream back.

mod chunk;
mod driver;
mod handoff;
mod inbox;
mod io;
mod listener;
mod options;
mod pages;
mod progress;
mod socket;

pub use io::Io;
pub use listener::{Connection, Listener};

pub(crate) use handoff::{Opening, is_enabled};
