//! Outages of Redis: how long subscribers wait after its return, and whether streams stay open.

use super::{
    instance::{CHANNEL, event, instance, warm},
    receipt::{open, serve},
    report::Row,
    server::Server,
};
use axum_eventstream::{EventStream, Subscription};
use futures_util::StreamExt as _;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::time::Duration;
use tokio::{
    io::AsyncReadExt as _,
    net::TcpStream,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

const SHORT: Duration = Duration::from_secs(3);
const LONG: Duration = Duration::from_secs(30);
const STREAMS: usize = 1000;

pub(crate) async fn rows(server: &mut Server, rounds: usize) {
    server.flush().await;
    let publisher = instance(&server.url()).await;
    let other = instance(&server.url()).await;
    let until = "until a subscriber of another instance has the next event, ms";
    let title = format!("Redis stopped for 3 s: time {until}");
    let mut paused = Row::new(title, 0, "at most 1000");
    let title = format!("Redis shut down, and restarted with its AOF after 3 s: time {until}");
    let mut restarted = Row::new(title, 0, "at most 1000");
    for _ in 0..rounds {
        server.pause();
        let waiting = publish_during(SHORT, &publisher, &other).await;
        server.resume();
        paused.add(waiting.received().await);
        server.shut_down();
        let waiting = publish_during(SHORT, &publisher, &other).await;
        server.restart();
        server.ready().await;
        restarted.add(waiting.received().await);
    }
    [paused, restarted].iter().for_each(Row::print);
    streams(server, &publisher, &other).await;
}

/// A subscriber that waits for an event which was published during the outage.
struct Waiting(Subscription);

/// Publishes at the end of an outage, so that the publish does not expire.
async fn publish_during(outage: Duration, publisher: &EventStream, other: &EventStream) -> Waiting {
    let subscription = other.subscribe([CHANNEL]).expect("a subscription");
    sleep(outage).await;
    let published = publisher.try_publish(CHANNEL, event("next"));
    published.expect("it is queued");
    Waiting(subscription)
}

impl Waiting {
    /// Milliseconds from now until the event.
    async fn received(mut self) -> f64 {
        let began = Instant::now();
        let next = timeout(Duration::from_secs(30), self.0.next()).await;
        let received = next.expect("it arrives").expect("the stream is open");
        assert!(received.data().starts_with("next"), "{received:?}");
        began.elapsed().as_secs_f64() * 1e3
    }
}

async fn streams(server: &mut Server, publisher: &EventStream, other: &EventStream) {
    raise_open_files();
    let address = serve(other).await;
    let mut streams = JoinSet::new();
    for _ in 0..STREAMS {
        let stream = open(address).await;
        streams.spawn(has_end(stream));
    }
    server.shut_down();
    sleep(LONG).await;
    server.restart();
    server.ready().await;
    warm(publisher).await;
    let published = publisher.publish_event(CHANNEL, event("end")).await;
    published.expect("it is published");
    let outcomes = streams.join_all().await;
    let disconnected = outcomes.iter().filter(|has_end| !**has_end).count();
    let title = "HTTP streams of 1000 that an outage of 30 s disconnects";
    let mut row = Row::new(title, 0, "0");
    row.add(disconnected as f64);
    row.print();
}

/// Reads a stream up to the last event. Returns false if the stream ends before.
async fn has_end(mut stream: TcpStream) -> bool {
    let (mut received, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        received.extend_from_slice(&buffer[..read]);
        if received.windows(9).any(|text| text == b"data: end") {
            return true;
        }
    }
    false
}

/// Both ends of each stream are in this process.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).expect("the hard limit is allowed");
}
