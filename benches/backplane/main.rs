//! Several instances on one log in Redis, beside the same work without it.
//!
//! `cargo bench -p axum-eventstream-benches --bench backplane` measures everything and prints a table. `-- publish
//! receipt` runs only these rows (also follower, followers, backlog, outage), `-- --rounds 5` repeats them. It starts a Redis
//! of its own, with the recommended AOF. All processes share the machine.

#[cfg(target_os = "linux")]
#[path = "rows.rs"]
mod rows;

#[cfg(target_os = "linux")]
use rows::main;

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("backplane: measuring needs the process statistics of Linux");
}
