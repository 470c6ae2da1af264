//! A client that loses its connection and resumes.

use std::{collections::HashMap, time::Duration};

use axum_eventstream::LastEventId;
use tokio::{sync::watch, time::sleep};

use super::connection::{Connection, Site};

/// What a client has seen.
#[derive(Debug)]
pub(crate) enum Item {
    Open(Option<LastEventId>),
    Event {
        id: LastEventId,
        data: String,
    },
    Reset {
        channels: Vec<String>,
        missed: Option<u64>,
    },
}

/// Where the last event of each channel is, once that is known.
pub(crate) type Ends = HashMap<String, LastEventId>;

pub(crate) struct Client {
    pub(crate) channels: Vec<String>,
    pub(crate) last_event_id: Option<LastEventId>,
    pub(crate) items: Vec<Item>,
    pub(crate) connections: usize,
    /// Channels that go on with events published after this connection began.
    skipped: Vec<String>,
}

impl Client {
    pub(crate) fn new(channels: &[&str]) -> Self {
        Self {
            channels: channels.iter().map(|&channel| channel.to_owned()).collect(),
            last_event_id: None,
            items: Vec::new(),
            connections: 0,
            skipped: Vec::new(),
        }
    }

    /// Connects again and again, each time for as many bytes of the body as `budget` says, until it has
    /// all events of its channels.
    pub(crate) async fn run(
        mut self,
        site: Site,
        ends: watch::Receiver<Option<Ends>>,
        mut budget: impl FnMut() -> usize,
    ) -> Self {
        let target = format!("/{}", self.channels.join("+"));
        loop {
            let mut changed = ends.clone();
            let ends = ends.borrow().clone();
            let budget = if ends.is_some() { usize::MAX } else { budget() };
            let id = self.last_event_id.map(|id| id.to_string());
            let Some(mut connection) = site.open(&target, id.as_deref()).await else {
                sleep(Duration::from_millis(2)).await;
                continue;
            };
            self.connections += 1;
            self.skipped.clear();
            let done = |client: &Self| ends.as_ref().is_some_and(|ends| client.is_done(ends));
            tokio::select! {
                () = self.read(&mut connection, budget, done) => {}
                _ = changed.changed(), if ends.is_none() => {}
            }
            if done(&self) {
                return self;
            }
        }
    }

    /// Reads until it is done, the body ends, or so many bytes of it have come: then the rest of an
    /// event is lost.
    pub(crate) async fn read(
        &mut self,
        connection: &mut Connection,
        mut budget: usize,
        done: impl Fn(&Self) -> bool,
    ) {
        let mut text = String::new();
        while budget > 0 && !done(self) {
            let Some(mut piece) = connection.piece().await else {
                return;
            };
            piece.truncate(budget);
            budget -= piece.len();
            let searched = text.len().saturating_sub(1);
            text.push_str(str::from_utf8(&piece).expect("the tests have ASCII"));
            self.events(&mut text, searched);
        }
    }

    /// Takes the complete events from `text`. None ends before `searched`.
    fn events(&mut self, text: &mut String, searched: usize) {
        let breaks = text[searched..].match_indices('\n');
        let breaks = breaks.map(|(at, _)| searched + at);
        let mut start = 0;
        for at in breaks {
            if text[start..=at].ends_with("\n\n") {
                self.event(&text[start..=at]);
                start = at + 1;
            }
        }
        text.drain(..start);
    }

    /// It has seen the end of each channel, or a reset instead.
    fn is_done(&self, ends: &Ends) -> bool {
        let has = |end: LastEventId| {
            let id = self.last_event_id;
            id.is_some_and(|id| id.epoch() == end.epoch() && id.sequence() >= end.sequence())
        };
        let mut channels = self.channels.iter();
        channels.all(|channel| has(ends[channel]) || self.skipped.contains(channel))
    }

    fn event(&mut self, text: &str) {
        let field = |name: &str| {
            let mut values = text.lines().filter_map(|line| line.strip_prefix(name));
            values.next().map(str::to_owned)
        };
        let id = field("id: ").map(|id| id.parse().expect("an id of ours"));
        let Some(data) = field("data: ") else { return };
        let item = match field("event: ").as_deref() {
            Some("stream-open") => Item::Open(id),
            Some("stream-reset") => self.reset(&data),
            Some("keep-alive") => return,
            Some("message") => Item::Event {
                id: id.expect("an event has an id"),
                data: Self::without_filler(&data),
            },
            other => panic!("an event {other:?}"),
        };
        self.last_event_id = id.or(self.last_event_id);
        self.items.push(item);
    }

    fn without_filler(data: &str) -> String {
        let (data, filler) = data.rsplit_once(' ').unwrap();
        let (_, length) = data.rsplit_once(' ').unwrap();
        assert_eq!(filler.len(), length.parse::<usize>().unwrap());
        data.to_owned()
    }

    fn reset(&mut self, data: &str) -> Item {
        let data: serde_json::Value = serde_json::from_str(data).unwrap();
        let names = data["channels"].as_array().unwrap().iter();
        let names = names.map(|name| name.as_str().unwrap().to_owned());
        let (channels, missed): (Vec<_>, _) = (names.collect(), data["missed"].as_u64());
        if missed.is_none() {
            self.skipped.extend(channels.iter().cloned());
        }
        Item::Reset { channels, missed }
    }

    pub(crate) fn resets(&self) -> usize {
        let is_reset = |item: &&Item| matches!(item, Item::Reset { .. });
        self.items.iter().filter(is_reset).count()
    }
}
