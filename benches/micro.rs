//! Cost of single operations: an event, a publish, a resume, a request, a signature.
//!
//! `cargo bench --bench micro`, with a filter such as `-- encode` to run only some of them.

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Request, header::ACCEPT},
    routing::get,
};
use axum_eventstream::{Event, EventStream, History, LastEventId, Subscription};
use divan::{AllocProfiler, Bencher, black_box, counter::ItemsCount};
use futures_util::{FutureExt as _, StreamExt as _};
use http_body_util::BodyExt as _;
use serde::Serialize;
use tower::ServiceExt as _;

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

fn main() {
    // No operation waits, but open streams have timers.
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let _entered = runtime.enter();
    divan::main();
}

/// About 200 bytes of JSON.
#[derive(Serialize)]
struct Message {
    id: u64,
    from: &'static str,
    text: &'static str,
    tags: [&'static str; 3],
}

const MESSAGE: Message = Message {
    id: 1_234_567,
    from: "somebody@example.org",
    text: "It is a truth universally acknowledged, that a message in a benchmark must be in want of text",
    tags: ["one", "two", "three"],
};

fn event() -> Event {
    Event::json("message", &MESSAGE).expect("an event")
}

mod encode {
    use super::{Event, MESSAGE, black_box};

    #[divan::bench]
    fn event() -> Event {
        Event::json("message", black_box(&MESSAGE)).expect("an event")
    }

    /// A lower bound for the encoder: `serde_json` alone.
    #[divan::bench]
    fn serde_json_to_vec() -> Vec<u8> {
        serde_json::to_vec(black_box(&MESSAGE)).expect("JSON")
    }
}

/// Polls a publish without proxies, which completes at once or after one yield.
fn publish(es: &EventStream, channel: &str, event: Event) {
    let mut published = Box::pin(es.publish_event(channel, event));
    let result = (&mut published).now_or_never();
    let result = result.or_else(|| (&mut published).now_or_never());
    result
        .expect("it has yielded once")
        .expect("it is published");
}

fn subscribe(es: &EventStream, channel: &str) -> Subscription {
    es.subscribe([channel]).expect("a subscription")
}

mod append {
    use super::*;

    #[divan::bench]
    fn without_history(bencher: Bencher<'_, '_>) {
        let es = EventStream::builder().history(History::off()).build();
        let es = es.expect("an event stream");
        bencher.bench(|| publish(&es, "news", event()));
    }

    #[divan::bench]
    fn with_history(bencher: Bencher<'_, '_>) {
        let es = EventStream::new();
        bencher.bench(|| publish(&es, "news", event()));
    }

    /// A publish, and the read of one subscriber.
    #[divan::bench]
    fn and_read(bencher: Bencher<'_, '_>) {
        let es = EventStream::new();
        let mut subscription = subscribe(&es, "news");
        bencher.bench_local(|| {
            publish(&es, "news", event());
            subscription.next().now_or_never()
        });
    }

    /// Other channels with a subscriber each.
    #[divan::bench(args = [0, 10_000])]
    fn among_other_channels(bencher: Bencher<'_, '_>, others: usize) {
        let es = EventStream::new();
        let others: Vec<_> = (0..others)
            .map(|index| subscribe(&es, &index.to_string()))
            .collect();
        bencher.bench(|| publish(&es, "news", event()));
        drop(others);
    }
}

/// Sends a request to the router, and reads the ready part of its body. Returns the number of bytes.
fn bytes_ready(app: &Router, request: Request<Body>) -> usize {
    let answered = app.clone().oneshot(request).now_or_never();
    let Ok(response) = answered.expect("nothing to wait for");
    let (mut body, mut bytes) = (response.into_body(), 0);
    while let Some(Some(Ok(frame))) = body.frame().now_or_never() {
        bytes += frame.data_ref().map_or(0, |data| data.len());
    }
    bytes
}

fn request(path: &str, headers: HeaderMap) -> Request<Body> {
    let request = Request::get(path).body(Body::empty());
    let mut request = request.expect("a request");
    *request.headers_mut() = headers;
    request
}

mod resume {
    use super::*;

    const MISSED: usize = 1000;

    #[divan::bench(args = [1, 4])]
    fn a_thousand_events(bencher: Bencher<'_, '_>, channels: usize) {
        let history = History::memory().events(MISSED);
        let es = EventStream::builder().history(history).build();
        let es = es.expect("an event stream");
        let names: Vec<_> = (0..channels).map(|index| format!("news-{index}")).collect();
        // A position refers to an earlier event, so one must exist.
        publish(&es, "others", event());
        let position = es.current_id().expect("a position");
        (0..MISSED).for_each(|index| publish(&es, &names[index % channels], event()));
        let app = Router::new().route("/", get(es.handler(names)));
        bencher
            .counter(ItemsCount::new(MISSED))
            .bench(|| bytes_ready(&app, resuming(&position)));
    }

    fn resuming(position: &LastEventId) -> Request<Body> {
        let id = position.to_string().parse().expect("a header");
        request(
            "/",
            [("last-event-id".parse().expect("a name"), id)]
                .into_iter()
                .collect(),
        )
    }
}

mod respond {
    use super::*;

    fn app() -> Router {
        let es = EventStream::new();
        Router::new()
            .route("/fixed", get(es.handler("news")))
            .route("/{room}/{user}", get(es.handler("room-{room}.{user}")))
    }

    /// A router, a request, a subscription, a response and its opening.
    #[divan::bench(args = ["/fixed", "/kitchen/ann"])]
    fn to(bencher: Bencher<'_, '_>, path: &str) {
        let app = app();
        bencher.bench(|| bytes_ready(&app, request(path, HeaderMap::new())));
    }

    /// Refused, so that little but the measured part runs.
    #[divan::bench(args = [1, 20])]
    fn not_acceptable(bencher: Bencher<'_, '_>, ranges: usize) {
        let app = app();
        let ranges = vec!["text/html;level=1;q=0.5"; ranges].join(", ");
        let accept = [(ACCEPT, ranges.parse().expect("a header"))];
        let headers: HeaderMap = accept.into_iter().collect();
        bencher.bench(|| bytes_ready(&app, request("/fixed", headers.clone())));
    }
}

mod signature {
    use super::{Bencher, black_box};
    use axum_eventstream::grip::{Key, Verifier};
    use std::time::SystemTime;

    /// Signed by `pushpin`, and valid until the year 2100.
    const HS256: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJwdXNocGluIiwiZXhwIjo0MTAyNDQ0ODAwfQ.NJr-50Melor3uQw-cgmOCOx6PBqloDM6gBjoD89T15g";
    const ES256: &str = "eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJwdXNocGluIiwiZXhwIjo0MTAyNDQ0ODAwfQ.-pR6724Dq7NSvszezJCK-POAOD3QiHHCXbiRVXIe8mBEMjN4mH10C2iWlLhxp9ZjDRdW-ZFCrcNJ1fJhYDVGQA";

    #[divan::bench]
    fn hs256(bencher: Bencher<'_, '_>) {
        verify(bencher, &"secret".into(), HS256);
    }

    #[divan::bench]
    fn es256(bencher: Bencher<'_, '_>) {
        verify(
            bencher,
            &include_str!("../tests/keys/ec-public.pem").into(),
            ES256,
        );
    }

    fn verify(bencher: Bencher<'_, '_>, key: &Key, token: &str) {
        let verifier = Verifier::new(key).expect("a key");
        bencher.bench(|| {
            let verified = verifier.verify(black_box(token), SystemTime::now());
            verified.expect("it is valid");
        });
    }
}
