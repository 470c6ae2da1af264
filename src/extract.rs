//! `EventStream` and `StreamRequest` as extractors.

use crate::{
    EventStream, Rejection, StreamRequest,
    registry::{self, DEFAULT_NAME},
};
use axum::extract::FromRequestParts;
use http::{Extensions, request::Parts};

/// Looks in the request's extensions, then in the registry under [`DEFAULT_NAME`], so that it works
/// with any router state. `State<EventStream>` works as well.
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
/// let app: Router = Router::new().route("/messages", post(send)).layer(Extension(EventStream::new()));
/// ```
impl<S: Sync> FromRequestParts<S> for EventStream {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Rejection> {
        find(&parts.extensions).ok_or(Rejection::MissingEventStream)
    }
}

/// Refuses what is wrong about the request itself, as far as the stream is known here: with the same
/// [`EventStream`] as the extractor of that name would find. What is left is checked by
/// [`respond`](EventStream::respond).
impl<S: Sync> FromRequestParts<S> for StreamRequest {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Rejection> {
        let mut request = Self::new(parts)?;
        match parts.extensions.get::<EventStream>().cloned() {
            Some(event_stream) => request.negotiate(&event_stream)?,
            // A guess: the handler may have another stream, with other keys.
            None => match registry::get(DEFAULT_NAME).map(|found| request.negotiate(&found)) {
                None | Some(Ok(()) | Err(Rejection::InvalidGripSignature)) => {}
                Some(Err(rejection)) => return Err(rejection),
            },
        }
        request.read_parameters(parts).await?;
        // Which stream will respond is not known yet, nor whether it has hooks.
        request.keep(parts);
        Ok(request)
    }
}

fn find(extensions: &Extensions) -> Option<EventStream> {
    let extension = extensions.get::<EventStream>().cloned();
    extension.or_else(|| registry::get(DEFAULT_NAME))
}
