//! The extractor that reads the headers of a request for a stream.

use super::{Parameters, Rejection};
use crate::{net, sse};
use axum::extract::OriginalUri;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE},
    request::Parts,
};
use std::{fmt, sync::Arc};

/// A proxy adds it to each request that it forwards.
const GRIP_SIG: HeaderName = HeaderName::from_static("grip-sig");

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// What holds a client's stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Delivery {
    /// This process writes the events.
    Direct,
    /// A GRIP proxy writes the events. The response has instructions for it.
    Proxied,
}

/// The part of a request that [`EventStream::open`](crate::EventStream::open) and
/// [`EventStream::respond`](crate::EventStream::respond) need: an extractor.
///
/// It reads headers, the URI and the route's parameters, and refuses with 406 if `Accept` does not admit
/// `text/event-stream`, or with 400 if the path cannot be decoded. `open` checks everything that depends on the
/// [`EventStream`](crate::EventStream).
///
/// # Examples
///
/// ```
/// use axum::response::Response;
/// use axum_eventstream::{EventStream, Rejection, StreamRequest};
///
/// async fn events(es: EventStream, request: StreamRequest) -> Result<Response, Rejection> {
///     let room = request.parameter("room").unwrap_or("lobby").to_owned();
///     es.respond(&request, room).await
/// }
/// ```
#[derive(Clone)]
pub struct StreamRequest {
    route: Route,
    pub(crate) is_head: bool,
    /// Whether a driver could write the rest of the response.
    pub(crate) is_detachable: bool,
    last_event_id: Option<String>,
    parameters: Option<Arc<Parameters>>,
    /// `Some` if hooks or proxies may need them.
    parts: Option<Arc<Parts>>,
    /// The URI before a router removed the prefix of a nested route, if there is one.
    original_uri: Option<Uri>,
}

/// The handler that received a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// A `StreamHandler` for streams.
    Handler,
    /// The handler of the link path.
    Links,
    /// A custom handler, with the extractor.
    Custom,
}

impl StreamRequest {
    /// Reads the headers, if `Accept` admits a stream at all. With `keep`, hooks can receive the parts.
    pub(crate) fn new(parts: &Parts, route: Route, keep: bool) -> Result<Self, Rejection> {
        if !sse::admits_event_stream(&parts.headers) {
            return Err(Rejection::NotAcceptable);
        }
        let is_proxied = parts.headers.contains_key(GRIP_SIG);
        Ok(Self {
            route,
            is_head: parts.method == Method::HEAD,
            is_detachable: is_detachable(parts),
            last_event_id: last_event_id(parts),
            parameters: None,
            parts: (keep || is_proxied).then(|| Arc::new(kept(parts))),
            original_uri: original_uri(parts).filter(|_| is_proxied).cloned(),
        })
    }

    pub(crate) async fn read_parameters(&mut self, parts: &mut Parts) -> Result<(), Rejection> {
        self.parameters = Some(Arc::new(Parameters::of(parts).await?));
        Ok(())
    }

    /// A copy that may live as long as a direct stream. Header values are slices of the connection's read buffer, so
    /// it has no parts, unless `keeps_signature`: with proxies, a request with a signature gets no direct stream.
    pub(crate) fn for_snapshot(
        &self,
        parameters: Option<Arc<Parameters>>,
        keeps_signature: bool,
    ) -> Self {
        let keeps_parts = keeps_signature && self.signature().is_some();
        Self {
            parameters,
            parts: self.parts.clone().filter(|_| keeps_parts),
            original_uri: self.original_uri.clone().filter(|_| keeps_parts),
            ..self.clone()
        }
    }

    /// Returns a parameter of the route, percent-decoded.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.as_ref()?.get(name)
    }

    /// Returns the position that the client wants to resume from: the first header `Last-Event-ID`, otherwise
    /// the last query parameter `lastEventId`.
    #[must_use]
    pub fn last_event_id(&self) -> Option<&str> {
        self.last_event_id.as_deref()
    }

    pub(crate) fn route(&self) -> Route {
        self.route
    }

    /// Method, URI, version and headers. `None` if neither hooks nor proxies need them.
    pub(crate) fn parts(&self) -> Option<&Arc<Parts>> {
        self.parts.as_ref()
    }

    /// The URI before a router removed the prefix of a nested route, of a request with a signature.
    pub(crate) fn original_uri(&self) -> Option<&Uri> {
        self.original_uri.as_ref()
    }

    /// The value of `Grip-Sig`, which is not verified yet.
    pub(crate) fn signature(&self) -> Option<&HeaderValue> {
        self.parts.as_ref()?.headers.get(GRIP_SIG)
    }
}

