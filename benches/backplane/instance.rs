//! Instances and events.

use axum_eventstream::{Event, EventStream, backplane::Redis};
use rustix::time::{ClockId, clock_gettime};

pub(crate) const CHANNEL: &str = "news";
pub(crate) const BYTES: usize = 200;

/// Entries that the log keeps.
const ENTRIES: usize = 1_000_000;

/// An instance that has the whole log.
pub(crate) async fn instance(url: &str) -> EventStream {
    let es = cold_instance(url);
    warm(&es).await;
    es
}

pub(crate) fn cold_instance(url: &str) -> EventStream {
    let engine = Redis::new(url).max_entries(ENTRIES);
    let es = EventStream::builder().backplane(engine).build();
    es.expect("valid settings")
}

pub(crate) async fn warm(es: &EventStream) {
    while !es.catch_up().await {}
}

/// An event with 200 bytes of data that begin with this text.
pub(crate) fn event(text: &str) -> Event {
    const SPACES: &str = match str::from_utf8(&[b' '; BYTES]) {
        Ok(spaces) => spaces,
        Err(_) => unreachable!(),
    };
    let mut data = String::with_capacity(BYTES);
    data.push_str(text);
    data.push_str(&SPACES[text.len()..]);
    Event::text("message", data).expect("an event")
}

/// Publishes this number of events, as fast as lists get.
pub(crate) async fn publish_many(es: &EventStream, count: usize) {
    const LIST: usize = 100;
    for _ in 0..count / LIST {
        let events = (0..LIST).map(|_| event(""));
        let published = es.publish_events(CHANNEL, events).await;
        published.expect("it is published");
    }
}

/// CPU time of this process so far, in microseconds.
pub(crate) fn cpu() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}
