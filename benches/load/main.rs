//! Load: this crate compared with hand-written servers, and with a floor of one system call per event.
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
    println!("load: measuring needs the process statistics of Linux");
}
