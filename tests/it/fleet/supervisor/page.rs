//! The live page: an `EventStream` whose keys are the parts, the totals, the faults and the seconds.

use super::{
    fleet::Fleet,
    instance,
    parts::{Board, Part, State, Status},
    records::Records,
    tally::{Counts, Tally},
    verdict::Verdict,
};
use crate::options::Options;
use axum::{Router, response::Html, routing::get};
use axum_eventstream::{Event, EventStream, History, net};
use serde::Serialize;
use serde_json::{Value, json};
use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    net::TcpListener,
    sync::watch,
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

const CHANNEL: &str = "fleet";

/// A page that opens later shows so many seconds.
const SECONDS: u64 = 900;

pub(super) struct Page {
    es: EventStream,
    address: SocketAddr,
}

/// What the page shows.
struct Reporter {
    es: EventStream,
    began: Instant,
    board: Board,
    tally: Arc<Tally>,
    records: Arc<Records>,
    instances: Vec<watch::Receiver<instance::State>>,
    /// Counts of the last second.
    before: (Counts, u64),
    /// Reconnects in the worst second.
    most: u64,
    /// Clients that were connected before the end.
    connected: usize,
}

impl Page {
    pub(super) async fn start(options: &Options) -> Result<Self, String> {
        let history = History::memory().events(100).latest_per_key();
        let es = EventStream::builder().history(history).build();
        let es = es.map_err(|error| error.to_string())?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, options.port));
        let listener = TcpListener::bind(address).await;
        let listener = listener.map_err(|error| format!("port {}: {error}", options.port))?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        let app = Router::new()
            .route("/", get(Html(include_str!("page.html"))))
            .route("/events", get(es.handler(CHANNEL).snapshot_latest()));
        tokio::spawn(axum::serve(net::Listener::new(listener), app).into_future());
        let page = Self { es, address };
        let Options {
            clients,
            seconds,
            deploys,
            wipes,
            ..
        } = options;
        let run =
            json!({ "clients": clients, "seconds": seconds, "deploys": deploys, "wipes": wipes });
        publish(&page.es, "run", "run", &run);
        Ok(page)
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Shows the fleet until the task is aborted.
    pub(super) fn report(&self, fleet: &Fleet) -> JoinHandle<()> {
        let reporter = Reporter {
            es: self.es.clone(),
            began: Instant::now(),
            board: fleet.board.clone(),
            tally: fleet.places.tally.clone(),
            records: fleet.records.clone(),
            instances: fleet
                .instances
                .iter()
                .map(|instance| instance.state())
                .collect(),
            before: Default::default(),
            most: 0,
            connected: 0,
        };
        tokio::spawn(reporter.run())
    }

    pub(super) fn end(&self, verdict: &Verdict) {
        let verdict = json!({ "passed": verdict.has_passed, "text": verdict.text });
        publish(&self.es, "verdict", "verdict", &verdict);
    }
}

impl Reporter {
    async fn run(mut self) {
        let mut ticks = interval(Duration::from_millis(500));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for tick in 0_u64.. {
            ticks.tick().await;
            let counts = self.tally.counts();
            if !self.board.is_over() {
                self.connected = counts.connected;
                self.parts(&counts);
            }
            self.faults();
            if tick % 2 == 0 {
                self.second(&counts);
            }
            self.totals(&counts);
        }
    }

    fn parts(&self, counts: &Counts) {
        for (part, status) in self.board.parts() {
            let (key, value) = (format!("{part:?}"), self.part(part, &status, counts));
            publish(&self.es, "part", &key, &value);
        }
    }

    fn part(&self, part: Part, status: &Status, counts: &Counts) -> Value {
        let mut value = json!({
            "name": part.to_string(),
            "state": match status.state {
                State::Up => "up",
                State::Down => "down",
                State::Stopped => "stopped",
                State::Draining => "draining",
            },
            "since": status.since.elapsed().as_secs(),
            "pid": status.pid,
            "starts": status.starts,
        });
        match part {
            Part::Redis => {}
            Part::Instance(index) => {
                let stats = self.instances[index].borrow().totals();
                value["clients"] = json!(stats.subscriptions);
                value["delivered"] = json!(stats.delivered);
                value["published"] = json!(stats.appended);
                value["behind"] = json!(stats.attached.then_some(stats.behind));
            }
            Part::Pushpin(index) => {
                let held = counts.pushpins[index];
                value["clients"] = json!(held.connected);
                value["delivered"] = json!(held.deliveries);
            }
        }
        value
    }

    fn faults(&self) {
        let marks = self.board.marks();
        let at = |at: Instant| at.saturating_duration_since(self.began).as_secs_f64();
        // Earlier ones have not changed since the last time.
        for (number, mark) in marks.iter().enumerate().rev().take(2) {
            let fault = json!({
                "number": number,
                "part": mark.part.to_string(),
                "text": mark.text,
                "at": at(mark.at),
                "until": mark.until.map(at),
            });
            publish(&self.es, "fault", &format!("fault-{number}"), &fault);
        }
    }

    fn second(&mut self, counts: &Counts) {
        let (_, acknowledged) = self.records.counts();
        let (before, acknowledged_before) = self.before;
        let ([half, most], _) = self.tally.delays();
        let at = self.began.elapsed().as_secs();
        let reconnects = counts.reconnects - before.reconnects;
        self.most = self.most.max(reconnects);
        let second = json!({
            "at": at,
            "deliveries": counts.deliveries - before.deliveries,
            "published": acknowledged - acknowledged_before,
            "reconnects": reconnects,
            "p50": half,
            "p99": most,
        });
        publish(
            &self.es,
            "second",
            &format!("second-{}", at % SECONDS),
            &second,
        );
        self.before = (*counts, acknowledged);
    }

    fn totals(&self, counts: &Counts) {
        let (published, acknowledged) = self.records.counts();
        let totals = json!({
            "at": self.began.elapsed().as_secs(),
            "connected": self.connected,
            "published": published,
            "acknowledged": acknowledged,
            "deliveries": counts.deliveries,
            "reconnects": counts.reconnects,
            "most": self.most,
            "gaps": counts.gaps,
            "duplicates": counts.duplicates,
            "epoch": counts.resets.new_epoch,
            "missing": counts.resets.missing,
            "unknown": counts.resets.without_position,
            "faults": self.board.marks().len(),
        });
        publish(&self.es, "totals", "totals", &totals);
    }
}

fn publish(es: &EventStream, name: &str, key: &str, data: &impl Serialize) {
    let event = Event::builder().event(name).key(key).json_data(data);
    let event = event.and_then(|event| event.build());
    let published = es.try_publish(CHANNEL, event.expect("a valid event"));
    published.expect("it is in memory");
}
