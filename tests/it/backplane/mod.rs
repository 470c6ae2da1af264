//! Several instances on one log.

#[cfg(unix)]
mod checker;
mod delivery;
mod edges;
mod faults;
mod joining;
#[cfg(unix)]
mod nats;
#[cfg(unix)]
mod network;
#[cfg(unix)]
mod on_redis;
#[cfg(unix)]
mod postgres;
#[cfg(unix)]
mod processes;
mod proxied;
mod publishing;
#[cfg(unix)]
mod pushpin;
#[cfg(unix)]
mod raw;
#[cfg(unix)]
mod redis;
mod snapshots;

use axum::{Router, extract::Path, routing::get};
use axum_eventstream::{
    Error, Event, EventStream, Published, Rejection, StreamRequest, StreamResponse,
    testing::{TestClient, backplane::Memory},
};

/// An instance of an application, as its clients and its other code see it.
struct Instance {
    es: EventStream,
    client: TestClient,
}

impl Instance {
    fn new(engine: &Memory) -> Self {
        Self::of(
            EventStream::builder()
                .backplane(engine.clone())
                .build()
                .unwrap(),
        )
    }

    /// An instance that has read the log.
    async fn warm(engine: &Memory) -> Self {
        let instance = Self::new(engine);
        assert!(instance.es.catch_up().await);
        instance
    }

    fn of(es: EventStream) -> Self {
        let custom = es.clone();
        let open = async move |Path(channels): Path<String>, request: StreamRequest| {
            let stream: Result<StreamResponse, Rejection> = custom.open(
                &request,
                channels.split('+').map(str::to_owned).collect::<Vec<_>>(),
            );
            stream
        };
        let handler = es.handler(|parts: &http::request::Parts| {
            let names = parts.uri.path().trim_start_matches('/').split('+');
            names.map(str::to_owned).collect::<Vec<_>>()
        });
        let app = Router::new()
            .route("/{channels}", get(handler))
            .route("/open/{channels}", get(open));
        let client = TestClient::new(app);
        Self { es, client }
    }

    /// A client that resumes from a position.
    fn resuming(&self, id: &(impl ToString + ?Sized)) -> TestClient {
        Self::of(self.es.clone())
            .client
            .header("last-event-id", id.to_string())
    }

    async fn publish(&self, channel: &str, text: &str) -> Result<Published, Error> {
        let event = Event::text("message", text).unwrap();
        self.es.publish_event(channel, event).await
    }
}
