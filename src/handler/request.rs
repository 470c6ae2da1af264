//! A request that asks for a stream, and what is checked about it.

#[cfg(feature = "grip")]
use super::proxied::Asked;
use super::{IntoChannels, Rejection, direct, parameters::Parameters};
use crate::{
    EventStream,
    channel::Channels,
    event_stream::Inner,
    feed::Feed,
    net::Handoff,
    sse,
    stream::{Guard, OpenStream},
};
use axum::response::Response;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Version,
    header::{CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE},
    request::Parts,
};
use std::{fmt, sync::Arc};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Who holds a client's stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Delivery {
    /// This process writes the events.
    Direct,
    /// A GRIP proxy does. The response is instructions for it.
    Proxied,
}

/// What [`EventStream::respond`] needs of a request: an extractor.
///
/// It refuses with 406 when `Accept` does not admit `text/event-stream`, with 403 when `Grip-Sig` is
/// not valid, with 400 when `Last-Event-ID` is `error`. The last two need the [`EventStream`], so here
/// it is the one that the extractor of that type finds; where there is none, `respond` checks them.
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
    head: bool,
    may_leave: bool,
    last_event_id: Option<String>,
    parameters: Option<Arc<Parameters>>,
    #[cfg(feature = "grip")]
    proxy: Option<Box<Asked>>,
    /// The whole request, for hooks.
    parts: Option<Arc<Parts>>,
    guard: Option<Guard>,
    /// What a stream has made of the signature: checking it again would give the same.
    negotiated: Option<(EventStream, Delivery)>,
}

impl StreamRequest {
    /// Reads what is needed, if `Accept` admits a stream at all.
    pub(crate) fn new(parts: &Parts) -> Result<Self, Rejection> {
        if !sse::admits_event_stream(&parts.headers) {
            return Err(Rejection::NotAcceptable);
        }
        Ok(Self {
            head: parts.method == Method::HEAD,
            may_leave: may_leave(parts),
            last_event_id: last_event_id(parts),
            parameters: None,
            #[cfg(feature = "grip")]
            proxy: Asked::new(parts).map(Box::new),
            parts: None,
            guard: None,
            negotiated: None,
        })
    }

    pub(crate) async fn read_parameters(&mut self, parts: &mut Parts) -> Result<(), Rejection> {
        self.parameters = Some(Arc::new(Parameters::of(parts).await?));
        Ok(())
    }

    /// Sets whether the stream may leave the HTTP server through a
    /// [`net::Listener`](crate::net::Listener): it may unless set. It is to stay where the response's body
    /// is wrapped or merged with another.
    #[must_use]
    pub fn leaves(mut self, leaves: bool) -> Self {
        self.may_leave &= leaves;
        self
    }

    /// Keeps the whole request for the hooks.
    pub(crate) fn keep(&mut self, parts: &Parts) {
        self.parts = Some(Arc::new(parts.clone()));
    }

    /// Gives the stream a value that is dropped when it has ended, whoever holds it by then: a count, an
    /// entry in a list of who is here.
    ///
    /// In proxied delivery no stream stays here: it is dropped with the request.
    ///
    /// # Examples
    ///
    /// ```
    /// use axum::response::Response;
    /// use axum_eventstream::{EventStream, Rejection, StreamRequest};
    ///
    /// struct Here;
    /// impl Drop for Here {
    ///     fn drop(&mut self) {
    ///         println!("gone");
    ///     }
    /// }
    ///
    /// async fn events(es: EventStream, request: StreamRequest) -> Result<Response, Rejection> {
    ///     es.respond(&request.guard(Here), ["room-1"]).await
    /// }
    /// ```
    #[must_use]
    pub fn guard(mut self, guard: impl Send + Sync + 'static) -> Self {
        self.guard = Some(Guard::new(guard));
        self
    }

