//! Server-sent events on named channels for axum.
//!
//! A handler subscribes its client to channels, and any code publishes to a channel. Each event has an id by
//! default, so a client that reconnects receives the events that it missed.
//!
//! ```no_run
//! use axum::{Extension, Router, extract::Path, routing::get};
//! use axum_eventstream::{Error, Event, EventStream, net};
//!
//! async fn send(es: EventStream, Path(room): Path<String>, text: String) -> Result<(), Error> {
//!     es.publish_event(format!("room-{room}"), Event::json("message", &text)?).await?;
//!     Ok(())
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> std::io::Result<()> {
//! let es = EventStream::new();
//! let room = get(es.handler("room-{room}")).post(send);
//! let app = Router::new().route("/rooms/{room}", room).layer(Extension(es.clone()));
//!
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
//! let ctrl_c = async { tokio::signal::ctrl_c().await.expect("a signal handler") };
//! axum::serve(net::Listener::new(listener), app)
//!     .with_graceful_shutdown(es.close_on(ctrl_c))
//!     .await
//! # }
//! ```
//!
//! A browser opens a stream and listens:
//!
//! ```js
//! const source = new EventSource("/rooms/red");
//! source.addEventListener("message", (event) => show(JSON.parse(event.data)));
//! source.addEventListener("stream-reset", () => loadState());
//! ```
//!
//! It receives this after `curl localhost:3000/rooms/red -d hello`:
//!
//! ```text
//! event: stream-open
//! data:
//! id: 5c1d6ae2f0b4-0
//!
//! event: message
//! data: "hello"
//! id: 5c1d6ae2f0b4-1
//! ```
//!
//! When its connection breaks, it reconnects with the header `Last-Event-ID: 5c1d6ae2f0b4-1`, and the stream
//! begins with the events after that one.
//!
//! - [`EventStream`] has all operations: serving, publishing, ending streams, observing.
//! - [`Event`] is what you publish, and [`EventStreamBuilder`] has the settings.
//! - [`net::Listener`] takes streams out of the HTTP server, which makes them cheaper.
//! - [`backplane`] shares the events of several instances through a log in Redis, NATS or another engine.
//! - [recipes] are guides: who may listen, deployment, frontends, moving from other crates.
//!
//! # Guarantees
//!
//! 1. **Channels.** A [`Channel`] is a name. It needs no creation, and costs nothing without subscribers and history. A
//!    name is used unchanged for publishing and subscribing; proxies see it with a prefix. Only the text that you give
//!    to [`handler`](EventStream::handler) is trimmed.
//! 2. **Streams.** A stream begins with the event `stream-open`. After 20 seconds without an event it sends
//!    [`keep-alive`](KeepAlive). A subscription ends at the latest with its response body or, once
//!    [detached](net), with its connection.
//! 3. **Encoding.** An [`Event`] is checked when it is built, and encoded once: direct clients, history and
//!    proxies receive the same bytes.
//! 4. **Publishing.** A publish delivers the event to subscribers in this process, and sends it to all proxies at once.
//!    Neither waits for the other. A slow reader never blocks a publish. `publish_event` may yield briefly to readers
//!    that lag; `try_publish` never does. A proxy that fails or hangs delays no other, and the error names it.
//! 5. **Order.** All publishes of an [`EventStream`] have one order, across channels and in each proxy's queue. With
//!    a [`backplane`], all instances have the same order.
//! 6. **Replay.** With [`History`], a client resumes after its `Last-Event-ID`, or `lastEventId` in the query. It
//!    receives the later events of the channels it requests, in order, each once.
//! 7. **No silent loss.** A client whose position is no longer there, or that reads too slowly, receives the event
//!    `stream-reset` with `{"channels":[..],"missed":n}`. `n` is `null` if the number is unknown. A handler with a
//!    [`snapshot`](StreamHandler::snapshot) sends the current state in its place.
//! 8. **Limits.** A request cannot cause a panic or take unbounded memory ([`Limits`]). It cannot inject a line, a
//!    header or a channel.
//!
//! # Responses
//!
//! The first row that applies, from top to bottom:
//!
//! | request | response |
//! | --- | --- |
//! | `Accept` does not admit `text/event-stream` | 406 |
//! | it has a `Grip-Sig`, every proxy has a verify key, and none of these verifies it | 403 |
//! | not through a proxy, with [`require_grip_proxy`](EventStreamBuilder) | 501 |
//! | `Last-Event-ID: error` | 400 |
//! | a proxy follows a [link](#direct-and-proxied-delivery) | 200: the missed events, or the end of the stream |
//! | the path cannot be decoded, and the handler needs its parameters | 400 |
//! | the function that names the channels refuses | its own response |
//! | a [template](EventStream::handler) names a parameter that the route does not have | 500, and an error is logged |
//! | no channel, an invalid name, or too many channels | 400 |
//! | `HEAD` | the head |
//! | direct, and the `EventStream` is closing or closed | 200, a `retry` of 1 to 5 seconds, and the end |
//! | too many subscriptions are open | the same with 5 to 15 seconds |
//! | through a proxy: too long names or, with history, more than 60 channels | 400 |
//! | any other | 200 and the stream, or instructions for the proxy |
//!
//! In a custom handler, [`StreamRequest`] answers the rows for `Accept` and for an undecodable path, and `open` or
//! `respond` the others. An `Err` given to them as the channels is the response itself.
//!
//! With [`refuse_with_status`](EventStreamBuilder::refuse_with_status), a closing `EventStream` and too many
//! subscriptions are answered with 503, also for `HEAD`.
//!
//! # Direct and proxied delivery
//!
//! An event reaches the clients of the process that publishes it (*direct* delivery). For several instances, share
//! a log through a [`backplane`]: an event then reaches the clients of all instances, and a client may reconnect to
//! any of them.
//!
//! Or put a [GRIP] proxy in front, such as Pushpin or Fastly Fanout, which also serves serverless functions. A
//! request that comes through the proxy is answered with instructions, and the proxy holds the client (*proxied*
//! delivery). The request decides, and no route changes.
//!
//! A proxy accepts an event even if it cannot deliver it: it drops events above its rate limits, and forgets all
//! positions when it restarts. [History](EventStreamBuilder::history) repairs that. It is off by default if there is a
//! proxy and no backplane:
//!
//! - **Without history**, an event that the proxy loses is lost.
//! - **With history in memory and one publishing process**, no event is lost silently. Each event names the one before
//!   it on its channel, so the proxy notices a gap and requests the missed events through a *link*: a signed URI in the
//!   instructions for each client. After a restart, clients receive `stream-reset` if the new process signs links with
//!   the same key (`EventStreamBuilder::grip_link_key`).
//! - **With several publishing processes and a [`backplane`]**, any process can answer a link, so no event is lost
//!   silently. Without a backplane, history must be off: each process would assign ids of its own.
//!
//! The proxy requests a link without the client's cookies, headers or query. So a custom handler or middleware
//! that checks these needs `EventStreamBuilder::grip_link_path`. Otherwise Pushpin holds back the events of its clients.
//!
//! # Testing
//!
//! The module [`testing`] has a client for the streams of a router, and a GRIP proxy that runs in the test's
//! process. It needs the feature of that name.
//!
//! # Logging
//!
//! With the feature `tracing`, refusals, resets and failed publishes are logged with the crate of that name.
//! `tracing_subscriber::fmt::init()` prints them.
//!
//! # Cargo features
//!
//! | feature | default | adds |
//! | --- | --- | --- |
//! | `grip` | yes | GRIP proxies: publishing to them (hyper), checking their signatures (jsonwebtoken) |
//! | `tracing` | yes | log messages with `tracing` |
//! | `nats` | no | a [`backplane`] in NATS JetStream |
//! | `redis` | no | a [`backplane`] in Redis or Valkey |
//! | `rustls` | no | `https` control URIs with rustls (reqwest), which Fastly Fanout needs, `rediss` URLs, and TLS to NATS |
//! | `native-tls` | no | the same with the platform's TLS |
//! | `metrics` | no | counters, gauges and histograms with the `metrics` facade |
//! | `testing` | no | the module [`testing`] |
//! | `axum-07` | no | the handler and the extractors for axum 0.7, beside those for 0.8 |
//!
#![cfg_attr(feature = "grip", doc = "[GRIP]: grip")]
#![cfg_attr(
    not(feature = "grip"),
    doc = "[GRIP]: https://docs.rs/axum-eventstream/latest/axum_eventstream/grip/\n[recipes]: https://docs.rs/axum-eventstream/latest/axum_eventstream/recipes/"
)]
#![cfg_attr(
    not(feature = "testing"),
    doc = "[`testing`]: https://docs.rs/axum-eventstream/latest/axum_eventstream/testing/"
)]
#![cfg_attr(docsrs, feature(doc_cfg))]
// Only `grip` implements the seam `proxies`. Builds with that feature find dead code.
#![cfg_attr(not(feature = "grip"), allow(dead_code, unused_imports))]

