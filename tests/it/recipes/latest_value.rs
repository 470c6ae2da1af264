use axum::{Router, routing::get};
use axum_eventstream::{Error, Event, EventStream, History};
use std::time::Duration;

fn event_stream() -> Result<EventStream, Error> {
    let history = History::memory().latest_per_key();
    EventStream::builder().history(history).build()
}

fn routes(es: &EventStream) -> Router {
    let prices = es.handler("prices").snapshot_latest();
    let prices = prices.min_interval(Duration::from_millis(100));
    Router::new().route("/prices", get(prices))
}

async fn update(es: &EventStream, symbol: &str, price: f64) -> Result<(), Error> {
    let event = Event::builder().event("price").key(symbol);
    let event = event.json_data(&(symbol, price))?.build()?;
    es.publish_event("prices", event).await?;
    Ok(())
}

async fn delist(es: &EventStream, symbol: &str) -> Result<(), Error> {
    let event = Event::builder().event("delisted").json_data(symbol)?;
    let event = event.key(symbol).remove_key().build()?;
    es.publish_event("prices", event).await?;
    Ok(())
}
