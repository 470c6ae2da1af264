//! The head of a stream's response.

use crate::sse;
use axum::{
    body::Body,
    response::{IntoResponse, Response, Sse, sse::Event},
};
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CACHE_CONTROL, CONTENT_LENGTH},
};
use std::{convert::Infallible, mem, sync::LazyLock, time::Duration};

/// nginx passes events on without buffering if this is `no`.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The response to HEAD. Without a length, Pushpin waits for a body.
pub(crate) fn head() -> Response {
    let mut response = with_head(Body::empty());
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    response
}

/// A stream that ends at once, so that an `EventSource` reconnects. It never reconnects after a status other
/// than 200.
pub(crate) fn ended(retry: Duration) -> Response {
    with_head(Body::from(sse::retry(retry)))
}

/// axum sets `no-cache`, with which Firefox writes events to its disk cache. `no-transform` keeps proxies from
/// compressing: many buffer a compressed stream until its end.
const NEITHER_STORED_NOR_TRANSFORMED: HeaderValue =
    HeaderValue::from_static("no-store, no-transform");

/// axum's headers for server-sent events, with the ones above in addition.
static HEADERS: LazyLock<HeaderMap> = LazyLock::new(|| {
    let sse = Sse::new(tokio_stream::empty::<Result<Event, Infallible>>());
    let mut headers = mem::take(sse.into_response().headers_mut());
    headers.insert(CACHE_CONTROL, NEITHER_STORED_NOR_TRANSFORMED);
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    headers
});

/// Adds the head of a stream. `docs/design.md` has the reasons why the events are not axum's.
pub(crate) fn with_head(body: Body) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().clone_from(&HEADERS);
    response
}
