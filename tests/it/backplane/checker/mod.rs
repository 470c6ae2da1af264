//! Three instances on an engine that fails, with publishers on each, and clients that hop between them.
//!
//! Afterwards, `rules` compares the histories of clients and publishers: a client has every event exactly once and in
//! one order, or a reset exactly where some are missing. Each test names a fault, whether it may reset clients, and
//! the outcomes that publishers may have.
//!
//! `CHECKER_ROUNDS=100` runs each fault so many times.

mod client;
mod evidence;
mod failover;
mod fleet;
mod history;
mod in_memory;
mod instances;
pub(super) mod link;
mod links;
mod memory;
mod nats;
mod postgres;
mod publishers;
mod report;
mod restarts;
mod round;
mod rules;
mod rules_tests;
mod wipes;
