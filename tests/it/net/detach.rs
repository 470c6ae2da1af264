//! Which socket a stream detaches with: the one that wrote its opening, or none.

use crate::support::{client, publish, server, subscribed, with_history, within, without_history};
use axum::{
    Router,
    body::Body,
    http::HeaderValue,
    middleware,
    response::{IntoResponse, Response},
    routing::get,
    serve::{Listener, ListenerExt},
};
use axum_eventstream::{EventStream, History, StreamRequest, net};
use bytes::Bytes;
use futures_util::{
    FutureExt, StreamExt,
    stream::{self, FuturesUnordered},
};
use http_body_util::BodyExt;
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use socket2::SockRef;
use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

async fn serve_connection(io: impl AsyncRead + AsyncWrite + Unpin, app: Router) {
    let service = TowerToHyperService::new(app);
    // A detached stream ends its connection with an error.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(io), service)
        .await;
}

/// Serves the connections of both listeners in one task.
fn serve_in_one_task(
    mut detaching: impl Listener<Io = net::Io>,
    plain: TcpListener,
    app: Router,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut connections = FuturesUnordered::new();
        loop {
            let connection = tokio::select! {
                (io, _) = detaching.accept() => serve_connection(io, app.clone()).boxed(),
                Ok((io, _)) = plain.accept() => serve_connection(io, app.clone()).boxed(),
                Some(()) = connections.next() => continue,
            };
            connections.push(connection);
        }
    })
}

/// A response that begins as a stream on `es` does, and then says nothing.
async fn spy(es: EventStream) -> Response {
    let id = es.current_id().map(|id| format!("id: {id}\n"));
    let opening = format!("event: stream-open\ndata: \n{}\n", id.unwrap_or_default());
    let opening = stream::iter([Ok::<_, Infallible>(opening)]);
    Body::from_stream(opening.chain(stream::pending())).into_response()
}

#[tokio::test]
async fn connections_of_one_task_keep_their_streams_apart() {
    const ROUNDS: usize = 12;
    for history in [History::off(), History::memory()] {
        let es = with_history(history);
        let (detaching, address) = server::bind_detaching().await;
        let (plain, plain_address) = server::bind().await;
        let spied = es.clone();
        let app = Router::new()
            .route("/{id}", get(es.handler("{id}")))
            .route("/spy/{id}", get(move || spy(spied.clone())));
        let task = serve_in_one_task(detaching, plain, app);
        let (mut silent, mut spies, mut streams) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            silent.push(TcpStream::connect(address).await.unwrap());
            spies.push(client::get(address, "/spy/x", &[]).await);
            let address = [address, address, plain_address][round % 3];
            streams.push(client::get(address, &format!("/{round}"), &[]).await);
            spies.push(client::get(address, "/spy/x", &[]).await);
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        subscribed(&es, ROUNDS).await;
        for (round, stream) in streams.iter_mut().enumerate() {
            assert_eq!(stream.data().await, "");
            publish(&es, &round.to_string(), &format!("secret {round}")).await;
            assert_eq!(stream.data().await, format!("secret {round}"));
        }
        task.abort();
        let _ = task.await;
        // Streams of plain connections ended with the task, others live on in a driver.
        subscribed(&es, ROUNDS * 2 / 3).await;
        for (round, stream) in streams.iter_mut().enumerate().filter(|(n, _)| n % 3 < 2) {
            publish(&es, &round.to_string(), "goes on").await;
            assert_eq!(stream.data().await, "goes on");
        }
        es.close();
        for mut spy in spies {
            let seen = spy.rest().await;
            assert!(seen.starts_with("event: stream-open") && !seen.contains("secret"));
        }
    }
}

/// The stream is on a plain connection, so its opening is still in flight while the other connection
/// writes the clone.
#[tokio::test]
async fn a_clone_of_the_opening_on_another_connection_takes_no_stream() {
    let es = EventStream::new();
    let (detaching, address) = server::bind_detaching().await;
    let (plain, plain_address) = server::bind().await;
    let (keep, kept) = mpsc::unbounded_channel();
    let (waits, waiting) = oneshot::channel();
    let (end, ended) = oneshot::channel();
    let kept = Arc::new(Mutex::new(Some((kept, waits, ended))));
    let mirror = async move || {
        let (mut kept, waits, ended) = kept.lock().unwrap().take().unwrap();
        waits.send(()).unwrap();
        let opening = stream::iter(kept.recv().await);
        let ended = stream::once(async { ended.await.unwrap() });
        Body::from_stream(opening.chain(ended).map(Ok::<Bytes, Infallible>))
    };
    let tap = move |response: Response| {
        let keep = keep.clone();
        let tap = move |data: Bytes| {
            let _ = keep.send(data.clone());
            data
        };
        async { response.map(|body| Body::new(body.map_frame(move |frame| frame.map_data(&tap)))) }
    };
    let app = Router::new()
        .route("/a", get(es.handler("a")))
        .layer(middleware::map_response(tap))
        .route("/mirror", get(mirror));
    tokio::spawn(axum::serve(detaching, app.clone()).into_future());
    server::serve(plain, app);
    let mirror = tokio::spawn(async move { client::get(address, "/mirror", &[]).await });
    waiting.await.unwrap();
    let mut stream = client::get(plain_address, "/a", &[]).await;
    let mut mirror = mirror.await.unwrap();
    assert_eq!(stream.data().await, "");
    assert_eq!(mirror.data().await, "");
    publish(&es, "a", "secret").await;
    assert_eq!(stream.data().await, "secret");
    end.send(Bytes::from("data: end\n\n")).unwrap();
    assert_eq!(mirror.rest().await, "data: end\n\n");
}

