//! A cold instance that reads a long log.

use super::{
    instance::{cold_instance, cpu, instance, publish_many, warm},
    report::Row,
    server::Server,
};
use redis::{RedisResult, Value};
use std::future::Future;
use tokio::time::Instant;

const ENTRIES: usize = 100_000;

pub(crate) async fn rows(server: &Server, rounds: usize) {
    let title = "a cold instance reads a backlog of 100,000 entries, ms";
    let mut time = Row::new(title, 0, "at most 1000").beside("raw XREAD");
    let title = "CPU of that an entry, µs";
    let mut cpu = Row::new(title, 2, "").beside("raw XREAD");
    server.flush().await;
    publish_many(&instance(&server.url()).await, ENTRIES).await;
    for _ in 0..rounds {
        let ours = taken(async { warm(&cold_instance(&server.url())).await }).await;
        time.add(ours.0);
        cpu.add(ours.1);
        let raw = taken(read(server)).await;
        time.add_baseline(raw.0);
        cpu.add_baseline(raw.1);
    }
    [time, cpu].iter().for_each(Row::print);
}

/// Returns the time in milliseconds, and the CPU time an entry in microseconds.
async fn taken(reading: impl Future<Output = ()>) -> (f64, f64) {
    let (began, before) = (Instant::now(), cpu());
    reading.await;
    let elapsed = began.elapsed().as_secs_f64() * 1e3;
    (elapsed, (cpu() - before) / ENTRIES as f64)
}

/// Reads the log with the client alone. An entry of the stream has several events.
async fn read(server: &Server) {
    let mut connection = server.connect().await;
    let mut last = "0".to_owned();
    loop {
        let mut command = redis::cmd("XREAD");
        command.arg("COUNT").arg(16).arg("STREAMS");
        command.arg("{eventstream}:log").arg(&last);
        let answer: RedisResult<Value> = command.query_async(&mut connection).await;
        let Some(ids) = ids(answer.expect("an answer")) else {
            break;
        };
        last = ids.into_iter().next_back().expect("an entry");
    }
    let mut command = redis::cmd("HGET");
    command.arg("{eventstream}:meta").arg("s");
    let end: RedisResult<String> = command.query_async(&mut connection).await;
    assert_eq!(last, format!("{}-0", end.expect("an end")));
}

fn ids(answer: Value) -> Option<Vec<String>> {
    type Stream = (String, Vec<(String, Value)>);
    let streams: Option<Vec<Stream>> = redis::from_redis_value(answer).ok()?;
    let (_, entries) = streams?.pop()?;
    Some(entries.into_iter().map(|(id, _)| id).collect())
}
