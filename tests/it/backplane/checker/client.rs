//! A client that reads over a socket, and hops between the instances.

use super::{
    fleet::{Addresses, INSTANCES},
    history::{Item, Life, Read},
    publishers::CHANNELS,
};
use crate::replay::{Connection, Site};
use axum_eventstream::LastEventId;
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

/// The sequence of the last event of each channel.
pub(super) type Ends = HashMap<&'static str, u64>;

/// How long a client may take to read the events that are there at the end.
const DRAIN_LIMIT: Duration = Duration::from_secs(20);

pub(super) struct Client {
    addresses: Addresses,
    channels: Vec<&'static str>,
    /// The instance of a client that never hops.
    home: Option<usize>,
    last: Option<LastEventId>,
    lives: Vec<Life>,
    random: fastrand::Rng,
}

impl Client {
    /// A client that stays at an instance, on all channels.
    pub(super) fn staying(home: usize, addresses: Addresses, random: fastrand::Rng) -> Self {
        Self {
            addresses,
            channels: CHANNELS.to_vec(),
            home: Some(home),
            last: None,
            lives: Vec::new(),
            random,
        }
    }

    /// A client that hops, on some channels.
    pub(super) fn hopping(addresses: Addresses, mut random: fastrand::Rng) -> Self {
        let count = random.usize(1..=CHANNELS.len());
        let channels = random.choose_multiple(CHANNELS, count);
        Self {
            channels,
            home: None,
            ..Self::staying(0, addresses, random)
        }
    }

    /// Reads until `end` has a value, and the client has reached the last events of its channels.
    pub(super) async fn run(mut self, mut end: watch::Receiver<Option<Ends>>) -> Read {
        self.begin();
        while end.borrow().is_none() {
            let stay = self.stay();
            tokio::select! {
                _ = timeout(stay, self.connect(None)) => {}
                _ = end.changed() => {}
            }
            if self.home.is_none() && self.random.u8(..20) == 0 {
                self.begin();
            }
        }
        let last = end
            .borrow()
            .as_ref()
            .and_then(|ends| self.channels.iter().map(|channel| ends[channel]).max());
        let drained = async {
            while !self.has_reached(last) {
                self.connect(last).await;
            }
        };
        let is_drained = timeout(DRAIN_LIMIT, drained).await.is_ok();
        Read {
            home: self.home,
            lives: self.lives,
            is_drained,
        }
    }

    /// Begins a life without a `Last-Event-ID`.
    fn begin(&mut self) {
        self.last = None;
        self.lives.push(Life {
            channels: self.channels.clone(),
            items: Vec::new(),
        });
    }

    /// How long the next connection lasts: often only some events.
    fn stay(&mut self) -> Duration {
        match (self.home, self.random.u8(..8)) {
            (Some(_), _) => Duration::MAX,
            (None, 0) => Duration::from_millis(self.random.u64(..5)),
            (None, 1..6) => Duration::from_millis(self.random.u64(5..200)),
            (None, _) => Duration::from_millis(self.random.u64(200..3000)),
        }
    }

    fn has_reached(&self, end: Option<u64>) -> bool {
        let last = self.last.map(LastEventId::sequence);
        end.is_some_and(|end| last >= Some(end))
    }

    /// Reads one connection, until it ends or the client has reached the end.
    async fn connect(&mut self, end: Option<u64>) {
        let index = self.home.unwrap_or_else(|| self.random.usize(..INSTANCES));
        let target = format!("/{}", self.channels.join("+"));
        let id = self.last.map(|id| id.to_string());
        let address = self.addresses.get(index);
        let opened = match address.map(Site::Socket) {
            Some(site) => site.open(&target, id.as_deref()).await,
            None => None,
        };
        match opened {
            Some(connection) => {
                self.add(Item::Connected(index));
                self.read(connection, end).await;
            }
            None => sleep(Duration::from_millis(5)).await,
        }
    }

    async fn read(&mut self, mut connection: Connection, end: Option<u64>) {
        let mut text = String::new();
        while !self.has_reached(end) {
            let Some(piece) = connection.piece().await else {
                return;
            };
            text.push_str(str::from_utf8(&piece).expect("the tests have ASCII"));
            while let Some(at) = text.find("\n\n") {
                self.event(&text[..at]);
                text.drain(..at + 2);
            }
        }
    }

    fn event(&mut self, text: &str) {
        let field = |name: &str| {
            let mut values = text.lines().filter_map(|line| line.strip_prefix(name));
            values.next().map(str::to_owned)
        };
        let id: Option<LastEventId> = field("id: ").map(|id| id.parse().expect("an id of ours"));
        let data = field("data: ");
        let item = match (field("event: ").as_deref(), id) {
            (Some("stream-open"), _) => Some(Item::Open(id, Instant::now())),
            (Some("stream-reset"), _) => Some(Item::Reset(reset(&data.unwrap()), id)),
            (Some("message"), Some(id)) => {
                let (payload, _filler) = data
                    .as_deref()
                    .and_then(|data| data.split_once(' '))
                    .unwrap();
                Some(Item::Event(id, payload.into()))
            }
            (None | Some("keep-alive"), id) => id.map(Item::Position),
            other => panic!("an event {other:?}"),
        };
        self.last = id.or(self.last);
        item.into_iter().for_each(|item| self.add(item));
    }

    fn add(&mut self, item: Item) {
        let life = self.lives.last_mut().expect("a life has begun");
        life.items.push(item);
    }
}

/// The channels of a reset.
fn reset(data: &str) -> Vec<String> {
    let data: serde_json::Value = serde_json::from_str(data).unwrap();
    let names = data["channels"].as_array().unwrap().iter();
    names
        .map(|name| name.as_str().unwrap().to_owned())
        .collect()
}
