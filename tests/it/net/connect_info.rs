//! Client addresses behind `net::Listener`.

use crate::support::{client, publish, server};
use axum::{
    Router,
    extract::{ConnectInfo, Request},
    http::StatusCode,
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
    serve::{Listener, ListenerExt},
};
use axum_eventstream::{EventStream, net};
use std::net::SocketAddr;

/// Refuses requests of unknown origin, as rate limits by address do.
async fn limit(request: Request, next: Next) -> Response {
    match request.extensions().get::<ConnectInfo<SocketAddr>>() {
        Some(_) => next.run(request).await,
        None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[tokio::test]
async fn middleware_finds_a_socket_address_and_streams_detach() {
    let es = EventStream::new();
    let who = async |ConnectInfo(address): ConnectInfo<SocketAddr>| address.to_string();
    let app = Router::new()
        .route("/who", get(who))
        .route("/events", get(es.handler("a")))
        .layer(middleware::from_fn(limit));
    let (listener, address) = server::bind_detaching().await;
    let listener = listener.tap_io(|_| ());
    assert_eq!(listener.local_addr().unwrap(), address);
    let service = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(axum::serve(listener, service).into_future());
    let who = client::get(address, "/who", &[]).await;
    let local = who.local_addr();
    assert!(who.whole().await.ends_with(&local.to_string()));
    let mut stream = client::get(address, "/events", &[]).await;
    assert_eq!(stream.header("connection"), Some("close"));
    stream.events(1).await;
    publish(&es, "a", "hello").await;
    assert_eq!(stream.data().await, "hello");
}

#[tokio::test]
async fn a_handler_finds_the_connection() {
    let who = async |ConnectInfo(connection): ConnectInfo<net::Connection>| {
        connection.remote_addr().to_string()
    };
    let app = Router::new().route("/who", get(who));
    let (listener, address) = server::bind_detaching().await;
    let service = app.into_make_service_with_connect_info::<net::Connection>();
    tokio::spawn(axum::serve(listener, service).into_future());
    let who = client::get(address, "/who", &[]).await;
    let local = who.local_addr();
    assert!(who.whole().await.ends_with(&local.to_string()));
}
