//! A proxy: its address, its credentials, a request to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use axum::body::Body;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, Uri};
use url::Url;

use super::client::{self, Client};
use super::error::{Failure, FailureKind};
use super::queue::{Limits, Queue};
use crate::grip::{Authorization, GripConfig, Verifier, invalid, parse_url, public_uri};
use crate::{Error, trace};

/// Number of bytes of a response that are read.
const MAX_ANSWER: usize = 1024;

pub(super) struct Endpoint {
    /// The control URI without the parts that may be secret.
    pub(super) name: Arc<str>,
    pub(super) queue: Queue,
    pub(super) verifier: Option<Verifier>,
    /// Whether the last request succeeded; true before the first.
    pub(super) healthy: AtomicBool,
    uri: Uri,
    recover_uri: Uri,
    authorization: Authorization,
    client: Client,
}

impl Endpoint {
    pub(super) fn new(config: &GripConfig, limits: Limits) -> Result<Self, Error> {
        let error = |problem: &str| invalid(&config.control_uri, problem);
        let mut url = parse_url(&config.control_uri).map_err(error)?;
        check_url(&url).map_err(error)?;
        let name: Arc<str> = public_uri(&url).into();
        let slash = if url.path().ends_with('/') { "" } else { "/" };
        let base = format!("{}{slash}", url.path());
        let mut below = |path: &str| {
            url.set_path(&format!("{base}{path}"));
            Uri::try_from(url.as_str()).map_err(|_| error("is not a URI"))
        };
        let (uri, recover_uri) = (below("publish/")?, below("recover")?);
        let client = Client::new(&uri).map_err(|problem| error(&problem))?;
        let verifier = Verifier::of(config).map_err(|problem| error(&problem))?;
        let authorization = Authorization::new(config).map_err(|problem| error(&problem))?;
        let queue = Queue::new(limits, &name);
        Ok(Self {
            name,
            queue,
            verifier,
            healthy: AtomicBool::new(true),
            uri,
            recover_uri,
            authorization,
            client,
        })
    }

    /// Records the outcome of a request. A failure that concerns an item does not change the health of the
    /// proxy.
    pub(super) fn was_answered<T>(&self, answer: &Result<T, Failure>) {
        match answer {
            Ok(_) => self.healthy.store(true, Relaxed),
            Err(failure) if failure.is_about_content() => {}
            Err(_) => self.healthy.store(false, Relaxed),
        }
    }

    /// Counts and logs an item that was not queued.
    pub(super) fn refused(&self, kind: FailureKind) {
        self.queue.observer().refused(kind.name());
        trace::event!(warn, endpoint = &*self.name, ?kind, "publishing failed");
    }

    /// Posts one body of items. Returns `Ok` once the proxy has taken it.
    pub(super) async fn post(&self, body: Vec<u8>) -> Result<Response<Body>, Failure> {
        self.send(&self.uri, body).await
    }

    /// Lets the proxy follow the link of every stream it holds. Fastly Fanout has no such request: there, a gap is
    /// noticed with the next event or poll.
    pub(super) async fn recover(&self) {
        match self.send(&self.recover_uri, Vec::new()).await {
            Ok(response) => finish(response).await,
            Err(_failure) => {
                trace::event!(debug, endpoint = &*self.name, failure = ?_failure, "the proxy does not recover its streams now");
            }
        }
    }

    async fn send(&self, uri: &Uri, body: Vec<u8>) -> Result<Response<Body>, Failure> {
        let text = "the authorization cannot be signed";
        let unsigned = |_| Failure::new(FailureKind::Authorization, text);
        let authorization = self.authorization.header(SystemTime::now());
        let authorization = authorization.map_err(unsigned)?;
        let length = body.len();
        let mut request = Request::new(body);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri.clone();
        let headers = request.headers_mut();
        // hyper leaves it out if the body is empty, and Pushpin refuses such a request with 411.
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(value) = &authorization {
            headers.insert(AUTHORIZATION, value.clone());
        }
        let response = self.client.send(request).await?;
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status();
        let mut answer = read(response).await;
        if let Some(secret) = authorization.as_ref().and_then(|value| value.to_str().ok()) {
            answer = hide(&answer, secret);
        }
        let message = status_message(status, &answer);
        Err(Failure::new(FailureKind::Status(status), message))
    }
}

