//! The HTTP client of one proxy.
//!
//! hyper's client sends to `http`, reqwest's to `https`. If any crate of the program enables a TLS backend of
//! reqwest, every client of reqwest builds it. Without a crypto provider or CA files, that panics or fails.

use std::error::Error;
use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;

use axum::body::Body;
use http::uri::Scheme;
use http::{HeaderValue, Request, Response, Uri, header};
use http_body::Body as _;
use hyper_util::client::legacy::{self, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::error::{Failure, FailureKind};

/// Servers may close idle connections after 5 s. A request that meets a closing connection fails like one that
/// the server has read, and then only items with ids can be sent again.
const POOL_IDLE: Duration = Duration::from_secs(4);

const USER_AGENT: &str = concat!("axum-eventstream/", env!("CARGO_PKG_VERSION"));

/// Follows no redirects, and uses no HTTP proxy of the environment.
pub(super) enum Client {
    Plain(Box<legacy::Client<HttpConnector, Body>>),
    #[cfg(any(feature = "rustls", feature = "native-tls"))]
    Tls(reqwest::Client),
}

impl Client {
    /// A client for a control URI. Only one for `https` can fail to build.
    pub(super) fn new(uri: &Uri) -> Result<Self, String> {
        if uri.scheme() == Some(&Scheme::HTTP) {
            return Ok(Self::plain());
        }
        Self::tls()
    }

    fn plain() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE)
            .build(connector);
        Self::Plain(Box::new(client))
    }

    #[cfg(any(feature = "rustls", feature = "native-tls"))]
    fn tls() -> Result<Self, String> {
        let builder = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .pool_idle_timeout(POOL_IDLE);
        // Chosen explicitly: reqwest's default depends on the features that other crates enable.
        #[cfg(feature = "rustls")]
        let builder = builder.tls_backend_rustls();
        #[cfg(not(feature = "rustls"))]
        let builder = builder.tls_backend_native();
        let client = builder.build();
        let client = client.map_err(|error| format!("the HTTP client: {}", causes(&error)))?;
        Ok(Self::Tls(client))
    }

    #[cfg(not(any(feature = "rustls", feature = "native-tls")))]
    fn tls() -> Result<Self, String> {
        Err("https needs the feature `rustls` or `native-tls` of axum-eventstream".to_owned())
    }

    /// Sends a request. Returns once the head of the response is read.
    pub(super) async fn send(
        &self,
        mut request: Request<Vec<u8>>,
    ) -> Result<Response<Body>, Failure> {
        let headers = request.headers_mut();
        headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
        headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        match self {
            Self::Plain(client) => {
                let response = client.request(request.map(Body::from)).await;
                let response = response.map_err(|error| plain_failure(&error))?;
                Ok(response.map(Body::new))
            }
            #[cfg(any(feature = "rustls", feature = "native-tls"))]
            Self::Tls(client) => {
                let sent = async { client.execute(request.try_into()?).await };
                let response = sent.await.map_err(|error| tls_failure(&error))?;
                Ok(Response::<reqwest::Body>::from(response).map(Body::new))
            }
        }
    }
}

/// Reads up to `limit` bytes of a body. A shorter body is read to its end, so that its connection can be
/// reused.
pub(super) async fn read(mut body: Body, limit: usize) -> Vec<u8> {
    let mut read = Vec::new();
    while read.len() <= limit {
        match poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            Some(Ok(frame)) => read.extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
            Some(Err(_)) | None => break,
        }
    }
    read.truncate(limit);
    read
}

fn plain_failure(error: &legacy::Error) -> Failure {
    // hyper's error texts name no URL.
    failure(error.is_connect(), texts(Some(error)))
}

#[cfg(any(feature = "rustls", feature = "native-tls"))]
fn tls_failure(error: &reqwest::Error) -> Failure {
    failure(error.is_connect(), causes(error))
}

fn failure(is_connect: bool, message: String) -> Failure {
    let kind = match is_connect {
        true => FailureKind::Connect,
        false => FailureKind::Transport,
    };
    Failure::new(kind, message)
}

/// The chain of causes, without reqwest's own text, which has the whole URL.
#[cfg(any(feature = "rustls", feature = "native-tls"))]
fn causes(error: &reqwest::Error) -> String {
    texts(error.source())
}

fn texts(first: Option<&(dyn Error + 'static)>) -> String {
    let causes = std::iter::successors(first, |&error| error.source());
    let texts: Vec<_> = causes.map(ToString::to_string).collect();
    match texts.is_empty() {
        true => "the request failed".to_owned(),
        false => texts.join(": "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// A client of each kind for `http`: the rules that they share do not depend on TLS.
    fn clients() -> Vec<Client> {
        vec![
            Client::plain(),
            #[cfg(any(feature = "rustls", feature = "native-tls"))]
            Client::tls().unwrap(),
        ]
    }

    async fn bind() -> (TcpListener, Uri) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}/?hush", listener.local_addr().unwrap());
        (listener, uri.parse().unwrap())
    }

    fn request(uri: &Uri) -> Request<Vec<u8>> {
        let mut request = Request::new(b"body".to_vec());
        *request.uri_mut() = uri.clone();
        request
    }

    /// Answers one request, and returns it.
    async fn answered(listener: TcpListener, answer: &[u8]) -> String {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut read = Vec::new();
        while !read.ends_with(b"\r\n\r\nbody") {
            assert_ne!(stream.read_buf(&mut read).await.unwrap(), 0);
        }
        stream.write_all(answer).await.unwrap();
        String::from_utf8(read).unwrap()
    }

    #[tokio::test]
    async fn a_redirect_is_not_followed_and_the_user_agent_names_the_crate() {
        let answer = b"HTTP/1.1 302 Found\r\nlocation: /other\r\ncontent-length: 4\r\n\r\nthen";
        for client in clients() {
            let (listener, uri) = bind().await;
            let server = tokio::spawn(answered(listener, answer));
            let response = client.send(request(&uri)).await.unwrap();
            assert_eq!(response.status(), StatusCode::FOUND);
            assert_eq!(read(response.into_body(), 3).await, b"the");
            let head = server.await.unwrap();
            for line in ["content-length: 4", "accept: */*"] {
                assert!(head.contains(&format!("\r\n{line}\r\n")), "{head}");
            }
            let user_agent = format!("\r\nuser-agent: {USER_AGENT}\r\n");
            assert!(head.contains(&user_agent), "{head}");
        }
    }

    #[tokio::test]
    async fn a_failure_before_sending_has_its_own_kind_and_names_no_url() {
        for client in clients() {
            let (listener, uri) = bind().await;
            let server = tokio::spawn(answered(listener, b""));
            let broken = client.send(request(&uri)).await.unwrap_err();
            server.await.unwrap();
            let refused = client.send(request(&uri)).await.unwrap_err();
            let kinds = [broken.kind, refused.kind];
            assert_eq!(kinds, [FailureKind::Transport, FailureKind::Connect]);
            for Failure { message, .. } in [broken, refused] {
                assert!(message.starts_with("client error ("), "{message}");
                assert!(!message.contains("hush"), "{message}");
            }
        }
    }
}
