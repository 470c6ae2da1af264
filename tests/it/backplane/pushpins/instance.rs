//! An instance of an application on a runtime of its own, so that it can be killed.

use super::{
    CHANNEL, app,
    record::{Outcome, Record},
};
use crate::support::{pushpin::Pushpin, server, wire::Wire};
use axum_eventstream::{ErrorKind, Event, EventStream, History, LastEventId, backplane::Redis};
use std::{
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::{
    runtime::{Builder, Runtime},
    task::{JoinHandle, JoinSet},
    time::sleep,
};

pub(super) struct Instance {
    /// `None` after a kill.
    alive: Option<Alive>,
    address: SocketAddr,
    /// The ways to the control ports of the proxies.
    controls: Vec<Wire>,
}

struct Alive {
    runtime: Runtime,
    es: EventStream,
}

/// Publishes an event every 10 milliseconds, whether or not earlier ones have their outcome.
pub(super) struct Publisher {
    stop: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Instance {
    pub(super) async fn start(redis: String, proxies: &[Pushpin], poll: Duration) -> Self {
        let mut controls = Vec::new();
        for proxy in proxies {
            controls.push(Wire::to(proxy.control_address()).await);
        }
        let uris = controls.iter().map(Wire::address);
        let uris: Vec<_> = uris.map(|control| format!("http://{control}/")).collect();
        let runtime = Builder::new_multi_thread();
        let runtime = { runtime }.worker_threads(1).enable_all().build().unwrap();
        let serving = runtime.spawn(async move {
            let es = build(redis, &uris, poll);
            let address = server::start(app(&es), false).await;
            assert!(es.catch_up().await);
            (es, address)
        });
        let (es, address) = serving.await.unwrap();
        let alive = Some(Alive { runtime, es });
        Self {
            alive,
            address,
            controls,
        }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn is_alive(&self) -> bool {
        self.alive.is_some()
    }

    /// Drops its tasks where they are, and returns when its port is closed.
    pub(super) async fn kill(&mut self) {
        self.end();
        while TcpStream::connect(self.address).is_ok() {
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Lets it reach no proxy.
    pub(super) fn cut_off(&self) {
        self.controls.iter().for_each(|control| {
            control.cut();
        });
    }

    /// The end of the log as it has it.
    pub(super) fn position(&self) -> LastEventId {
        self.alive().es.current_id().unwrap()
    }

    /// Publishes an event, and records the outcome.
    pub(super) async fn publish(&self, text: &str, record: &Arc<Record>) {
        let Alive { runtime, es } = self.alive();
        let publishing = publish(es.clone(), text.to_owned(), record.clone());
        runtime.spawn(publishing).await.unwrap();
    }

    /// Queues events, which reach the log also if the result is dropped.
    pub(super) fn publish_later(&self, texts: &[String], record: &Arc<Record>) {
        let Alive { runtime, es } = self.alive();
        for text in texts {
            runtime.spawn(publish(es.clone(), text.clone(), record.clone()));
        }
    }

    /// Publishes events with these names until the publisher is stopped, or the instance is killed.
    pub(super) fn publisher(&self, name: &'static str, record: &Arc<Record>) -> Publisher {
        let Alive { runtime, es } = self.alive();
        let (es, record, stop) = (es.clone(), record.clone(), Arc::<AtomicBool>::default());
        let stopped = stop.clone();
        let task = runtime.spawn(async move {
            let mut publishes = JoinSet::new();
            for n in 0.. {
                if stopped.load(SeqCst) {
                    break;
                }
                publishes.spawn(publish(es.clone(), format!("{name} {n}"), record.clone()));
                sleep(Duration::from_millis(10)).await;
            }
            publishes.join_all().await;
        });
        Publisher { stop, task }
    }

    fn alive(&self) -> &Alive {
        self.alive.as_ref().expect("it was not killed")
    }

    fn end(&mut self) {
        if let Some(Alive { runtime, es }) = self.alive.take() {
            runtime.shutdown_background();
            drop(es);
        }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.end();
    }
}

/// Returns when every publish has its outcome, or its instance was killed.
pub(super) async fn stop(publishers: impl IntoIterator<Item = Publisher>) {
    for Publisher { stop, task } in publishers {
        stop.store(true, SeqCst);
        if let Err(error) = task.await {
            assert!(error.is_cancelled(), "{error}");
        }
    }
}

fn build(redis: String, control_uris: &[String], poll: Duration) -> EventStream {
    let builder = control_uris
        .iter()
        .fold(EventStream::builder(), |builder, uri| {
            builder.grip(uri.as_str())
        });
    let builder = builder
        .history(History::memory().events(100_000))
        .grip_link_key("a secret of all instances")
        .grip_poll(poll)
        .backplane(Redis::new(redis));
    builder.build().unwrap()
}

async fn publish(es: EventStream, text: String, record: Arc<Record>) {
    record.begin(&text);
    let event = Event::text("message", &text).unwrap();
    let outcome = match es.publish_event(CHANNEL, event).await {
        Ok(published) => Outcome::Published(published.id),
        Err(error) => match error.kind() {
            // The event is in the log. A proxy does not have it.
            ErrorKind::Publish => Outcome::Published(None),
            ErrorKind::NotPublished => Outcome::NotPublished,
            ErrorKind::MaybePublished => Outcome::Unknown,
            _ => panic!("{text}: {error}"),
        },
    };
    record.finish(&text, outcome);
}
