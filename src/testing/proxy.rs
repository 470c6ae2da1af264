//! A GRIP proxy with faults on demand.

use super::{
    hold::{Command, Hold, Written},
    instructions::{self, Instructions},
    item::{Item, Publish},
    requests::{ISSUER, Requests},
};
use crate::{
    grip::{GripConfig, SigningKey},
    lock::lock,
};
use axum::{
    Router,
    body::{Body, to_bytes},
    extract::State,
    response::{IntoResponse, Response},
    routing::post,
};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header::CONTENT_LENGTH};
use serde_json::Value;
use std::{
    collections::{HashMap, HashSet},
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::Instant,
};
use tokio_stream::wrappers::UnboundedReceiverStream;

/// Pushpin refuses larger requests.
const MAX_REQUEST: usize = 1_000_000;

/// A GRIP proxy in the test's own process. Like Pushpin, it signs requests, follows instructions, and delivers
/// published items. On demand it loses, repeats, delays and refuses items, and it restarts.
///
/// Concurrent requests to next links are merged if their paths, fragments and `Grip-Last` headers are equal,
/// even if their queries differ. All of their clients get the same response.
///
/// A [`TestClient`](super::TestClient) sends its requests [through](super::TestClient::through) it.
/// Applications publish to it over a socket, so time must not be paused. It holds streams, not single
/// responses. A stream ends at once if the response to its link is not 200.
///
/// # Examples
///
/// ```
/// use axum::{Router, routing::get};
/// use axum_eventstream::{Event, EventStream, History, testing::{FakeGripProxy, TestClient}};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let proxy = FakeGripProxy::start().await;
/// let builder = EventStream::builder().history(History::memory());
/// let es = builder.grip(proxy.config()).build()?;
/// let app = Router::new().route("/rooms/{room}", get(es.handler("{room}")));
/// let client = TestClient::new(app).through(&proxy);
///
/// let mut room = client.get("/rooms/red").await;
/// proxy.lose(1);
/// for text in ["one", "two"] {
///     es.publish_event("red", Event::text("message", text)?).await?;
/// }
/// // The proxy detects the gap, and requests the missing event.
/// room.expect_text("message", "one").await;
/// room.expect_text("message", "two").await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct FakeGripProxy {
    shared: Arc<Shared>,
    server: Arc<Mutex<Option<Server>>>,
}

struct Shared {
    address: SocketAddr,
    key: String,
    requests: Arc<Requests>,
    state: Mutex<ProxyState>,
}

#[derive(Default)]
struct ProxyState {
    holds: Vec<Client>,
    last_ids: HashMap<String, String>,
    seen: HashSet<(String, String)>,
    published: Vec<Value>,
    lose: usize,
    repeat: usize,
    refuse: Option<(usize, StatusCode)>,
    delay: Duration,
}

/// The proxy's side of a held client.
struct Client {
    commands: mpsc::UnboundedSender<Command>,
    body: mpsc::WeakUnboundedSender<Written>,
}

/// Stops when the last handle on the proxy is dropped.
struct Server {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl FakeGripProxy {
    /// Starts a proxy with a random key on a free port.
    ///
    /// # Panics
    ///
    /// There is no free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let key = format!("{:032x}", fastrand::u128(..));
        let signing = SigningKey::new(&key.as_str().into()).expect("the text is a secret");
        let shared = Arc::new(Shared {
            address: listener.local_addr().expect("the listener's address"),
            key,
            requests: Arc::new(Requests::new(signing)),
            state: Mutex::default(),
        });
        let server = Server::start(listener, shared.clone());
        let server = Arc::new(Mutex::new(Some(server)));
        Self { shared, server }
    }

    /// Returns the configuration with which an application publishes to the proxy and verifies its requests.
    #[must_use]
    pub fn config(&self) -> GripConfig {
        let mut config = GripConfig::new(format!("http://{}", self.shared.address));
        config.verify_iss = Some(ISSUER.to_owned());
        config.verify_key = Some(self.shared.key.as_str().into());
        config
    }

    /// Returns the items that were published so far, including the ones it lost.
    #[must_use]
    pub fn published(&self) -> Vec<Value> {
        self.state().published.clone()
    }

    /// Returns the number of clients it holds.
    #[must_use]
    pub fn clients(&self) -> usize {
        let mut state = self.state();
        state.holds.retain(Client::is_connected);
        state.holds.len()
    }

    /// Accepts the next items without delivering them.
    pub fn lose(&self, items: usize) {
        self.state().lose += items;
    }

    /// Delivers the next items twice.
    pub fn repeat(&self, items: usize) {
        self.state().repeat += items;
    }

    /// Answers the next publish requests with this status, without delivering their items.
    pub fn refuse(&self, requests: usize, status: StatusCode) {
        self.state().refuse = Some((requests, status));
    }

    /// Delays all further publish requests.
    pub fn delay(&self, delay: Duration) {
        self.state().delay = delay;
    }

    /// Makes all held clients follow their next links, as after a poll interval.
    pub fn ask(&self) {
        self.state().send_all(|| Command::Poll);
    }

    /// Stops the proxy: it disconnects all clients, refuses connections, and forgets its state.
    pub async fn stop(&self) {
        let server = lock(&self.server).take();
        {
            let mut state = self.state();
            state.send_all(|| Command::Break);
            state.holds.clear();
            state.last_ids.clear();
            state.seen.clear();
        }
        if let Some(Server { stop, task }) = server {
            drop(stop);
            let _ = task.await;
        }
    }

