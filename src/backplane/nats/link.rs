//! One connection to a server, and requests on it.
//!
//! 1. A link ends with its connection. The client reconnects automatically, perhaps to a server with another history,
//!    but it pauses first for longer than a link lives.
//! 2. A server reports a missing right beside the answers. The request that it names fails at once.

use super::url::{Login, Url};
use crate::backplane::{Failure, FailureKind};
use async_nats::{
    Client, ConnectError, ConnectErrorKind, ConnectOptions, Event, HeaderMap, Message, Request,
    RequestErrorKind, ServerError, Subscriber,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{sync::watch, task::JoinSet};

/// How long a server may take to accept a connection. The driver waits 5 seconds for all servers of a URL.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// How long requests may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// A connection on which the server has not answered two pings is closed at the time of the third one.
const PING: Duration = Duration::from_secs(3);

/// The client's pause before it connects again: longer than a link lives on without a connection.
const PAUSE: Duration = Duration::from_secs(10);

pub(super) struct Link {
    client: Client,
    news: watch::Receiver<News>,
    /// The servers' addresses, for messages.
    pub(super) name: String,
}

/// What the server says beside its answers.
#[derive(Clone, Debug, Default)]
struct News {
    is_broken: bool,
    /// The last missing right.
    violation: Option<String>,
}

/// The answer of JetStream to a request that it refuses.
#[derive(Debug, Deserialize)]
pub(super) struct ApiError {
    #[serde(default)]
    code: u16,
    #[serde(default)]
    pub(super) err_code: u16,
    #[serde(default)]
    description: String,
}

#[derive(Deserialize)]
struct MaybeError {
    error: Option<ApiError>,
}

impl Link {
    pub(super) async fn connect(
        url: &Url,
        credentials: Option<&str>,
        inbox: String,
    ) -> Result<Self, Failure> {
        let name = url.to_string();
        let (sender, news) = watch::channel(News::default());
        let options = options(url, credentials, sender).map_err(Failure::refused)?;
        let options = options.custom_inbox_prefix(inbox);
        let addresses = url.addresses();
        // The client panics if it needs TLS and finds no crypto provider.
        let mut connecting = JoinSet::new();
        connecting.spawn(options.connect(addresses));
        let client = match connecting.join_next().await {
            Some(Ok(connected)) => connected.map_err(|error| unreachable(&name, &error))?,
            _ => {
                let text = "demands TLS, which needs the feature \"rustls\"";
                return Err(Failure::refused(format!("{name} {text}")));
            }
        };
        Ok(Self { client, news, name })
    }

    /// Whether the server's version keeps logs over a restart.
    pub(super) fn keeps_logs(&self) -> bool {
        keeps_logs(|major, minor, patch| self.client.is_server_compatible(major, minor, patch))
    }

    /// The largest message with its headers.
    pub(super) fn max_payload(&self) -> usize {
        self.client.max_payload()
    }

    /// Returns the answer, or `None` if nobody receives requests on the subject.
    pub(super) async fn request(
        &self,
        subject: String,
        headers: Option<HeaderMap>,
        payload: Bytes,
    ) -> Result<Option<Message>, Failure> {
        let mut request = Request::new().payload(payload);
        if let Some(headers) = headers {
            request = request.headers(headers);
        }
        let answer = tokio::select! {
            answer = self.client.send_request(subject.clone(), request) => answer,
            failure = self.ended(&subject) => return Err(failure),
        };
        self.check()?;
        match answer {
            Ok(message) => Ok(Some(message)),
            Err(error) => match error.kind() {
                RequestErrorKind::NoResponders => Ok(None),
                RequestErrorKind::MaxPayloadExceeded => {
                    Err(Failure::refused(format!("{}: {error}", self.name)))
                }
                _ => Err(self.lost(error)),
            },
        }
    }

    /// Sends a request to JetStream, with a body or without one.
    pub(super) async fn ask<T: DeserializeOwned>(
        &self,
        request: String,
        body: Option<&impl Serialize>,
    ) -> Result<Result<T, ApiError>, Failure> {
        let body = body.map_or(Ok(Bytes::new()), json)?;
        let answer = self
            .request(format!("$JS.API.{request}"), None, body)
            .await?;
        let answer = answer.ok_or_else(|| {
            let text = "has no JetStream that answers: it may be switched off, or without a leader";
            self.unavailable(text)
        })?;
        self.parse(&answer.payload)
    }

    /// Parses an answer, which may be an error.
    pub(super) fn parse<T: DeserializeOwned>(
        &self,
        answer: &[u8],
    ) -> Result<Result<T, ApiError>, Failure> {
        let unexpected = |error| self.lost(format_args!("an unexpected answer: {error}"));
        let MaybeError { error } = serde_json::from_slice(answer).map_err(unexpected)?;
        match error {
            Some(error) => Ok(Err(error)),
            None => serde_json::from_slice(answer).map(Ok).map_err(unexpected),
        }
    }

    pub(super) async fn subscribe(&self) -> Result<(String, Subscriber), Failure> {
        let inbox = self.client.new_inbox();
        let subscriber = self.client.subscribe(inbox.clone()).await;
        Ok((inbox, subscriber.map_err(|error| self.lost(error))?))
    }

    /// Sends a message whose answers arrive at the inbox.
    pub(super) async fn send(
        &self,
        subject: String,
        inbox: String,
        body: &impl Serialize,
    ) -> Result<(), Failure> {
        let sent = self
            .client
            .publish_with_reply(subject, inbox, json(body)?)
            .await;
        sent.map_err(|error| self.lost(error))?;
        self.check()
    }

    /// Resolves when the connection is broken, or when the right to this request is missing.
    pub(super) async fn ended(&self, subject: &str) -> Failure {
        let concerns = |news: &News| news.is_broken || news.forbids(subject);
        let mut news = self.news.clone();
        let violation = match news.wait_for(concerns).await {
            Ok(news) if !news.is_broken => news.violation.clone(),
            _ => None,
        };
        match violation {
            Some(violation) => Failure::refused(format!(
                "{} answered {violation:?}: the user lacks one of the rights that the documentation of `Nats` lists",
                self.name
            )),
            None => self.lost("the connection broke"),
        }
    }

    /// Fails if the connection is not the first one of this link.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let is_first = self.client.statistics().connects.load(Relaxed) == 1;
        let is_whole = is_first && !self.news.borrow().is_broken;
        is_whole
            .then_some(())
            .ok_or_else(|| self.lost("the connection broke"))
    }

    /// The failure of a request that JetStream has refused.
    pub(super) fn answered(&self, error: &ApiError) -> Failure {
        Failure::new(kind(error.code, error.err_code), self.answer(error))
    }

    /// The failure of a publish whose acknowledgement is an error.
    pub(super) fn unacknowledged(&self, error: &ApiError) -> Failure {
        let kind = kind_of_publish(error.code, error.err_code);
        Failure::new(kind, self.answer(error))
    }

    fn answer(&self, error: &ApiError) -> String {
        let ApiError {
            err_code,
            description,
            ..
        } = error;
        format!("{} answered {description:?} ({err_code})", self.name)
    }

    pub(super) fn unavailable(&self, text: &str) -> Failure {
        Failure::unavailable(format!("{} {text}", self.name))
    }

    pub(super) fn lost(&self, error: impl std::fmt::Display) -> Failure {
        let message = format!("{} did not answer: {error}", self.name);
        Failure::new(FailureKind::Lost, message)
    }
}

