//! Detached streams: the same bytes on the wire, and nothing that stays behind.

use crate::support::{
    self,
    client::{self, Response},
    current_id, publish, server, subscribed, until, with_history, within, without_history,
};
use axum::{
    Router,
    body::Body,
    extract::Request,
    middleware::{self, Next},
    response, routing,
};
use axum_eventstream::{EventStream, History, KeepAlive, net};
use bytes::Bytes;
use http_body::Frame;
use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::{sync::oneshot, task::JoinHandle};

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
        until("the bodies are gone", || self.open() == 0).await;
    }

    fn count(&self, app: Router) -> Router {
        let bodies = self.clone();
        let count = move |request: Request, next: Next| {
            let bodies = bodies.clone();
            async move {
                let response: response::Response = next.run(request).await;
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

async fn serve(es: &EventStream, app: Router, detach: bool) -> Server {
    let (tcp, address) = server::bind().await;
    let (stop, stopped) = oneshot::channel::<()>();
    let served = server::serve_until(tcp, app, detach, es.close_on(stopped));
    Server {
        address,
        stop: Some(stop),
        served,
    }
}

fn app(es: &EventStream) -> Router {
    support::app(es)
        .route("/stay", routing::get(es.handler("a").detach(false)))
        .route("/both/{x}/{y}", routing::get(es.handler(["{x}", "{y}"])))
}

async fn get(server: &Server, target: &str) -> Response {
    client::get(server.address, target, &[]).await
}

/// What one client of each kind sees of the same story. Ids differ by their epoch, which is cut out.
async fn story(detach: bool) -> Vec<String> {
    let es = with_history(History::memory().events(8));
    let open_bodies = Bodies::default();
    let mut server = serve(&es, open_bodies.count(app(&es)), detach).await;
    publish(&es, "a", "before").await;
    let id = current_id(&es);
    let epoch = id.split_once('-').unwrap().0.to_owned();
    for n in 0..3 {
        publish(&es, "a", &format!("missed {n}")).await;
    }
    let resume = [("last-event-id", &*id)];
    let mut clients = [
        get(&server, "/a").await,
        client::get(server.address, "/a", &resume).await,
        get(&server, "/a?lastEventId=garbage").await,
        client::get(server.address, "/both/a/b", &resume).await,
        get(&server, "/both/b/a").await,
    ];
    subscribed(&es, clients.len()).await;
    if detach {
        open_bodies.all_gone().await;
    }
    publish(&es, "a", "line\r\nbreak\rand\n\nnothing").await;
    publish(&es, "b", "").await;
    publish(&es, "a", "last").await;
    let mut bodies = Vec::new();
    for client in &mut clients {
        bodies.push(client.until("data: last").await);
    }
    server.stop.take().unwrap().send(()).unwrap();
    for (client, body) in clients.iter_mut().zip(&mut bodies) {
        *body += &*client.end().await;
    }
    within("the server", server.served).await.unwrap();
    assert_eq!(es.stats().subscriptions, 0);
    let seen = clients.iter().zip(bodies).map(|(client, body)| {
        // The end of the connection is announced if it may be the end of the stream.
        let headers = client.headers().into_iter();
        let headers: Vec<_> = headers
            .filter(|line| *line != "connection: close")
            .collect();
        let body = body.replace(&epoch, "EPOCH");
        format!("{}\n{}\n\n{body}", client.status(), headers.join("\n"))
    });
    seen.collect()
}

#[tokio::test]
async fn a_stream_that_leaves_is_the_same_on_the_wire() {
    let (left, stayed) = (story(true).await, story(false).await);
    for (left, stayed) in left.iter().zip(&stayed) {
        assert_eq!(left, stayed);
        assert!(left.ends_with("data: last\nid: EPOCH-7\n\n"), "{left}");
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
    let upper = middleware::map_response(|response: response::Response| async {
        use http_body_util::BodyExt;
        response.map(|body| {
            let upper = |data: Bytes| Bytes::from(data.to_ascii_uppercase());
            Body::new(body.map_frame(move |frame| frame.map_data(upper)))
        })
    });
    let changed = Router::new()
        .route("/changed", routing::get(es.handler("a")))
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
        clients.push(client::write(server.address, request).await);
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
            clients.push(get(&server, target).await);
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
        let mut client = get(&server, "/a").await;
        client.events(1).await;
        clients.push(client);
    }
    let reading: Vec<_> = clients
        .into_iter()
        .map(|mut client| tokio::spawn(async move { client.until("data: 4999\n").await }))
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
    let mut client = get(&server, "/a").await;
    client.events(1).await;
    for _ in 0..3 {
        assert_eq!(client.events(1).await, ":still here\n\n");
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_is_dropped_and_delays_nobody() {
    let es = without_history();
    let (tcp, address) = server::bind().await;
    let listener = net::Listener::new(tcp).client_timeout(Duration::from_secs(2));
    tokio::spawn(axum::serve(listener, app(&es)).into_future());
    let _stalled = client::get(address, "/a", &[]).await;
    let mut reading = client::get(address, "/a", &[]).await;
    subscribed(&es, 2).await;
    let large = "x".repeat(1 << 20);
    for n in 0..16 {
        publish(&es, "a", &format!("{n} {large}")).await;
        reading.until(&format!("data: {n} {large}\n\n")).await;
    }
    subscribed(&es, 1).await;
    publish(&es, "a", "still here").await;
    reading.until("data: still here").await;
}

#[tokio::test]
async fn a_client_that_floods_is_only_dropped_words() {
    let es = EventStream::new();
    let server = serve(&es, app(&es), true).await;
    let mut client = get(&server, "/a").await;
    client.events(1).await;
    for _ in 0..64 {
        let flood = client.write_all(&[b'x'; 64 << 10]);
        within("the flood", flood).await.unwrap();
    }
    publish(&es, "a", "fine").await;
    client.until("data: fine").await;
}

#[tokio::test]
async fn several_streams_share_a_listener() {
    let (one, two) = (EventStream::new(), EventStream::new());
    let app = Router::new()
        .nest("/one", app(&one))
        .nest("/two", app(&two));
    let server = serve(&one, app, true).await;
    let mut clients = (get(&server, "/one/a").await, get(&server, "/two/a").await);
    subscribed(&one, 1).await;
    subscribed(&two, 1).await;
    publish(&one, "a", "from one").await;
    publish(&two, "a", "from two").await;
    assert!(!clients.0.until("from one").await.contains("two"));
    assert!(!clients.1.until("from two").await.contains("from one"));
    one.close();
    clients.0.end().await;
    publish(&two, "a", "goes on").await;
    clients.1.until("goes on").await;
}

#[tokio::test]
async fn a_blocked_client_does_not_hang_the_shutdown() {
    let es = without_history();
    let mut server = serve(&es, app(&es), true).await;
    let _stalled = get(&server, "/a").await;
    subscribed(&es, 1).await;
    let large = "x".repeat(1 << 20);
    for _ in 0..16 {
        publish(&es, "a", &large).await;
    }
    server.stop.take().unwrap().send(()).unwrap();
    within("the shutdown", server.served).await.unwrap();
    assert_eq!(es.stats().subscriptions, 0, "it was not waited for");
}

/// The listener and the last connection may be dropped before a driver has begun.
#[tokio::test]
async fn the_first_stream_survives_its_listener() {
    use hyper_util::{rt::TokioIo, service::TowerToHyperService};
    let es = EventStream::new();
    let (tcp, address) = server::bind().await;
    let mut listener = net::Listener::new(tcp);
    let client = tokio::spawn(client::get(address, "/a", &[]));
    let (io, _) = axum::serve::Listener::accept(&mut listener).await;
    drop(listener);
    let service = TowerToHyperService::new(app(&es));
    let server = hyper::server::conn::http1::Builder::new();
    let connection = server.serve_connection(TokioIo::new(io), service);
    tokio::spawn(async move { _ = connection.await });
    let mut client = client.await.unwrap();
    client.events(1).await;
    publish(&es, "a", "hello").await;
    assert_eq!(client.data().await, "hello");
}