    /// Stops the proxy, and starts it again on the same port.
    ///
    /// # Panics
    ///
    /// The port is in use.
    pub async fn restart(&self) {
        self.stop().await;
        let listener = TcpListener::bind(self.shared.address)
            .await
            .expect("the former port is free");
        *lock(&self.server) = Some(Server::start(listener, self.shared.clone()));
    }

    fn state(&self) -> MutexGuard<'_, ProxyState> {
        lock(&self.shared.state)
    }

    /// Forwards a request to `app`, and follows the instructions in the response.
    pub(super) async fn forward(&self, app: &Router, mut request: Request<Body>) -> Response {
        instructions::remove(request.headers_mut());
        let (uri, is_head) = (request.uri().clone(), request.method() == Method::HEAD);
        let answer = self.shared.requests.send(app, request).await;
        let (mut head, body) = answer.into_parts();
        let instructions = Instructions::take(&mut head.headers);
        let holds = instructions.is_stream() || instructions.next.is_some();
        if is_head || (instructions.hold.is_none() && !holds) {
            return Response::from_parts(head, body);
        }
        let Ok(first) = to_bytes(body, usize::MAX).await else {
            return bad_gateway("the response broke off");
        };
        if !holds {
            return bad_gateway("only streams are held here");
        }
        let body = self.hold(app, uri, instructions, first);
        Response::from_parts(head, body)
    }

    fn hold(&self, app: &Router, uri: http::Uri, instructions: Instructions, first: Bytes) -> Body {
        let (commands, receiver) = mpsc::unbounded_channel();
        let (body, read) = mpsc::unbounded_channel();
        let mut state = self.state();
        // Items may have been published since the application made the response.
        let behind = instructions.channels.iter().any(|held| {
            let last = state.last_ids.get(&held.name);
            last.is_some_and(|last| held.prev_id.as_ref().is_some_and(|prev_id| prev_id != last))
        });
        state.holds.retain(Client::is_connected);
        state.holds.push(Client {
            commands,
            body: body.downgrade(),
        });
        drop(state);
        let mut hold = Hold {
            requests: self.shared.requests.clone(),
            app: app.clone(),
            uri,
            instructions,
            commands: receiver,
            body,
            last: Instant::now(),
        };
        hold.write(first);
        tokio::spawn(hold.run(behind));
        Body::from_stream(UnboundedReceiverStream::new(read))
    }
}

impl fmt::Debug for FakeGripProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeGripProxy")
            .field("address", &self.shared.address)
            .finish_non_exhaustive()
    }
}

impl Client {
    fn is_connected(&self) -> bool {
        self.body.upgrade().is_some_and(|body| !body.is_closed())
    }
}

impl ProxyState {
    fn send_all(&self, command: impl Fn() -> Command) {
        for client in &self.holds {
            // Fails if the client is disconnecting.
            let _ = client.commands.send(command());
        }
    }

    fn take(&mut self, item: &Arc<Item>) {
        if self.lose > 0 {
            self.lose -= 1;
            return;
        }
        if let Some(id) = &item.id {
            if !self.seen.insert((item.channel.clone(), id.clone())) {
                return;
            }
            self.last_ids.insert(item.channel.clone(), id.clone());
        }
        self.send_all(|| Command::Item(item.clone()));
        if self.repeat > 0 {
            self.repeat -= 1;
            self.send_all(|| Command::Item(item.clone()));
        }
    }

    /// Returns the status of a refusal, if the next publish request is to be refused. Its body does not matter.
    fn refusal(&mut self) -> Option<StatusCode> {
        let (requests, status) = self.refuse.as_mut()?;
        *requests = requests.checked_sub(1)?;
        Some(*status)
    }
}

impl Server {
    fn start(listener: TcpListener, shared: Arc<Shared>) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let app = Router::new()
            .route("/publish/", post(publish))
            .route("/recover", post(recover))
            .with_state(shared);
        let task = tokio::spawn(async move {
            let served = axum::serve(listener, app);
            let stopped = async { _ = stopped.await };
            let _ = served.with_graceful_shutdown(stopped).await;
        });
        Self { stop, task }
    }
}

/// As Pushpin: all last ids are forgotten, and every held stream follows its link.
async fn recover(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    if !headers.contains_key(CONTENT_LENGTH) {
        let text = "Request requires Content-Length.\n";
        return (StatusCode::LENGTH_REQUIRED, text).into_response();
    }
    let mut state = lock(&shared.state);
    state.last_ids.clear();
    state.send_all(|| Command::Poll);
    "Updated\n".into_response()
}

async fn publish(State(shared): State<Arc<Shared>>, body: Bytes) -> Response {
    let delay = lock(&shared.state).delay;
    tokio::time::sleep(delay).await;
    let mut state = lock(&shared.state);
    if let Some(status) = state.refusal() {
        return status.into_response();
    }
    let bad = |text: &'static str| (StatusCode::BAD_REQUEST, text).into_response();
    if body.len() > MAX_REQUEST {
        return bad("Request body too large.\n");
    }
    let Ok(Publish { items }) = serde_json::from_slice(&body) else {
        return bad("Body is not valid JSON.\n");
    };
    let parsed = items
        .iter()
        .map(|item| serde_json::from_value(item.clone()));
    let Ok(parsed) = parsed.collect::<Result<Vec<Item>, _>>() else {
        return bad("Invalid format.\n");
    };
    state.published.extend(items);
    for item in parsed {
        state.take(&Arc::new(item));
    }
    "Published\n".into_response()
}

fn bad_gateway(text: &str) -> Response {
    (StatusCode::BAD_GATEWAY, format!("{text}\n")).into_response()
}
