//! Tools to test applications: a client that needs no socket, and a proxy with faults on demand.
//!
//! A [`TestClient`] sends requests to a `Router` directly. It waits with a time limit, so a failing test fails
//! soon and shows the event or status it received instead. With paused time it fails at once. Everything here
//! panics where an assertion would.
//!
//! ```toml
//! [dev-dependencies]
//! axum-eventstream = { path = "../axum-eventstream", features = ["testing"] }
//! tokio = { version = "1", features = ["full", "test-util"] } # `test-util` for paused time
//! ```
//!
//! ```
//! use axum::{Extension, Router, routing::get};
//! use axum_eventstream::{Error, Event, EventStream, testing::TestClient};
//! use std::time::Duration;
//!
//! async fn send(es: EventStream, text: String) -> Result<(), Error> {
//!     es.publish_event("room-1", Event::json("message", &text)?).await?;
//!     Ok(())
//! }
//!
//! fn app() -> Router {
//!     let es = EventStream::new();
//!     let events = get(es.handler("room-{room}")).post(send);
//!     Router::new().route("/rooms/{room}", events).layer(Extension(es))
//! }
//!
//! # /*
//! #[tokio::test(start_paused = true)]
//! # */
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! # tokio::time::pause();
//! # test().await
//! # }
//! async fn test() {
//!     let client = TestClient::new(app());
//!     let mut room = client.get("/rooms/1").await;
//!     let mut other = client.get("/rooms/2").await;
//!     client.post("/rooms/1", "hello").await;
//!     room.expect_json("message", &"hello").await;
//!     assert!(room.last_event_id().is_some());
//!     other.expect_silence(Duration::from_secs(60)).await;
//! }
//! ```

pub mod backplane;
mod client;
#[cfg(feature = "grip")]
mod hold;
#[cfg(feature = "grip")]
mod instructions;
#[cfg(feature = "grip")]
mod item;
#[cfg(feature = "grip")]
mod proxy;
#[cfg(feature = "grip")]
mod requests;
mod stream;

pub use client::TestClient;
#[cfg(feature = "grip")]
pub use proxy::FakeGripProxy;
pub use stream::TestStream;
