use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::Result,
    routing::{get, post},
};
use axum_eventstream::{Error, Event, EventStream, InvalidEvent, Snapshot, StreamRequest};
use axum_eventstream::{StreamHandler, StreamResponse};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::future::ready;
use std::sync::{Arc, Mutex};

#[derive(Clone)]
struct Stock {
    es: EventStream,
    items: Arc<Mutex<BTreeMap<String, i64>>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Change {
    Counted(String, i32),
    Removed(String),
}

impl Stock {
    fn new(es: EventStream) -> Self {
        let items = Arc::default();
        Self { es, items }
    }

    /// Publishes a change and applies it, both under the lock.
    fn change(&self, change: Change) -> Result<(), Error> {
        let mut items = self.items.lock().unwrap();
        self.es.try_publish("stock", Event::tagged(&change)?)?;
        match change {
            Change::Counted(item, more) => *items.entry(item).or_default() += i64::from(more),
            Change::Removed(item) => drop(items.remove(&item)),
        }
        Ok(())
    }

    /// The state and its position, both read under the lock.
    fn snapshot(&self) -> Result<Snapshot, InvalidEvent> {
        let items = self.items.lock().unwrap();
        Ok(Snapshot::from(Event::json("stock", &*items)?).at(self.es.current_id()))
    }

    fn handler(&self) -> StreamHandler {
        let stock = self.clone();
        let handler = self.es.handler("stock");
        handler.snapshot(move |_| ready(stock.snapshot()))
    }
}

/// The same in a custom handler. `ready` takes the snapshot before the head, if a proxy will hold the client.
async fn checked(State(stock): State<Stock>, request: StreamRequest) -> Result<StreamResponse> {
    let stream = stock.es.open(&request, "stock")?;
    if !may_listen().await {
        return Err(StatusCode::FORBIDDEN.into());
    }
    let stream = stream.snapshot(move || ready(stock.snapshot()));
    Ok(stream.ready().await)
}

async fn may_listen() -> bool {
    true // a query to your database
}

async fn change(State(stock): State<Stock>, Json(change): Json<Change>) -> Result<(), Error> {
    stock.change(change)
}

fn app(stock: Stock) -> Router {
    Router::new()
        .route("/events", get(stock.handler()))
        .route("/checked", get(checked))
        .route("/changes", post(change))
        .with_state(stock)
}
