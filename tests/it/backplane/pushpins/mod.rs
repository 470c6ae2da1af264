//! Three instances on one Redis behind two Pushpins: parts are killed, and no client misses an event
//! without a reset.

mod balancer;
mod client;
mod instance;
mod kills;
mod losses;
mod record;

use crate::support::{pushpin::Pushpin, redis::RedisServer, server, until, within};
use axum::{
    Router, http::header::CONNECTION, middleware::map_response, response::Response, routing::get,
};
use axum_eventstream::EventStream;
use client::Client;
use futures_util::future::join_all;
use instance::{Instance, Publisher};
use record::{Record, Seen, What};
use std::{net::SocketAddr, sync::Arc, time::Duration};

const CHANNEL: &str = "a";

/// Number of clients that connect to each Pushpin first.
const CLIENTS: usize = 5;

/// One client in so many hops between the proxies.
const HOPPERS: usize = 3;

/// Number of events after which it does.
const HOP: usize = 7;

struct Fleet {
    redis: RedisServer,
    proxies: Vec<Pushpin>,
    instances: Vec<Instance>,
    clients: Vec<Client>,
    record: Arc<Record>,
}

/// Each response closes its connection, so that the next request leads to another instance.
fn app(es: &EventStream) -> Router {
    let close = async |mut response: Response| {
        response
            .headers_mut()
            .insert(CONNECTION, "close".parse().unwrap());
        response
    };
    let app = Router::new().route("/events/{id}", get(es.handler("{id}")));
    app.layer(map_response(close))
}

impl Fleet {
    /// Starts all parts, and returns when every client has received an event. Proxies check for missed events after
    /// `poll` without one.
    async fn start(redis: &str, poll: Duration) -> Self {
        let redis = RedisServer::with(redis).await;
        let (listener, origin) = server::bind().await;
        let proxies = join_all([pushpin(origin), pushpin(origin)]).await;
        let instances = (0..3).map(|_| Instance::start(redis.url(), &proxies, poll));
        let instances = join_all(instances).await;
        balancer::serve(listener, instances.iter().map(Instance::address).collect());
        let mut fleet = Self {
            redis,
            proxies,
            instances,
            clients: Vec::new(),
            record: Arc::default(),
        };
        fleet.connect().await;
        fleet
    }

    async fn connect(&mut self) {
        let [one, two] = [0, 1].map(|n: usize| self.proxies[n].address());
        for n in 0..CLIENTS {
            let hop = if n % HOPPERS == 0 { HOP } else { usize::MAX };
            let pair = [[one, two], [two, one]];
            self.clients
                .extend(pair.map(|proxies| Client::connect(proxies, hop)));
        }
        for proxy in &self.proxies {
            proxy.wait_for_subscribe("events-a", CLIENTS).await;
        }
        self.instances[0].publish("held", &self.record).await;
        self.all_have("held").await;
    }

    /// Waits until every client has the event.
    async fn all_have(&self, text: &str) {
        let is_it = |what: &What| matches!(what, What::Event(_, data) if data == text);
        self.wait(text, |client| client.has(is_it)).await;
    }

    async fn have_all(&self, texts: &[String]) {
        for text in texts {
            self.all_have(text).await;
        }
    }

    async fn all_are_reset(&self) {
        self.wait("a reset", |client| client.has(|what| *what == What::Reset))
            .await;
    }

    /// Two instances begin to publish. Returns when every client has received some of their events.
    async fn publish(&self) -> [Publisher; 2] {
        let publisher = |n: usize| self.instances[n].publisher(["a", "b"][n], &self.record);
        let publishers = [0, 1].map(publisher);
        self.receive(50).await;
        publishers
    }

    /// Waits until every client has received so many events and resets more.
    async fn receive(&self, count: usize) {
        let before: Vec<_> = self.clients.iter().map(Client::received).collect();
        for (client, before) in self.clients.iter().zip(before) {
            until("events for a client", || {
                client.received() >= before + count
            })
            .await;
        }
    }

    async fn wait(&self, what: &str, is_so: impl Fn(&Client) -> bool) {
        let all = || self.clients.iter().all(&is_so);
        until(what, || {
            assert!(
                self.clients.iter().all(Client::is_running),
                "a client has panicked"
            );
            all()
        })
        .await;
    }

    fn living(&self) -> &Instance {
        let mut instances = self.instances.iter().rev();
        instances
            .find(|instance| instance.is_alive())
            .expect("an instance")
    }

    /// Publishes a last event, and checks what each client has received up to it.
    async fn check(&self, what: &str) -> Vec<Vec<Seen>> {
        let last = self.living().publish("end", &self.record);
        within("the last publish", last).await;
        self.all_have("end").await;
        let seen: Vec<_> = self.clients.iter().map(Client::seen).collect();
        self.report(what, &seen);
        for (n, seen) in seen.iter().enumerate() {
            let checked = self.record.check(seen);
            assert_eq!(checked, Ok(()), "client {n}: {seen:#?}");
        }
        seen
    }

    fn report(&self, what: &str, seen: &[Vec<Seen>]) {
        let [unknown, published, refused] = self.record.counts();
        let resets: Vec<_> = seen.iter().map(|seen| record::resets(seen)).collect();
        let delays = seen.iter().map(|seen| self.record.longest_delay(seen));
        let delays: Vec<_> = delays.map(|delay| delay.as_millis()).collect();
        println!(
            "{what}: {published} events published, {unknown} unknown, {refused} refused; resets of each client \
             {resets:?}; its longest delay in ms {delays:?}"
        );
    }
}

async fn pushpin(origin: SocketAddr) -> Pushpin {
    // With a limit, 1.36 postpones deliveries while events are published at short intervals.
    let builder = Pushpin::builder().origin(origin).set("message_rate", "0");
    builder.start().await
}

/// Checks that no client was reset, and that all have received the same.
fn assert_same(seen: &[Vec<Seen>]) {
    let what = |seen: &Vec<Seen>| seen.iter().map(|seen| seen.what.clone()).collect();
    let all: Vec<Vec<What>> = seen.iter().map(what).collect();
    assert!(
        !all[0].contains(&What::Reset),
        "nothing was lost: {:?}",
        all[0]
    );
    for (n, one) in all.iter().enumerate() {
        assert_eq!(*one, all[0], "client {n}");
    }
}
