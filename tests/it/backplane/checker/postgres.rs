//! The engine of the example `postgres`, whose server is killed, stopped, or loses data.

use super::{
    report::{Outcomes, Report, Resets},
    round::{self, Round, rounds},
};
use crate::{backplane::postgres::log, support::postgres::PostgresServer};
use std::array;

const EVERYWHERE: Resets = Resets::AtInstances(&[0, 1, 2]);

/// Runs a fault under load.
async fn under_load(
    fault: impl AsyncFn(&mut PostgresServer, &Round),
    resets: Resets,
    outcomes: Outcomes,
) {
    rounds(round::count(), async |seed| -> Report {
        let mut server = PostgresServer::start().await;
        let engines = array::from_fn(|_| log(&server, "chat"));
        let round = Round::at(engines, seed).await;
        round.run(1000).await;
        fault(&mut server, &round).await;
        round.run(1500).await;
        round.finish(resets, outcomes).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL"]
async fn a_killed_postgres_loses_nothing() {
    let fault = async |server: &mut PostgresServer, _: &Round| server.restart().await;
    under_load(fault, Resets::Never, Outcomes::Published).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL"]
async fn a_postgres_that_stops_for_3_seconds_loses_nothing() {
    let fault = async |server: &mut PostgresServer, round: &Round| {
        server.pause();
        round.run(3000).await;
        server.resume();
    };
    under_load(fault, Resets::Never, Outcomes::Published).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL"]
async fn an_earlier_copy_of_the_tables_resets_all_clients() {
    let fault = async |server: &mut PostgresServer, round: &Round| {
        server.kill();
        server.back_up();
        server.restart().await;
        round.run(1500).await;
        server.kill();
        server.put_back();
        server.restart().await;
    };
    under_load(fault, EVERYWHERE, Outcomes::PublishedOrMaybe).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL"]
async fn truncated_tables_reset_all_clients() {
    let fault = async |server: &mut PostgresServer, _: &Round| {
        server.sql("TRUNCATE eventstream_head, eventstream_origin, eventstream_entry");
    };
    under_load(fault, EVERYWHERE, Outcomes::PublishedOrMaybe).await;
}
