//! Clients that read slowly, not at all, or are gone, and routes that are no streams.

use crate::support::{app, publish, server, subscribed, within};
use axum::{Router, body::Body, routing::get};
use axum_eventstream::{EventStream, History, net};
use futures_util::stream;
use std::{convert::Infallible, net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinHandle,
    time::{Instant, sleep},
};

const LIMIT: Duration = Duration::from_secs(30);
const CLIENT_TIMEOUT: Duration = Duration::from_secs(2);

fn event_stream() -> EventStream {
    let history = History::off().events(64);
    EventStream::builder().history(history).build().unwrap()
}

async fn serve(
    app: Router,
    set: impl FnOnce(net::Listener<TcpListener>) -> net::Listener<TcpListener>,
) -> SocketAddr {
    let (tcp, address) = server::bind().await;
    let listener = set(net::Listener::new(tcp).client_timeout(CLIENT_TIMEOUT));
    tokio::spawn(axum::serve(listener, app).into_future());
    address
}

/// Connects with a receive buffer of a few kilobytes.
async fn get_slowly(server: SocketAddr, target: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(2048).unwrap();
    let mut client = socket.connect(server).await.unwrap();
    let request = format!("GET {target} HTTP/1.1\r\nhost: x\r\n\r\n");
    client.write_all(request.as_bytes()).await.unwrap();
    client
}

/// Publishes more than slow clients read.
fn flood(es: &EventStream) -> JoinHandle<()> {
    let es = es.clone();
    tokio::spawn(async move {
        loop {
            publish(&es, "a", "x".repeat(4000)).await;
            sleep(Duration::from_millis(10)).await;
        }
    })
}

#[tokio::test]
async fn a_client_that_reads_steadily_is_not_cut_off_and_one_that_does_not_is() {
    let es = event_stream();
    let server = serve(app(&es), |it| it).await;
    let mut steady = get_slowly(server, "/a").await;
    let _stalled = get_slowly(server, "/a").await;
    subscribed(&es, 2).await;
    let flood = flood(&es);
    let mut buffer = [0; 1024];
    let begun = Instant::now();
    while begun.elapsed() < CLIENT_TIMEOUT * 3 || es.stats().subscriptions > 1 {
        steady.read_exact(&mut buffer).await.expect("not cut off");
        sleep(CLIENT_TIMEOUT / 12).await;
        assert!(begun.elapsed() < LIMIT, "the other is cut off");
    }
    assert_eq!(es.stats().subscriptions, 1);
    flood.abort();
}

#[tokio::test]
async fn a_download_may_pause_for_longer_than_the_client_timeout() {
    const LENGTH: usize = 16 << 20;
    let download = async || {
        let chunks = (0..LENGTH >> 16).map(|_| Ok::<_, Infallible>(vec![b'x'; 1 << 16]));
        Body::from_stream(stream::iter(chunks))
    };
    let es = event_stream();
    let app = Router::new()
        .route("/", get(download))
        .route("/stream", get(es.handler("a")));
    let server = serve(app, |it| it).await;
    let mut client = TcpStream::connect(server).await.unwrap();
    let request = b"GET / HTTP/1.0\r\n\r\n";
    client.write_all(request).await.unwrap();
    let mut buffer = vec![0; 1 << 20];
    client.read_exact(&mut buffer).await.unwrap();
    // A stream that begins after the pause and is cut off shows that the timeout has passed.
    let _stalled = get_slowly(server, "/stream").await;
    subscribed(&es, 1).await;
    let flood = flood(&es);
    subscribed(&es, 0).await;
    flood.abort();
    let rest = client.read_to_end(&mut buffer);
    within("the rest", rest).await.expect("not reset");
    assert!(buffer.len() > LENGTH);
}

/// What a client has not been sent waits in the log, where the oldest gives way to the newest.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_kernel_holds_no_more_for_a_slow_client_than_it_is_set_to() {
    const EVENTS: usize = 800;
    for (lowat, is_behind) in [(16 << 10, true), (0, false)] {
        let es = event_stream();
        let app = app(&es);
        let server = serve(app, |listener| listener.notsent_lowat(lowat)).await;
        let mut client = get_slowly(server, "/a").await;
        subscribed(&es, 1).await;
        for _ in 0..EVENTS {
            publish(&es, "a", "x".repeat(1000)).await;
            // Lets the driver send it.
            tokio::task::yield_now().await;
        }
        publish(&es, "a", "last").await;
        let mut received = Vec::new();
        let reading = async {
            while !received.ends_with(b"data: last\n\n\r\n") {
                client.read_buf(&mut received).await.expect("not cut off");
            }
        };
        within("the last event", reading).await;
        assert_eq!(es.stats().lagged > 0, is_behind, "{lowat}");
    }
}
