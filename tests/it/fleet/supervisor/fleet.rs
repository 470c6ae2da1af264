//! The parts of the fleet, and how they are started and ended.

use super::{
    balancer::Balancer,
    client::Places,
    instance::Instance,
    link::Link,
    parts::{Board, Part, State},
    records::Records,
    tally::{PUSHPINS, Tally},
};
use crate::{
    instance::Settings,
    line::INSTANCES,
    options::Options,
    support::{pushpin::Pushpin, redis::RedisServer, server},
};
use futures_util::future::join_all;
use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

/// Nothing that Redis has acknowledged is lost when it is killed.
const CONFIGURATION: &str = "appendonly yes\nappendfsync always\nsave ''";

/// The mean number of events of a publish.
const EVENTS: f64 = 1.0 + 2.5 / 8.0;

pub(super) struct Fleet {
    pub(super) redis: RedisServer,
    /// The way of each instance to Redis.
    pub(super) links: Vec<Link>,
    pub(super) instances: Vec<Instance>,
    pub(super) pushpins: Vec<Pushpin>,
    pub(super) balancer: Balancer,
    pub(super) board: Board,
    pub(super) places: Places,
    pub(super) records: Arc<Records>,
}

impl Fleet {
    pub(super) async fn start(options: &Options, board: Board) -> Result<Self, String> {
        let redis = RedisServer::with(CONFIGURATION).await;
        board.up(Part::Redis, redis.pid());
        let addresses = addresses();
        let balancer = Balancer::new(addresses);
        let origin = balancer.serve().await;
        let pushpins = join_all((0..PUSHPINS).map(|_| pushpin(origin))).await;
        let places = Places {
            balancer: balancer.serve().await,
            instances: addresses,
            pushpins: [pushpins[0].address(), pushpins[1].address()],
            http: http(),
            tally: Arc::new(Tally::new()),
        };
        for (index, pushpin) in pushpins.iter().enumerate() {
            board.up(Part::Pushpin(index), pushpin.pid());
        }
        let mut fleet = Self {
            redis,
            links: Vec::new(),
            instances: Vec::new(),
            pushpins,
            balancer,
            board,
            places,
            records: Arc::new(Records::new()),
        };
        for index in 0..INSTANCES {
            fleet.add_instance(index, options).await?;
        }
        Ok(fleet)
    }

    async fn add_instance(&mut self, index: usize, options: &Options) -> Result<(), String> {
        let link = Link::to(self.redis.port()).await;
        let per_instance = options.events as f64 / INSTANCES as f64;
        let settings = Settings {
            name: String::new(),
            port: self.places.instances[index].port(),
            redis: link.url(),
            proxies: self.pushpins.iter().map(Pushpin::control_uri).collect(),
            pause: Duration::from_secs_f64(EVENTS / per_instance),
            drain: options.drain(),
            seed: options.seed ^ index as u64,
        };
        self.links.push(link);
        self.instances
            .push(Instance::new(index, settings, self.records.clone()));
        self.start_instance(index).await
    }

    pub(super) async fn start_instance(&mut self, index: usize) -> Result<(), String> {
        self.instances[index].start().await?;
        self.board
            .up(Part::Instance(index), self.instances[index].pid());
        self.balancer.set(index, true);
        Ok(())
    }

    /// Lets an instance end its streams and its process, and starts the next version.
    pub(super) async fn replace(&mut self, index: usize) -> Result<(), String> {
        self.balancer.set(index, false);
        self.board.set(Part::Instance(index), State::Draining);
        self.instances[index].replace().await?;
        self.board.set(Part::Instance(index), State::Down);
        self.start_instance(index).await
    }

    /// Waits until all instances are attached to the log, and publish.
    pub(super) async fn recovers(&self) -> Result<(), String> {
        let since = Instant::now();
        for instance in &self.instances {
            instance.publishes(since).await?;
        }
        Ok(())
    }

    /// Ends publishing, and publishes the last events.
    pub(super) async fn finish(&mut self) -> Result<(), String> {
        for instance in &mut self.instances {
            instance.command("stop").await?;
        }
        let since = Instant::now();
        for instance in &self.instances {
            instance.attached(since).await?;
        }
        self.instances[0].command("end").await
    }
}

/// Each process of an instance has the same port.
fn addresses() -> [SocketAddr; INSTANCES] {
    let ports = server::reserve::<INSTANCES>(Ipv4Addr::LOCALHOST);
    ports.map(|port| port.local_addr().unwrap())
}

async fn pushpin(origin: SocketAddr) -> Pushpin {
    // With a limit, 1.36 postpones deliveries while events are published at short intervals.
    let builder = Pushpin::builder().origin(origin).set("message_rate", "0");
    builder.start().await
}

/// Each stream has a connection of its own.
fn http() -> reqwest::Client {
    let builder = reqwest::Client::builder().pool_max_idle_per_host(0);
    builder.no_proxy().build().unwrap()
}
