//! A proxy's requests to applications: all are signed, and requests to next links are merged as Pushpin does.

use super::instructions::Instructions;
use crate::{
    grip::{GRIP_FEATURE, GRIP_LAST, GRIP_SIG, SigningKey},
    lock::lock,
};
use axum::{
    Router,
    body::{Body, to_bytes},
    response::Response,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri};
use std::{
    collections::HashMap,
    convert::Infallible,
    sync::Mutex,
    time::{SystemTime, UNIX_EPOCH},
};
use tokio::{sync::watch, task::yield_now};
use tower_service::Service;

/// The issuer in the signatures.
pub(super) const ISSUER: &str = "fake";

/// Number of times that other tasks run before a request is sent, since Pushpin collects requests for some
/// milliseconds too.
const YIELDS: usize = 32;

/// The key that Pushpin compares: the URI with its fragment and without its query, and the lines of
/// `Grip-Last`.
type Key = (String, Vec<String>);

/// Sends a proxy's requests.
pub(super) struct Requests {
    signing: SigningKey,
    /// The requests to links in flight, with their future responses.
    in_flight: Mutex<HashMap<Key, watch::Receiver<Option<LinkAnswer>>>>,
}

/// A request that the proxy makes itself, without the client's headers.
pub(super) struct LinkRequest {
    uri: String,
    grip_last: Vec<String>,
}

/// The response to all clients of a merged request.
#[derive(Clone, Debug)]
pub(super) struct LinkAnswer {
    pub(super) instructions: Instructions,
    pub(super) body: Bytes,
}

/// Removes a finished request, even if the application has panicked.
struct Done<'a> {
    requests: &'a Requests,
    key: Key,
}

impl LinkRequest {
    /// A request to `link`, which may be relative to `base`.
    pub(super) fn new(base: &Uri, link: &str, grip_last: Vec<String>) -> Self {
        let uri = match link.strip_prefix('?') {
            Some(query) => format!("{}?{query}", base.path()),
            None => link.to_owned(),
        };
        Self { uri, grip_last }
    }

    fn key(&self) -> Key {
        let (uri, fragment) = self.uri.split_once('#').unwrap_or((&self.uri, ""));
        let (path, _) = uri.split_once('?').unwrap_or((uri, ""));
        let mut last = self.grip_last.clone();
        last.sort_unstable();
        (format!("{path}#{fragment}"), last)
    }

    fn into_request(self) -> Request<Body> {
        let mut request = Request::get(self.uri)
            .body(Body::empty())
            .expect("the link is a path");
        for line in self.grip_last {
            let line = HeaderValue::from_maybe_shared(Bytes::from(line));
            let line = line.expect("a line of a header is a header value");
            request.headers_mut().append(GRIP_LAST, line);
        }
        request
    }
}

impl Requests {
    pub(super) fn new(signing: SigningKey) -> Self {
        Self {
            signing,
            in_flight: Mutex::default(),
        }
    }

    /// Sends a signed request.
    pub(super) async fn send(&self, app: &Router, mut request: Request<Body>) -> Response {
        self.sign(request.headers_mut());
        let answer: Result<Response, Infallible> = app.clone().call(request).await;
        answer.unwrap_or_else(|never| match never {})
    }

    /// Adds the headers by which an application recognizes a proxy's request.
    fn sign(&self, headers: &mut HeaderMap) {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let claims = format!(r#"{{"iss":"{ISSUER}","exp":{}}}"#, now.as_secs() + 3600);
        let token = self.signing.token(&claims).expect("a secret signs");
        let token = HeaderValue::try_from(token).expect("a token is ASCII");
        headers.insert(GRIP_SIG, token);
        headers.insert(
            GRIP_FEATURE,
            HeaderValue::from_static("status, session, link:next"),
        );
    }

    /// Sends a request to a link, or waits for the response to an equal one in flight. Returns `None` if the
    /// response is not 200.
    pub(super) async fn merged(&self, app: &Router, request: LinkRequest) -> Option<LinkAnswer> {
        let key = request.key();
        let (answer, answered) = watch::channel(None);
        let in_flight = self.join(&key, answered);
        if let Some(mut in_flight) = in_flight {
            let answer = in_flight.wait_for(Option::is_some).await.ok()?;
            return answer.clone();
        }
        let _done = Done {
            requests: self,
            key,
        };
        for _ in 0..YIELDS {
            yield_now().await;
        }
        let got = self.fetch(app, request.into_request()).await?;
        answer.send_replace(Some(got.clone()));
        Some(got)
    }

    async fn fetch(&self, app: &Router, request: Request<Body>) -> Option<LinkAnswer> {
        let (mut head, body) = self.send(app, request).await.into_parts();
        let instructions = Instructions::take(&mut head.headers);
        let body = to_bytes(body, usize::MAX).await.ok()?;
        (head.status == StatusCode::OK).then_some(LinkAnswer { instructions, body })
    }

    /// Returns the response of the request in flight with this key, or registers `answered` for it.
    fn join(
        &self,
        key: &Key,
        answered: watch::Receiver<Option<LinkAnswer>>,
    ) -> Option<watch::Receiver<Option<LinkAnswer>>> {
        let mut in_flight = lock(&self.in_flight);
        let found = in_flight.get(key).cloned();
        if found.is_none() {
            in_flight.insert(key.clone(), answered);
        }
        found
    }
}

impl Drop for Done<'_> {
    fn drop(&mut self) {
        lock(&self.requests.in_flight).remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_and_the_order_of_channels_do_not_distinguish_requests() {
        let base = "/a?x=1".parse().unwrap();
        let key = |link: &str, last: &[&str]| {
            let last = last.iter().map(|line| (*line).to_owned()).collect();
            LinkRequest::new(&base, link, last).key()
        };
        let last = ["x; last-id=1", "y; last-id=1"];
        let first = key("/a?grip-next=1", &last);
        assert_eq!(key("?grip-next=2", &[last[1], last[0]]), first);
        assert_ne!(key("/a?grip-next=1#b", &last), first);
        assert_ne!(key("/a/b?grip-next=1", &last), first);
        assert_ne!(key("/a?grip-next=1", &[last[0], "y; last-id=2"]), first);
        assert_eq!(key("?a#b", &[]), key("/a?c#b", &[]));
    }
}
