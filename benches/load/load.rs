//! The parts of the program.

#[path = "../../tests/common/client.rs"]
mod client;
mod clients;
mod grip;
mod machine;
mod payload;
mod peers;
mod plot;
mod process;
#[path = "../../tests/common/pushpin.rs"]
mod pushpin;
mod report;
mod rows;
mod run;
mod scale;
mod scenarios;
#[path = "../../tests/common/server.rs"]
mod server;
mod smoke;
mod stream;

pub(crate) use run::main;
