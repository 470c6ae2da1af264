//! The extractor that reads the headers of a request for a stream.

#[cfg(feature = "grip")]
use super::StreamResponse;
#[cfg(feature = "grip")]
use super::proxied::GripRequest;
use super::{Rejection, parameters::Parameters};
use crate::{EventStream, net, sse};
#[cfg(feature = "grip")]
use crate::{channel::Channels, event_stream::Inner};
#[cfg(feature = "grip")]
use axum::response::Response;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Version,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE},
    request::Parts,
};
use std::{fmt, sync::Arc};

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

/// The part of a request that [`EventStream::open`] and [`EventStream::respond`] need: an extractor.
///
/// It reads headers, the URI and the route's parameters, and refuses with 406 if `Accept` does not admit
/// `text/event-stream`, or with 400 if the path cannot be decoded. `open` checks everything that depends on the [`EventStream`].
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
    is_head: bool,
    is_detachable: bool,
    last_event_id: Option<String>,
    parameters: Option<Arc<Parameters>>,
    #[cfg(feature = "grip")]
    proxy: Option<Arc<GripRequest>>,
    /// Whether the request was routed to the handler of the link path.
    #[cfg(feature = "grip")]
    is_link_path: bool,
    /// Method, URI, version and headers, for hooks.
    parts: Option<Arc<Parts>>,
}

impl StreamRequest {
    /// Reads the headers, if `Accept` admits a stream at all.
    pub(crate) fn new(parts: &Parts) -> Result<Self, Rejection> {
        if !sse::admits_event_stream(&parts.headers) {
            return Err(Rejection::NotAcceptable);
        }
        Ok(Self {
            is_head: parts.method == Method::HEAD,
            is_detachable: is_detachable(parts),
            last_event_id: last_event_id(parts),
            parameters: None,
            #[cfg(feature = "grip")]
            proxy: GripRequest::new(parts).map(Arc::new),
            #[cfg(feature = "grip")]
            is_link_path: false,
            parts: None,
        })
    }

    pub(crate) async fn read_parameters(&mut self, parts: &mut Parts) -> Result<(), Rejection> {
        self.parameters = Some(Arc::new(Parameters::of(parts).await?));
        Ok(())
    }

    /// Keeps the parts that hooks receive. Extensions are left out: a value in them, such as a permit, must not
    /// live as long as the stream.
    pub(crate) fn keep(&mut self, parts: &Parts) {
        let (mut kept, ()) = Request::new(()).into_parts();
        kept.method = parts.method.clone();
        kept.uri = parts.uri.clone();
        kept.version = parts.version;
        kept.headers = parts.headers.clone();
        self.parts = Some(Arc::new(kept));
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

    /// Returns what will hold the stream, given the proxies of `event_stream`.
    ///
    /// # Errors
    ///
    /// The request has a `Grip-Sig` that no key verifies.
    pub fn delivery(&self, event_stream: &EventStream) -> Result<Delivery, Rejection> {
        event_stream.inner().proxies.delivery(self.signature())
    }

    pub(super) fn is_head(&self) -> bool {
        self.is_head
    }

    /// Whether a driver could write the rest of the response.
    pub(super) fn is_detachable(&self) -> bool {
        self.is_detachable
    }

    /// The parts that hooks receive.
    pub(super) fn parts(&self) -> Arc<Parts> {
        self.parts.clone().unwrap_or_else(|| {
            let (parts, ()) = Request::new(()).into_parts();
            Arc::new(parts)
        })
    }

    /// The value of `Grip-Sig`, which proxies add.
    fn signature(&self) -> Option<&HeaderValue> {
        #[cfg(feature = "grip")]
        return self.proxy.as_deref().map(GripRequest::signature);
        #[cfg(not(feature = "grip"))]
        None
    }
}

#[cfg(feature = "grip")]
impl StreamRequest {
    pub(super) fn set_link_path(&mut self, is_link_path: bool) {
        self.is_link_path = is_link_path;
    }

    /// The response to a proxy that follows a link of this crate. The link names the channels.
    pub(super) fn follow_link(
        &self,
        inner: &Inner,
        delivery: Delivery,
    ) -> Option<Result<StreamResponse, Rejection>> {
        let is_proxied = delivery == Delivery::Proxied && !self.is_head;
        let parts = self.parts.as_deref();
        let proxy = self.proxy.as_ref()?;
        proxy.follow_link(inner, is_proxied, self.is_link_path, parts)
    }

    /// Instructions to hold the client. The flag is whether the proxy will report its disconnect.
    pub(super) fn hold(
        &self,
        inner: &Inner,
        channels: &Channels,
    ) -> Result<(Response, bool), Rejection> {
        if let Some(links) = inner.proxies.links() {
            // Only the extractor stores the route's parameters here; a `StreamHandler` keeps them to itself.
            links.warn_of_routes(self.parameters.is_some());
        }
        // Always present: only a signature makes a request proxied.
        let proxy = self.proxy.as_ref().ok_or(Rejection::NotProxied)?;
        proxy.hold(inner, channels, self.last_event_id())
    }
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
    use crate::Limits;
    use axum::{Router, body::Body, routing::get};
    use tower::ServiceExt;

    #[tokio::test]
    async fn a_custom_handler_has_the_same_limits() {
        let limits = Limits::new().channels_per_subscription(1);
        let es = EventStream::builder().limits(limits).build().unwrap();
        let respond = async move |request: StreamRequest| es.respond(&request, ["a", "b"]).await;
        let app: Router = Router::new().route("/", get(respond));
        let request = http::Request::get("/").body(Body::empty()).unwrap();
        let response = app.oneshot(request).await.unwrap();
        assert_eq!(response.status(), http::StatusCode::BAD_REQUEST);
    }

    #[cfg(feature = "grip")]
    #[tokio::test]
    async fn every_signature_is_verified() {
        let proxy = "http://127.0.0.1:9?verify-key=changeme";
        let es = EventStream::builder().grip(proxy).build().unwrap();
        let app: Router = Router::new().route("/", get(es.handler("a")));
        for signature in [&b""[..], b"x", b"\xff"] {
            let request = http::Request::get("/").header("grip-sig", signature);
            let request = request.body(Body::empty()).unwrap();
            let response = app.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status(), http::StatusCode::FORBIDDEN);
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
