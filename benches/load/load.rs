//! The parts of the program.

#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../../tests/it/support/client.rs"]
mod client;
mod clients;
mod grip;
mod machine;
mod payload;
mod peers;
mod plot;
mod process;
#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../../tests/it/support/pushpin.rs"]
mod pushpin;
mod report;
mod rows;
mod run;
mod scale;
mod scenarios;
#[allow(dead_code, reason = "the tests use more of it")]
#[path = "../../tests/it/support/server.rs"]
mod server;
mod smoke;
mod stream;

pub(crate) use run::main;