#[cfg(feature = "axum-07")]
mod axum07;
pub mod backplane;
mod builder;
mod channel;
mod core;
mod error;
mod event_stream;
mod extract;
mod few;
#[cfg(feature = "grip")]
pub mod grip;
mod handler;
mod hub;
mod local;
mod lock;
pub mod net;
mod observe;
mod proxies;
mod publish;
#[cfg(all(any(doc, doctest), feature = "grip"))]
pub mod recipes;
pub mod registry;
mod request;
mod settings;
mod sse;
mod stream;
mod subscription;
#[cfg(feature = "testing")]
pub mod testing;
mod text;

use observe::trace;

pub use builder::EventStreamBuilder;
pub use channel::{Channel, InvalidChannel, InvalidTemplate};
pub use error::{Error, ErrorKind};
pub use event_stream::EventStream;
#[cfg(feature = "grip")]
pub use grip::IntoProxies;
pub use handler::{IntoChannels, IntoResolver, StreamHandler, StreamResponse};
pub use observe::{BackplaneHealth, Health, ProxyHealth, Stats};
pub use publish::{ChannelPublisher, ChannelSink, Published};
pub use request::{Delivery, Rejection, StreamRequest, Unavailable};
pub use settings::{History, KeepAlive, LagPolicy, Limits};
pub use sse::{Event, EventBuilder, InvalidEvent, InvalidLastEventId, LastEventId, ReceivedEvent};
pub use stream::Snapshot;
pub use subscription::Subscription;

/// The README's programs must compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;
