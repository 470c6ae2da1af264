//! Three instances of an application, each with a runtime of its own that can be killed.

use super::publishers::{Publishers, Records};
use crate::support::{server, within};
use axum::{Router, http::request::Parts, routing::get};
use axum_eventstream::{EventStream, EventStreamBuilder, History, KeepAlive, backplane::Backplane};
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::runtime::{Builder, Runtime};

pub(super) const INSTANCES: usize = 3;

/// Where the instances are. `None` for one that does not run.
#[derive(Clone, Default)]
pub(super) struct Addresses(Arc<Mutex<[Option<SocketAddr>; INSTANCES]>>);

/// What holds the log of an instance.
#[derive(Clone)]
pub(super) struct Engine(Arc<dyn Fn(EventStreamBuilder) -> EventStreamBuilder + Send + Sync>);

impl Engine {
    pub(super) fn new(backplane: impl Backplane + Clone) -> Self {
        Self(Arc::new(move |builder| {
            builder.backplane(backplane.clone())
        }))
    }
}

pub(super) struct Fleet {
    engines: [Engine; INSTANCES],
    pub(super) addresses: Addresses,
    pub(super) records: Records,
    instances: [Option<Instance>; INSTANCES],
    /// Number of starts.
    starts: usize,
    random: fastrand::Rng,
}

struct Instance {
    runtime: Option<Runtime>,
    es: EventStream,
    publishers: Publishers,
}

impl Addresses {
    pub(super) fn get(&self, index: usize) -> Option<SocketAddr> {
        self.0.lock().unwrap()[index]
    }

    fn set(&self, index: usize, address: Option<SocketAddr>) {
        self.0.lock().unwrap()[index] = address;
    }
}

impl Fleet {
    /// Starts an instance on each of the engines.
    pub(super) async fn start(engines: [Engine; INSTANCES], random: fastrand::Rng) -> Self {
        let mut fleet = Self {
            engines,
            addresses: Addresses::default(),
            records: Records::default(),
            instances: [const { None }; INSTANCES],
            starts: 0,
            random,
        };
        for index in 0..INSTANCES {
            fleet.start_one(index).await;
            fleet.caught_up(index).await;
        }
        fleet
    }

    /// Waits until an instance has read the log.
    async fn caught_up(&self, index: usize) {
        let instance = self.instances[index].as_ref().expect("it runs");
        within("the log", async { while !instance.es.catch_up().await {} }).await;
    }

    /// Starts an instance. Clients come at once.
    pub(super) async fn start_one(&mut self, index: usize) {
        self.starts += 1;
        let (engine, name) = (
            self.engines[index].clone(),
            format!("{index}.{}", self.starts),
        );
        let (instance, address) =
            Instance::start(engine, name, self.records.clone(), self.random.fork()).await;
        self.instances[index] = Some(instance);
        self.addresses.set(index, Some(address));
    }

    /// Ends an instance as `kill -9` does, in the middle of everything.
    pub(super) fn kill(&mut self, index: usize) {
        self.addresses.set(index, None);
        self.instances[index] = None;
    }

    /// Ends an instance after its publishes have outcomes.
    pub(super) async fn shut_down(&mut self, index: usize) {
        let mut instance = self.instances[index].take().unwrap();
        instance.publishers.finish().await;
        self.addresses.set(index, None);
        instance.es.close();
    }

    /// Stops publishing on these instances, and waits for all outcomes.
    pub(super) async fn pause(&mut self, indices: &[usize]) {
        for &index in indices {
            if let Some(instance) = &mut self.instances[index] {
                instance.publishers.finish().await;
            }
        }
    }

    pub(super) fn resume(&mut self, indices: &[usize]) {
        for &index in indices {
            if let Some(instance) = &mut self.instances[index] {
                instance.publish(&self.records, self.random.fork());
            }
        }
    }

    pub(super) fn any(&self) -> &EventStream {
        let mut instances = self.instances.iter().flatten();
        &instances.next().expect("an instance runs").es
    }
}

impl Instance {
    async fn start(
        engine: Engine,
        name: String,
        records: Records,
        random: fastrand::Rng,
    ) -> (Self, SocketAddr) {
        let mut builder = Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build().unwrap();
        let started = runtime.spawn(async move {
            let es = build(&engine);
            let address = server::start(app(&es), true).await;
            (es, address)
        });
        let (es, address) = started.await.unwrap();
        let mut instance = Self {
            runtime: Some(runtime),
            es,
            publishers: Publishers::new(name),
        };
        instance.publish(&records, random);
        (instance, address)
    }

    fn publish(&mut self, records: &Records, random: fastrand::Rng) {
        let runtime = self.runtime.as_ref().expect("it runs");
        self.publishers
            .start(runtime.handle(), &self.es, records, random);
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // Tasks end at their next await, wherever they are.
        self.runtime
            .take()
            .into_iter()
            .for_each(Runtime::shutdown_background);
    }
}

fn build(engine: &Engine) -> EventStream {
    engine.0(EventStream::builder())
        .history(History::memory().events(50_000))
        .keep_alive(KeepAlive::new().interval(Duration::from_secs(1)))
        .build()
        .unwrap()
}

/// Streams on the channels that the path names: `/a+b`.
fn app(es: &EventStream) -> Router {
    let channels = |parts: &Parts| -> Vec<String> {
        let names = parts.uri.path().trim_start_matches('/').split('+');
        names.map(str::to_owned).collect()
    };
    Router::new().route("/{channels}", get(es.handler(channels)))
}
