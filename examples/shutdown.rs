//! Graceful shutdown with open streams.
//!
//! Streams do not end until `EventStream::close_on` ends them. Without it, graceful shutdown never completes with a
//! `TcpListener`, and with a `net::Listener` it cuts streams off without their last chunk.
//!
//! Each client receives the events that were published until then, here a last one with a time to reconnect. The
//! program waits at most ten seconds for clients that do not read.
//!
//! Run with: `cargo run --example shutdown`
//!
//! Try: `curl -N localhost:3000/events`, and then ctrl-c in the server's terminal.

use axum::{Router, routing::get};
use axum_eventstream::{Error, Event, EventStream, net};
use std::{env, future::IntoFuture, io, time::Duration};
use tokio::{net::TcpListener, signal, sync::oneshot, time::sleep};

async fn say_goodbye(es: &EventStream) -> Result<(), Error> {
    let event = Event::builder()
        .event("goodbye")
        .data("back in a moment")
        .retry(Duration::from_secs(3));
    es.publish_event("news", event.build()?).await?;
    Ok(())
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let es = EventStream::new();
    let app = Router::new().route("/events", get(es.handler("news")));
    let port = env::var("PORT").map_or(3000, |port| port.parse().expect("PORT is a number"));
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);

    let (stopping, stopped) = oneshot::channel();
    let last = es.clone();
    let stop = es.close_on(async move {
        stop_signal().await;
        println!("stopping with {} open streams", last.stats().subscriptions);
        if let Err(error) = say_goodbye(&last).await {
            eprintln!("no goodbye: {error}");
        }
        let _ = stopping.send(());
    });
    let late = async {
        let _ = stopped.await;
        sleep(Duration::from_secs(10)).await;
    };
    let server = axum::serve(net::Listener::new(listener), app).with_graceful_shutdown(stop);
    tokio::select! {
        served = server.into_future() => served?,
        () = late => println!("some clients did not read to the end"),
    }
    println!("stopped with {} open streams", es.stats().subscriptions);
    Ok(())
}

/// Ctrl-C, or SIGTERM where there is one.
async fn stop_signal() {
    #[cfg(unix)]
    let term = async {
        let mut term = signal::unix::signal(signal::unix::SignalKind::terminate()).unwrap();
        term.recv().await
    };
    #[cfg(not(unix))]
    let term = std::future::pending::<Option<()>>();
    tokio::select! { _ = signal::ctrl_c() => {}, _ = term => {} }
}
