//! The reasons to refuse a request, and their responses.

use super::Unavailable;
use crate::{
    Error, ErrorKind, InvalidChannel, InvalidEvent, InvalidTemplate, channel::ChannelsError, trace,
};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use std::{borrow::Cow, error, fmt};

/// The reason why a request does not get a stream.
///
/// As a response it has the [`status`](Self::status) and the [`body_text`](Self::body_text), and no GRIP
/// header, so that a proxy passes it on. `Display` adds for the log how to fix it.
#[derive(Debug)]
#[non_exhaustive]
pub enum Rejection {
    /// `Accept` does not admit `text/event-stream`.
    NotAcceptable,
    /// No key verifies the `Grip-Sig`.
    InvalidGripSignature,
    /// The request did not come through a proxy, although `require_grip_proxy` is set.
    NotProxied,
    /// `Last-Event-ID` is `error`.
    InvalidLastEventId,
    /// All names of channels are empty, or there are no names.
    NoChannels,
    /// The name of a channel is invalid.
    InvalidChannel(InvalidChannel),
    /// The handler's template has an unmatched brace, or a parameter that the route does not have.
    InvalidTemplate(InvalidTemplate),
    /// The request names more channels than this limit.
    TooManyChannels(usize),
    /// The channels are too many or too long for a proxy. Holds the reason.
    ProxyLimit(String),
    /// A request to the handler of the link path follows no valid link.
    NoLink,
    /// The path cannot be decoded.
    InvalidPath(String),
    /// The stream is closing or closed, or a limit is reached.
    Unavailable(Unavailable),
    /// The extractor found no `EventStream`: neither state, nor extension, nor registry entry.
    MissingEventStream,
    /// The response of a function that names the channels, or of a `Result` that is an error.
    Response(Box<Response>),
}

impl Rejection {
    pub(crate) fn response(response: Response) -> Self {
        Self::Response(Box::new(response))
    }

    /// Converts the refusal of a subscription outside of a request, which has no response.
    pub(crate) fn into_error(self) -> Error {
        let text = format!("the channels are refused with {}: {self}", self.status());
        Error::new(ErrorKind::InvalidChannel, text)
    }

    /// The response's status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
            Self::InvalidGripSignature => StatusCode::FORBIDDEN,
            Self::NotProxied => StatusCode::NOT_IMPLEMENTED,
            Self::InvalidLastEventId
            | Self::NoChannels
            | Self::InvalidChannel(_)
            | Self::TooManyChannels(_)
            | Self::ProxyLimit(_)
            | Self::NoLink
            | Self::InvalidPath(_) => StatusCode::BAD_REQUEST,
            Self::Unavailable(unavailable) => unavailable.status(),
            Self::InvalidTemplate(_) | Self::MissingEventStream => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
            Self::Response(response) => response.status(),
        }
    }

    /// The label of metrics.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::NotAcceptable => "not_acceptable",
            Self::InvalidGripSignature => "invalid_grip_signature",
            Self::NotProxied => "not_proxied",
            Self::InvalidLastEventId => "invalid_last_event_id",
            Self::NoChannels => "no_channels",
            Self::InvalidChannel(_) => "invalid_channel",
            Self::InvalidTemplate(_) => "invalid_template",
            Self::TooManyChannels(_) => "too_many_channels",
            Self::ProxyLimit(_) => "proxy_limit",
            Self::NoLink => "no_link",
            Self::InvalidPath(_) => "invalid_path",
            Self::Unavailable(_) => "unavailable",
            Self::MissingEventStream => "missing_event_stream",
            Self::Response(response) => {
                let reason = response.extensions().get::<Reason>();
                reason.map_or("response", |Reason(reason)| reason)
            }
        }
    }

    /// The response's body: one line, or a `retry` and an empty line for a stream that ends at once. For
    /// [`Response`](Self::Response), a placeholder.
    #[must_use]
    pub fn body_text(&self) -> Cow<'static, str> {
        match self {
            Self::NotAcceptable => "Not Acceptable.\n".into(),
            Self::InvalidGripSignature => "GRIP Signature Invalid.\n".into(),
            Self::NotProxied => "Not Implemented.\n".into(),
            Self::InvalidLastEventId => "last-event-id header may not be 'error'.\n".into(),
            Self::NoChannels => "No specified channels.\n".into(),
            Self::InvalidChannel(error) => format!("{error}\n").into(),
            Self::InvalidTemplate(error) => format!("{error}\n").into(),
            Self::TooManyChannels(limit) => format!("more than {limit} channels\n").into(),
            Self::NoLink => {
                "this route answers links that a GRIP proxy follows, and this request follows none\n".into()
            }
            Self::ProxyLimit(reason) | Self::InvalidPath(reason) => format!("{reason}\n").into(),
            Self::Unavailable(unavailable) => unavailable.body_text().into(),
            Self::MissingEventStream => "no EventStream found: add `.with_state(event_stream)` or \
                `.layer(Extension(event_stream))` to the router, or call \
                `registry::get_or_init(registry::DEFAULT_NAME, ..)`\n"
                .into(),
            Self::Response(_) => "the handler's own response\n".into(),
        }
    }
}

