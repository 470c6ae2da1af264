//! The methods of `EventStream` that serve streams.

use super::{IntoChannels, IntoResolver, StreamHandler, StreamResponse};
use crate::{
    EventStream,
    request::{Rejection, Route, StreamRequest},
};
use axum::response::{IntoResponse, Response};

/// # Serving
impl EventStream {
    /// Returns a handler for a route, which subscribes each client to the given channels.
    ///
    /// `channels` is one of
    ///
    /// - a name, or several in an array, a slice or a `Vec`. `{id}` and `<id>` stand for the route's
    ///   parameter of that name, any number of times, with any text around them. White space around
    ///   the whole text is trimmed;
    /// - a function of the request's `&Parts` that returns [`IntoChannels`]: a name or several, an `Option`
    ///   of them, or a `Result` whose error is the response.
    ///
    /// A parameter has the name that the route gives it. For a wildcard route write `{path}` or `{*path}`.
    /// `{{` and `}}` stand for literal braces. The value of a parameter is not trimmed: a channel name that then
    /// begins or ends with white space is refused with 400.
    ///
    /// Each request is answered with 500, and an error with the fix is logged, if a template contains
    ///
    /// - a parameter in braces that the route does not have, such as `{rom}`, `{ id }` or `{id:uuid}`,
    ///   or any other single brace;
    /// - an identifier in angle brackets that is not a parameter of the route. Other text in angle brackets is
    ///   literal;
    /// - a parameter of the route in the form of axum 0.7: `:id` anywhere, or `*path` as the whole text or
    ///   between slashes. With any other name this is literal text.
    ///
    /// If the decision is asynchronous, or needs extractors, use [`open`](Self::open) in a custom handler.
    ///
    /// # Examples
    ///
    /// ```
    /// use axum::{Router, http::{StatusCode, request::Parts}, routing::get};
    /// use axum_eventstream::EventStream;
    ///
    /// let es = EventStream::new();
    /// let app: Router = Router::new()
    ///     .route("/events", get(es.handler("news")))
    ///     .route("/events/{id}", get(es.handler("<id>")))
    ///     .route("/rooms/{room}/{user}", get(es.handler(["room-{room}", "room-{room}.{user}"])))
    ///     .route("/mine", get(es.handler(|parts: &Parts| {
    ///         let user = parts.headers.get("x-user").and_then(|user| user.to_str().ok());
    ///         user.map(|user| format!("user-{user}")).ok_or(StatusCode::UNAUTHORIZED)
    ///     })));
    /// ```
    pub fn handler<M>(&self, channels: impl IntoResolver<M>) -> StreamHandler {
        let resolver = channels.into_resolver();
        resolver.log_mistakes();
        StreamHandler::new(self.clone(), resolver, Route::Handler)
    }

    /// Returns the handler for the route of all links for missed events: see
    /// [`grip_link_path`](crate::EventStreamBuilder::grip_link_path).
    ///
    /// Only this route answers these links, and it answers nothing else.
    #[cfg(feature = "grip")]
    #[must_use]
    pub fn link_handler(&self) -> StreamHandler {
        if let Some(proxies) = self.proxies() {
            proxies.has_link_handler();
        }
        // The link names the channels.
        let no_link = |_: &http::request::Parts| Err::<&str, _>(Rejection::NoLink);
        StreamHandler::new(self.clone(), no_link.into_resolver(), Route::Links)
    }

    /// Subscribes the client of `request` to `channels`, and returns the response: [`open`](Self::open) and
    /// answer in one call.
    ///
    /// Use it in a custom handler that awaits nothing between its check and the answer. If the check is awaited,
    /// use [`open`](Self::open), and check afterwards.
    ///
    /// Names are literal: they are not trimmed, and are no templates.
    ///
    /// Without a backplane it awaits nothing: the client is subscribed, and the response is built, in one poll. With a
    /// [backplane](crate::backplane), it waits as [`StreamResponse::ready`] does.
    ///
    /// Behind a proxy with history, a handler that checks the client's cookies, headers or query needs
    /// `EventStreamBuilder::grip_link_path`: see [`open`](Self::open).
    ///
    /// # Errors
    ///
    /// Returns the refusal, which is a response too.
    ///
    /// # Examples
    ///
    /// ```
    /// use axum::{extract::Path, response::Response};
    /// use axum_eventstream::{EventStream, Rejection, StreamRequest};
    ///
    /// async fn events(
    ///     es: EventStream,
    ///     Path(room): Path<u32>,
    ///     request: StreamRequest,
    /// ) -> Result<Response, Rejection> {
    ///     es.respond(&request, [format!("room-{room}"), "news".to_owned()]).await
    /// }
    /// ```
    pub async fn respond<M>(
        &self,
        request: &StreamRequest,
        channels: impl IntoChannels<M>,
    ) -> Result<Response, Rejection> {
        Ok(self.open(request, channels)?.ready().await.into_response())
    }

    /// Subscribes the client of `request` to `channels`, and returns the response to answer with.
    ///
    /// Use it to decide who may listen, in this order: open, check, answer. The client is subscribed when this
    /// returns. So a revocation that calls [`close_channel`](Self::close_channel) while the check runs ends the
    /// stream. Dropping the [`StreamResponse`] unsubscribes the client.
    ///
    /// # Behind a proxy
    ///
    /// With history, the proxy requests missed events through a link, without the client's cookies, headers or
    /// query. A handler that refuses such requests needs a separate route for links:
    /// `EventStreamBuilder::grip_link_path` and `link_handler`. Otherwise Pushpin holds back the
    /// events of the client, and ends its stream after about 20 seconds.
    ///
    /// # Errors
    ///
    /// Returns the refusal, which is a response too.
    ///
    /// # Examples
    ///
    /// ```
    /// use axum::{extract::Path, http::StatusCode, response::{IntoResponse, Response, Result}};
    /// use axum_eventstream::{EventStream, StreamRequest};
    /// # async fn is_banned(_user: &str) -> bool { false }
    ///
    /// async fn events(
    ///     es: EventStream,
    ///     Path(user): Path<String>,
    ///     request: StreamRequest,
    /// ) -> Result<Response> {
    ///     let stream = es.open(&request, [format!("user-{user}"), "news".to_owned()])?;
    ///     if is_banned(&user).await {
    ///         return Err(StatusCode::FORBIDDEN.into());
    ///     }
    ///     Ok(stream.into_response())
    /// }
    /// ```
    pub fn open<M>(
        &self,
        request: &StreamRequest,
        channels: impl IntoChannels<M>,
    ) -> Result<StreamResponse, Rejection> {
        self.open_stream(request, |limits| {
            Ok(limits.channels(channels.into_channels()?)?)
        })
    }
}
