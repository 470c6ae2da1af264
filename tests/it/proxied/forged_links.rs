//! Links that were changed, or that belong to another route, subscribe to nothing.

use super::{NO_PROXY, SIGNED, follow, link, recovering};
use crate::support::{
    client::{self, Response},
    current_id, message, server,
};
use axum::{Router, routing::get};
use axum_eventstream::EventStream;
use std::net::SocketAddr;

async fn serve(es: &EventStream) -> SocketAddr {
    let app = Router::new()
        .route("/events/{id}", get(es.handler("{id}")))
        .route("/both", get(es.handler(["a", "b"])))
        .route("/missed/{link}", get(es.link_handler()));
    server::start(app, false).await
}

/// The positions that a proxy repeats before it has seen an event.
fn empty(channels: &[&str]) -> Vec<String> {
    let last = |name| format!("events-{name}; last-id=000000000000-0");
    channels.iter().map(last).collect()
}

/// A stream that ends at once, so that its client reconnects.
async fn assert_ended(ended: Response) {
    assert_eq!(ended.status(), "HTTP/1.1 200 OK");
    for header in ["grip-hold", "grip-channel", "grip-link"] {
        assert_eq!(ended.header(header), None);
    }
    let whole = ended.whole().await;
    assert!(whole.ends_with("\n\n"), "{whole}");
}

#[tokio::test]
async fn a_forged_link_subscribes_to_nothing() {
    let es = recovering(NO_PROXY, None).build().unwrap();
    let other = recovering(NO_PROXY, None).grip_link_key("another secret");
    let other = other.build().unwrap();
    let (origin, other) = (serve(&es).await, serve(&other).await);
    let held = client::get(origin, "/events/a?q=%2C;,x", &[SIGNED]).await;
    let link = link(&held, "next").unwrap();
    let (start, token) = link.split_once("grip-next=").unwrap();
    assert_eq!(
        start, "/events/a?",
        "nothing of the client's query is in it"
    );
    let (token, digest) = token.split_once('#').unwrap();
    assert_eq!(digest.len(), 22);
    let (kept, last) = token.split_at(token.len() - 1);
    let other_last = if last == "A" { "E" } else { "A" };
    let again = follow(origin, &link, &empty(&["a"])).await;
    assert_eq!(again.header("grip-channel"), held.header("grip-channel"));
    assert_ended(follow(other, &link, &empty(&["a"])).await).await;
    for forged in [
        format!("{start}grip-next={kept}{other_last}"),
        format!("{start}grip-next={token}&grip-channels=b"),
        format!("{start}grip-next={token}&grip-channels=b&grip-page=000000000000-0"),
        "/events/a?grip-next=".to_owned(),
        "/events/a?grip-next=x.y.z".to_owned(),
    ] {
        assert_ended(follow(origin, &forged, &empty(&["a"])).await).await;
    }
    let direct = client::get(origin, &link.replace('#', "&"), &[]).await;
    assert_eq!(direct.header("grip-hold"), None, "a link is for proxies");
}

/// Without a verify key, anybody can send any `Grip-Last`.
#[tokio::test]
async fn a_link_with_other_channels_in_grip_last_subscribes_to_nothing() {
    for path in [None, Some("/missed")] {
        let es = recovering(NO_PROXY, path).build().unwrap();
        let origin = serve(&es).await;
        let link = link(&client::get(origin, "/both", &[SIGNED]).await, "next").unwrap();
        let held = follow(origin, &link, &empty(&["b", "a"])).await;
        let channels = held.header("grip-channel").unwrap();
        assert!(channels.starts_with("events-a; prev-id="), "{channels}");
        let lasts = [
            &[][..],
            &["a"],
            &["a", "c"],
            &["a", "b", "secret"],
            &["secret"],
        ];
        for last in lasts {
            assert_ended(follow(origin, &link, &empty(last)).await).await;
        }
    }
}

#[tokio::test]
async fn a_link_of_one_route_is_refused_on_another() {
    let es = recovering(NO_PROXY, None).build().unwrap();
    let by_path = recovering(NO_PROXY, Some("/missed")).build().unwrap();
    let (origin, origin_by_path) = (serve(&es).await, serve(&by_path).await);
    let next = async |origin| {
        let held = client::get(origin, "/events/a", &[SIGNED]).await;
        link(&held, "next").unwrap()
    };
    let (by_query, by_path) = (next(origin).await, next(origin_by_path).await);
    let (_, query) = by_query.split_once('?').unwrap();
    let (query, digest) = query.split_once('#').unwrap();
    let (path, query_by_path) = by_path.split_once('?').unwrap();
    let segment = path.strip_prefix("/missed/").unwrap();
    for (origin, target) in [
        (origin, format!("/events/b?{query}")),
        (origin, format!("/both?{query}")),
        (origin, format!("/missed/{digest}?{query}")),
        (origin_by_path, format!("/missed/{digest}?{query}")),
        (origin_by_path, format!("/events/{segment}?{query_by_path}")),
        (origin_by_path, format!("/missed/{digest}?{query_by_path}")),
        (origin, by_path.clone()),
    ] {
        assert_ended(follow(origin, &target, &empty(&["a"])).await).await;
    }
    for (origin, link) in [(origin, &by_query), (origin_by_path, &by_path)] {
        let held = follow(origin, link, &empty(&["a"])).await;
        assert_eq!(held.header("grip-hold"), Some("stream"));
    }
}

/// A proxy holds its clients, so nothing ends for them when the application does.
#[tokio::test]
async fn a_link_is_answered_while_the_stream_closes() {
    let es = recovering(NO_PROXY, None).build().unwrap();
    let origin = serve(&es).await;
    let link = link(&client::get(origin, "/events/a", &[SIGNED]).await, "next").unwrap();
    es.try_publish("a", message("missed")).unwrap();
    es.close();
    let epoch = current_id(&es);
    let (epoch, _) = epoch.split_once('-').unwrap();
    let last = format!("events-a; last-id={epoch}-0");
    let (target, _) = link.split_once('#').unwrap();
    let held = client::get(origin, target, &[SIGNED, ("grip-last", &last)]).await;
    assert_eq!(held.header("grip-hold"), Some("stream"));
    assert!(held.whole().await.contains("data: missed\n"));
}
