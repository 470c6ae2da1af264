//! A fleet on this machine: Redis, three instances of an application and two Pushpins, of which one part is killed every
//! few seconds. The rules of `backplane/checker` compare the histories of clients and publishers.
//!
//! `scripts/fleet --help` names the options.

#[cfg(unix)]
mod instance;
#[cfg(unix)]
mod line;
#[cfg(unix)]
mod options;
#[cfg(unix)]
mod supervisor;
#[cfg(unix)]
mod support;

/// The same program is the supervisor, or an instance if the supervisor has set its variable.
#[cfg(unix)]
#[tokio::main(worker_threads = 2)]
async fn main() -> std::process::ExitCode {
    match instance::Settings::of_this_process() {
        Some(settings) => instance::run(settings).await,
        None => supervisor::run(options::Options::of_this_process()).await,
    }
}

#[cfg(not(unix))]
fn main() {
    eprintln!("the fleet needs Unix: its parts are stopped by signals");
}
