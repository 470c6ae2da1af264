//! A client of a `Router`.

#[cfg(feature = "grip")]
use super::FakeGripProxy;
use super::TestStream;
use axum::{
    Router,
    body::{Body, to_bytes},
    response::Response,
};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header::CONTENT_TYPE};
use http_body::Body as _;
use std::{convert::Infallible, fmt, time::Duration};
use tower_service::Service;

/// Size limit of the body of a refusal or another response.
const MAX_BODY: usize = 1 << 20;

/// A client of a `Router`, without a socket: see the [module](super).
#[derive(Clone)]
#[must_use]
pub struct TestClient {
    app: Router,
    headers: HeaderMap,
    limit: Duration,
    #[cfg(feature = "grip")]
    proxy: Option<FakeGripProxy>,
}

impl TestClient {
    /// Creates a client that waits at most 10 seconds for a response or an event.
    pub fn new(app: Router) -> Self {
        Self {
            app,
            headers: HeaderMap::new(),
            limit: Duration::from_secs(10),
            #[cfg(feature = "grip")]
            proxy: None,
        }
    }

    /// Sends all requests through a proxy.
    #[cfg(feature = "grip")]
    pub fn through(mut self, proxy: &FakeGripProxy) -> Self {
        self.proxy = Some(proxy.clone());
        self
    }

    /// Sets how long the client waits. With paused time, keep this below the interval of keep-alives.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Adds a header to all requests. It replaces another header of that name.
    ///
    /// # Panics
    ///
    /// The name or the value is invalid in a header.
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("the name of a header");
        let value = HeaderValue::from_bytes(value.as_ref()).expect("the value of a header");
        self.headers.insert(name, value);
        self
    }

    /// Opens a stream, and reads its opening.
    ///
    /// # Panics
    ///
    /// The response is not a stream.
    pub async fn get(&self, path: &str) -> TestStream {
        let response = self.send(request("GET", path, Body::empty())).await;
        let status = response.status();
        let content_type = response.headers().get(CONTENT_TYPE);
        if status == StatusCode::OK
            && content_type.is_some_and(|value| value == "text/event-stream")
        {
            return TestStream::open(self.clone(), path, response).await;
        }
        panic!(
            "GET {path} got no stream but {status}: {:?}",
            text(response).await
        );
    }

    /// Requests a stream that is refused. Returns the status and the body.
    ///
    /// A stream that ends at once with a `retry`, as at a limit, is a refusal with status 200.
    ///
    /// # Panics
    ///
    /// The stream is not refused.
    pub async fn refused(&self, path: &str) -> (StatusCode, String) {
        let response = self.send(request("GET", path, Body::empty())).await;
        let status = response.status();
        // An open stream has no length: reading its body to the end would not return.
        let is_open = response.body().size_hint().exact().is_none();
        assert!(
            !(status.is_success() && is_open),
            "GET {path} was not refused: {status}"
        );
        let body = text(response).await;
        let is_refusal = !status.is_success() || body.starts_with("retry: ");
        assert!(is_refusal, "GET {path} was not refused: {status}");
        (status, body)
    }

    /// Posts a body.
    ///
    /// # Panics
    ///
    /// The response is neither 2xx nor 3xx.
    pub async fn post(&self, path: &str, body: impl Into<Body>) -> Response {
        let response = self.send(request("POST", path, body.into())).await;
        let status = response.status();
        if status.is_client_error() || status.is_server_error() {
            panic!("POST {path} got {status}: {:?}", text(response).await);
        }
        response
    }

    /// Sends any request. Its own headers take precedence.
    pub async fn send(&self, mut request: Request<Body>) -> Response {
        for (name, value) in &self.headers {
            request.headers_mut().entry(name).or_insert(value.clone());
        }
        let what = format!("{} {}", request.method(), request.uri());
        let answer = self.call(request);
        let answer = tokio::time::timeout(self.limit, answer).await;
        let Ok(answer) = answer else {
            panic!("{what} got no response within {:?}", self.limit);
        };
        answer
    }

    async fn call(&self, request: Request<Body>) -> Response {
        #[cfg(feature = "grip")]
        if let Some(proxy) = &self.proxy {
            return proxy.forward(&self.app, request).await;
        }
        let answer: Result<Response, Infallible> = self.app.clone().call(request).await;
        answer.unwrap_or_else(|never| match never {})
    }

    pub(super) fn waits(&self) -> Duration {
        self.limit
    }
}

impl fmt::Debug for TestClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<_> = self.headers.keys().collect();
        f.debug_struct("TestClient")
            .field("headers", &headers)
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

fn request(method: &str, path: &str, body: Body) -> Request<Body> {
    let request = Request::builder().method(method).uri(path).body(body);
    request.unwrap_or_else(|error| panic!("{method} {path}: {error}"))
}

async fn text(response: Response) -> String {
    let bytes = to_bytes(response.into_body(), MAX_BODY).await;
    String::from_utf8_lossy(&bytes.expect("a body of 1 MiB at the most")).into_owned()
}
