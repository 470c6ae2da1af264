//! The engine on NATS JetStream.

mod answers;
mod attach;
mod contract;
mod faults;
mod rights;
mod stream;
#[cfg(feature = "rustls")]
mod tls;

use super::raw::{self, *};
use crate::support::nats::NatsServer;
use axum_eventstream::backplane::{
    Backplane, Batch, Content, Draft, Failure, FailureKind, Known, Nats, Origin, Reader, Writer,
};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, sleep};

type Instance = raw::Instance<Nats>;

/// The stream of the default namespace.
const STREAM: &str = "eventstream";

async fn delete(server: &NatsServer) {
    let answer = server.ask("STREAM.DELETE.eventstream", Value::Null).await;
    assert_eq!(answer["success"], true, "{answer}");
}
