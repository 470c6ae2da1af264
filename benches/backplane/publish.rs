//! Acknowledged publishes a second from one instance.

use super::{
    instance::{BYTES, CHANNEL, cpu, event, instance},
    report::Row,
    server::Server,
};
use axum_eventstream::EventStream;
use redis::aio::MultiplexedConnection;
use std::future::Future;
use tokio::{task::JoinSet, time::Instant};

const TASKS: [(usize, usize, &str); 3] = [
    (1, 3000, ""),
    (64, 50_000, ""),
    (512, 100_000, "at least 60,000"),
];

/// What one run has taken.
struct Taken {
    rate: f64,
    cpu: f64,
    server_cpu: f64,
}

pub(crate) async fn rows(server: &Server, rounds: usize) {
    for (tasks, events, target) in TASKS {
        let title = |what: &str| format!("{what}, {tasks} at a time");
        let rate = || title("acknowledged publishes a second");
        let raw_name = "raw XADD";
        let mut beside_raw = Row::new(rate(), 0, target).beside(raw_name);
        let mut beside_local = Row::new(rate(), 0, "").beside("no backplane");
        let title_cpu = title("CPU of the publishing instance an event, µs");
        let mut cpu = Row::new(title_cpu, 1, "").beside(raw_name);
        let title_server = title("CPU of Redis an event, µs");
        let mut server_cpu = Row::new(title_server, 1, "").beside(raw_name);
        for _ in 0..rounds {
            let ours = run(server, instance(&server.url()).await, tasks, events).await;
            beside_raw.add(ours.rate);
            beside_local.add(ours.rate);
            cpu.add(ours.cpu);
            server_cpu.add(ours.server_cpu);
            let raw = run(server, server.connect().await, tasks, events).await;
            beside_raw.add_baseline(raw.rate);
            cpu.add_baseline(raw.cpu);
            server_cpu.add_baseline(raw.server_cpu);
            let local = run(server, EventStream::new(), tasks, events).await;
            beside_local.add_baseline(local.rate);
        }
        [beside_raw, beside_local, cpu, server_cpu]
            .iter()
            .for_each(Row::print);
    }
}

/// Something that an event can be sent to.
trait Target: Clone + Send + 'static {
    fn send(&mut self) -> impl Future<Output = ()> + Send;
}

impl Target for EventStream {
    async fn send(&mut self) {
        let published = self.publish_event(CHANNEL, event("")).await;
        published.expect("it is published");
    }
}

/// One connection that all tasks share.
impl Target for MultiplexedConnection {
    async fn send(&mut self) {
        let mut command = redis::cmd("XADD");
        command.arg("raw").arg("MAXLEN").arg("~").arg(100_000);
        command.arg("*").arg("d").arg(&[b'x'; BYTES][..]);
        let answer: redis::RedisResult<String> = command.query_async(self).await;
        answer.expect("it is appended");
    }
}

/// Sends events from several tasks, each of which waits for the outcome of its previous event.
async fn run(server: &Server, target: impl Target, tasks: usize, events: usize) -> Taken {
    let (server_before, before, began) = (server.cpu().await, cpu(), Instant::now());
    let mut running = JoinSet::new();
    for _ in 0..tasks {
        let mut target = target.clone();
        running.spawn(async move {
            for _ in 0..events / tasks {
                target.send().await;
            }
        });
    }
    running.join_all().await;
    let (elapsed, after) = (began.elapsed(), cpu());
    let sent = (events / tasks * tasks) as f64;
    Taken {
        rate: sent / elapsed.as_secs_f64(),
        cpu: (after - before) / sent,
        server_cpu: (server.cpu().await - server_before) / sent,
    }
}
