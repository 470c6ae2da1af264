//! One stream for a whole program: independent modules find it by its name.
//!
//! The `EventStream` extractor finds it too, without a state or a layer.
//!
//! Run with: `cargo run --example singleton`
//!
//! Try: `curl -N localhost:3000/events`
//! and: `curl localhost:3000/say -d hello`

use axum::Router;
use axum_eventstream::{EventStream, net, registry};
use std::{env, io};
use tokio::{net::TcpListener, signal};

/// The first call creates the stream, with its settings.
fn event_stream() -> EventStream {
    registry::get_or_init(registry::DEFAULT_NAME, EventStream::new)
}

mod clock {
    use axum_eventstream::{Error, Event};
    use std::time::Duration;

    pub(crate) async fn run() -> Result<(), Error> {
        let publisher = super::event_stream().channel_publisher("clock")?;
        let mut seconds = tokio::time::interval(Duration::from_secs(1));
        for second in 0_u64.. {
            seconds.tick().await;
            let event = Event::json("uptime", &second)?;
            publisher.publish_event(event).await?;
        }
        Ok(())
    }
}

mod web {
    use axum::{
        Router,
        response::Response,
        routing::{get, post},
    };
    use axum_eventstream::{Error, Event, EventStream, Rejection, StreamRequest};

    async fn events(es: EventStream, request: StreamRequest) -> Result<Response, Rejection> {
        es.respond(&request, ["clock", "said"]).await
    }

    async fn say(es: EventStream, text: String) -> Result<String, Error> {
        let event = Event::text("said", text)?;
        let published = es.publish_event("said", event).await?;
        Ok(format!("{} are listening\n", published.subscribers))
    }

    pub(crate) fn routes() -> Router {
        Router::new()
            .route("/events", get(events))
            .route("/say", post(say))
    }
}

#[tokio::main]
async fn main() -> io::Result<()> {
    tokio::spawn(clock::run());
    // The recipe "Shutdown" ends on SIGTERM too.
    let stop = event_stream().close_on(async { signal::ctrl_c().await.expect("a signal handler") });
    let app: Router = web::routes();
    let port = env::var("PORT").map_or(3000, |port| port.parse().expect("PORT is a number"));
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(net::Listener::new(listener), app)
        .with_graceful_shutdown(stop)
        .await
}