/// Marks the response of a rejection with its reason. A function that names channels may return it, and the
/// rejection that holds it is then logged once and counted under that reason.
#[derive(Clone, Copy)]
struct Reason(&'static str);

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        self.log();
        let reason = Reason(self.reason());
        let mut response = match self {
            Self::Response(response) => *response,
            Self::Unavailable(unavailable) => unavailable.into_response(),
            _ => (self.status(), self.body_text()).into_response(),
        };
        response.extensions_mut().insert(reason);
        response
    }
}

impl Rejection {
    fn log(&self) {
        if let Self::Response(response) = self
            && response.extensions().get::<Reason>().is_some()
        {
            return;
        }
        if matches!(self, Self::MissingEventStream | Self::InvalidTemplate(_)) {
            trace::event!(error, "{self}");
        }
        trace::event!(
            debug,
            status = self.status().as_u16(),
            reason = %self,
            "stream refused"
        );
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotAcceptable => {
                "`Accept` does not admit `text/event-stream`: the client must ask for it"
            }
            Self::InvalidGripSignature => {
                "no key verifies `Grip-Sig`: compare `verify_key` with the proxy's key, and the clocks"
            }
            Self::NotProxied => {
                "`require_grip_proxy` is set, and the request has no `Grip-Sig`: send it through the proxy"
            }
            Self::InvalidLastEventId => "`Last-Event-ID` is `error`: connect without it",
            Self::NoChannels => {
                "the request names no channel: check the route's parameters and what the handler returns"
            }
            Self::InvalidTemplate(error) => return write!(f, "{error}: {}", error.advice()),
            Self::TooManyChannels(limit) => {
                return write!(f, "{}", ChannelsError::TooMany { limit: *limit });
            }
            Self::Unavailable(unavailable) => return unavailable.fmt(f),
            _ => return f.write_str(self.body_text().trim_end()),
        })
    }
}

impl error::Error for Rejection {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::InvalidChannel(error) => Some(error),
            Self::InvalidTemplate(error) => Some(error),
            _ => None,
        }
    }
}

impl From<ChannelsError> for Rejection {
    fn from(error: ChannelsError) -> Self {
        match error {
            ChannelsError::None => Self::NoChannels,
            ChannelsError::Invalid(error) => Self::InvalidChannel(error),
            ChannelsError::TooMany { limit } => Self::TooManyChannels(limit),
        }
    }
}

impl From<InvalidTemplate> for Rejection {
    fn from(error: InvalidTemplate) -> Self {
        Self::InvalidTemplate(error)
    }
}

/// A plain 500, since the reason is for the log. An invalid channel name is a 400: it usually comes from the
/// request.
impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let kind: ErrorKind = self.kind();
        if kind == ErrorKind::InvalidChannel {
            return (StatusCode::BAD_REQUEST, format!("{self}\n")).into_response();
        }
        trace::event!(error, ?kind, error = %self, "answered with 500");
        let _ = kind;
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        (status, "Internal Server Error\n").into_response()
    }
}

/// A plain 500, as for an [`Error`]: the application made the event, and the reason is for the log.
impl IntoResponse for InvalidEvent {
    fn into_response(self) -> Response {
        Error::from(self).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::EventStream;

    #[test]
    fn a_rejection_has_more_detail_in_the_log_than_in_the_response() {
        let too_many = Rejection::TooManyChannels(9);
        assert_eq!(too_many.body_text(), "more than 9 channels\n");
        let table = [
            (Rejection::NotAcceptable, "must ask for it"),
            (Rejection::InvalidGripSignature, "compare `verify_key`"),
            (Rejection::NotProxied, "`require_grip_proxy` is set"),
            (Rejection::InvalidLastEventId, "connect without it"),
            (Rejection::NoChannels, "check the route's parameters"),
            (too_many, "`Limits::channels_per_subscription`"),
        ];
        for (rejection, part) in table {
            assert!(!rejection.body_text().contains(part));
            assert!(rejection.to_string().contains(part), "{rejection}");
        }
        let reason = || "reason".to_owned();
        for rejection in [
            Rejection::ProxyLimit(reason()),
            Rejection::InvalidPath(reason()),
        ] {
            assert_eq!(rejection.body_text(), "reason\n");
            assert_eq!(rejection.to_string(), "reason");
        }
    }

    #[tokio::test]
    async fn an_invalid_event_is_a_500_without_the_reason() {
        async fn publish() -> Result<(), InvalidEvent> {
            crate::Event::text("secret\n", "")?;
            Ok(())
        }
        let response = publish().await.into_response();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let body = axum::body::to_bytes(response.into_body(), 100).await;
        assert_eq!(body.unwrap(), "Internal Server Error\n");
    }

    #[test]
    fn a_rejection_outside_of_requests_names_the_limit() {
        let limits = crate::Limits::new()
            .subscriptions(1)
            .subscriptions_per_channel(1);
        let es = EventStream::builder().limits(limits).build().unwrap();
        let _first = es.subscribe(["a"]).unwrap();
        let refused = |es: &EventStream| es.subscribe(["a"]).unwrap_err().to_string();
        let error = refused(&es);
        assert!(error.ends_with("see `Limits::subscriptions`"), "{error}");
        es.close();
        let closed = "the stream is closed: `EventStream::close` was called";
        assert_eq!(refused(&es), closed);
    }
}
