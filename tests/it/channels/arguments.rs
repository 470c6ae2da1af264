//! What `respond`, `subscribe` and functions given to `handler` take as names of channels.

use crate::support::call;
use axum::{
    Router,
    extract::State,
    http::{Request, StatusCode, request::Parts},
    response::Response,
    routing::get,
};
use axum_eventstream::{
    Channel, ErrorKind, EventStream, IntoChannels, Rejection, StreamHandler, StreamRequest,
};
use std::{
    borrow::Cow,
    collections::{BTreeSet, HashSet, VecDeque},
    fmt::Debug,
    sync::Arc,
};

/// Subscribes with a value, and with its clones in `open` and `respond`: all must mean the same channels.
async fn check<M>(given: impl IntoChannels<M> + Clone + Debug, expected: &[&str]) {
    let es = EventStream::new();
    let request = Request::get("/").body(()).unwrap();
    let (mut parts, ()) = request.into_parts();
    let shown = format!("{given:?}");
    let request = <StreamRequest as axum::extract::FromRequestParts<()>>::from_request_parts;
    let request = request(&mut parts, &()).await.unwrap();
    let listened = || {
        let mut names: Vec<_> = es.channels().map(|(name, _)| name.to_string()).collect();
        names.sort();
        names
    };
    let subscription = es.subscribe(given.clone());
    let response = match subscription {
        Ok(_) => {
            assert_eq!(listened(), expected, "{shown}");
            drop(subscription);
            let opened = es.open(&request, given.clone()).unwrap();
            assert_eq!(listened(), expected, "{shown}");
            drop(opened);
            es.respond(&request, given).await.unwrap()
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::InvalidChannel, "{shown}");
            assert!(expected.is_empty(), "{shown}");
            let rejection = es.respond(&request, given).await.unwrap_err();
            return assert!(matches!(rejection, Rejection::NoChannels), "{shown}");
        }
    };
    assert_eq!(listened(), expected, "{shown}");
    drop(response);
}

#[tokio::test]
async fn a_name_may_have_any_type_of_text() {
    let channel = Channel::new("a").unwrap();
    let text = "a".to_owned();
    check("a", &["a"]).await;
    check(&"a", &["a"]).await;
    check(&text, &["a"]).await;
    check(Cow::Borrowed("a"), &["a"]).await;
    check(&channel, &["a"]).await;
    check(channel.clone(), &["a"]).await;
    check(Box::<str>::from("a"), &["a"]).await;
    check(Arc::<str>::from("a"), &["a"]).await;
    check(&Arc::<str>::from("a"), &["a"]).await;
    check(text, &["a"]).await;
}

#[tokio::test]
async fn several_names_may_be_any_collection_or_an_iterator() {
    let (names, both) = (["b", "a"], &["a", "b"][..]);
    check(names, both).await;
    check(&names, both).await;
    check(&names[..], both).await;
    check(names.to_vec(), both).await;
    check(&names.to_vec(), both).await;
    check(Box::<[&str]>::from(names), both).await;
    check(HashSet::from(names), both).await;
    check(&HashSet::from(names), both).await;
    check(BTreeSet::from(names), both).await;
    check(&BTreeSet::from(names), both).await;
    check(VecDeque::from(names), both).await;
    check(&VecDeque::from(names), both).await;
    check(names.iter(), both).await;
    check((1..3).map(|n| format!("room-{n}")), &["room-1", "room-2"]).await;
    check(names.map(|name| Channel::new(name).unwrap()), both).await;
}

#[tokio::test]
async fn none_and_empty_names_are_no_channel() {
    check(None::<&str>, &[]).await;
    check(Vec::<String>::new(), &[]).await;
    check(["", ""], &[]).await;
    check(Some(["", "a"]), &["a"]).await;
    check(Some("a b".split(' ')), &["a", "b"]).await;
    check(Ok::<_, StatusCode>(Some(vec!["a"])), &["a"]).await;
    check(Ok::<_, StatusCode>(Some("a".split(' '))), &["a"]).await;
}

#[tokio::test]
async fn an_error_is_the_response_and_never_no_channel() {
    async fn events(
        State(es): State<EventStream>,
        request: StreamRequest,
    ) -> Result<Response, Rejection> {
        es.respond(&request, Err::<Vec<String>, _>(StatusCode::IM_A_TEAPOT))
            .await
    }
    let es = EventStream::new();
    let refused = |parts: &Parts| match parts.uri.query() {
        Some(query) => Ok(query
            .to_owned()
            .into_bytes()
            .into_iter()
            .map(|byte| byte.to_string())),
        None => Err(StatusCode::IM_A_TEAPOT),
    };
    let app = Router::new()
        .route("/respond", get(events))
        .route("/handler", get(es.handler(refused)))
        .with_state(es.clone());
    for (target, status) in [
        ("/respond", StatusCode::IM_A_TEAPOT),
        ("/handler", StatusCode::IM_A_TEAPOT),
        ("/handler?ab", StatusCode::OK),
    ] {
        let response = call(&app, target, &[]).await;
        assert_eq!(response.status(), status, "{target}");
    }
    let error = es
        .subscribe(Err::<&str, _>(StatusCode::IM_A_TEAPOT))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidChannel);
    assert!(error.to_string().contains("418 I'm a teapot"), "{error}");
}

#[test]
fn more_names_than_the_limit_are_refused_without_reading_on() {
    let error = EventStream::new().subscribe((0_u64..).map(|n| n.to_string()));
    assert_eq!(error.unwrap_err().kind(), ErrorKind::LimitReached);
}

/// The names of a signature without the marker.
fn named(parts: &Parts) -> impl IntoChannels + use<> {
    let name = parts.uri.query().map(str::to_owned);
    name.map(|name| [name]).ok_or(StatusCode::NOT_FOUND)
}

#[test]
fn functions_and_handlers_keep_their_types() {
    let es = EventStream::new();
    let handlers: [StreamHandler; 6] = [
        es.handler(named),
        es.handler(|_: &Parts| "a"),
        es.handler(|_: &Parts| Some(vec!["a"])),
        es.handler(|_: &Parts| HashSet::from(["a"])),
        es.handler(|_: &Parts| (0..3).map(|n| n.to_string())),
        es.handler(Box::<str>::from("a")),
    ];
    drop(handlers);
}
