//! The handler, the extractors and the rejections for axum 0.7.
//!
//! Both versions share the types of `http` and the trait `Body`, so a response is only rewrapped.

use crate::{
    Error, EventStream, Health, InvalidEvent, Rejection, StreamHandler, StreamRequest,
    StreamResponse, Unavailable,
};
use axum07::{
    async_trait,
    extract::{FromRequestParts, RawPathParams, Request, rejection::RawPathParamsRejection},
    handler::Handler,
    response::{IntoResponse, Response},
};
use http::request::Parts;
use std::{future::Future, pin::Pin};

impl<S> Handler<(StreamHandler,), S> for StreamHandler {
    type Future = Pin<Box<dyn Future<Output = Response> + Send>>;

    fn call(self, request: Request, _state: S) -> Self::Future {
        let (mut parts, _) = request.into_parts();
        Box::pin(async move {
            let response = self.respond(&mut parts).await;
            axum::response::IntoResponse::into_response(response).into_response()
        })
    }
}

macro_rules! extractors {
    ($($extractor:ty),+) => {$(
        #[async_trait]
        impl<S: Send + Sync + 'static> FromRequestParts<S> for $extractor {
            type Rejection = Rejection;

            async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Rejection> {
                <Self as axum::extract::FromRequestParts<S>>::from_request_parts(parts, state).await
            }
        }
    )+};
}
extractors!(EventStream, StreamRequest);

macro_rules! responses {
    ($($response:ty),+) => {$(
        impl IntoResponse for $response {
            fn into_response(self) -> Response {
                axum::response::IntoResponse::into_response(self).into_response()
            }
        }
    )+};
}
responses!(
    StreamResponse,
    Unavailable,
    Rejection,
    Error,
    InvalidEvent,
    Health
);

/// The parameters of a route, if a router of axum 0.7 has matched one.
pub(crate) async fn parameters(parts: &mut Parts) -> Result<Option<RawPathParams>, Rejection> {
    match RawPathParams::from_request_parts(parts, &()).await {
        Ok(parameters) => Ok(Some(parameters)),
        Err(RawPathParamsRejection::MissingPathParams(_)) => Ok(None),
        Err(error) => Err(Rejection::InvalidPath(error.body_text())),
    }
}

/// The URI before a router of axum 0.7 removed the prefix of a nested route.
pub(crate) fn original_uri(parts: &Parts) -> Option<&http::Uri> {
    let original = parts.extensions.get();
    original.map(|axum07::extract::OriginalUri(uri)| uri)
}
