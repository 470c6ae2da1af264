//! A control endpoint that records requests and misbehaves on demand.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use futures_util::future::join_all;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

/// What the server does with a request.
#[derive(Clone)]
pub(crate) enum Answer {
    /// Answers at once.
    Status(u16, &'static str),
    /// Answers with this header.
    Header(u16, &'static str, String),
    /// Answers 200 with a body that comes after the head.
    Trickle,
    /// Answers 200 after [`ControlServer::release`], one request each.
    Held,
    /// Closes the connection without an answer.
    Close,
    /// Answers 200, or this status if a channel has this name.
    Refuse(u16, &'static str),
    /// Answers with this status and the request's own headers as text.
    Echo(u16),
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    pub(crate) peer: SocketAddr,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Recorded {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn items(&self) -> Vec<Value> {
        let body: Value = serde_json::from_slice(&self.body).unwrap();
        body["items"].as_array().unwrap().clone()
    }

    fn names(&self, channel: &str) -> bool {
        self.items().iter().any(|item| item["channel"] == channel)
    }

    /// The `content` of each item.
    pub(crate) fn contents(&self) -> Vec<String> {
        let content = |mut item: Value| item["formats"]["http-stream"]["content"].take();
        let contents = self.items().into_iter().map(content);
        contents
            .map(|text| text.as_str().unwrap().to_owned())
            .collect()
    }
}

pub(crate) struct ControlServer {
    addr: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    answers: Mutex<(VecDeque<Answer>, Answer)>,
    requests: watch::Sender<Vec<Recorded>>,
    gate: Semaphore,
}

impl ControlServer {
    /// A server on a free port that answers like Pushpin.
    pub(crate) async fn start() -> Self {
        Self::start_on("127.0.0.1:0".parse().unwrap()).await
    }

    pub(crate) async fn start_all<const N: usize>() -> [Self; N] {
        let servers = join_all((0..N).map(|_| Self::start())).await;
        servers.try_into().ok().expect("so many")
    }

    pub(crate) async fn start_on(addr: SocketAddr) -> Self {
        let listener = TcpListener::bind(addr).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            answers: Mutex::new((VecDeque::new(), Answer::Status(200, "Published\n"))),
            requests: watch::Sender::new(Vec::new()),
            gate: Semaphore::new(0),
        });
        let app = Router::new()
            .fallback(serve)
            .with_state(Arc::clone(&shared))
            .into_make_service_with_connect_info::<SocketAddr>();
        let task = tokio::spawn(async { axum::serve(listener, app).await.unwrap() });
        Self { addr, shared, task }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The control URI.
    pub(crate) fn uri(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// What all further requests get.
    pub(crate) fn answer(&self, answer: Answer) {
        self.shared.answers.lock().unwrap().1 = answer;
    }

    /// What one of the next requests gets, in the order of calls.
    pub(crate) fn answer_once(&self, answer: Answer) {
        self.shared.answers.lock().unwrap().0.push_back(answer);
    }

    /// Lets so many held requests go.
    pub(crate) fn release(&self, requests: usize) {
        self.shared.gate.add_permits(requests);
    }

    pub(crate) fn requests(&self) -> Vec<Recorded> {
        self.shared.requests.borrow().clone()
    }

    /// The contents of all items of all requests.
    pub(crate) fn contents(&self) -> Vec<String> {
        let requests = self.requests();
        requests.iter().flat_map(Recorded::contents).collect()
    }

    /// Waits until so many requests have arrived.
    pub(crate) async fn arrived(&self, requests: usize) {
        let mut arrived = self.shared.requests.subscribe();
        arrived.wait_for(|all| all.len() >= requests).await.unwrap();
    }
}

impl Drop for ControlServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 2_000_000).await.unwrap();
    let request = Recorded {
        peer,
        uri: parts.uri,
        headers: parts.headers,
        body,
    };
    let answer = {
        let mut answers = shared.answers.lock().unwrap();
        answers.0.pop_front().unwrap_or_else(|| answers.1.clone())
    };
    shared.requests.send_modify(|all| all.push(request.clone()));
    let status = |status| StatusCode::from_u16(status).unwrap();
    match answer {
        Answer::Status(code, body) => (status(code), body).into_response(),
        Answer::Header(code, name, value) => (status(code), [(name, value)]).into_response(),
        Answer::Held => {
            shared.gate.acquire().await.unwrap().forget();
            "Published\n".into_response()
        }
        Answer::Trickle => Body::from_stream(async_stream::stream! {
            for part in ["Pub", "lished\n"] {
                tokio::time::sleep(Duration::from_millis(1)).await;
                yield Ok::<_, Infallible>(part);
            }
        })
        .into_response(),
        // Unwinding ends the connection's task; no hook is called.
        Answer::Close => std::panic::resume_unwind(Box::new("closed")),
        Answer::Refuse(code, channel) if request.names(channel) => {
            (status(code), "Invalid format: no").into_response()
        }
        Answer::Refuse(..) => "Published\n".into_response(),
        Answer::Echo(code) => {
            let body = Body::from(format!("{:?}\r\n", request.headers).replace("Sensitive", ""));
            (status(code), body).into_response()
        }
    }
}
