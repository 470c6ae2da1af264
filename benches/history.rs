//! Cost of many channels with history: memory, and the longest publish during their expiry.
//!
//! `cargo bench --bench history`, with `-- memory`, `-- expiry` or `-- budget` to run only one of them.

use axum_eventstream::{Event, EventStream, History};
use futures_util::FutureExt as _;
use std::{
    env, fs,
    process::Command,
    thread,
    time::{Duration, Instant},
};

/// Each case runs in its own process, so that none reuses memory that another has freed.
const CASES: [&str; 4] = [
    "memory 100000 1",
    "memory 1000 256",
    "expiry 200000",
    "budget 100000",
];

fn main() {
    let wanted: Vec<_> = env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with("--"))
        .collect();
    let number = |index: usize| wanted[index].parse().expect("a number");
    match (wanted.len(), wanted.first().map(String::as_str)) {
        (3, Some("memory")) => memory(number(1), number(2)),
        (2, Some("expiry")) => expiry(number(1)),
        (2, Some("budget")) => budget(number(1)),
        _ => {
            let is_wanted = |case: &&&str| wanted.iter().all(|name| case.starts_with(name));
            CASES.iter().filter(is_wanted).for_each(|case| run(case));
        }
    }
}

fn run(case: &str) {
    let program = env::current_exe().expect("the path of this program");
    let status = Command::new(program).args(case.split(' ')).status();
    assert!(status.expect("it starts").success());
}

fn event_stream(max_age: Duration, bytes: usize) -> EventStream {
    let history = History::memory().max_age(max_age).bytes(bytes);
    let built = EventStream::builder().history(history).build();
    built.expect("valid settings")
}

async fn publish(es: &EventStream, channel: usize) {
    let event = Event::text("message", "twenty bytes of data").expect("a valid event");
    let published = es.publish_event(format!("channel-{channel}"), event);
    published.await.expect("no proxy can fail");
}

/// Without a runtime: a publish without proxies completes in its first poll.
fn fill(es: &EventStream, channels: usize) {
    for channel in 0..channels {
        publish(es, channel)
            .now_or_never()
            .expect("it is published");
    }
}

/// Resident memory of the process in bytes.
fn resident() -> usize {
    let pages = fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages = pages.split(' ').nth(1).expect("the resident pages");
    4096 * pages.parse::<usize>().expect("a number")
}

fn memory(channels: usize, events: usize) {
    let es = event_stream(Duration::from_secs(3600), 1 << 30);
    let before = resident();
    (0..events).for_each(|_| fill(&es, channels));
    let (taken, counted) = (resident() - before, es.stats().history_bytes);
    println!(
        "memory: {channels} channels, {events} events each: {:.1} MB taken, {:.1} MB counted, {:.2} times",
        taken as f64 / 1e6,
        counted as f64 / 1e6,
        taken as f64 / counted as f64
    );
}

/// Publishes without a pause while expired channels are removed.
fn expiry(channels: usize) {
    let max_age = Duration::from_secs(1);
    let es = event_stream(max_age, 1 << 30);
    fill(&es, channels);
    thread::sleep(max_age);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let publishing = runtime.spawn(async move { longest(&es, channels).await });
    runtime.block_on(publishing).expect("it does not panic");
}

/// Also measures publishes for an equal time afterwards, since a busy machine delays both now and then.
async fn longest(es: &EventStream, channels: usize) {
    let (mut during, mut stats) = (Vec::new(), Duration::ZERO);
    let expiring = Instant::now();
    while es.stats().history_bytes > 200_000 {
        publish_many(es, channels, &mut during).await;
        let before = Instant::now();
        _ = es.stats();
        stats = stats.max(before.elapsed());
    }
    let gone = expiring.elapsed();
    let mut after = Vec::new();
    while expiring.elapsed() < 2 * gone {
        publish_many(es, channels, &mut after).await;
    }
    println!("expiry: {channels} channels removed after {gone:?}, longest stats() {stats:?}");
    for (when, mut times) in [("during removal", during), ("afterwards", after)] {
        times.sort();
        let (median, longest) = (times[times.len() / 2], &times[times.len() - 3..]);
        let above = times
            .iter()
            .filter(|time| **time > Duration::from_millis(1));
        println!(
            "expiry: {when}: {} publishes, median {median:?}, {} above 1 ms, longest {longest:?}",
            times.len(),
            above.count()
        );
    }
}

async fn publish_many(es: &EventStream, channel: usize, times: &mut Vec<Duration>) {
    for _ in 0..10 {
        let before = Instant::now();
        publish(es, channel).await;
        times.push(before.elapsed());
    }
}

/// A large event evicts many small ones.
fn budget(channels: usize) {
    let es = event_stream(Duration::from_secs(3600), 64 << 20);
    fill(&es, channels);
    for bytes in [15 << 20, 60 << 20] {
        let event = Event::text("message", "x".repeat(bytes)).expect("a valid event");
        let before = Instant::now();
        let published = es.publish_event("large", event).now_or_never();
        let took = before.elapsed();
        let published = published.expect("nothing to wait for");
        println!(
            "budget: an event of {bytes} bytes beside {channels} channels: {took:?}, {:?}",
            published.map(|_| es.stats().history_bytes)
        );
    }
}
