//! 50 `EventSource`s of a real Chromium, over three ways in which a server ends and another takes its port.

use crate::support::{browser::Browser, example::Example, server};
use axum::{
    Router,
    extract::State,
    response::Html,
    routing::{get, post},
};
use axum_eventstream::{Event, EventStream, net};
use serde_json::json;
use std::{env, net::Ipv4Addr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    process::Command,
    signal::ctrl_c,
    time::interval,
};
use tower_http::cors::{Any, CorsLayer};

const STREAMS: usize = 50;

/// Chromium opens six connections to a host.
const HOSTS: usize = 10;

/// Its value makes [`start`] one: what Ctrl-C does there.
const END: &str = "RECONNECT_TEST_END";
const PORT: &str = "RECONNECT_TEST_PORT";

/// A server in a process of its own, which is this test binary.
async fn start(end: &str, port: u16) -> Example {
    let mut command = Command::new(env::current_exe().unwrap());
    let test = "browser::reconnect::server_process";
    command.args(["--exact", test, "--nocapture"]);
    command.env(END, end).env(PORT, port.to_string());
    Example::run(command).await
}

/// The body of the server process; without its variables there is nothing to do.
#[tokio::test]
async fn server_process() {
    let (Ok(end), Ok(port)) = (env::var(END), env::var(PORT)) else {
        return;
    };
    let es = EventStream::new();
    tokio::spawn(publish_process_id(es.clone()));
    let app = Router::new()
        .route("/events", get(es.handler("process")))
        .route("/large", get(es.handler("large")))
        .route("/large", post(publish_large_events))
        .layer(CorsLayer::new().allow_origin(Any))
        .with_state(es.clone());
    let stop = async { ctrl_c().await.unwrap() };
    let listener = TcpListener::bind(format!("0.0.0.0:{port}")).await.unwrap();
    println!("listening on {port}");
    let server = axum::serve(net::Listener::new(listener), app);
    match &*end {
        "drain" => {
            let drained = async move {
                stop.await;
                es.drain(Duration::from_secs(10)).await;
            };
            server.with_graceful_shutdown(drained).await.unwrap();
        }
        _ => server
            .with_graceful_shutdown(es.close_on(stop))
            .await
            .unwrap(),
    }
}

async fn publish_process_id(es: EventStream) {
    let mut ticks = interval(Duration::from_millis(200));
    loop {
        ticks.tick().await;
        let event = Event::text("process", std::process::id().to_string());
        es.publish_event("process", event.unwrap()).await.unwrap();
    }
}

/// More than the socket buffers of a client that does not read can take.
async fn publish_large_events(State(es): State<EventStream>) {
    for _ in 0..32 {
        let event = Event::text("large", "x".repeat(1 << 20)).unwrap();
        es.publish_event("large", event).await.unwrap();
    }
}

/// A client whose stream has begun, and that reads no further, with more on its way than fits into the sockets.
async fn blocked_client(port: u16) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(16 << 10).unwrap();
    let address = ([127, 0, 0, 1], port).into();
    let mut client = socket.connect(address).await.unwrap();
    let request = "GET /large HTTP/1.1\r\nhost: server\r\n\r\n";
    client.write_all(request.as_bytes()).await.unwrap();
    let mut read = Vec::new();
    while !read.windows(11).any(|bytes| bytes == b"stream-open") {
        assert_ne!(client.read_buf(&mut read).await.unwrap(), 0);
    }
    let url = format!("http://127.0.0.1:{port}/large");
    let posted = reqwest::Client::new().post(url).send().await.unwrap();
    posted.error_for_status().unwrap();
    client
}

/// A page with streams to a server that may end.
struct Page(Browser);

impl Page {
    async fn open(port: u16) -> Self {
        let (listener, page) = server::bind().await;
        server::serve(listener, Router::new().fallback(async || Html("")));
        let browser = Browser::start().await;
        browser.open(&format!("http://{page}/")).await;
        let open = format!(
            "window.sources = Array.from({{ length: {STREAMS} }}, (_, n) => {{
                const source = new EventSource(`http://127.0.0.${{2 + n % {HOSTS}}}:{port}/events`);
                source.addEventListener('process', event => source.process = event.data);
                return source;
            }});"
        );
        browser.run(&open).await;
        Self(browser)
    }

    /// Waits until no stream is closed, and each is open and receives events of this server.
    async fn listens_to(&self, server: &Example) {
        let counts = format!(
            "[sources.filter(source => source.readyState === EventSource.CLOSED).length,
              sources.filter(source => source.readyState === EventSource.OPEN && source.process === '{}').length]",
            server.process.id().expect("it runs")
        );
        self.0.becomes(&counts, json!([0, STREAMS])).await;
    }
}

/// Opens the page's streams, ends their server, and starts another one on its port.
async fn reconnects(end: &str, ends: impl AsyncFnOnce(Example, u16)) {
    let [free] = server::reserve(Ipv4Addr::UNSPECIFIED);
    let port = free.local_addr().unwrap().port();
    drop(free);
    let server = start(end, port).await;
    let page = Page::open(port).await;
    page.listens_to(&server).await;
    ends(server, port).await;
    let mut next = start(end, port).await;
    page.listens_to(&next).await;
    next.process.kill().await.unwrap();
}

#[tokio::test]
#[ignore = "needs chromium"]
async fn every_event_source_reconnects_after_its_server_was_drained() {
    reconnects("drain", async |server, _| server.stop().await).await;
}

#[tokio::test]
#[ignore = "needs chromium"]
async fn every_event_source_reconnects_after_close_on_waited_for_a_blocked_client() {
    reconnects("close_on", async |server, port| {
        let blocked = blocked_client(port).await;
        server.stop().await;
        drop(blocked);
    })
    .await;
}

#[tokio::test]
#[ignore = "needs chromium"]
async fn every_event_source_reconnects_after_its_server_was_killed() {
    let kill = async |mut server: Example, _| server.process.kill().await.unwrap();
    reconnects("close_on", kill).await;
}
