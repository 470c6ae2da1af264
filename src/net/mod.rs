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
//! 2. That is so for a plain HTTP/1.1 `GET` whose response body is this crate's and passes all
//!    middleware unchanged. HTTP/1.0, HTTP/2, TLS, a compressed body and the like stay where they are,
//!    with the same guarantees.
//! 3. Sockets get `TCP_NODELAY`, keep-alive probes and `TCP_USER_TIMEOUT`: a client that has vanished
//!    or no longer reads is dropped after [30 seconds](Listener::client_timeout).
//! 4. Nothing sees or changes a body after it has left: a timer or a byte counter sees it end then, and a
//!    filter, or a stream that is merged with it, is not heard any more if it has let the opening event
//!    pass unchanged. For such a handler switch
//!    [detaching](crate::StreamHandler::detach) off.
//! 5. A request that a client sends behind that for the stream, on the same connection, is not answered: no
//!    stream ends before its connection.
//! 6. `axum::serve`'s own graceful shutdown does not wait for streams that left;
//!    [`EventStream::close_on`](crate::EventStream::close_on) does.

mod chunk;
mod driver;
mod handoff;
mod inbox;
mod io;
mod listener;
mod pages;
mod socket;

pub use io::Io;
pub use listener::{Connection, Listener};

pub(crate) use handoff::Handoff;
