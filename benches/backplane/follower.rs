//! CPU time of an instance without subscribers, in a process of its own.

use super::{
    instance::{CHANNEL, cpu, event, instance, publish_many, warm},
    report::Row,
    server::Server,
};
use axum_eventstream::EventStream;
use std::{env, process::Stdio, time::Duration};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines, stdin},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::interval,
};

const ENTRIES: usize = 100_000;
const SLOW_ENTRIES: usize = 3000;

/// Runs an instance. Answers each line with the CPU time of the process, when the instance has the whole log.
pub(crate) async fn follow(url: &str) {
    let es = instance(url).await;
    let mut lines = BufReader::new(stdin()).lines();
    while let Ok(Some(_)) = lines.next_line().await {
        warm(&es).await;
        println!("{}", cpu());
    }
}

struct Follower {
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    _process: Child,
}

impl Follower {
    fn start(server: &Server) -> Self {
        let program = env::current_exe().expect("this program");
        let mut process = Command::new(program)
            .args(["follow", &server.url()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("it starts");
        let output = process.stdout.take().expect("its output");
        Self {
            input: process.stdin.take().expect("its input"),
            output: BufReader::new(output).lines(),
            _process: process,
        }
    }

    async fn cpu(&mut self) -> f64 {
        self.input.write_all(b"\n").await.expect("it runs");
        let line = self.output.next_line().await.expect("it runs");
        line.expect("a line").parse().expect("a number")
    }
}

pub(crate) async fn rows(server: &Server, rounds: usize) {
    let title = "CPU of a follower without subscribers an entry, full rate, µs";
    let mut full = Row::new(title, 2, "at most 3");
    let title = "the same, 1000 entries a second, µs";
    let mut slow = Row::new(title, 1, "");
    for _ in 0..rounds {
        server.flush().await;
        let publisher = instance(&server.url()).await;
        let mut follower = Follower::start(server);
        let before = follower.cpu().await;
        publish_many(&publisher, ENTRIES).await;
        let between = follower.cpu().await;
        full.add((between - before) / ENTRIES as f64);
        publish_slowly(&publisher).await;
        slow.add((follower.cpu().await - between) / SLOW_ENTRIES as f64);
    }
    [full, slow].iter().for_each(Row::print);
}

async fn publish_slowly(publisher: &EventStream) {
    let mut timer = interval(Duration::from_millis(1));
    for _ in 0..SLOW_ENTRIES {
        timer.tick().await;
        let published = publisher.publish_event(CHANNEL, event("")).await;
        published.expect("it is published");
    }
}

/// What further instances cost Redis.
pub(crate) async fn many(server: &Server, rounds: usize) {
    for count in [1, 10] {
        let title = format!("CPU of Redis an event, lists of 100, {count} followers, µs");
        let mut full = Row::new(title, 2, "");
        let title = format!("the same, 1000 single events a second, {count} followers, µs");
        let mut slow = Row::new(title, 1, "");
        for _ in 0..rounds {
            server.flush().await;
            let publisher = instance(&server.url()).await;
            let mut followers: Vec<_> = (0..count).map(|_| Follower::start(server)).collect();
            for follower in &mut followers {
                follower.cpu().await;
            }
            let before = server.cpu().await;
            publish_many(&publisher, ENTRIES).await;
            for follower in &mut followers {
                follower.cpu().await;
            }
            let between = server.cpu().await;
            full.add((between - before) / ENTRIES as f64);
            publish_slowly(&publisher).await;
            slow.add((server.cpu().await - between) / SLOW_ENTRIES as f64);
        }
        [full, slow].iter().for_each(Row::print);
    }
}
