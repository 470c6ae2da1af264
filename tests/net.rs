//! Streams that leave the HTTP server: the same on the wire, and nothing left behind.

use axum::{
    Router,
    body::Body,
    extract::Request,
    middleware::{self, Next},
    response::Response,
    routing::get,
    serve::ListenerExt,
};
use axum_eventstream::{Event, EventStream, History, KeepAlive, Limits, net};
use bytes::Bytes;
use http_body::Frame;
use std::{
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
    time::timeout,
};

const LIMIT: Duration = Duration::from_secs(20);

async fn within<F: Future>(what: &str, future: F) -> F::Output {
    let result = timeout(LIMIT, future).await;
    result.unwrap_or_else(|_| panic!("not in time: {what}"))
}

/// How many response bodies the HTTP server still has.
#[derive(Clone, Default)]
struct Bodies(Arc<AtomicUsize>);

struct Counted(Body, Bodies);

impl Drop for Counted {
    fn drop(&mut self) {
        self.1.0.fetch_sub(1, SeqCst);
    }
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }
}

impl Bodies {
    fn open(&self) -> usize {
        self.0.load(SeqCst)
    }

    async fn all_gone(&self) {
        within("the bodies are gone", async {
            while self.open() > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
    }

    fn count(&self, app: Router) -> Router {
        let bodies = self.clone();
        let count = move |request: Request, next: Next| {
            let bodies = bodies.clone();
            async move {
                let response: Response = next.run(request).await;
                bodies.0.fetch_add(1, SeqCst);
                response.map(|body| Body::new(Counted(body, bodies)))
            }
        };
        app.layer(middleware::from_fn(count))
    }
}

struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    served: JoinHandle<()>,
}

async fn serve(es: &EventStream, app: Router, leave: bool) -> Server {
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let closed = es.close_on(stopped);
    let served = match leave {
        true => {
            let listener = net::Listener::new(tcp.tap_io(|_| ()));
            tokio::spawn(async move {
                let serve = axum::serve(listener, app);
                serve.with_graceful_shutdown(closed).await.unwrap();
            })
        }
        false => tokio::spawn(async move {
            let serve = axum::serve(tcp, app);
            serve.with_graceful_shutdown(closed).await.unwrap();
        }),
    };
    Server {
        address,
        stop: Some(stop),
        served,
    }
}

fn app(es: &EventStream) -> Router {
    Router::new()
        .route("/stay", get(es.handler("a").detach(false)))
        .route("/{id}", get(es.handler("{id}")))
        .route("/both/{x}/{y}", get(es.handler(["{x}", "{y}"])))
}

struct Client(BufReader<TcpStream>);

impl Client {
    async fn get(server: &Server, target: &str, headers: &str) -> Self {
        let request = format!("GET {target} HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
        Self::send(server, &request).await
    }

    async fn send(server: &Server, request: &str) -> Self {
        let mut tcp = TcpStream::connect(server.address).await.unwrap();
        tcp.write_all(request.as_bytes()).await.unwrap();
        Self(BufReader::new(tcp))
    }

    /// Everything up to and with `end`.
    async fn until(&mut self, end: &str) -> String {
        let mut text = Vec::new();
        let reading = async {
            while !text.ends_with(end.as_bytes()) {
                text.push(self.0.read_u8().await.expect("the stream goes on"));
            }
        };
        if timeout(LIMIT, reading).await.is_err() {
            panic!("no {end:?} in {:?}", String::from_utf8_lossy(&text));
        }
        String::from_utf8(text).unwrap()
    }

    async fn rest(&mut self) -> String {
        let mut text = String::new();
        let reading = self.0.read_to_string(&mut text);
        within("the end of the stream", reading).await.unwrap();
        text
    }
}

/// The data of all chunks.
fn unchunked(mut text: &str) -> String {
    let mut data = String::new();
    while let Some((length, rest)) = text.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).unwrap();
        data += &rest[..length];
        text = rest[length..].strip_prefix("\r\n").unwrap();
        if length == 0 {
            assert_eq!(text, "", "the last chunk is the last");
            return data + "END";
        }
    }
    data
}

async fn publish(es: &EventStream, channel: &str, text: &str) {
    let event = Event::text("message", text).unwrap();
    es.publish_event(channel, event).await.unwrap();
}

