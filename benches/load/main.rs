//! Load: this crate compared with hand-written servers, and with a floor of one system call per event.
//!
//! `cargo bench -p axum-eventstream-benches --bench load` measures everything and prints a table. `-- fan-out
//! burst` runs only these scenarios (also large, idle, churn, latency, waits, others, scale, grip), `-- --rounds
//! 5` repeats them. `-- --smoke` runs all peers with a few clients and checks the delivered events, as `cargo
//! test` does. Servers and clients are separate processes that talk over loopback, pinned to a core each if
//! there are two.

#[cfg(target_os = "linux")]
#[path = "load.rs"]
mod load;

#[cfg(target_os = "linux")]
use load::main;

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("load: measuring needs the process statistics of Linux");
}