    /// A parameter of the route, percent-decoded.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.as_ref()?.get(name)
    }

    /// The position the client wants to resume from: the header `Last-Event-ID`, else the query
    /// parameter `lastEventId`.
    #[must_use]
    pub fn last_event_id(&self) -> Option<&str> {
        self.last_event_id.as_deref()
    }

    /// Who will hold the stream, as `event_stream` sees it.
    ///
    /// # Errors
    ///
    /// When `Grip-Sig` is there and not valid.
    pub fn delivery(&self, event_stream: &EventStream) -> Result<Delivery, Rejection> {
        match &self.negotiated {
            Some((by, delivery)) if by.same_stream(event_stream) => Ok(*delivery),
            _ => event_stream.inner().proxies.delivery(self.signature()),
        }
    }

    /// What says that the request comes from a proxy.
    fn signature(&self) -> Option<&HeaderValue> {
        #[cfg(feature = "grip")]
        return self.proxy.as_deref().map(Asked::signature);
        #[cfg(not(feature = "grip"))]
        None
    }

    /// Checks what an extractor can, in the order of [`negotiate_fully`](Self::negotiate_fully).
    pub(crate) fn negotiate(&mut self, event_stream: &EventStream) -> Result<(), Rejection> {
        match self.negotiate_fully(event_stream) {
            Ok(_) | Err(Rejection::NotProxied) => Ok(()),
            Err(rejection) => Err(rejection),
        }
    }

    /// Checks all that does not depend on channels.
    pub(crate) fn negotiate_fully(
        &mut self,
        event_stream: &EventStream,
    ) -> Result<Delivery, Rejection> {
        let delivery = self.delivery(event_stream)?;
        self.negotiated = Some((event_stream.clone(), delivery));
        self.check(event_stream.inner(), delivery)?;
        Ok(delivery)
    }

    fn check(&self, inner: &Inner, delivery: Delivery) -> Result<(), Rejection> {
        if delivery == Delivery::Direct && inner.proxies.are_required() {
            return Err(Rejection::NotProxied);
        }
        if self.last_event_id() == Some("error") {
            return Err(Rejection::InvalidLastEventId);
        }
        Ok(())
    }

    /// The answer to a proxy that follows one of our links: the link says for which channels.
    #[cfg(feature = "grip")]
    pub(crate) fn follow_link(
        &self,
        event_stream: &EventStream,
    ) -> Option<Result<Response, Rejection>> {
        let (inner, proxy) = (event_stream.inner(), self.proxy.as_ref()?);
        let is_proxied = self.delivery(event_stream).ok()? == Delivery::Proxied;
        let parts = self.parts.as_deref();
        let answer = proxy.follow_link(inner, is_proxied && !self.head, parts)?;
        Some(self.check(inner, Delivery::Proxied).and(answer))
    }

    /// Answers with a stream on `channels`.
    pub(crate) fn respond(
        &self,
        event_stream: &EventStream,
        channels: impl IntoChannels,
    ) -> Result<Response, Rejection> {
        #[cfg(feature = "grip")]
        if let Some(answer) = self.follow_link(event_stream) {
            return answer;
        }
        let (inner, delivery) = (event_stream.inner(), self.delivery(event_stream)?);
        self.check(inner, delivery)?;
        let channels = inner.limits.channels(channels.into_channels()?)?;
        self.answer(inner, delivery, channels)
    }

    /// Answers a request that has been checked and follows no link.
    pub(crate) fn answer(
        &self,
        inner: &Inner,
        delivery: Delivery,
        channels: Channels,
    ) -> Result<Response, Rejection> {
        match (self.head, delivery) {
            (true, _) => {
                inner.hub.admits(&channels)?;
                Ok(direct::head())
            }
            (false, Delivery::Direct) => {
                let stream = self.open(inner, channels)?;
                Ok(direct::respond(stream, self.may_leave))
            }
            #[cfg(feature = "grip")]
            (false, Delivery::Proxied) => {
                inner.hub.admits(&channels)?;
                // It is there: nothing else makes a request one of a proxy.
                let proxy = self.proxy.as_ref().ok_or(Rejection::NotProxied)?;
                let (start, parts) = (self.last_event_id(), self.parts.as_deref());
                Ok(proxy.hold(inner, &channels, start, parts)?)
            }
            #[cfg(not(feature = "grip"))]
            (false, Delivery::Proxied) => Err(Rejection::NotProxied),
        }
    }
}

impl StreamRequest {
    fn open(&self, inner: &Inner, channels: Channels) -> Result<OpenStream, Rejection> {
        let feed = Feed::subscribe(&inner.hub, &channels, self.last_event_id())?;
        let feed = feed.opened(inner.lag_policy);
        let parts = self.parts.clone().filter(|_| !inner.hooks.is_empty());
        let presence = parts.map(|parts| inner.hooks.enter(channels, parts));
        let stream = OpenStream::new(feed, inner.streams.clone()).max_age(inner.max_age);
        Ok(stream.with(presence, self.guard.clone()))
    }
}

/// Headers may hold secrets, so only what is about the stream is shown.
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

/// Whether nothing but events will go over the connection: what a driver can go on with.
fn may_leave(parts: &Parts) -> bool {
    Handoff::is_enabled()
        && parts.version == Version::HTTP_11
        && parts.method == Method::GET
        && !parts.headers.contains_key(CONTENT_LENGTH)
        && !parts.headers.contains_key(TRANSFER_ENCODING)
        && !parts.headers.contains_key(UPGRADE)
}

/// The header, of which the first counts, else the query.
fn last_event_id(parts: &Parts) -> Option<String> {
    let header = |headers: &HeaderMap| {
        let value = headers.get(LAST_EVENT_ID)?;
        Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    let query = || {
        let query = parts.uri.query()?.as_bytes();
        let mut pairs = form_urlencoded::parse(query);
        let found = pairs.find(|(name, _)| name == "lastEventId");
        found.map(|(_, value)| value.into_owned())
    };
    // An empty one is what a client has that was told to forget its position.
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
    async fn a_handler_of_ones_own_is_limited_too() {
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
    async fn whatever_is_in_a_signature_it_is_checked() {
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
    async fn parameters_are_those_of_the_route_and_a_fallback_has_none() {
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
