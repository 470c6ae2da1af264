//! This crate, with its defaults.

use crate::load::payload::NAME;
use axum::{Router, routing::get};
use axum_eventstream::{Event, EventStream};
use std::error::Error;

pub(super) fn router(es: &EventStream) -> Router {
    Router::new().route("/events/{channel}", get(es.handler("{channel}")))
}

pub(super) async fn publish(
    es: &EventStream,
    channel: &str,
    data: &str,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    es.publish_event(channel, Event::text(NAME, data)?).await?;
    Ok(())
}
