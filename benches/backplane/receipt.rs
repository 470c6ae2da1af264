//! Time from a publish until a subscriber of another instance has the event.

use super::{
    instance::{CHANNEL, event, instance},
    report::{Row, quantile},
    server::Server,
};
use axum::{Router, routing::get};
use axum_eventstream::EventStream;
use futures_util::StreamExt as _;
use std::time::Duration;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::{Instant, interval},
};

const EVENTS: usize = 5000;
const PAUSE: Duration = Duration::from_millis(1);
const PARTS: [(f64, &str, &str); 2] = [
    (0.5, "p50", "baseline + 500"),
    (0.99, "p99", "baseline + 2000"),
];

pub(crate) async fn rows(server: &Server, rounds: usize) {
    for is_http in [false, true] {
        let reader = if is_http {
            "an HTTP client"
        } else {
            "a `Subscription`"
        };
        let row = |(_, name, target)| {
            let title = format!(
                "publish to receipt by {reader} of another instance, 1000 events a second, {name}, µs"
            );
            Row::new(title, 0, target).beside("no backplane")
        };
        let mut rows = PARTS.map(row);
        let title = "CPU of Redis an event at this rate, two instances, µs";
        let mut server_cpu = Row::new(title, 1, "");
        for _ in 0..rounds {
            let publisher = instance(&server.url()).await;
            let other = instance(&server.url()).await;
            let before = server.cpu().await;
            let mut ours = latencies(&publisher, &other, is_http).await;
            server_cpu.add((server.cpu().await - before) / EVENTS as f64);
            let local = EventStream::new();
            let mut alone = latencies(&local, &local, is_http).await;
            for (row, (part, ..)) in rows.iter_mut().zip(PARTS) {
                row.add(quantile(&mut ours, part));
                row.add_baseline(quantile(&mut alone, part));
            }
        }
        rows.iter().for_each(Row::print);
        server_cpu.print();
    }
}

/// Times in microseconds. Each event is published by a task of its own, so a slow publish delays no other.
async fn latencies(publisher: &EventStream, other: &EventStream, is_http: bool) -> Vec<f64> {
    let started = Instant::now();
    let received = match is_http {
        true => read_http(other, started).await,
        false => read(other, started),
    };
    let mut timer = interval(PAUSE);
    for _ in 0..EVENTS {
        timer.tick().await;
        let publisher = publisher.clone();
        tokio::spawn(async move {
            let now = event(&started.elapsed().as_nanos().to_string());
            let published = publisher.publish_event(CHANNEL, now).await;
            published.expect("it is published");
        });
    }
    received.await.expect("all events")
}

fn read(other: &EventStream, started: Instant) -> JoinHandle<Vec<f64>> {
    let subscription = other.subscribe([CHANNEL]).expect("a subscription");
    tokio::spawn(async move {
        let received = subscription.take(EVENTS);
        let ages = received.map(|event| age(&event.data(), started));
        ages.collect().await
    })
}

async fn read_http(other: &EventStream, started: Instant) -> JoinHandle<Vec<f64>> {
    let mut lines = BufReader::new(open(serve(other).await).await).lines();
    tokio::spawn(async move {
        let mut ages = Vec::with_capacity(EVENTS);
        while ages.len() < EVENTS {
            let line = lines.next_line().await.expect("a stream").expect("a line");
            let data = line.strip_prefix("data: ").filter(|data| !data.is_empty());
            ages.extend(data.map(|data| age(data, started)));
        }
        ages
    })
}

/// Serves the channel, until the runtime ends.
pub(crate) async fn serve(es: &EventStream) -> std::net::SocketAddr {
    let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = tcp.local_addr().expect("an address");
    let app = Router::new().route("/", get(es.handler(CHANNEL)));
    tokio::spawn(async move { axum::serve(tcp, app).await });
    address
}

/// Opens a stream, and returns after its first line.
pub(crate) async fn open(server: std::net::SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(server).await.expect("a connection");
    let request = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";
    stream.write_all(request).await.expect("a request");
    stream.readable().await.expect("an answer");
    stream
}

fn age(sent: &str, started: Instant) -> f64 {
    let sent: f64 = sent.trim().parse().expect("a time");
    started.elapsed().as_nanos() as f64 / 1e3 - sent / 1e3
}
