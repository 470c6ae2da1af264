//! Server-sent events on named channels for axum.
//!
//! A handler subscribes its client to channels, and any code publishes to a channel. Who holds the
//! stream is decided per request: this process (*direct*), or a [GRIP](grip) proxy such as Pushpin or
//! Fastly Fanout that the request came through (*proxied*). Start direct, add a proxy later, change no route.
//!
//! ```
//! use axum::{Router, body::Body, http::Request, routing::get};
//! use axum_eventstream::{Event, EventStream, History};
//! use http_body_util::BodyExt;
//! use tower::ServiceExt;
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let es = EventStream::builder().history(History::off()).build()?;
//! let app: Router = Router::new().route("/events/{room}", get(es.handler("room-{room}")));
//!
//! let request = Request::get("/events/1").body(Body::empty())?;
//! let response = app.oneshot(request).await?;
//! assert_eq!(response.headers()["content-type"], "text/event-stream");
//!
//! es.publish_event("room-1", Event::json("message", &["hello"])?).await?;
//! es.publish_event("room-2", Event::json("message", &["elsewhere"])?).await?;
//! es.close();
//!
//! let body = response.into_body().collect().await?.to_bytes();
//! let events = "event: stream-open\ndata: \n\nevent: message\ndata: [\"hello\"]\n\n";
//! assert_eq!(body, events);
//! # Ok(())
//! # }
//! ```
//!
//! # Rules
//!
//! 1. A [`Channel`] is a name and nothing else: it is not created, and it costs nothing when it has neither
//!    subscribers nor history. One rule says which names are valid, for subscribing and
//!    publishing, in both deliveries. No name is trimmed or changed on the way.
//! 2. A stream begins with the event `stream-open`. When it is silent for 20 seconds it sends
//!    `keep-alive` ([`KeepAlive`]). Both have empty data.
//! 3. An [`Event`] is checked when it is built, and encoded once: direct clients, history and proxies get
//!    the same bytes.
//! 4. Publishing reaches subscribers in this process first, then all proxies at once. It does not wait for
//!    readers; a proxy that fails or hangs delays none of them, and the error names it.
//! 5. All publishes of an [`EventStream`] have one order, over all channels and in each proxy's queue.
//! 6. With [`History`] events carry ids. A client that comes back with `Last-Event-ID`, or `lastEventId` in
//!    the query, gets what it missed on the channels it asks for, and then what is new: nothing twice.
//! 7. Nothing is lost silently: a client that resumes from what is no longer there, or that reads too
//!    slowly, gets the event `stream-reset` with `{"channels":[..],"missed":n}`, where `n` is `null` if
//!    the number is not known. A proxy asks for what it missed. Behind a proxy this needs history, which
//!    is off there unless it is asked for; events with ids of the user's own are outside of it.
//! 8. A subscription ends when the client is gone, and with the response's body at the latest.
//!    [`EventStream::close`] ends all, [`EventStream::drain`] one after another.
//! 9. Nothing that a request contains panics, adds a line, a header or a channel, or takes memory without
//!    a bound ([`Limits`]).
//!
//! # What a request gets
//!
//! In this order:
//!
//! | request | answer |
//! | --- | --- |
//! | `Accept` does not admit `text/event-stream` | 406 |
//! | `Grip-Sig` is there, every proxy has a verify key, and none of them verifies it | 403 |
//! | not through a proxy, with [`require_grip_proxy`](EventStreamBuilder) | 501 |
//! | `Last-Event-ID: error` | 400 |
//! | no channel, an invalid name, too many channels | 400 |
//! | a function that names the channels refuses | its own response |
//! | a [template](EventStream::handler) names a parameter that the route does not have | 500, and an error in the log |
//! | direct, and the stream is closing or closed | 200, a `retry` of 1 to 5 seconds, and the end |
//! | too many subscriptions are open | 200, a `retry` of 5 to 15 seconds, and the end |
//! | `HEAD` | the head alone |
//! | otherwise | 200 and the stream, or instructions for the proxy |
//!
//! # Behind a proxy
//!
//! A proxy takes what is published and says nothing if a client does not get it: it drops what is too
//! fast, and forgets all when it restarts. What makes up for that is history, which is off with proxies
//! unless [asked for](EventStreamBuilder::history):
//!
//! - Without history a lost event is lost, as with the original.
//! - With history in memory and **one** process that publishes, nothing is lost silently. Each event names
//!   the one before, so that the proxy sees a gap and asks for what it missed, by a signed link; now and
//!   then it asks without one. A restarted proxy's clients come back with their last id. A restarted
//!   application has an empty memory and says so, by `stream-reset`, once it publishes or is asked: its links
//!   are valid if both processes have the same key
//!   (`EventStreamBuilder::grip_link_key`).
//! - With **several** processes that publish, history must be off: each would have ids of its own, and
//!   the proxy would ask one for what another has published. That needs a store that they share, which
//!   this crate does not have yet. Let one process publish, or do without.
//!
//! Where a custom handler or middleware needs the client's cookies, headers or query, the links need a
//! route (`EventStreamBuilder::grip_link_path`): the proxy sends requests of its own.
//!
//! # Deployment
//!
//! - Without a proxy an event reaches the clients of the process that publishes it. More than one process,
//!   or none that lasts, needs a GRIP proxy.
//! - `axum::serve` leaves Nagle's algorithm on, which can hold an event back for 40 ms: use
//!   [`net::Listener`], or `tcp_listener.tap_io(|tcp| _ = tcp.set_nodelay(true))` of
//!   `axum::serve::ListenerExt`.
//! - `axum::serve(..).with_graceful_shutdown(signal)` alone waits for open streams, which do not end:
//!   give it [`es.close_on(signal)`](EventStream::close_on).
//! - An open stream is an open file: raise the limit (`ulimit -n`) above the number of clients.
//! - Over HTTP/1.1 browsers open six connections to a host, all tabs together. Subscribe one stream to
//!   several channels, or serve HTTP/2.
//! - The time after which anything in between closes an idle connection must be longer than
//!   the [keep-alive interval](KeepAlive::interval).
//!
//! How to do what most applications need is on the pages of the [recipes].
//!
//! # Features
//!
//! | feature | default | what |
//! | --- | --- | --- |
//! | `grip` | yes | GRIP proxies: publishing to them (hyper), checking their signatures (jsonwebtoken) |
//! | `metrics` | no | counters and histograms with the `metrics` facade |
//! | `tracing` | yes | logs refusals, resets and the like with `tracing` |
//! | `rustls` | no | `https` control URIs (reqwest) with rustls |
//! | `native-tls` | no | `https` control URIs (reqwest) with the platform's TLS |
//! | `testing` | no | for tests of one's own: a client for a router's streams, and a GRIP proxy in the test's process |
//! | `axum-07` | no | the handler and the extractors for axum 0.7 too |

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "axum-07")]
mod axum07;
mod builder;
mod channel;
mod error;
mod event_stream;
mod excerpt;
mod extract;
mod feed;
mod few;
#[cfg(feature = "grip")]
pub mod grip;
mod handler;
mod health;
mod history;
mod hooks;
mod hub;
mod keep_alive;
mod limits;
mod measure;
pub mod net;
mod publish;
#[cfg(any(doc, doctest))]
pub mod recipes;
pub mod registry;
mod sse;
mod stats;
mod stream;
mod subscription;
#[cfg(feature = "testing")]
pub mod testing;
mod trace;
mod white_space;

pub use builder::EventStreamBuilder;
pub use channel::{Channel, InvalidChannel, InvalidTemplate};
pub use error::{Error, ErrorKind};
pub use event_stream::{EventStream, Published};
pub use handler::{
    Delivery, IntoChannels, IntoResolver, Rejection, StreamHandler, StreamRequest, StreamResponse,
    Unavailable,
};
pub use health::{Health, ProxyHealth};
pub use history::{History, LagPolicy};
pub use keep_alive::KeepAlive;
pub use limits::Limits;
#[cfg(feature = "grip")]
pub use publish::IntoProxies;
pub use publish::{ChannelPublisher, ChannelSink};
pub use sse::{Event, EventBuilder, InvalidEvent, InvalidLastEventId, LastEventId, ReceivedEvent};
pub use stats::Stats;
pub use subscription::Subscription;

/// The README's program must compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeDoctests;
