//! Load: this crate beside what is written by hand, and beside a floor that cannot be less.
//!
//! `cargo bench --bench load` measures everything and prints a table; with `-- fan-out burst` only these
//! scenarios (also large, idle, churn, latency, waits, others, scale, grip), with `-- --rounds 5` more
//! often; with `-- --smoke` it runs all peers with a few clients and checks what they deliver, as
//! `cargo test` does. Servers and clients are separate processes on cores of their own, as far as
//! there are two, and talk over loopback only.
#![cfg(target_os = "linux")]

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
mod run;
mod scale;
mod scenarios;
#[path = "../../tests/common/server.rs"]
mod server;
mod smoke;
mod stream;

fn main() {
    run::main();
}
