//! The engine of the example `postgres`.

mod contract;
mod faults;
mod instances;

#[path = "../../../../examples/postgres/engine.rs"]
mod engine;

use crate::support::postgres::PostgresServer;
pub(super) use engine::Postgres;

pub(super) fn log(server: &PostgresServer, namespace: &str) -> Postgres {
    Postgres {
        config: server.url().parse().unwrap(),
        namespace: namespace.to_owned(),
        max_entries: 100_000,
    }
}
