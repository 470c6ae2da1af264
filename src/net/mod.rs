//! A listener that detaches event streams from the HTTP server.
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
//! 1. Once the head and the opening event of a stream are written, its socket is detached from hyper. hyper's
//!    buffers and the connection's task are freed. A driver, one per worker thread, owns the sockets and writes
//!    each event with one system call. Clients receive the same bytes as without it.
//! 2. A stream detaches if its socket has written, in one call, exactly the head and the opening of this
//!    response. That holds for a plain HTTP/1.1 `GET` whose body passes all middleware unchanged. Other streams
//!    stay in hyper with the same guarantees: HTTP/1.0, HTTP/2, TLS, a compressed body, or a client whose
//!    receive window is already full at the head.
//! 3. Accepted sockets get `TCP_NODELAY` and no other option. Keep-alive probes, `TCP_NOTSENT_LOWAT` and the
//!    [client timeout](Listener::client_timeout) apply from the time a stream detaches, so other responses
//!    behave as with `axum::serve` alone.
//! 4. Middleware cannot see or change a body after it has detached. A timer or a byte counter sees the body end
//!    then. A filter, or a stream that is merged with the body, has no effect any more if it let the opening
//!    event pass unchanged. For such a handler, disable [detaching](crate::StreamHandler::detach).
//! 5. A pipelined request after the one for the stream is not answered: no stream ends before its connection.
//! 6. `axum::serve`'s own graceful shutdown does not wait for detached streams;
//!    [`EventStream::close_on`](crate::EventStream::close_on) does.
//!
//! # What detaching relies on
//!
//! The body yields its opening as an allocation of its own, and the socket looks for that address among the
//! slices it writes. It does not rely on content, task or order of requests. So any number of connections can
//! share a task, and any server can drive [`Io`]. Streams detach with hyper 1.x because
//!
//! - it queues body bytes without copying them if the transport takes vectored writes (`WriteStrategy::Queue`),
//!   and encodes a chunk as three slices: size, data, line break;
//! - it polls a body until that is pending before it writes (`Dispatcher::poll_loop`), with the waker with which
//!   it polls the socket;
//! - it flushes after the last write, and ends the connection if that fails.
//!
//! With another server, or another version, streams stay in the HTTP server. A body that is polled twice after
//! its opening takes its stream out of the table.

mod chunk;
mod driver;
mod handoff;
mod inbox;
mod io;
mod listener;
mod options;
mod progress;
mod socket;

pub use io::Io;
pub use listener::{Connection, Listener};

pub(crate) use handoff::{Opening, is_enabled};
