//! Direct delivery: axum's head for a stream, and our body.

use super::body::EventBody;
use crate::{sse, stream::OpenStream};
use axum::{
    body::Body,
    response::{IntoResponse, Response, Sse, sse::Event},
};
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CACHE_CONTROL, CONNECTION, CONTENT_LENGTH},
};
use std::{convert::Infallible, mem, sync::LazyLock, time::Duration};

/// Tells nginx to pass events on as they come.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

pub(super) fn respond(stream: OpenStream, may_leave: bool) -> Response {
    let mut response = with_body(Body::new(EventBody::new(stream, may_leave)));
    if may_leave {
        // The end of a detached stream is the end of its connection, which RFC 9112, 9.6, wants announced:
        // otherwise a proxy sends the next request on it.
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The answer to HEAD: with a length, or Pushpin waits for a body.
pub(super) fn head() -> Response {
    let mut response = with_body(Body::empty());
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    response
}

/// A stream that ends at once, so that an `EventSource` reconnects: any status but 200 would close it for good.
pub(super) fn ended(retry: Duration) -> Response {
    with_body(Body::from(sse::retry(retry)))
}

/// With `no-cache`, which axum sets, Firefox writes events to its disk cache. `no-transform` keeps proxies
/// from compressing: many hold a compressed stream back until its end.
const NEITHER_STORED_NOR_TRANSFORMED: HeaderValue =
    HeaderValue::from_static("no-store, no-transform");

/// The headers that axum gives a stream, and ours.
static HEADERS: LazyLock<HeaderMap> = LazyLock::new(|| {
    let sse = Sse::new(tokio_stream::empty::<Result<Event, Infallible>>());
    let mut headers = mem::take(sse.into_response().headers_mut());
    headers.insert(CACHE_CONTROL, NEITHER_STORED_NOR_TRANSFORMED);
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    headers
});

/// The head of a stream. The events are not axum's: see `sse` for what those cannot do.
pub(super) fn with_body(body: Body) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().clone_from(&HEADERS);
    response
}
