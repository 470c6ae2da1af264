//! Graceful shutdown with open streams.
//!
//! An open stream never ends by itself, so a server that waits for its connections would wait for ever.
//! `EventStream::close_on` ends them: each client has what was published until then, here a last event
//! that tells it when to come back. Clients that do not read are left behind after ten seconds.
//!
//! Run with: `cargo run --example shutdown`
//!
//! Try: `curl -N localhost:3000/events`, and then ctrl-c in the server's terminal.

use axum::{Router, routing::get, serve::ListenerExt};
use axum_eventstream::{Error, Event, EventStream};
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
    // Nagle's algorithm can hold an event back for 40 ms, until the one before is acknowledged.
    let listener = listener.tap_io(|tcp| _ = tcp.set_nodelay(true));

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
    tokio::select! {
        served = axum::serve(listener, app).with_graceful_shutdown(stop).into_future() => served?,
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
