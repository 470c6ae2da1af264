//! The pipeline from a request to its response.
//!
//! A [`StreamRequest`] has the headers. [`open`] verifies them, resolves the channels ([`resolve`]) and
//! subscribes, and [`response`] answers: with a [`body`], or with the instructions that the
//! [proxies](crate::proxies) return. [`StreamHandler`] and [`EventStream::respond`] are thin callers of this
//! pipeline.

mod body;
mod into_channels;
mod open;
mod resolve;
mod response;
mod serve;

pub use into_channels::IntoChannels;
pub use resolve::IntoResolver;
pub use response::StreamResponse;

use crate::{
    EventStream, Limits,
    request::{Parameters, Rejection, Route, StreamRequest},
};
use axum::{
    extract::Request,
    handler::Handler,
    response::{IntoResponse, Response},
};
use http::request::Parts;
use resolve::Resolver;
use std::{future::Future, pin::Pin};

/// A handler that answers each request with an event stream, returned by [`EventStream::handler`].
///
/// It works in any method router, with any router state. With the feature `axum-07` it is a handler for
/// axum 0.7 as well, where `/events/:id` is the route and `"{id}"` or `"<id>"` the channel. The
/// extractors work there too, and a custom handler that calls [`EventStream::respond`] returns
/// `impl IntoResponse`.
///
/// # Examples
///
/// ```
/// use axum::{Router, routing::get};
/// use axum_eventstream::{EventStream, StreamHandler};
///
/// let handler: StreamHandler = EventStream::new().handler(["news", "weather"]);
/// let app: Router = Router::new().route("/events", get(handler));
/// ```
#[derive(Clone, Debug)]
pub struct StreamHandler {
    event_stream: EventStream,
    resolver: Resolver,
    detach: bool,
    route: Route,
}

impl StreamHandler {
    fn new(event_stream: EventStream, resolver: Resolver, route: Route) -> Self {
        Self {
            event_stream,
            resolver,
            detach: true,
            route,
        }
    }

    /// Sets whether streams may be detached from the HTTP server by a
    /// [`net::Listener`](crate::net::Listener): `true` by default.
    ///
    /// Set it to `false` if other code needs the whole body, not only the opening event: middleware that
    /// counts, filters or redacts, or a body that is merged with another.
    #[must_use]
    pub fn detach(mut self, detach: bool) -> Self {
        self.detach = detach;
        self
    }

    pub(crate) async fn respond(&self, parts: &mut Parts) -> Result<StreamResponse, Rejection> {
        // Read first, so that the future holds no borrow across the await. Invalid parameters are reported only
        // if the rest of the request is valid.
        let parameters = match self.resolver.needs_parameters() {
            true => Parameters::of(parts).await,
            false => Ok(Parameters::default()),
        };
        let has_hooks = !self.event_stream.core().hooks.is_empty();
        let request = StreamRequest::new(parts, self.route, has_hooks);
        let request = request.inspect_err(|rejection| {
            self.event_stream.observer().refused(rejection.reason());
        })?;
        let channels = |limits: &Limits| self.resolver.resolve(parts, &parameters?, limits);
        let response = self.event_stream.open_stream(&request, channels)?;
        Ok(response.detach(self.detach))
    }
}

impl<S> Handler<(StreamHandler,), S> for StreamHandler {
    type Future = Pin<Box<dyn Future<Output = Response> + Send>>;

    fn call(self, request: Request, _state: S) -> Self::Future {
        // Drops the request's body, which a stream does not read.
        let (mut parts, _) = request.into_parts();
        Box::pin(async move { self.respond(&mut parts).await.into_response() })
    }
}
