//! Over real sockets: what the handler and the extractors do in a router of axum 0.7.

use axum::{Router, routing::post as on_post};
use axum_eventstream::{Event, EventStream, History};
use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

fn event_stream() -> EventStream {
    let builder = EventStream::builder().history(History::off());
    builder.build().unwrap()
}

async fn serve(es: &EventStream) -> SocketAddr {
    serve_app(axum_07::app(es)).await
}

async fn serve_app(app: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async { axum::serve(listener, app).await.unwrap() });
    address
}

async fn send(server: SocketAddr, request: &str) -> TcpStream {
    let mut socket = TcpStream::connect(server).await.unwrap();
    socket.write_all(request.as_bytes()).await.unwrap();
    socket
}

async fn get(server: SocketAddr, path: &str, headers: &str) -> TcpStream {
    send(
        server,
        &format!("GET {path} HTTP/1.1\r\nhost: x\r\n{headers}\r\n"),
    )
    .await
}

async fn until(socket: &mut TcpStream, end: &str) -> String {
    let mut text = String::new();
    let reading = async {
        while !text.ends_with(end) {
            text.push(socket.read_u8().await.expect("more to read").into());
        }
    };
    let in_time = timeout(Duration::from_secs(20), reading).await;
    in_time.unwrap_or_else(|_| panic!("no {end:?}"));
    text
}

/// The status of a response, and its body, which is not chunked.
async fn answer(mut socket: TcpStream) -> (String, String) {
    let head = until(&mut socket, "\r\n\r\n").await.to_ascii_lowercase();
    let length = head.split_once("content-length: ").unwrap().1;
    let length = length.lines().next().unwrap().parse().unwrap();
    let mut body = vec![0; length];
    socket.read_exact(&mut body).await.unwrap();
    let status = head.split(' ').nth(1).unwrap().to_owned();
    (status, String::from_utf8(body).unwrap())
}

const OPEN: &str = "event: stream-open\ndata: \n\n\r\n";

#[tokio::test]
async fn handlers_stream_with_route_parameters() {
    let es = event_stream();
    let server = serve(&es).await;
    let table = [
        ("/events", "", "weather"),
        ("/events/a%20b", "", "a b"),
        ("/files/a/b", "", "a/b"),
        ("/named/7", "", "7"),
        ("/rooms/r/u", "", "r.u"),
        ("/mine", "x-user: me\r\n", "me"),
        ("/own/kitchen", "", "kitchen"),
        ("/anything/else", "", "lobby"),
    ];
    for (path, headers, channel) in table {
        let mut client = get(server, path, headers).await;
        let head = until(&mut client, "\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert!(
            head.contains("content-type: text/event-stream\r\n"),
            "{head}"
        );
        until(&mut client, OPEN).await;
        let event = Event::text("message", "hello").unwrap();
        es.publish_event(channel, event).await.unwrap();
        let end = "event: message\ndata: hello\n\n\r\n";
        until(&mut client, end).await;
    }
}

#[tokio::test]
async fn refusals_and_errors_are_responses() {
    let es = event_stream();
    let server = serve(&es).await;
    let refused = get(server, "/events", "accept: text/html\r\n").await;
    assert_eq!(
        answer(refused).await,
        ("406".into(), "Not Acceptable.\n".into())
    );
    let refused = get(server, "/own/kitchen", "accept: text/html\r\n").await;
    assert_eq!(
        answer(refused).await,
        ("406".into(), "Not Acceptable.\n".into())
    );
    let refused = get(server, "/mine", "").await;
    assert_eq!(answer(refused).await, ("401".into(), String::new()));
    let refused = get(server, "/events/a%2C%20secret", "").await;
    assert_eq!(answer(refused).await.0, "400");
    let refused = get(server, "/events/%FF", "").await;
    assert_eq!(answer(refused).await.0, "400");
    let refused = get(server, "/events/%20a", "").await;
    assert_eq!(answer(refused).await.0, "400");
    let refused = get(server, "/old/7", "").await;
    let reason = "the channel template \":id\" has \":id\" as literal text\n";
    assert_eq!(answer(refused).await, ("500".into(), reason.into()));
    let refused = get(server, "/misspelt/7", "").await;
    let reason =
        "the route has no parameter \"rom\", which the channel template \"room-{rom}\" names\n";
    assert_eq!(answer(refused).await, ("500".into(), reason.into()));
    let failed = post(server, "/invalid", "").await;
    let reason = "invalid channel name \"a,b\": ',' is not allowed\n";
    assert_eq!(answer(failed).await, ("400".into(), reason.into()));
}

async fn post(server: SocketAddr, path: &str, body: &str) -> TcpStream {
    let length = body.len();
    let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n");
    send(server, &(head + body)).await
}

#[tokio::test]
async fn the_stream_is_an_extractor_and_a_state() {
    let es = event_stream();
    let server = serve(&es).await;
    let mut client = get(server, "/events", "").await;
    until(&mut client, OPEN).await;
    let published = answer(post(server, "/publish", "by request").await).await;
    assert_eq!(published.0, "200");
    until(&mut client, "event: message\ndata: by request\n\n\r\n").await;
    assert_eq!(answer(post(server, "/state", "").await).await.1, "1");
}

#[tokio::test]
async fn a_stream_ends_when_it_is_closed() {
    let es = event_stream();
    let server = serve(&es).await;
    let mut client = get(server, "/events", "").await;
    until(&mut client, OPEN).await;
    es.close();
    assert_eq!(until(&mut client, "\r\n\r\n").await, "0\r\n\r\n");
    assert_eq!(es.stats().subscriptions, 0);
    let (status, body) = answer(get(server, "/events", "").await).await;
    assert_eq!(status, "200");
    assert!(body.starts_with("retry: "), "{body}");
}

#[tokio::test]
async fn a_proxy_gets_what_it_missed_by_the_link_of_a_nested_route() {
    let control = Router::new().route("/publish/", on_post(|| async { "Published\n" }));
    let es = EventStream::builder()
        .grip(format!("http://{}", serve_app(control).await))
        .history(History::memory())
        .build()
        .unwrap();
    let server = serve_app(axum_07::nested(&es)).await;
    for (path, channel) in [("/api/events/1?a=b", "1"), ("/api/own/kitchen", "kitchen")] {
        let mut held = get(server, path, "grip-sig: any\r\n").await;
        let held = until(&mut held, "\r\n\r\n").await;
        let link = between(&held, "grip-link: <", ">");
        assert!(link.starts_with(path.split('?').next().unwrap()), "{link}");
        let last = between(&held, "prev-id=", "\r");

        let missed = Event::text("message", "missed").unwrap();
        es.publish_event(channel, missed).await.unwrap();
        let asks = format!("grip-sig: any\r\ngrip-last: events-{channel}; last-id={last}\r\n");
        let (status, body) = answer(get(server, link, &asks).await).await;
        assert_eq!(status, "200");
        assert!(body.contains("data: missed\n"), "{body}");
    }
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let (_, rest) = text
        .split_once(start)
        .unwrap_or_else(|| panic!("no {start} in {text}"));
    rest.split_once(end).unwrap().0
}