impl News {
    fn forbids(&self, subject: &str) -> bool {
        let concerns = |text: &String| text.contains(subject) || text.contains("Subscription");
        self.violation.as_ref().is_some_and(concerns)
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Disconnected | Event::Closed => self.is_broken = true,
            Event::ServerError(ServerError::Other(text))
                if text.contains("Permissions Violation") =>
            {
                self.violation = Some(text);
            }
            _ => {}
        }
    }
}

fn options(
    url: &Url,
    credentials: Option<&str>,
    news: watch::Sender<News>,
) -> Result<ConnectOptions, String> {
    let options = match &url.login {
        Login::Nobody => ConnectOptions::new(),
        Login::User { name, password } => {
            ConnectOptions::with_user_and_password(name.clone(), password.clone())
        }
        Login::Token(token) => ConnectOptions::with_token(token.clone()),
    };
    let options = match credentials {
        Some(text) => {
            let invalid = |_| "the credentials are not those of a NATS user".to_owned();
            options.credentials(text).map_err(invalid)?
        }
        None => options,
    };
    let was_connected = Arc::new(AtomicBool::new(false));
    let is_connected = was_connected.clone();
    Ok(options
        .name("axum-eventstream")
        .connection_timeout(CONNECT_LIMIT)
        .ping_interval(PING)
        .request_timeout(Some(ANSWER_LIMIT))
        .ignore_discovered_servers()
        .max_reconnects(url.servers.len())
        .reconnect_delay_callback(move |_| match was_connected.load(Relaxed) {
            true => PAUSE,
            false => Duration::ZERO,
        })
        .event_callback(move |event| {
            if matches!(event, Event::Connected) {
                is_connected.store(true, Relaxed);
            }
            news.send_modify(|news| news.take(event));
            async {}
        }))
}