async fn subscribed(es: &EventStream, count: usize) {
    within("the subscriptions", async {
        while es.stats().subscriptions != count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

/// What one client of each kind sees of the same story. Ids differ by their epoch, which is cut out.
async fn story(leave: bool) -> Vec<String> {
    let history = History::memory().events(8);
    let es = EventStream::builder().history(history).build().unwrap();
    let bodies = Bodies::default();
    let mut server = serve(&es, bodies.count(app(&es)), leave).await;
    publish(&es, "a", "before").await;
    let id = es.current_id().unwrap().to_string();
    let epoch = id.split_once('-').unwrap().0.to_owned();
    for n in 0..3 {
        publish(&es, "a", &format!("missed {n}")).await;
    }
    let resume = format!("last-event-id: {id}\r\n");
    let mut clients = [
        Client::get(&server, "/a", "").await,
        Client::get(&server, "/a", &resume).await,
        Client::get(&server, "/a?lastEventId=garbage", "").await,
        Client::get(&server, "/both/a/b", &resume).await,
        Client::get(&server, "/both/b/a", "").await,
    ];
    subscribed(&es, clients.len()).await;
    if leave {
        bodies.all_gone().await;
    }
    publish(&es, "a", "line\r\nbreak\rand\n\nnothing").await;
    publish(&es, "b", "").await;
    let last = "data: last\nid: ";
    publish(&es, "a", "last").await;
    let mut seen = vec![String::new(); clients.len()];
    for (client, seen) in clients.iter_mut().zip(&mut seen) {
        *seen = client.until(last).await + &client.until("\n\n\r\n").await;
    }
    server.stop.take().unwrap().send(()).unwrap();
    for (client, seen) in clients.iter_mut().zip(&mut seen) {
        *seen += &client.rest().await;
    }
    within("the server", server.served).await.unwrap();
    assert_eq!(es.stats().subscriptions, 0);
    let cut = |seen: String| {
        let (head, body) = seen.split_once("\r\n\r\n").unwrap();
        // The end of the connection is announced if it may be the end of the stream.
        let differs = |line: &str| line.starts_with("date:") || line == "connection: close";
        let head: Vec<_> = head.lines().filter(|line| !differs(line)).collect();
        let body = unchunked(body).replace(&epoch, "EPOCH");
        format!("{}\n\n{body}", head.join("\n"))
    };
    seen.into_iter().map(cut).collect()
}

#[tokio::test]
async fn a_stream_that_leaves_is_the_same_on_the_wire() {
    let (left, stayed) = (story(true).await, story(false).await);
    for (left, stayed) in left.iter().zip(&stayed) {
        assert_eq!(left, stayed);
        assert!(left.ends_with("data: last\nid: EPOCH-7\n\nEND"), "{left}");
    }
    let resumed = "event: stream-open\ndata: \nid: EPOCH-1\n\nevent: message\ndata: missed 0";
    assert!(left[1].contains(resumed), "{}", left[1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_holds_on_several_threads() {
    assert_eq!(story(true).await, story(false).await);
}

#[tokio::test]
async fn only_an_untouched_stream_leaves() {
    let es = EventStream::new();
    let upper = middleware::map_response(|response: Response| async {
        use http_body_util::BodyExt;
        response.map(|body| {
            let upper = |data: Bytes| Bytes::from(data.to_ascii_uppercase());
            Body::new(body.map_frame(move |frame| frame.map_data(upper)))
        })
    });
    let changed = Router::new()
        .route("/changed", get(es.handler("a")))
        .layer(upper);
    let bodies = Bodies::default();
    let server = serve(&es, bodies.count(app(&es).merge(changed)), true).await;
    let requests = [
        "GET /a HTTP/1.0\r\n\r\n",
        "GET /stay HTTP/1.1\r\nhost: x\r\n\r\n",
        "GET /changed HTTP/1.1\r\nhost: x\r\n\r\n",
        "GET /a HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\nx",
    ];
    let mut clients = Vec::new();
    for request in requests {
        clients.push(Client::send(&server, request).await);
    }
    subscribed(&es, clients.len()).await;
    for (client, opening) in
        clients
            .iter_mut()
            .zip(["stream-open", "stream-open", "STREAM-OPEN", "stream-open"])
    {
        client.until(opening).await;
    }
    publish(&es, "a", "hello").await;
    for (client, hello) in
        clients
            .iter_mut()
            .zip(["data: hello", "data: hello", "DATA: HELLO", "data: hello"])
    {
        client.until(hello).await;
    }
    assert_eq!(bodies.open(), clients.len());
}

#[tokio::test]
async fn clients_that_go_are_noticed_without_anything_being_sent() {
    let es = EventStream::new();
    let bodies = Bodies::default();
    let server = serve(&es, bodies.count(app(&es)), true).await;
    for round in 0..3 {
        let mut clients = Vec::new();
        for n in 0..100 {
            let target = ["/a", "/b", "/both/a/c"][n % 3];
            clients.push(Client::get(&server, target, "").await);
        }
        subscribed(&es, 100).await;
        bodies.all_gone().await;
        clients.truncate(50);
        subscribed(&es, 50).await;
        publish(&es, "a", &format!("round {round}")).await;
        for client in clients.iter_mut().step_by(3) {
            client.until(&format!("data: round {round}")).await;
        }
        drop(clients);
        subscribed(&es, 0).await;
        assert_eq!(es.stats().channels, 0);
    }
}

#[tokio::test]
async fn a_burst_is_whole_for_many_clients() {
    let es = EventStream::new();
    let server = serve(&es, app(&es), true).await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = Client::get(&server, "/a", "").await;
        client.until("\n\n\r\n").await;
        clients.push(client);
    }
    let reading: Vec<_> = clients
        .into_iter()
        .map(|mut client| tokio::spawn(async move { client.until("data: 4999\nid: ").await }))
        .collect();
    for n in 0..5000 {
        publish(&es, "a", &n.to_string()).await;
    }
    for reading in reading {
        let text = within("the burst", reading).await.unwrap();
        let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
        let expected = (0..5000).map(|n| n.to_string());
        assert!(data.eq(expected), "in order, none twice, none missing");
    }
    assert_eq!(es.stats().lagged, 0);
}

#[tokio::test]
async fn an_idle_stream_is_kept_alive() {
    let interval = Duration::from_millis(50);
    let es = EventStream::builder()
        .keep_alive(KeepAlive::new().interval(interval).comment("still here"))
        .build()
        .unwrap();
    let server = serve(&es, app(&es), true).await;
    let mut client = Client::get(&server, "/a", "").await;
    for _ in 0..3 {
        client.until("D\r\n:still here\n\n\r\n").await;
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_is_dropped_and_delays_nobody() {
    let es = EventStream::builder()
        .history(History::off())
        .build()
        .unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap();
    let listener = net::Listener::new(tcp).client_timeout(Duration::from_secs(2));
    let served = tokio::spawn(axum::serve(listener, app(&es)).into_future());
    let server = Server {
        address,
        stop: None,
        served: tokio::spawn(async {}),
    };
    let _stalled = Client::get(&server, "/a", "").await;
    let mut reading = Client::get(&server, "/a", "").await;
    subscribed(&es, 2).await;
    let large = "x".repeat(1 << 20);
    for n in 0..16 {
        publish(&es, "a", &format!("{n} {large}")).await;
        reading.until(&format!("data: {n} {large}\n\n\r\n")).await;
    }
    subscribed(&es, 1).await;
    publish(&es, "a", "still here").await;
    reading.until("data: still here").await;
    served.abort();
}

#[tokio::test]
async fn a_client_that_floods_is_only_dropped_words() {
    let es = EventStream::new();
    let server = serve(&es, app(&es), true).await;
    let mut client = Client::get(&server, "/a", "").await;
    client.until("\n\n\r\n").await;
    for _ in 0..64 {
        let flood = client.0.write_all(&[b'x'; 64 << 10]);
        within("the flood", flood).await.unwrap();
    }
    publish(&es, "a", "fine").await;
    client.until("data: fine").await;
}

#[tokio::test]
async fn limits_and_refusals_are_the_same() {
    let es = EventStream::builder()
        .limits(Limits::new().subscriptions(1))
        .build()
        .unwrap();
    let server = serve(&es, app(&es), true).await;
    let mut first = Client::get(&server, "/a", "").await;
    first.until("\n\n\r\n").await;
    let refused = Client::get(&server, "/a", "connection: close\r\n")
        .await
        .rest()
        .await;
    let (head, body) = refused.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(body.starts_with("retry: "), "{body}");
    drop(first);
    subscribed(&es, 0).await;
    Client::get(&server, "/a", "")
        .await
        .until("stream-open")
        .await;
}

#[tokio::test]
async fn several_streams_share_a_listener() {
    let (one, two) = (EventStream::new(), EventStream::new());
    let app = Router::new()
        .nest("/one", app(&one))
        .nest("/two", app(&two));
    let server = serve(&one, app, true).await;
    let mut clients = (
        Client::get(&server, "/one/a", "").await,
        Client::get(&server, "/two/a", "").await,
    );
    subscribed(&one, 1).await;
    subscribed(&two, 1).await;
    publish(&one, "a", "from one").await;
    publish(&two, "a", "from two").await;
    assert!(!clients.0.until("from one").await.contains("two"));
    assert!(!clients.1.until("from two").await.contains("from one"));
    one.close();
    assert!(clients.0.rest().await.ends_with("0\r\n\r\n"));
    publish(&two, "a", "goes on").await;
    clients.1.until("goes on").await;
}

#[tokio::test]
async fn a_blocked_client_does_not_hang_the_shutdown() {
    let es = EventStream::builder()
        .history(History::off())
        .build()
        .unwrap();
    let mut server = serve(&es, app(&es), true).await;
    let _stalled = Client::get(&server, "/a", "").await;
    subscribed(&es, 1).await;
    let large = "x".repeat(1 << 20);
    for _ in 0..16 {
        publish(&es, "a", &large).await;
    }
    server.stop.take().unwrap().send(()).unwrap();
    within("the shutdown", server.served).await.unwrap();
    assert_eq!(es.stats().subscriptions, 0, "it was not waited for");
}

/// Two streams in one response: none can leave, or the other would be lost.
#[tokio::test]
async fn merged_streams_stay() {
    use axum_eventstream::StreamRequest;

    let es = EventStream::builder()
        .history(History::off())
        .build()
        .unwrap();
    let merged = {
        let es = es.clone();
        get(|request: StreamRequest| async move {
            let one = es.respond(&request, ["a"]).await.unwrap().into_body();
            let two = es.respond(&request, ["b"]).await.unwrap().into_body();
            let streams = [one.into_data_stream(), two.into_data_stream()];
            Body::from_stream(futures_util::stream::select_all(streams))
        })
    };
    let server = serve(&es, Router::new().route("/merged", merged), true).await;
    let mut client = Client::get(&server, "/merged", "").await;
    subscribed(&es, 2).await;
    client.until("stream-open").await;
    client.until("stream-open").await;
    for channel in ["a", "b", "a", "b"] {
        publish(&es, channel, &format!("on {channel}")).await;
        client.until(&format!("data: on {channel}")).await;
    }
}

/// A guard that panics is its own handler's mistake.
#[tokio::test]
async fn a_guard_that_panics_harms_no_other_stream() {
    use axum_eventstream::StreamRequest;

    struct Careless;
    impl Drop for Careless {
        fn drop(&mut self) {
            panic!("a user's mistake");
        }
    }
    let es = EventStream::new();
    let careless = {
        let es = es.clone();
        get(|request: StreamRequest| async move {
            es.open(&request, ["a"])
                .map(|stream| stream.guard(Careless))
        })
    };
    let server = serve(&es, app(&es).route("/own/careless", careless), true).await;
    let mut stays = Client::get(&server, "/a", "").await;
    stays.until("\n\n\r\n").await;
    let mut goes = Client::get(&server, "/own/careless", "").await;
    goes.until("\n\n\r\n").await;
    drop(goes);
    subscribed(&es, 1).await;
    publish(&es, "a", "still here").await;
    stays.until("data: still here").await;
}

/// The listener and the last connection may be dropped before a driver has begun.
#[tokio::test]
async fn the_first_stream_survives_its_listener() {
    use hyper_util::{rt::TokioIo, service::TowerToHyperService};
    use tokio::{io::AsyncWriteExt, net::TcpStream};

    let es = EventStream::new();
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap();
    let mut listener = net::Listener::new(tcp);
    let mut client = TcpStream::connect(address).await.unwrap();
    let request = b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n";
    client.write_all(request).await.unwrap();
    let (io, _) = axum::serve::Listener::accept(&mut listener).await;
    drop(listener);
    let service = TowerToHyperService::new(app(&es));
    let server = hyper::server::conn::http1::Builder::new();
    let connection = server.serve_connection(TokioIo::new(io), service);
    tokio::spawn(async move { _ = connection.await });
    let mut received = Vec::new();
    while !received.ends_with(b"\n\n\r\n") {
        assert_ne!(client.read_buf(&mut received).await.unwrap(), 0);
    }
    publish(&es, "a", "hello").await;
    while !received.ends_with(b"-1\n\n\r\n") {
        assert_ne!(client.read_buf(&mut received).await.unwrap(), 0);
    }
}
