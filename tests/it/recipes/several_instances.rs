use axum::{Extension, Router, extract::Path, http::StatusCode, routing::get};
use axum_eventstream::{Error, ErrorKind, Event, EventStream, backplane::Redis};

fn event_stream() -> Result<EventStream, Error> {
    let redis = Redis::new("redis://127.0.0.1:6379").namespace("chat");
    EventStream::builder().backplane(redis).build()
}

async fn send(es: EventStream, Path(room): Path<String>, text: String) -> Result<StatusCode, Error> {
    let event = Event::text("message", text)?;
    let Err(error) = es.publish_event(format!("room-{room}"), event).await else {
        return Ok(StatusCode::NO_CONTENT);
    };
    match error.kind() {
        // A proxy has refused the event, which is in the log.
        ErrorKind::Publish => Ok(StatusCode::NO_CONTENT),
        // The event is not in the log: the sender may repeat it.
        ErrorKind::NotPublished => Ok(StatusCode::SERVICE_UNAVAILABLE),
        // The event may be in the log: after a repetition it may be there twice.
        ErrorKind::MaybePublished => Ok(StatusCode::GATEWAY_TIMEOUT),
        _ => Err(error),
    }
}

fn app(es: EventStream) -> Router {
    let room = get(es.handler("room-{room}")).post(send);
    Router::new().route("/rooms/{room}", room).layer(Extension(es))
}
