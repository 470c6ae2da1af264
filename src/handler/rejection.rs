//! The refusals, and what each is as a response.

use crate::{Error, ErrorKind, InvalidChannel, channel::ChannelsError, hub::Refused, trace};
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header::RETRY_AFTER};
use std::{borrow::Cow, error, fmt};

/// Seconds after which a client may try again what is refused for now.
const LATER: HeaderValue = HeaderValue::from_static("5");

/// Why a request gets no stream.
///
/// As a response it has the [`status`](Self::status) and the [`body_text`](Self::body_text), and no
/// GRIP header, so that a proxy passes it on.
#[derive(Debug)]
#[non_exhaustive]
pub enum Rejection {
    /// `Accept` does not admit `text/event-stream`.
    NotAcceptable,
    /// `Grip-Sig` is there, and none of the keys verifies it.
    InvalidGripSignature,
    /// The request did not come through a proxy, and one is required.
    NotProxied,
    /// `Last-Event-ID` is `error`.
    InvalidLastEventId,
    /// No channel is left after those without a name.
    NoChannels,
    /// A channel's name breaks a rule.
    InvalidChannel(InvalidChannel),
    /// So many channels are allowed in one subscription.
    TooManyChannels(usize),
    /// The path cannot be decoded.
    InvalidPath(String),
    /// The stream is closed, or a limit is reached: the reason.
    Unavailable(String),
    /// There is neither an extension nor a registry entry for the extractor to find.
    MissingEventStream,
    /// What a function that names the channels, or a result, answers instead.
    Response(Box<Response>),
}

impl Rejection {
    pub(crate) fn response(response: Response) -> Self {
        Self::Response(Box::new(response))
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
            | Self::InvalidPath(_) => StatusCode::BAD_REQUEST,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::MissingEventStream => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Response(response) => response.status(),
        }
    }

    /// The response's body: one line.
    #[must_use]
    pub fn body_text(&self) -> Cow<'static, str> {
        match self {
            Self::NotAcceptable => "Not Acceptable.\n".into(),
            Self::InvalidGripSignature => "GRIP Signature Invalid.\n".into(),
            Self::NotProxied => "Not Implemented.\n".into(),
            Self::InvalidLastEventId => "last-event-id header may not be 'error'.\n".into(),
            Self::NoChannels => "No specified channels.\n".into(),
            Self::InvalidChannel(error) => format!("{error}\n").into(),
            Self::TooManyChannels(limit) => format!("more than {limit} channels\n").into(),
            Self::InvalidPath(reason) | Self::Unavailable(reason) => format!("{reason}\n").into(),
            Self::MissingEventStream => {
                "no EventStream found: add `.layer(Extension(event_stream))` \
                to the router, or call `registry::get_or_init(registry::DEFAULT_NAME, ..)`\n"
                    .into()
            }
            Self::Response(_) => "the handler's own response\n".into(),
        }
    }
}

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        trace::event!(
            debug,
            status = self.status().as_u16(),
            reason = self.body_text().trim_end(),
            "stream refused"
        );
        let mut response = match self {
            Self::Response(response) => return *response,
            _ => (self.status(), self.body_text()).into_response(),
        };
        if response.status() == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, LATER);
        }
        response
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.body_text().trim_end())
    }
}

impl error::Error for Rejection {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::InvalidChannel(error) => Some(error),
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

impl From<Refused> for Rejection {
    fn from(refused: Refused) -> Self {
        Self::Unavailable(refused.to_string())
    }
}

/// Channels and prefix are checked long before, so this says that the crate is wrong.
#[cfg(feature = "grip")]
impl From<crate::grip::InvalidInstruct> for Rejection {
    fn from(error: crate::grip::InvalidInstruct) -> Self {
        let error = Error::transparent(ErrorKind::InvalidChannel, error);
        Self::response(error.into_response())
    }
}

/// A plain 500: what went wrong is for the log.
impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let kind: ErrorKind = self.kind();
        trace::event!(error, ?kind, error = %self, "answered with 500");
        let _ = kind;
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        (status, "Internal Server Error\n").into_response()
    }
}
