//! The rows of the table, and the arguments that select them.

mod backlog;
mod follower;
mod instance;
mod outage;
mod publish;
mod receipt;
mod report;
mod server;

use server::Server;
use std::{collections::HashSet, env};

const ALL: [&str; 6] = [
    "publish",
    "receipt",
    "follower",
    "followers",
    "backlog",
    "outage",
];

pub(crate) fn main() {
    let words: Vec<_> = env::args().skip(1).collect();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    if let [role, url] = &*words
        && role == "follow"
    {
        runtime.block_on(follower::follow(url));
    } else if let Some(server) = Server::start() {
        runtime.block_on(measure(server, &words));
    } else {
        println!("backplane: not measured, `redis-server` is not installed");
    }
}

async fn measure(mut server: Server, words: &[String]) {
    server.ready().await;
    let rounds = value(words, "--rounds").unwrap_or(3);
    let selected: HashSet<_> = words.iter().map(String::as_str).collect();
    let has_names = ALL.iter().any(|name| selected.contains(name));
    let wants = |name: &str| !has_names || selected.contains(name);
    println!("{}", report::machine(rounds));
    println!("{}", report::HEAD);
    if wants("publish") {
        publish::rows(&server, rounds).await;
    }
    if wants("receipt") {
        receipt::rows(&server, rounds).await;
    }
    if wants("follower") {
        follower::rows(&server, rounds).await;
    }
    if wants("followers") {
        follower::many(&server, rounds).await;
    }
    if wants("backlog") {
        backlog::rows(&server, rounds).await;
    }
    if wants("outage") {
        outage::rows(&mut server, rounds).await;
    }
}

fn value(words: &[String], option: &str) -> Option<usize> {
    let mut words = words.iter().skip_while(|word| *word != option);
    words.nth(1)?.parse().ok()
}
