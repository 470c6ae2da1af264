//! Prices of 500 symbols, with 100 updates a second each: more than any page can show.
//!
//! Each price has its symbol as a key, so an update supersedes the one before it. A stream sends the changes ten times
//! a second, and a slow client receives the newest prices rather than a backlog.
//!
//! Run with: `cargo run --release --example ticker`, then open <http://127.0.0.1:3000>.
//!
//! Try: `curl -N localhost:3000/prices`

use axum::{Json, Router, extract::State, response::Html, routing::get};
use axum_eventstream::{Error, Event, EventStream, History, InvalidEvent, net};
use serde_json::{Value, json};
use std::{collections::BTreeMap, env, sync::Arc, sync::Mutex, time::Duration};
use tokio::{net::TcpListener, signal, time::interval};

const SYMBOLS: usize = 500;
const UPDATES_PER_SECOND: usize = 100;

/// Time between two rounds of updates, and between two frames of a stream.
const ROUND: Duration = Duration::from_millis(10);
const FRAME: Duration = Duration::from_millis(100);

/// The last price of each symbol, for `/state`.
type Prices = Arc<Mutex<BTreeMap<String, f64>>>;

fn update(symbol: usize, prices: &Prices) -> Result<Event, InvalidEvent> {
    let name = format!("S{symbol:03}");
    let mut prices = prices.lock().unwrap();
    let price = prices.entry(name.clone()).or_insert(100.0);
    *price = (*price + fastrand::f64() - 0.5).max(1.0);
    let data = json!([name, (*price * 100.0).round() / 100.0]);
    Event::builder()
        .event("price")
        .key(name)
        .json_data(&data)?
        .build()
}

/// Publishes the updates of a round in one call, until `rounds` are over.
async fn publish(es: EventStream, prices: Prices, rounds: usize) -> Result<(), Error> {
    let each_round = UPDATES_PER_SECOND * ROUND.as_millis() as usize / 1000;
    let mut timer = interval(ROUND);
    for _ in 0..rounds {
        timer.tick().await;
        let updates = (0..SYMBOLS * each_round).map(|n| update(n % SYMBOLS, &prices));
        let updates = updates.collect::<Result<Vec<_>, _>>()?;
        es.publish_events("prices", updates).await?;
    }
    Ok(())
}

async fn state(State(prices): State<Prices>) -> Json<Value> {
    Json(json!(*prices.lock().unwrap()))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let history = History::memory().latest_per_key();
    let es = EventStream::builder().history(history).build()?;
    let prices = Prices::default();
    let rounds = env::var("ROUNDS").map_or(usize::MAX, |rounds| {
        rounds.parse().expect("ROUNDS is a number")
    });
    tokio::spawn(publish(es.clone(), prices.clone(), rounds));
    let stream = es.handler("prices").snapshot_latest().min_interval(FRAME);
    let app = Router::new()
        .route("/", get(|| async { Html(include_str!("ticker.html")) }))
        .route("/prices", get(stream))
        .route("/state", get(state))
        .with_state(prices);
    let port = env::var("PORT").map_or(3000, |port| port.parse().expect("PORT is a number"));
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    // The recipe "Shutdown" ends on SIGTERM too.
    let stop = es.close_on(async { signal::ctrl_c().await.expect("a signal handler") });
    // What waits in the kernel for a slow client is not superseded, so little may.
    let listener = net::Listener::new(listener).notsent_lowat(16 << 10);
    let served = axum::serve(listener, app);
    Ok(served.with_graceful_shutdown(stop).await?)
}
