//! The same routes over HTTP/2, without TLS and with prior knowledge of it.

use crate::support::{
    OPEN, messages, opened, publish, server, subscribed, within, without_history,
};
use axum::{Router, http::Version, routing::get, serve::ListenerExt};
use axum_eventstream::EventStream;
use reqwest::{Client, Response, StatusCode};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};
use tokio::{sync::oneshot, task::JoinHandle};

struct Server {
    es: EventStream,
    base: String,
    connections: Arc<AtomicUsize>,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

impl Server {
    /// Serves through plain TCP, or through `net::Listener`.
    async fn start(detach: bool) -> Self {
        let es = without_history();
        let app = Router::new().route("/{id}", get(es.handler(["{id}", "all"])));
        let (tcp, address) = server::bind().await;
        let connections = Arc::<AtomicUsize>::default();
        let (stop, stopped) = oneshot::channel::<()>();
        let count = connections.clone();
        let served = server::serve_until(
            tcp.tap_io(move |_| _ = count.fetch_add(1, Relaxed)),
            app,
            detach,
            es.close_on(stopped),
        );
        Self {
            es,
            base: format!("http://{address}"),
            connections,
            stop,
            served,
        }
    }

    async fn get(&self, client: &Client, path: &str) -> Response {
        let request = client.get(format!("{}{path}", self.base));
        within(path, request.send()).await.unwrap()
    }
}

fn client() -> Client {
    let builder = Client::builder().no_proxy().http2_prior_knowledge();
    builder.build().unwrap()
}

/// Everything up to `end`.
async fn until(response: &mut Response, end: &str) -> String {
    let mut text = String::new();
    while !text.ends_with(end) {
        let chunk = within(end, response.chunk()).await.unwrap();
        let chunk = chunk.unwrap_or_else(|| panic!("the stream ends after {text:?}"));
        text += str::from_utf8(&chunk).unwrap();
    }
    text
}

#[tokio::test]
async fn a_stream_has_the_same_head_and_events_without_headers_of_a_connection() {
    for detach in [false, true] {
        let server = Server::start(detach).await;
        let mut response = server.get(&client(), "/a").await;
        assert_eq!(response.version(), Version::HTTP_2);
        assert_eq!(response.status(), StatusCode::OK);
        response.headers_mut().remove("date");
        let mut headers: Vec<_> = response.headers().iter().collect();
        headers.sort_by_key(|(name, _)| name.as_str());
        let headers = headers.into_iter();
        let headers: Vec<_> = headers
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        let expected = [
            "cache-control: no-store, no-transform",
            "content-type: text/event-stream",
            "x-accel-buffering: no",
        ];
        assert_eq!(headers, expected);
        assert_eq!(until(&mut response, "\n\n").await, OPEN);
        publish(&server.es, "a", "line\r\nbreak").await;
        let event = "event: message\ndata: line\ndata: break\n\n";
        assert_eq!(until(&mut response, "\n\n").await, event);
    }
}

#[tokio::test]
async fn a_hundred_streams_share_a_connection_and_end_with_the_stream() {
    for detach in [false, true] {
        let (server, client) = (Server::start(detach).await, client());
        let mut streams = Vec::new();
        for n in 0..100 {
            streams.push(server.get(&client, &format!("/{n}")).await);
        }
        for stream in &mut streams {
            assert_eq!(until(stream, "\n\n").await, OPEN);
        }
        assert_eq!(server.connections.load(Relaxed), 1);
        assert_eq!(server.es.stats().subscriptions, 100);

        publish(&server.es, "all", "1").await;
        for n in 0..100 {
            publish(&server.es, &n.to_string(), &format!("for {n}")).await;
        }
        publish(&server.es, "all", "2").await;
        for (n, stream) in streams.iter_mut().enumerate() {
            let expected = messages(&["1", &format!("for {n}"), "2"]);
            assert_eq!(until(stream, &messages(&["2"])).await, expected);
        }

        server.stop.send(()).unwrap();
        for stream in streams {
            assert_eq!(within("the end", stream.text()).await.unwrap(), "");
        }
        within("the server", server.served).await.unwrap();
        assert_eq!(server.es.stats().subscriptions, 0);
    }
}

#[tokio::test]
async fn a_stream_that_is_cancelled_ends_alone() {
    for detach in [false, true] {
        let (server, client) = (Server::start(detach).await, client());
        let mut stays = server.get(&client, "/a").await;
        let goes = server.get(&client, "/b").await;
        subscribed(&server.es, 2).await;
        drop(goes);
        subscribed(&server.es, 1).await;
        publish(&server.es, "a", "still here").await;
        let expected = opened(&["still here"]);
        assert_eq!(
            until(&mut stays, &messages(&["still here"])).await,
            expected
        );
        assert_eq!(server.connections.load(Relaxed), 1);
    }
}

#[tokio::test]
async fn refusals_and_heads_are_the_same() {
    let (server, client) = (Server::start(true).await, client());
    let url = format!("{}/a", server.base);
    let refused = client.get(&url).header("accept", "text/html").send();
    let refused = within("a refusal", refused).await.unwrap();
    assert_eq!(refused.status(), StatusCode::NOT_ACCEPTABLE);
    assert_eq!(refused.text().await.unwrap(), "Not Acceptable.\n");
    let head = within("a head", client.head(&url).send()).await.unwrap();
    assert_eq!(head.headers()["content-length"], "0");
    assert_eq!(head.headers()["content-type"], "text/event-stream");
    assert_eq!(server.es.stats().subscriptions, 0);
    server.es.close();
    let closed = server.get(&client, "/a").await;
    assert_eq!(closed.status(), StatusCode::OK);
    assert!(closed.text().await.unwrap().starts_with("retry: "));
}