fn check_url(url: &Url) -> Result<(), &'static str> {
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not contain user and password; they are `user` and `pass`");
    }
    Ok(())
}

/// Reads a response up to a limit of time and size, so that the connection can be reused.
pub(super) async fn finish(response: Response<Body>) {
    let _ = tokio::time::timeout(Duration::from_secs(1), read(response)).await;
}

async fn read(response: Response<Body>) -> String {
    let answer = client::read(response.into_body(), MAX_ANSWER).await;
    String::from_utf8_lossy(&answer).into_owned()
}

fn hide(answer: &str, authorization: &str) -> String {
    let pair = authorization.split_once(' ');
    let secret = pair.map_or(authorization, |(_, secret)| secret);
    answer.replace(secret, "[redacted]")
}

fn status_message(status: http::StatusCode, answer: &str) -> String {
    let mut message = format!("answered {status}");
    let answer = answer.trim();
    if !answer.is_empty() {
        message.push_str(": ");
    }
    for c in answer.chars() {
        if c.is_control() {
            message.extend(c.escape_default());
        } else {
            message.push(c);
        }
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grip::PublisherBuilder;
    use http::StatusCode;

    fn endpoint(config: &GripConfig) -> Result<Endpoint, Error> {
        Endpoint::new(config, PublisherBuilder::default().limits)
    }

    #[test]
    fn the_publish_url_keeps_path_and_query() {
        let table = [
            ("http://h:5561", "http://h:5561/publish/", "http://h:5561/"),
            ("http://h/base", "http://h/base/publish/", "http://h/base"),
            ("http://h/base/", "http://h/base/publish/", "http://h/base/"),
            (
                "http://h/a%20b?token=x#f",
                "http://h/a%20b/publish/?token=x",
                "http://h/a%20b",
            ),
        ];
        for (uri, url, name) in table {
            let endpoint = endpoint(&GripConfig::new(uri)).unwrap();
            assert_eq!((&*endpoint.uri.to_string(), &*endpoint.name), (url, name));
        }
    }

    #[test]
    fn an_error_names_the_endpoint_and_the_setting() {
        let url = |text: &str| text.parse().unwrap();
        let table = [
            (
                GripConfig::new("nonsense"),
                "(not shown, it may hold a key): is not a URL such as `http://localhost:5561`",
            ),
            (
                GripConfig::new("http://u:hush@h/"),
                "`http://h/`: must not contain user and password; they are `user` and `pass`",
            ),
            (
                url("http://h?iss=hush-not"),
                "`http://h/`: `control_iss` needs a `key` to sign with",
            ),
            (url("http://u@h"), "`http://h/`: `user` needs a `pass`"),
            (
                url("http://h?key=a%0Ahush"),
                "`http://h/`: `key` without `control_iss` is sent as a bearer token, and must be text that fits a header",
            ),
            (
                url("http://h?verify-key=base64:hush!"),
                "`http://h/`: `verify_key` is not valid base64 after `base64:`",
            ),
        ];
        for (config, expected) in table {
            let error = endpoint(&config).err().unwrap();
            assert_eq!(error.to_string(), format!("GRIP control URI {expected}"));
        }
    }

    #[test]
    fn https_needs_a_feature() {
        let https = endpoint(&GripConfig::fastly_fanout("id", "token"));
        if cfg!(any(feature = "rustls", feature = "native-tls")) {
            let uri = https.unwrap().uri.to_string();
            assert_eq!(uri, "https://api.fastly.com/service/id/publish/");
        } else {
            let expected = "GRIP control URI `https://api.fastly.com/service/id`: \
                            https needs the feature `rustls` or `native-tls` of axum-eventstream";
            assert_eq!(https.err().unwrap().to_string(), expected);
        }
    }

    #[test]
    fn shown_responses_have_no_line_breaks_and_no_credentials() {
        let answer = hide("got Bearer hush\r\n\u{1b}[1m", "Bearer hush");
        let shown = status_message(StatusCode::BAD_REQUEST, &answer);
        let expected = r"answered 400 Bad Request: got Bearer [redacted]\r\n\u{1b}[1m";
        assert_eq!(shown, expected);
        let shown = status_message(StatusCode::FOUND, " \n");
        assert_eq!(shown, "answered 302 Found");
    }
}
