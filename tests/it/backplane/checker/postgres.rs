//! The engine of the example `postgres`, whose server is killed, stopped, or loses data.

use super::{
    fleet::{Engine, INSTANCES},
    round::{NO_LOSS, RESETS_ALL, Site, under_load},
};
use crate::{backplane::postgres::log, support::postgres::PostgresServer};
use std::array;

impl Site for PostgresServer {
    fn engines(&self) -> [Engine; INSTANCES] {
        array::from_fn(|_| Engine::new(log(self, "chat")))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL"]
async fn a_killed_postgres_loses_nothing() {
    under_load(PostgresServer::start, NO_LOSS, async |server, _| {
        server.restart().await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL"]
async fn a_postgres_that_stops_for_3_seconds_loses_nothing() {
    under_load(PostgresServer::start, NO_LOSS, async |server, round| {
        server.pause();
        round.run(3000).await;
        server.resume();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL"]
async fn an_earlier_copy_of_the_tables_resets_all_clients() {
    under_load(PostgresServer::start, RESETS_ALL, async |server, round| {
        server.kill();
        server.back_up();
        server.restart().await;
        round.run(1500).await;
        server.kill();
        server.put_back();
        server.restart().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL"]
async fn truncated_tables_reset_all_clients() {
    under_load(PostgresServer::start, RESETS_ALL, async |server, _| {
        server.sql("TRUNCATE eventstream_head, eventstream_origin, eventstream_entry");
    })
    .await;
}
