//! Several instances on one log in PostgreSQL: an engine of your own.
//!
//! `engine.rs` and `log.sql` are the engine. Copy them if your application has PostgreSQL and no Redis.
//!
//! Run with: `docker run -p 5432:5432 -e POSTGRES_PASSWORD=secret postgres`
//! and: `export DATABASE_URL=postgres://postgres:secret@127.0.0.1`
//! and: `cargo run -p axum-eventstream-example-postgres --example postgres`,
//! in a second terminal with `PORT=3001`.
//!
//! Try: `curl -N localhost:3000/rooms/red`
//! and: `curl localhost:3001/rooms/red -d hello`
//! and: `curl localhost:3000/health`, which fails while the database is away: use it for alerts

mod engine;

use axum::{
    Router,
    extract::{Path, State},
    routing::get,
};
use axum_eventstream::{Error, Event, EventStream, net};
use engine::Postgres;
use std::{env, error};
use tokio::{net::TcpListener, signal};

async fn send(es: State<EventStream>, room: Path<String>, text: String) -> Result<(), Error> {
    es.publish_event(&*room, Event::text("message", text)?)
        .await?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn error::Error>> {
    let url = env::var("DATABASE_URL")
        .unwrap_or_else(|_| "postgres://postgres:secret@127.0.0.1".to_owned());
    let postgres = Postgres {
        config: url.parse()?,
        namespace: "rooms".to_owned(),
        max_entries: 100_000,
    };
    let es = EventStream::builder().backplane(postgres).build()?;
    let app = Router::new()
        .route("/rooms/{room}", get(es.handler("{room}")).post(send))
        .route(
            "/health",
            get(|es: State<EventStream>| async move { es.health() }),
        )
        .with_state(es.clone());
    let port = env::var("PORT").map_or(Ok(3000), |port| port.parse())?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let stop = es.close_on(stop_signal());
    axum::serve(net::Listener::new(listener), app)
        .with_graceful_shutdown(stop)
        .await?;
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