/// The parts that hooks and proxies receive. Extensions are left out: a value in them, such as a permit, must not
/// live as long as the stream.
fn kept(parts: &Parts) -> Parts {
    let (mut kept, ()) = Request::new(()).into_parts();
    kept.method = parts.method.clone();
    kept.uri = parts.uri.clone();
    kept.version = parts.version;
    kept.headers = parts.headers.clone();
    kept
}

fn original_uri(parts: &Parts) -> Option<&Uri> {
    let uri = parts.extensions.get().map(|OriginalUri(uri)| uri);
    #[cfg(feature = "axum-07")]
    let uri = uri.or_else(|| crate::axum07::original_uri(parts));
    uri
}

/// Headers may hold secrets, so they are not shown.
impl fmt::Debug for StreamRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("StreamRequest");
        shown.field("last_event_id", &self.last_event_id);
        if let Some(parameters) = &self.parameters {
            shown.field("parameters", parameters);
        }
        shown.finish_non_exhaustive()
    }
}

/// Whether the connection carries nothing but this response from now on.
fn is_detachable(parts: &Parts) -> bool {
    net::is_enabled()
        && parts.version == Version::HTTP_11
        && parts.method == Method::GET
        && !parts.headers.contains_key(CONTENT_LENGTH)
        && !parts.headers.contains_key(TRANSFER_ENCODING)
        && !parts.headers.contains_key(UPGRADE)
}

/// The header's first value, otherwise the query's last one. Clients that put a position into the query append
/// it to a URL that may have an older one (event-source-polyfill 1.0.22).
fn last_event_id(parts: &Parts) -> Option<String> {
    let header = |headers: &HeaderMap| {
        let value = headers.get(LAST_EVENT_ID)?;
        Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let query = || {
        let query = parts.uri.query()?.as_bytes();
        let pairs = form_urlencoded::parse(query);
        let positions = pairs.filter(|(name, _)| name == "lastEventId");
        positions.last().map(|(_, value)| value.into_owned())
    };
    // After an event with an empty id, which resets its position, a client sends an empty header.
    header(&parts.headers)
        .or_else(query)
        .filter(|id| !id.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{Router, body::Body, routing::get};
    use tower::ServiceExt;

    #[test]
    fn a_signature_without_proxies_keeps_no_headers_for_a_snapshot() {
        let signed = http::Request::get("/").header("grip-sig", "x");
        let (signed, ()) = signed.body(()).unwrap().into_parts();
        let (plain, ()) = http::Request::get("/").body(()).unwrap().into_parts();
        for (parts, has_proxies, is_kept) in [
            (&signed, false, false),
            (&signed, true, true),
            (&plain, true, false),
        ] {
            let request = StreamRequest::new(parts, Route::Handler, true).unwrap();
            let copy = request.for_snapshot(None, has_proxies);
            assert_eq!(copy.parts().is_some(), is_kept);
        }
    }

    #[tokio::test]
    async fn parameters_come_from_the_route_and_a_fallback_has_none() {
        async fn show(request: StreamRequest) -> String {
            let parameters = ["room", "id"].map(|name| request.parameter(name));
            format!("{parameters:?} {request:?}")
        }
        let app: Router = Router::new()
            .route("/rooms/{room}", get(show))
            .fallback(show);
        let cases = [
            (
                "/rooms/caf%C3%A9",
                r#"[Some("café"), None]"#,
                r#"{"room": "café"}"#,
            ),
            ("/anywhere", "[None, None]", "{}"),
        ];
        for (target, parameters, shown) in cases {
            let request = http::Request::get(target).body(Body::empty()).unwrap();
            let response = app.clone().oneshot(request).await.unwrap();
            let text = axum::body::to_bytes(response.into_body(), 1000)
                .await
                .unwrap();
            let expected = format!(
                "{parameters} StreamRequest {{ last_event_id: None, parameters: {shown}, .. }}"
            );
            assert_eq!(text, expected);
        }
    }
}
