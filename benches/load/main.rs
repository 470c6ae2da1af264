//! Load: this crate beside what is written by hand, and beside a floor that cannot be less.
//!
//! `cargo bench -p axum-eventstream-benches --bench load` measures everything and prints a table; with `-- fan-out burst` only these
//! scenarios (also large, idle, churn, latency, waits, others, scale, grip), with `-- --rounds 5` more
//! often; with `-- --smoke` it runs all peers with a few clients and checks what they deliver, as
//! `cargo test` does. Servers and clients are separate processes on cores of their own, as far as
//! there are two, and talk over loopback only.

#[cfg(target_os = "linux")]
#[path = "load.rs"]
mod load;

#[cfg(target_os = "linux")]
use load::main;

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("load: it measures by what Linux tells of a process");
}
