//! Streams that detach, behind a real nginx.

use crate::support::{nginx::Nginx, server, within, without_history};
use axum::{
    Router,
    http::StatusCode,
    routing::{get, post},
};
use futures_util::future::join_all;
use reqwest::Client;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

fn client() -> Client {
    Client::builder().no_proxy().build().unwrap()
}

/// Sends requests that nginx must not repeat, until `stop`, and returns their number.
async fn post_until(url: &str, stop: &AtomicBool) -> usize {
    let (client, mut count) = (client(), 0);
    while !stop.load(Relaxed) {
        let response = client.post(url).body("x").send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "request {count}");
        count += 1;
    }
    count
}

/// nginx keeps a connection whose response has ended, unless the response says that it is closed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs nginx"]
async fn other_requests_do_not_meet_the_connection_of_a_stream_that_ends() {
    const STREAMS: usize = 100;
    const ROUNDS: usize = 20;
    let es = without_history();
    let app = Router::new()
        .route("/events", get(es.handler("a")))
        .route("/post", post(|| async { "ok" }));
    let address = server::start(app, true).await;
    let nginx = Nginx::before(address).await;
    let base = format!("http://{}", nginx.address());
    let stop = Arc::<AtomicBool>::default();
    let posting: Vec<_> = (0..8)
        .map(|_| {
            let (url, stop) = (format!("{base}/post"), stop.clone());
            tokio::spawn(async move { post_until(&url, &stop).await })
        })
        .collect();
    let rounds = async {
        for _ in 0..ROUNDS {
            let client = client();
            let streams = (0..STREAMS).map(|_| client.get(format!("{base}/events")).send());
            let streams = join_all(streams).await;
            while es.stats().subscriptions < STREAMS {
                tokio::task::yield_now().await;
            }
            es.close_channel("a").await.unwrap();
            for stream in streams {
                let text = stream.unwrap().text().await.unwrap();
                assert!(text.starts_with("event: stream-open"), "{text}");
            }
        }
    };
    within("the streams end", rounds).await;
    stop.store(true, Relaxed);
    for posted in posting {
        let posted = posted.await;
        assert!(posted.is_ok_and(|count| count > 0), "{}", nginx.log());
    }
}
