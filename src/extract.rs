//! `EventStream` and `StreamRequest` as extractors.

use crate::{
    EventStream, Rejection, StreamRequest,
    registry::{self, DEFAULT_NAME},
    request::Route,
};
use axum::extract::FromRequestParts;
use http::request::Parts;
use std::any::Any;

/// Extracts the router's state if it is an `EventStream`, otherwise the request's extension, otherwise the
/// registry's entry [`DEFAULT_NAME`]. `State<EventStream>` works as well.
///
/// # Examples
///
/// ```
/// use axum::{Extension, Router, routing::post};
/// use axum_eventstream::{Error, Event, EventStream};
///
/// async fn send(es: EventStream, text: String) -> Result<(), Error> {
///     es.publish_event("room-1", Event::text("message", text)?).await?;
///     Ok(())
/// }
///
/// let es = EventStream::new();
/// let app: Router = Router::new().route("/messages", post(send)).with_state(es.clone());
///
/// // With another state, the stream is an extension.
/// let app: Router<u32> = Router::new().route("/messages", post(send)).layer(Extension(es));
/// ```
impl<S: Send + Sync + 'static> FromRequestParts<S> for EventStream {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Rejection> {
        let state: &dyn Any = state;
        let found = state.downcast_ref().or_else(|| parts.extensions.get());
        let found = found.cloned().or_else(|| registry::get(DEFAULT_NAME));
        found.ok_or(Rejection::MissingEventStream)
    }
}

impl<S: Send + Sync + 'static> FromRequestParts<S> for StreamRequest {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Rejection> {
        // The parts are kept, since the stream that will respond may have hooks.
        let mut request = Self::new(parts, Route::Custom, true)?;
        request.read_parameters(parts).await?;
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{Extension, Router, body::Body, response::Response, routing::get};
    use http::{Request, StatusCode};
    use tower::ServiceExt;

    async fn ask(app: Router) -> Response {
        let request = Request::get("/").body(Body::empty()).unwrap();
        app.oneshot(request).await.unwrap()
    }

    /// Subscribes, so that the statistics show which `EventStream` was extracted.
    async fn subscribe(es: EventStream, request: StreamRequest) -> Result<Response, Rejection> {
        es.respond(&request, "a").await
    }

    #[tokio::test]
    async fn the_state_comes_before_an_extension() {
        let (state, extension) = (EventStream::new(), EventStream::new());
        let route = || Router::new().route("/", get(subscribe));
        let with_both = route().layer(Extension(extension.clone()));
        let _one = ask(with_both.with_state(state.clone())).await;
        assert_eq!(state.stats().subscriptions, 1);
        assert_eq!(extension.stats().subscriptions, 0);

        let other_state = Router::new().route("/", get(subscribe)).with_state(7_u32);
        let _two = ask(other_state.layer(Extension(extension.clone()))).await;
        assert_eq!(extension.stats().subscriptions, 1);
    }

    #[tokio::test]
    async fn a_missing_event_stream_is_a_500_that_names_the_ways_to_add_one() {
        let response = ask(Router::new().route("/", get(subscribe)).with_state(7_u32)).await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let body = axum::body::to_bytes(response.into_body(), 1000).await;
        let body = String::from_utf8(body.unwrap().to_vec()).unwrap();
        for way in ["`.with_state(", "Extension(", "registry::get_or_init"] {
            assert!(body.contains(way), "{body}");
        }
    }
}
