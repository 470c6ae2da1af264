//! An order board: state, and the changes that each page applies to it.
//!
//! The page is `new EventSource("/events")` and a function for each event. A new page receives the whole board, and
//! then each change exactly once. A page that has missed too much receives the board again: after a restart, or
//! because it was frozen for a while.
//!
//! Run with: `cargo run --example board`, then open <http://127.0.0.1:3000> in two windows. Change orders, and restart
//! this program meanwhile.
//!
//! Try: `curl -N localhost:3000/events`
//! and: `curl localhost:3000/changes --json '{"ordered": ["tea", 2]}'`
//!
//! Behind Pushpin, with `GRIP_URL` as in the example `grip`, the page is the same.

use axum::{
    Json, Router,
    response::Html,
    routing::{get, post},
};
use axum_eventstream::{Error, Event, EventStream, History, InvalidEvent, Snapshot, net};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, env, error, sync::Mutex};
use tokio::{net::TcpListener, signal};

/// The number of each item. A real application has a database here.
static ORDERS: Mutex<BTreeMap<String, i64>> = Mutex::new(BTreeMap::new());

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Change {
    Ordered(String, i32),
    Served(String),
}

/// Publishes a change and applies it, both under the lock: events have the order of the changes.
async fn change(es: EventStream, Json(change): Json<Change>) -> Result<(), Error> {
    let mut orders = ORDERS.lock().unwrap();
    es.try_publish("board", Event::tagged(&change)?)?;
    match change {
        Change::Ordered(item, more) => *orders.entry(item).or_default() += i64::from(more),
        Change::Served(item) => drop(orders.remove(&item)),
    }
    Ok(())
}

/// The whole board, and the id of its last change: nothing is published while the lock is held.
async fn board(es: EventStream) -> Result<Snapshot, InvalidEvent> {
    let orders = ORDERS.lock().unwrap();
    Ok(Snapshot::from(Event::json("board", &*orders)?).at(es.current_id()))
}

fn app(es: EventStream) -> Router {
    let stream = es.clone();
    let events = es.handler("board").snapshot(move |_| board(stream.clone()));
    Router::new()
        .route("/", get(Html(include_str!("board.html"))))
        .route("/events", get(events))
        .route("/changes", post(change))
        .with_state(es)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn error::Error>> {
    let builder = EventStream::builder().from_env()?;
    let es = builder.history(History::memory()).build()?;
    let port = env::var("PORT").map_or(3000, |port| port.parse().expect("PORT is a number"));
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    // The recipe "Shutdown" ends on SIGTERM too.
    let stop = es.close_on(async { signal::ctrl_c().await.expect("a signal handler") });
    axum::serve(net::Listener::new(listener), app(es))
        .with_graceful_shutdown(stop)
        .await?;
    Ok(())
}
