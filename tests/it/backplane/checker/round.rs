//! One round: instances, publishers and clients, until everything is read.

use super::{
    client::{Client, Ends},
    evidence,
    fleet::{Engine, Fleet, INSTANCES},
    history::Read,
    publishers::CHANNELS,
    report::{Outcomes, Report, Resets},
    rules,
};
use crate::support::within;
use futures_util::{StreamExt, stream};
use std::{env, time::Duration};
use tokio::{sync::watch, task::JoinSet, time::sleep};

/// Clients that hop.
const HOPPERS: usize = 9;

/// Milliseconds of load before a fault, and after it.
const BEFORE: u64 = 500;
const AFTER: u64 = 1000;

/// Rounds at the same time.
const PARALLEL: usize = 2;

pub(super) struct Round {
    pub(super) fleet: Fleet,
    seed: u64,
    clients: JoinSet<Read>,
    end: watch::Sender<Option<Ends>>,
}

/// Number of rounds: `CHECKER_ROUNDS`, or 1.
pub(super) fn count() -> usize {
    env::var("CHECKER_ROUNDS").map_or(1, |count| count.parse().unwrap())
}

/// Which clients may be reset, and the outcomes that publishers may have.
pub(super) type Expected = (Resets, Outcomes);

pub(super) const NO_LOSS: Expected = (Resets::Never, Outcomes::Published);
pub(super) const RESETS_ALL: Expected = (Resets::EVERYWHERE, Outcomes::PublishedOrMaybe);
/// Publishers may not know an outcome.
pub(super) const NO_RESET: Expected = (Resets::Never, Outcomes::Any);
pub(super) const NO_SILENT_LOSS: Expected = (Resets::Allowed, Outcomes::Any);

/// The servers of a round, or another place of its log.
pub(super) trait Site {
    /// The engine of each instance.
    fn engines(&self) -> [Engine; INSTANCES];
}

/// Lets a fault happen under load, in each round on a new site.
pub(super) async fn under_load<S: Site>(
    start: impl AsyncFn() -> S,
    expected: Expected,
    fault: impl AsyncFn(&mut S, &mut Round),
) {
    rounds(async |seed| {
        let mut site = start().await;
        let mut round = Round::start(site.engines(), seed).await;
        round.run(BEFORE).await;
        fault(&mut site, &mut round).await;
        round.run(AFTER).await;
        round.finish(expected).await
    })
    .await;
}

/// Runs all rounds, some at once. `CHECKER_SEED` sets the first seed, and repeats a round as far as threads and servers
/// can be repeated.
async fn rounds(round: impl AsyncFn(u64) -> Report) {
    let first = env::var("CHECKER_SEED")
        .map_or_else(|_| fastrand::u64(..1 << 48), |seed| seed.parse().unwrap());
    println!("CHECKER_SEED={first}");
    let seeds = stream::iter(first..first + count() as u64);
    let mut reports = seeds.map(|seed| round(seed)).buffer_unordered(PARALLEL);
    let mut sum = Report::default();
    while let Some(report) = reports.next().await {
        sum += report;
    }
    println!("{sum}");
}

impl Round {
    /// Starts an instance on each of the engines.
    async fn start(engines: [Engine; INSTANCES], seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let fleet = Fleet::start(engines, random.fork()).await;
        let (end, ended) = watch::channel(None);
        let mut clients = JoinSet::new();
        for home in 0..INSTANCES {
            let client = Client::staying(home, fleet.addresses.clone(), random.fork());
            clients.spawn(client.run(ended.clone()));
        }
        for _ in 0..HOPPERS {
            let client = Client::hopping(fleet.addresses.clone(), random.fork());
            clients.spawn(client.run(ended.clone()));
        }
        Self {
            fleet,
            seed,
            clients,
            end,
        }
    }

    /// Goes on with events and hops for this time.
    pub(super) async fn run(&self, milliseconds: u64) {
        sleep(Duration::from_millis(milliseconds)).await;
    }

    /// Publishes the last events, waits until all clients have read them, and checks everything.
    async fn finish(mut self, (resets, outcomes): Expected) -> Report {
        self.fleet.pause(&[0, 1, 2]).await;
        self.end.send_replace(Some(self.publish_the_end().await));
        let reads = within("the clients", self.clients.join_all()).await;
        let records = self.fleet.records.all();
        let report = Report::new(&records, &reads);
        let mut violations = rules::check(&records, &reads);
        violations.extend(report.unexpected(&reads, resets, outcomes));
        if !violations.is_empty() {
            panic!(
                "{}",
                evidence::text(self.seed, &report, &violations, &records, &reads)
            );
        }
        report
    }

    async fn publish_the_end(&self) -> Ends {
        let es = self.fleet.any();
        within("the engine", async { while !es.catch_up().await {} }).await;
        let mut ends = Ends::new();
        for channel in CHANNELS {
            let payload = vec![format!("{channel}/end")];
            let published = self.fleet.records.publish(es, channel, payload).await;
            let id = published.unwrap()[0].id;
            let id = id.expect("the instance reads the log");
            ends.insert(channel, id.sequence());
        }
        ends
    }
}
