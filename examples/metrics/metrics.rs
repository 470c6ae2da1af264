//! Metrics for Prometheus, and a readiness route.
//!
//! The feature `metrics` reports to the `metrics` facade, and the program chooses the exporter. The documentation
//! of `Stats` lists the metrics.
//!
//! Run with: `cargo run -p axum-eventstream-example-metrics --example metrics`
//!
//! Try: `curl -N localhost:3000/rooms/red`
//! and: `curl localhost:3000/rooms/red -d hello`
//! and: `curl localhost:3000/metrics`, `curl localhost:3000/ready`

use axum::{
    Router,
    extract::{Path, State},
    routing::get,
};
use axum_eventstream::{Error, Event, EventStream, net};
use metrics_exporter_prometheus::PrometheusBuilder;
use std::{env, error, time::Duration};
use tokio::{net::TcpListener, signal, time};

async fn send(es: State<EventStream>, room: Path<String>, text: String) -> Result<(), Error> {
    es.publish_event(&*room, Event::text("message", text)?)
        .await?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn error::Error>> {
    let metrics = PrometheusBuilder::new().install_recorder()?;
    let es = EventStream::from_env()?;
    let upkeep = metrics.clone();
    tokio::spawn(async move {
        loop {
            // Without upkeep, histograms keep every value.
            time::sleep(Duration::from_secs(5)).await;
            upkeep.run_upkeep();
        }
    });
    let app = Router::new()
        .route("/rooms/{room}", get(es.handler("{room}")).post(send))
        .route(
            "/ready",
            get(|es: State<EventStream>| async move { es.health() }),
        )
        .route("/metrics", get(|| async move { metrics.render() }))
        .with_state(es.clone());
    let port = env::var("PORT").map_or(Ok(3000), |port| port.parse())?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    // The recipe "Shutdown" ends on SIGTERM too.
    let stop = es.close_on(async { signal::ctrl_c().await.expect("a signal handler") });
    axum::serve(net::Listener::new(listener), app)
        .with_graceful_shutdown(stop)
        .await?;
    Ok(())
}
