//! Forwards a `Stream` into a channel: the progress of a job.
//!
//! The sink accepts an event when the previous one has been published, through every proxy if there are
//! any. So the job waits for its own progress reports.
//!
//! Run with: `cargo run --example sink`
//!
//! Try: `curl -N localhost:3000/jobs/7`
//! and: `curl -X POST localhost:3000/jobs/7`

use async_stream::try_stream;
use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    routing::get,
};
use axum_eventstream::{Error, Event, EventStream, net};
use futures_util::{Stream, StreamExt};
use std::{env, io, time::Duration};
use tokio::{net::TcpListener, signal, time::sleep};

fn job() -> impl Stream<Item = Result<Event, Error>> {
    try_stream! {
        for percent in (0..=100).step_by(10) {
            yield Event::json("progress", &percent)?;
            sleep(Duration::from_millis(100)).await;
        }
        yield Event::text("done", "")?;
    }
}

async fn start(State(es): State<EventStream>, Path(id): Path<u32>) -> Result<StatusCode, Error> {
    let sink = es.channel_sink(format!("job-{id}"))?;
    tokio::spawn(async {
        if let Err(error) = job().forward(sink).await {
            eprintln!("the job's progress was not published: {error}");
        }
    });
    Ok(StatusCode::ACCEPTED)
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let es = EventStream::new();
    let app = Router::new()
        .route("/jobs/{id}", get(es.handler("job-{id}")).post(start))
        .with_state(es.clone());
    let port = env::var("PORT").map_or(3000, |port| port.parse().expect("PORT is a number"));
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    // The recipe "Shutdown" ends on SIGTERM too.
    let stop = es.close_on(async { signal::ctrl_c().await.expect("a signal handler") });
    axum::serve(net::Listener::new(listener), app)
        .with_graceful_shutdown(stop)
        .await
}