/// Detaching one of the streams would lose the other, whether they are polled as one or each with its own waker.
#[tokio::test]
async fn of_two_openings_in_one_response_none_detaches() {
    let es = without_history();
    let bodies = async |es: &EventStream, request: &StreamRequest| {
        let one = es.respond(request, ["a"]).await.unwrap().into_body();
        let two = es.respond(request, ["b"]).await.unwrap().into_body();
        [one, two].map(Body::into_data_stream)
    };
    let as_one = async move |es: EventStream, request: StreamRequest| {
        let [one, two] = bodies(&es, &request).await;
        Body::from_stream(tokio_stream::StreamExt::merge(one, two))
    };
    let each = async move |es: EventStream, request: StreamRequest| {
        Body::from_stream(stream::select_all(bodies(&es, &request).await))
    };
    let app = Router::new()
        .route("/one", get(as_one))
        .route("/each", get(each));
    let address = server::start(app.with_state(es.clone()), true).await;
    for target in ["/one", "/each"] {
        let mut client = client::get(address, target, &[]).await;
        assert_eq!(client.data().await, "");
        assert_eq!(client.data().await, "");
        for channel in ["a", "b", "a", "b"] {
            publish(&es, channel, channel).await;
            assert_eq!(client.data().await, channel);
        }
    }
}

/// Middleware that lets the opening pass unchanged, and changes what follows.
#[tokio::test]
async fn a_body_that_another_task_polls_stays() {
    let es = EventStream::new();
    let redact = async |response: Response| {
        let (parts, mut body) = response.into_parts();
        let (send, receive) = mpsc::channel(1);
        tokio::spawn(async move {
            while let Some(Ok(frame)) = body.frame().await {
                let data = frame.into_data().unwrap();
                let data = match data.starts_with(b"event: message") {
                    true => Bytes::from("data: redacted\n\n"),
                    false => data,
                };
                send.send(Ok::<_, Infallible>(data)).await.unwrap();
            }
        });
        let body = Body::from_stream(tokio_stream::wrappers::ReceiverStream::new(receive));
        Response::from_parts(parts, body)
    };
    let app = Router::new()
        .route("/{id}", get(es.handler("{id}")))
        .layer(middleware::map_response(redact));
    let address = server::start(app, true).await;
    for round in 0..20 {
        let channel = round.to_string();
        let mut client = client::get(address, &format!("/{channel}"), &[]).await;
        assert_eq!(client.data().await, "");
        publish(&es, &channel, "secret").await;
        assert_eq!(client.data().await, "redacted");
    }
}

/// The head alone is more than the socket takes.
#[tokio::test]
async fn a_stream_whose_first_write_is_blocked_stays() {
    const LENGTH: usize = 256 << 10;
    let es = without_history();
    let (tcp, address) = server::bind().await;
    let listener = net::Listener::new(tcp.tap_io(|tcp| {
        SockRef::from(&*tcp).set_send_buffer_size(4096).unwrap();
    }));
    let large_head = async |mut response: Response| {
        let large = HeaderValue::from_bytes(&[b'x'; LENGTH]).unwrap();
        response.headers_mut().insert("x-large", large);
        response
    };
    let app = Router::new()
        .route("/a", get(es.handler("a")))
        .layer(middleware::map_response(large_head));
    let (plain, _) = server::bind().await;
    let task = serve_in_one_task(listener, plain, app);
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut client = socket.connect(address).await.unwrap();
    let request = b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n";
    client.write_all(request).await.unwrap();
    subscribed(&es, 1).await;
    publish(&es, "a", "hello").await;
    let receive_buffer = SockRef::from(&client).set_recv_buffer_size(1 << 20);
    receive_buffer.unwrap();
    let mut received = Vec::new();
    let reading = async {
        while !received.ends_with(b"data: hello\n\n\r\n") {
            assert_ne!(client.read_buf(&mut received).await.unwrap(), 0);
        }
    };
    within("the event", reading).await;
    // A detached stream would outlive the task.
    task.abort();
    subscribed(&es, 0).await;
}

/// RFC 9112, 9.6: a proxy must not send another request on a connection that ends with its response.
#[tokio::test]
async fn a_stream_that_may_detach_announces_the_end_of_its_connection() {
    let es = EventStream::new();
    let copy = async |response: Response| {
        let copy = |data: Bytes| Bytes::copy_from_slice(&data);
        response.map(|body| Body::new(body.map_frame(move |frame| frame.map_data(copy))))
    };
    let app = Router::new()
        .route("/copied", get(es.handler("a")))
        .layer(middleware::map_response(copy))
        .route("/stays", get(es.handler("a").detach(false)))
        .route("/a", get(es.handler("a")));
    let address = server::start(app, true).await;
    for (target, closes) in [("/a", true), ("/copied", true), ("/stays", false)] {
        let mut client = client::get(address, target, &[]).await;
        assert_eq!(client.header("connection").is_some(), closes, "{target}");
        assert_eq!(client.data().await, "");
        es.close_channel("a").await.unwrap();
        client.rest().await;
        assert!(client.is_complete());
        assert_eq!(client.closes().await, closes, "{target}");
        let client = client::get(address, target, &[]).await;
        subscribed(&es, 1).await;
        drop(client);
        subscribed(&es, 0).await;
    }
    let head = client::send(address, "HEAD /a HTTP/1.1", &[]).await;
    assert_eq!(head.header("connection"), None);
    head.again("HEAD /a HTTP/1.1", &[]).await;
}
