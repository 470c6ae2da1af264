//! What a request gets: the handler, and the way of a request through it.
//!
//! `StreamHandler::call` reads the route's parameters ([`parameters`]), negotiates ([`request`]),
//! resolves the channels ([`resolve`]), and answers in one of the two deliveries ([`direct`], [`proxied`]) or with a refusal ([`rejection`]).

mod body;
mod direct;
mod parameters;
#[cfg(feature = "grip")]
mod proxied;
mod rejection;
mod request;
mod resolve;

pub use rejection::Rejection;
pub use request::{Delivery, StreamRequest};
pub use resolve::{IntoChannels, IntoResolver};

use crate::EventStream;
use axum::{
    extract::Request,
    handler::Handler,
    response::{IntoResponse, Response},
};
use http::request::Parts;
use parameters::Parameters;
use resolve::Resolver;
use std::{future::Future, pin::Pin};

/// A handler that answers each request with an event stream: what [`EventStream::handler`] returns.
///
/// It goes into any method router, with any router state. With the feature `axum-07` it is a handler for
/// axum 0.7 as well, where `/events/:id` is the route and `"{id}"` or `"<id>"` the channel. The
/// extractors work there too, and a handler that ends in [`EventStream::respond`] returns
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
    leaves: bool,
}

impl StreamHandler {
    pub(crate) fn new(event_stream: EventStream, resolver: Resolver) -> Self {
        Self {
            event_stream,
            resolver,
            leaves: true,
        }
    }

    /// Sets whether streams may leave the HTTP server through a
    /// [`net::Listener`](crate::net::Listener): they may unless set.
    ///
    /// It is to stay where anything has to see its whole body, not only the first event: middleware that
    /// counts, filters or redacts, or a body that is merged with another.
    #[must_use]
    pub fn leaves(mut self, leaves: bool) -> Self {
        self.leaves = leaves;
        self
    }

    pub(crate) async fn respond(&self, parts: &mut Parts) -> Result<Response, Rejection> {
        // First, so that nothing has to be kept meanwhile: the less a future holds, the less it costs. If
        // they are invalid, that is said only where nothing else is wrong.
        let parameters = match self.resolver.needs_parameters() {
            true => Parameters::of(parts).await,
            false => Ok(Parameters::default()),
        };
        self.answer(parts, parameters)
    }

    fn answer(
        &self,
        parts: &Parts,
        parameters: Result<Parameters, Rejection>,
    ) -> Result<Response, Rejection> {
        let inner = self.event_stream.inner();
        let mut request = StreamRequest::new(parts)?.leaves(self.leaves);
        let delivery = request.negotiate_fully(&self.event_stream)?;
        if !inner.hooks.is_empty() {
            request.keep(parts);
        }
        #[cfg(feature = "grip")]
        if let Some(answer) = request.follow_link(&self.event_stream) {
            return answer;
        }
        let limits = &inner.limits;
        let channels = self.resolver.resolve(parts, &parameters?, limits)?;
        request.answer(inner, delivery, channels)
    }
}

impl<S> Handler<(StreamHandler,), S> for StreamHandler {
    type Future = Pin<Box<dyn Future<Output = Response> + Send>>;

    fn call(self, request: Request, _state: S) -> Self::Future {
        // The request's body is dropped here: a client's upload is none of a stream's business.
        let (mut parts, _) = request.into_parts();
        Box::pin(async move { self.respond(&mut parts).await.into_response() })
    }
}