/// Whether a version, which is at least the versions for which `is` holds, keeps a stream with a first sequence. Earlier
/// ones delete all its messages when they restart, until the first message has left it.
fn keeps_logs(is: impl Fn(i64, i64, i64) -> bool) -> bool {
    is(2, 11, 2) || is(2, 10, 28) && !is(2, 11, 0)
}

/// What an error of JetStream means. Codes from 500 on concern the state of the server.
fn kind(code: u16, err_code: u16) -> FailureKind {
    match (code, err_code) {
        // No room in memory or storage, no JetStream for the account, and replicas without a cluster.
        (_, 10023 | 10028 | 10039 | 10047 | 10074 | 10077) => FailureKind::Refused,
        // The same message is on its way already.
        (429, _) | (_, 10158) => FailureKind::Busy,
        (500.., _) => FailureKind::Unavailable,
        _ => FailureKind::Refused,
    }
}

/// What an error in place of an acknowledgement means. In a cluster, codes from 500 on concern the leader alone: it has
/// no room, or its disk fails, while the other servers store the message.
fn kind_of_publish(code: u16, err_code: u16) -> FailureKind {
    match (code, err_code) {
        (429, _) | (_, 10158) => FailureKind::Busy,
        (500.., _) => FailureKind::Lost,
        _ => FailureKind::Refused,
    }
}

fn unreachable(name: &str, error: &ConnectError) -> Failure {
    match error.kind() {
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => {
            Failure::refused(format!(
                "{name} refuses the user, the password or the token"
            ))
        }
        _ => Failure::unavailable(format!("cannot connect to {name}: {error}")),
    }
}

fn json(body: &impl Serialize) -> Result<Bytes, Failure> {
    let body = serde_json::to_vec(body).map_err(|error| Failure::refused(error.to_string()))?;
    Ok(body.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_deletes_logs_is_too_old() {
        for (version, expected) in [
            ((2, 9, 25), false),
            ((2, 10, 27), false),
            ((2, 10, 28), true),
            ((2, 11, 0), false),
            ((2, 11, 1), false),
            ((2, 11, 2), true),
            ((2, 12, 0), true),
            ((3, 0, 0), true),
        ] {
            let is = |major, minor, patch| version >= (major, minor, patch);
            assert_eq!(keeps_logs(is), expected, "{version:?}");
        }
    }

    #[test]
    fn an_error_of_the_servers_state_asks_for_another_connection() {
        for (code, err_code, expected) in [
            (503, 10008, FailureKind::Unavailable),
            (503, 10009, FailureKind::Unavailable),
            (500, 10074, FailureKind::Refused),
            (429, 10167, FailureKind::Busy),
            (409, 10158, FailureKind::Busy),
            (503, 10023, FailureKind::Refused),
            (503, 10077, FailureKind::Refused),
            (400, 10065, FailureKind::Refused),
        ] {
            assert_eq!(kind(code, err_code), expected, "{err_code}");
        }
    }
}
