//! Log events: their levels and fields, without event data or keys.

use crate::support::{
    app, call,
    control_server::{Answer, ControlServer},
    current_id, message, publish, with_history,
};
use axum::{
    Router,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use axum_eventstream::{EventStream, History, StreamRequest, grip::GripConfig};
use std::{cell::RefCell, io, sync::LazyLock};
use tokio_stream::StreamExt;

thread_local! {
    /// What this thread has logged.
    static LOG: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A subscriber of each test's own would not do: a call that another thread reaches first is then disabled for all.
static SUBSCRIBER: LazyLock<()> = LazyLock::new(|| {
    let subscriber = tracing_subscriber::fmt()
        .with_writer(|| Log)
        .with_env_filter("axum_eventstream=trace")
        .with_ansi(false)
        .with_target(false)
        .without_time();
    subscriber.init();
});

/// The log of the thread of a test.
struct Log;

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.with_borrow_mut(|log| log.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn start() -> Self {
        LazyLock::force(&SUBSCRIBER);
        Self
    }

    /// The lines since the last time.
    fn take(&self) -> Vec<String> {
        let text = String::from_utf8(LOG.take()).unwrap();
        assert!(!text.contains("hush"), "{text}");
        text.lines().map(|line| line.trim().to_owned()).collect()
    }
}

async fn request(es: &EventStream, path: &str, header: (&str, &str)) -> Response {
    call(&app(es), path, &[header]).await
}

#[tokio::test]
async fn who_comes_and_goes_is_logged_at_debug() {
    let log = Log::start();
    let es = EventStream::new();
    publish(&es, "a", "hush").await;
    let id = current_id(&es);
    publish(&es, "a", "hush").await;
    let response = request(&es, "/a", ("last-event-id", &id)).await;
    let came = r#"DEBUG subscribed channels=["a"] replayed=1"#;
    assert_eq!(log.take(), [came]);
    drop(response);
    assert_eq!(log.take(), [r#"DEBUG unsubscribed channels=["a"]"#]);
}

#[tokio::test]
async fn a_template_that_the_route_cannot_fill_is_logged_at_error_with_the_fix() {
    let log = Log::start();
    let es = EventStream::new();
    let parameter = r#"the route has no parameter "rom", which the channel template "{rom}" names: name a parameter of the route, or write `{{` and `}}` for literal braces"#;
    let brace = r#"the channel template "{id" has a `{` without a `}`: write `{{` and `}}` for literal braces"#;
    let colon =
        r#"the channel template ":id" has ":id" as literal text: write "{id}" for the parameter"#;
    let cases = [("{rom}", parameter), ("{id", brace), (":id", colon)];
    for (template, message) in cases {
        let app = Router::new().route("/{id}", get(es.handler(template)));
        // Braces that no route can fill are logged here, too.
        log.take();
        for _ in 0..2 {
            let response = call(&app, "/7", &[]).await;
            assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
            assert_eq!(log.take()[0], format!("ERROR {message}"));
        }
    }
}

#[tokio::test]
async fn refusals_are_logged_at_debug_with_their_reason() {
    let log = Log::start();
    let proxy = "http://127.0.0.1:9?verify-key=hush";
    let es = EventStream::builder().grip(proxy).build().unwrap();
    let refused = request(&es, "/a", ("accept", "text/html")).await;
    assert_eq!(refused.status(), StatusCode::NOT_ACCEPTABLE);
    let lines = log.take();
    let start = "DEBUG stream refused status=406 reason=`Accept` does not admit";
    assert!(lines.len() == 1 && lines[0].starts_with(start), "{lines:?}");
    request(&es, "/a", ("grip-sig", "hush.hush.hush")).await;
    let lines = log.take();
    let start = "WARN a Grip-Sig was refused: if all requests of a proxy are, its key and `verify_key` differ";
    assert!(lines[0].starts_with(start), "the first is seen: {lines:?}");
    request(&es, "/a", ("grip-sig", "hush.hush.hush")).await;
    let again = log.take();
    let line = "DEBUG Grip-Sig refused error=the token is not a JWT";
    assert_eq!(again[0], line);
    assert_eq!(lines[1..], again, "anyone could fill the log with the rest");
    let start = "DEBUG stream refused status=403 reason=no key verifies `Grip-Sig`";
    assert!(again.len() == 2 && again[1].starts_with(start), "{again:?}");
    request(&es, "/a%0Ab", ("x", "x")).await;
    let reason = r#"reason=invalid channel name "a\nb": '\n' is not allowed"#;
    assert_eq!(
        log.take(),
        [format!("DEBUG stream refused status=400 {reason}")]
    );
}

#[tokio::test]
async fn a_mistake_in_the_program_is_logged_as_an_error() {
    let log = Log::start();
    let app: Router = Router::new().route("/", get(|_: EventStream| async {}));
    let response = call(&app, "/", &[]).await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let lines = log.take();
    let start = "ERROR no EventStream found: add `.with_state(event_stream)`";
    assert!(lines[0].starts_with(start), "{lines:?}");
}

#[tokio::test]
async fn who_falls_behind_is_logged_at_info() {
    let log = Log::start();
    let es = with_history(History::memory().events(2));
    let mut slow = es.subscribe(["a"]).unwrap();
    log.take();
    for _ in 0..3 {
        publish(&es, "a", "hush").await;
    }
    assert_eq!(slow.next().await.unwrap().event(), "stream-reset");
    assert_eq!(log.take(), ["INFO stream reset missed=Some(1) channels=1"]);
}

#[tokio::test]
async fn a_failed_publish_is_logged_at_warn_and_makes_its_proxy_unhealthy() {
    let log = Log::start();
    let [good, bad] = ControlServer::start_all().await;
    bad.answer(Answer::Status(403, "hush"));
    let proxies = [&good, &bad].map(|server| GripConfig::new(format!("{}?x=hush", server.uri())));
    let es = EventStream::builder().grip(proxies).build().unwrap();
    assert!(es.health().is_healthy(), "nobody has been asked");
    es.publish_event("a", message("hush")).await.unwrap_err();
    let name = format!("{}/", bad.uri());
    let line = format!("WARN publishing failed endpoint=\"{name}\" items=1 kind=Status(403)");
    assert_eq!(log.take(), [line]);

    let health = es.health();
    let healthy: Vec<_> = health.proxies().iter().map(|proxy| proxy.healthy).collect();
    assert_eq!((health.is_healthy(), healthy), (false, vec![true, false]));
    assert_eq!(health.to_string(), format!("no answer from {name}"));
    let status = health.into_response().status();
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);

    // A refusal of the event does not change the health of the proxy.
    bad.answer(Answer::Status(400, "Invalid format"));
    es.publish_event("a", message("hush")).await.unwrap_err();
    assert!(!es.health().is_healthy());
    bad.answer(Answer::Status(200, "Published\n"));
    publish(&es, "a", "hush").await;
    assert_eq!(es.health().into_response().status(), StatusCode::OK);
    bad.answer(Answer::Status(400, "Invalid format"));
    es.publish_event("a", message("hush")).await.unwrap_err();
    assert!(es.health().is_healthy());
}

#[tokio::test]
async fn routes_that_links_will_not_reach_are_logged_once() {
    let held = async |app: Router| {
        let log = Log::start();
        for _ in 0..2 {
            let response = call(&app, "/a", &[("grip-sig", "any")]).await;
            assert_eq!(response.headers()["grip-hold"], "stream");
        }
        let mut lines = log.take();
        lines.retain(|line| !line.starts_with("DEBUG"));
        lines
    };
    let build = |path: bool| {
        let builder = EventStream::builder().grip("http://127.0.0.1:9");
        let builder = builder.history(History::memory());
        let builder = match path {
            true => builder.grip_link_path("/missed"),
            false => builder,
        };
        builder.build().unwrap()
    };
    let own = |es: &EventStream| {
        let es = es.clone();
        get(async move |request: StreamRequest| es.respond(&request, "a").await)
    };

    let es = build(true);
    let lines = held(Router::new().route("/a", get(es.handler("a")))).await;
    assert_eq!(lines.len(), 1, "{lines:?}");
    let start = "ERROR `grip_link_path` is set, and `link_handler` was never called";
    assert!(lines[0].starts_with(start), "{lines:?}");

    let es = build(false);
    let lines = held(Router::new().route("/a", own(&es))).await;
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with("WARN a custom handler holds a client of a proxy with history"));

    for path in [false, true] {
        let es = build(path);
        let app = Router::new().route("/a", get(es.handler("a")));
        let app = app.route("/missed/{link}", get(es.link_handler()));
        assert!(held(app).await.is_empty());
    }
    let es = build(true);
    let app = Router::new().route("/a", own(&es));
    let app = app.route("/missed/{link}", get(es.link_handler()));
    assert!(held(app).await.is_empty());
}

#[tokio::test]
async fn names_that_are_never_valid_are_an_error_in_the_log() {
    let log = Log::start();
    let es = EventStream::new();
    let comma = "invalid channel name \"a,b\": ',' is not allowed";
    let semicolon = "invalid channel name \"b;c\": ';' is not allowed";
    let brace = "the channel template \"b}\" has a `}` without a `{`: write `{{` and `}}` for literal braces";
    let none = "no channel is named: name one at least";
    for (names, mistake) in [
        (&["a,b"][..], comma),
        (&["a", "b;c"], semicolon),
        (&[], none),
        (&["a", "b}"], brace),
        (&[" "], none),
    ] {
        let _ = es.handler(names);
        let expected = format!("ERROR a handler refuses every request: {mistake}");
        assert_eq!(log.take(), [expected]);
    }
    let _ = (es.handler("{id}"), es.handler(["a", "b-{c}"]));
    assert!(log.take().is_empty());
}
