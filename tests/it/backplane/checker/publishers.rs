//! Tasks that publish on an instance and record the outcomes.

use super::history::{Outcome, Record};
use axum_eventstream::{Error, ErrorKind, Event, EventStream, Published};
use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::{
    runtime::Handle,
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::sleep,
};

pub(super) const CHANNELS: [&str; 4] = ["a", "b", "c", "d"];

/// Bytes of an event's data.
const LENGTH: usize = 200;

#[derive(Clone, Default)]
pub(super) struct Records(Arc<Mutex<Vec<Record>>>);

impl Records {
    pub(super) fn all(&self) -> Vec<Record> {
        self.0.lock().unwrap().clone()
    }

    /// Publishes events, alone or as a list, and records their outcome. Returns the ids.
    pub(super) async fn publish(
        &self,
        es: &EventStream,
        channel: &'static str,
        payloads: Vec<String>,
    ) -> Result<Vec<Published>, Error> {
        let first = self.begin(channel, &payloads);
        let mut events: Vec<_> = payloads.iter().map(|payload| event(payload)).collect();
        let published = match events.len() {
            1 => {
                let event = events.remove(0);
                es.publish_event(channel, event).await.map(|one| vec![one])
            }
            _ => es.publish_events(channel, events).await,
        };
        self.end(first, payloads.len(), &published);
        published
    }

    fn begin(&self, channel: &'static str, payloads: &[String]) -> usize {
        let mut records = self.0.lock().unwrap();
        let (first, began) = (records.len(), Instant::now());
        records.extend(payloads.iter().map(|payload| Record {
            channel,
            payload: payload.clone(),
            began,
            outcome: Outcome::Unknown,
        }));
        first
    }

    fn end(&self, first: usize, count: usize, published: &Result<Vec<Published>, Error>) {
        let mut records = self.0.lock().unwrap();
        for (index, record) in records[first..first + count].iter_mut().enumerate() {
            record.outcome = match published {
                Ok(published) => Outcome::Published(published[index].id),
                Err(error) => match error.kind() {
                    ErrorKind::NotPublished => Outcome::NotPublished,
                    ErrorKind::MaybePublished => Outcome::MaybePublished,
                    kind => panic!("{kind:?}: {error}"),
                },
            };
        }
    }
}

fn event(payload: &str) -> Event {
    let filler = "x".repeat(LENGTH.saturating_sub(payload.len() + 1));
    Event::text("message", format!("{payload} {filler}")).unwrap()
}

/// The publishers of one instance.
pub(super) struct Publishers {
    name: String,
    /// Number of starts.
    starts: usize,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

/// One publisher, which gives each event a name of its own.
struct Publisher {
    name: String,
    count: u64,
    es: EventStream,
    records: Records,
    random: fastrand::Rng,
    stop: watch::Receiver<bool>,
}

impl Publishers {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            starts: 0,
            stop: watch::Sender::new(false),
            tasks: Vec::new(),
        }
    }

    pub(super) fn start(
        &mut self,
        runtime: &Handle,
        es: &EventStream,
        records: &Records,
        mut random: fastrand::Rng,
    ) {
        self.starts += 1;
        self.stop.send_replace(false);
        let mut publisher = |kind| Publisher {
            name: format!("{}.{}.{kind}", self.name, self.starts),
            count: 0,
            es: es.clone(),
            records: records.clone(),
            random: random.fork(),
            stop: self.stop.subscribe(),
        };
        let tasks = [
            runtime.spawn(publisher("one").one_after_another()),
            runtime.spawn(publisher("lists").lists()),
            runtime.spawn(publisher("all").all_at_once()),
        ];
        self.tasks.extend(tasks);
    }

    /// Ends publishing, and waits for the outcomes.
    pub(super) async fn finish(&mut self) {
        self.stop.send_replace(true);
        for task in self.tasks.drain(..) {
            task.await.unwrap();
        }
    }
}

impl Publisher {
    /// Waits for a random time, half of the longest on average. Returns false at the end.
    async fn wait(&mut self, longest: u64) -> bool {
        sleep(Duration::from_millis(self.random.u64(..longest))).await;
        !*self.stop.borrow()
    }

    fn payload(&mut self) -> (&'static str, String) {
        self.count += 1;
        let channel = CHANNELS[self.random.usize(..CHANNELS.len())];
        (channel, format!("{channel}/{}:{}", self.name, self.count))
    }

    async fn one_after_another(mut self) {
        while self.wait(20).await {
            let (channel, payload) = self.payload();
            // The outcome is recorded.
            let _ = self.records.publish(&self.es, channel, vec![payload]).await;
        }
    }

    async fn lists(mut self) {
        while self.wait(100).await {
            let (channel, first) = self.payload();
            let length = self.random.usize(1..8);
            let payloads = (0..length).map(|index| format!("{first}.{index}"));
            let payloads = payloads.collect();
            let _ = self.records.publish(&self.es, channel, payloads).await;
        }
    }

    /// Publishes without waiting for earlier outcomes.
    async fn all_at_once(mut self) {
        let mut publishes = JoinSet::new();
        while self.wait(50).await {
            let (channel, payload) = self.payload();
            let (records, es) = (self.records.clone(), self.es.clone());
            publishes
                .spawn(async move { records.publish(&es, channel, vec![payload]).await.is_ok() });
            while publishes.try_join_next().is_some() {}
        }
        publishes.join_all().await;
    }
}
