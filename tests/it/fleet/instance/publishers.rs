//! Publishes events, and writes when each publish begins and how it ends.

use super::Settings;
use crate::line::{CHANNELS, Ending, Line, now};
use axum_eventstream::{Error, ErrorKind, Event, EventStream, Published};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{Mutex, watch},
    task::{JoinHandle, JoinSet},
    time::sleep,
};

/// Bytes of an event's data.
const LENGTH: usize = 200;

#[derive(Clone)]
pub(super) struct Publishers {
    stop: watch::Sender<bool>,
    task: Arc<Mutex<Option<JoinHandle<()>>>>,
}

/// Publishes without waiting for earlier outcomes.
struct Publisher {
    name: String,
    count: u64,
    es: EventStream,
    random: fastrand::Rng,
}

impl Publishers {
    pub(super) fn start(es: &EventStream, settings: &Settings) -> Self {
        let publisher = Publisher {
            name: settings.name.clone(),
            count: 0,
            es: es.clone(),
            random: fastrand::Rng::with_seed(settings.seed),
        };
        let stop = watch::Sender::new(false);
        let task = tokio::spawn(publisher.run(settings.pause, stop.subscribe()));
        let task = Arc::new(Mutex::new(Some(task)));
        Self { stop, task }
    }

    /// Ends publishing, and waits for the outcomes.
    pub(super) async fn stop(&self) {
        self.stop.send_replace(true);
        if let Some(task) = self.task.lock().await.take() {
            task.await.expect("a publisher does not panic");
        }
    }
}

impl Publisher {
    async fn run(mut self, pause: Duration, stop: watch::Receiver<bool>) {
        let mut publishes = JoinSet::new();
        while !*stop.borrow() {
            let channel = CHANNELS[self.random.usize(..CHANNELS.len())];
            let payloads = self.payloads(channel);
            let es = self.es.clone();
            publishes.spawn(async move { publish(&es, channel, payloads).await });
            while publishes.try_join_next().is_some() {}
            // The mean is `pause`.
            sleep(pause.mul_f64(2.0 * self.random.f64())).await;
        }
        publishes.join_all().await;
    }

    /// One event mostly, and a list now and then.
    fn payloads(&mut self, channel: &str) -> Vec<String> {
        let count = match self.random.u8(..8) {
            0 => self.random.u64(2..6),
            _ => 1,
        };
        self.count += count;
        let numbers = self.count - count..self.count;
        let payload = |number| format!("{channel}/{}:{number}", self.name);
        numbers.map(payload).collect()
    }
}

pub(super) async fn publish(es: &EventStream, channel: &str, payloads: Vec<String>) {
    let began = now();
    Line::Begin(payloads.clone(), began).write();
    let event = |payload: &String| event(payload, began);
    let mut events: Vec<_> = payloads.iter().map(event).collect();
    let published = match events.len() {
        1 => {
            let event = events.remove(0);
            es.publish_event(channel, event).await.map(|one| vec![one])
        }
        _ => es.publish_events(channel, events).await,
    };
    let ending = ending(published, payloads.len());
    Line::End(payloads, ending).write();
}

/// The data has the time of the publish, and fills the event.
fn event(payload: &str, began: u64) -> Event {
    let data = format!("{payload} {began} ");
    let filler = "x".repeat(LENGTH.saturating_sub(data.len()));
    Event::text("message", data + &filler).expect("a valid event")
}

fn ending(published: Result<Vec<Published>, Error>, count: usize) -> Ending {
    match published {
        Ok(published) => Ending::Published(published.iter().map(|one| one.id).collect()),
        Err(error) => match error.kind() {
            // It is in the log. A proxy does not have it yet.
            ErrorKind::Publish => Ending::Published(vec![None; count]),
            ErrorKind::NotPublished => Ending::NotPublished,
            ErrorKind::MaybePublished => Ending::MaybePublished,
            kind => panic!("{kind:?}: {error}"),
        },
    }
}
