//! A client that reconnects as a browser does, and keeps a journal.

use super::{
    connected::Connected,
    history::{Item, Read},
    journal::Journal,
    tally::{PUSHPINS, Tally},
};
use crate::line::{CHANNELS, INSTANCES, now};
use reqwest::Response;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

/// The sequence of the last event of each channel, at the end.
pub(super) type Ends = Option<[u64; CHANNELS.len()]>;

/// How long a client may take to read the events that are there at the end.
const DRAIN_LIMIT: Duration = Duration::from_secs(60);

/// How long a client waits for an answer.
const ANSWER: Duration = Duration::from_secs(10);

/// After how long a silence a page behind a proxy opens a new stream. Pushpin 1.36 does not activate every hold.
const SILENCE: Duration = Duration::from_secs(20);

/// Where clients connect to.
#[derive(Clone)]
pub(super) struct Places {
    pub(super) balancer: SocketAddr,
    pub(super) instances: [SocketAddr; INSTANCES],
    pub(super) pushpins: [SocketAddr; PUSHPINS],
    pub(super) http: reqwest::Client,
    pub(super) tally: Arc<Tally>,
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Way {
    /// Each connection leads to another instance.
    Balanced,
    /// Always at this instance.
    Staying(usize),
    /// Leaves its stream now and then, and begins without an id sometimes.
    Hopping,
    /// On one channel, at the other Pushpin after each end.
    Proxied,
}

pub(super) struct Client {
    way: Way,
    places: Places,
    journal: Journal,
    connections: usize,
    random: fastrand::Rng,
}

impl Client {
    pub(super) fn new(way: Way, places: Places, mut random: fastrand::Rng) -> Self {
        let count = match way {
            Way::Staying(_) => CHANNELS.len(),
            Way::Proxied => 1,
            Way::Balanced | Way::Hopping => random.usize(1..=CHANNELS.len()),
        };
        let channels = random.choose_multiple(CHANNELS, count);
        Self {
            way,
            journal: Journal::new(channels, places.tally.clone()),
            places,
            connections: random.usize(..PUSHPINS),
            random,
        }
    }

    /// Reads until `end` has a value, and the client has reached the last events of its channels.
    pub(super) async fn run(mut self, end: watch::Receiver<Ends>) -> Read {
        let mut ended = end.clone();
        let is_late = async {
            // Without a value, the fleet has failed.
            let _ = ended.wait_for(Option::is_some).await;
            sleep(DRAIN_LIMIT).await;
        };
        let is_drained = tokio::select! {
            () = self.browse(end) => true,
            () = is_late => false,
        };
        let home = match self.way {
            Way::Staying(home) => Some(home),
            _ => None,
        };
        Read {
            home,
            lives: self.journal.lives,
            is_drained,
        }
    }

    async fn browse(&mut self, mut end: watch::Receiver<Ends>) {
        while !self.has_reached(&end) {
            let stay = self.stay(&end);
            let _ = timeout(stay, self.connect(&mut end)).await;
            if self.has_reached(&end) {
                return;
            }
            if self.way == Way::Hopping && self.random.u8(..20) == 0 {
                self.journal.begin();
            }
            sleep(self.journal.retry.mul_f64(1.0 + self.random.f64() / 2.0)).await;
            self.places.tally.reconnects();
        }
    }

    /// How long the next connection lasts at most.
    fn stay(&mut self, end: &watch::Receiver<Ends>) -> Duration {
        match self.way {
            Way::Hopping if end.borrow().is_none() => {
                self.journal.retry = Duration::from_millis(self.random.u64(..500));
                Duration::from_millis(self.random.u64(..5000))
            }
            _ => Duration::MAX,
        }
    }

    fn has_reached(&self, end: &watch::Receiver<Ends>) -> bool {
        let end = *end.borrow();
        end.is_some_and(|ends| self.journal.has_reached(&ends))
    }

    /// Reads one connection, until it ends or the client has reached the end.
    async fn connect(&mut self, end: &mut watch::Receiver<Ends>) {
        self.connections += 1;
        let proxy = self.connections % PUSHPINS;
        let (address, path) = match self.way {
            Way::Balanced | Way::Hopping => (self.places.balancer, "direct"),
            Way::Staying(home) => (self.places.instances[home], "direct"),
            Way::Proxied => (self.places.pushpins[proxy], "proxied"),
        };
        let url = format!(
            "http://{address}/{path}/{}",
            self.journal.channels.join("+")
        );
        let mut request = self.places.http.get(url);
        if let Some(id) = self.journal.last {
            request = request.header("last-event-id", id.to_string());
        }
        let Ok(Ok(response)) = timeout(ANSWER, request.send()).await else {
            return;
        };
        if !response.status().is_success() {
            // A page opens a new `EventSource` then.
            self.places.tally.count(|counts| counts.refused += 1);
            return;
        }
        self.journal.add(Item::Connected(match self.way {
            Way::Proxied => proxy,
            Way::Staying(home) => home,
            Way::Balanced | Way::Hopping => INSTANCES,
        }));
        let _connected = Connected::new(
            &self.places.tally,
            (self.way == Way::Proxied).then_some(proxy),
        );
        self.read(response, proxy, end).await;
    }

    async fn read(
        &mut self,
        mut response: Response,
        proxy: usize,
        end: &mut watch::Receiver<Ends>,
    ) {
        let (opened, mut text) = (now(), String::new());
        while !self.has_reached(end) {
            let chunk = tokio::select! {
                chunk = self.chunk(&mut response) => chunk,
                _ = end.changed() => continue,
            };
            let Some(chunk) = chunk else {
                return;
            };
            text.push_str(str::from_utf8(&chunk).expect("events are ASCII"));
            while let Some(at) = text.find("\n\n") {
                let is_event = self.journal.block(&text[..at], opened);
                if is_event && self.way == Way::Proxied {
                    let tally = &self.places.tally;
                    tally.count(|counts| counts.pushpins[proxy].deliveries += 1);
                }
                text.drain(..at + 2);
            }
        }
    }

    /// `None` at the end of the stream, or after a silence behind a proxy.
    async fn chunk(&self, response: &mut Response) -> Option<bytes::Bytes> {
        let silence = match self.way {
            Way::Proxied => SILENCE,
            _ => Duration::MAX,
        };
        let chunk = timeout(silence, response.chunk()).await;
        if chunk.is_err() {
            self.places.tally.count(|counts| counts.silences += 1);
        }
        chunk.ok()?.ok()?
    }
}
