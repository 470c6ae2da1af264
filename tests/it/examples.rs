//! Each example, started as its own process and talked to over HTTP.
//!
//! `cargo test --workspace` builds them; otherwise run `cargo build --workspace --examples` first.

use crate::support::{
    example::{Example, free_ports},
    postgres::PostgresServer,
    pushpin, quickstart, server, within,
};
use eventsource_stream::{Event, Eventsource};
use futures_util::{Stream, StreamExt};
use reqwest::{Method, Response, StatusCode};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    future::ready,
    net::Ipv4Addr,
    pin::{Pin, pin},
    time::Duration,
};

/// The events of a response, read by an independent parser.
struct Events(Pin<Box<dyn Stream<Item = Event>>>);

impl Example {
    /// Opens a stream, and reads that it is open.
    async fn stream(&self, path: &str) -> Events {
        Events::open(self.get(path).await).await
    }
}

impl Events {
    async fn open(response: Response) -> Self {
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let events = response.bytes_stream().eventsource();
        let events = events.map(|event| event.expect("the stream does not break"));
        let mut events = Self(Box::pin(events));
        assert_eq!(events.next().await.unwrap().event, "stream-open");
        events
    }

    async fn next(&mut self) -> Option<Event> {
        within("an event", self.0.next()).await
    }

    /// The data of the next event of this name; others are skipped.
    async fn data(&mut self, name: &str) -> String {
        let named = self.0.by_ref().filter(|event| ready(event.event == name));
        let event = within(name, pin!(named).next()).await;
        event.expect("the stream is open").data
    }

    async fn json(&mut self, name: &str) -> Value {
        serde_json::from_str(&self.data(name).await).unwrap()
    }

    /// Reads until an event of this name has this data.
    async fn wait_for(&mut self, name: &str, data: &Value) {
        within(name, async { while self.json(name).await != *data {} }).await;
    }
}

/// What a page was rendered with.
fn rendered(page: &str) -> Value {
    let (_, state) = page
        .split_once(r#"<script type="application/json" id="rendered">"#)
        .unwrap();
    serde_json::from_str(state.split_once("</script>").unwrap().0).unwrap()
}

const FORM: &str = "application/x-www-form-urlencoded";

#[tokio::test]
async fn quickstart_publishes_what_its_form_sends_and_ticks() {
    let example = Example::start("quickstart").await;
    let mut events = example.stream("/events").await;
    // A message that is posted before the snapshot is taken is in it.
    events.json("state").await;
    let text = "text=%3C%2Fscript%3E+a%0Ab";
    let sent = example.post("/messages", FORM, text).await;
    assert_eq!(sent.status(), StatusCode::NO_CONTENT);
    let message = events.json("message").await;
    assert_eq!(message["text"], "</script> a\nb");
    // The first one may have counted just before the client subscribed.
    let (one, two) = (events.json("clock").await, events.json("clock").await);
    assert_eq!(two["clients"], 1);
    assert!(one["at"].as_u64() < two["at"].as_u64());
    example.stop().await;
    while events.next().await.is_some() {}
}

/// The texts of a `state` event.
fn texts(state: &Value) -> Vec<&str> {
    let messages = state["messages"].as_array().unwrap().iter();
    messages
        .map(|message| message["text"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn quickstart_begins_with_the_messages_and_continues_after_them() {
    let example = Example::start("quickstart").await;
    for text in ["one", "two"] {
        example
            .post("/messages", FORM, &format!("text={text}"))
            .await;
    }
    let mut events = example.stream("/events").await;
    let state = events.json("state").await;
    assert_eq!(texts(&state), ["one", "two"]);
    assert!(state["clock"]["at"].is_u64());
    example.post("/messages", FORM, "text=three").await;
    assert_eq!(events.json("message").await["text"], "three");
    example.stop().await;
}

#[tokio::test]
async fn quickstart_keeps_the_last_50_messages() {
    let example = Example::start("quickstart").await;
    for n in 0..52 {
        let form = format!("text={n}");
        example.post("/messages", FORM, &form).await;
    }
    let state = example.stream("/events").await.json("state").await;
    let kept = texts(&state);
    assert_eq!((kept.len(), kept[0], kept[49]), (50, "2", "51"));
    example.stop().await;
}

#[tokio::test]
async fn quickstart_shows_a_message_to_new_pages_though_a_proxy_did_not_take_it() {
    use axum_eventstream::{EventStream, grip};
    // Nothing listens on the discard port of this machine.
    let publisher = grip::Publisher::builder()
        .endpoints([grip::GripConfig::new("http://127.0.0.1:9")])
        .timeout(Duration::from_millis(300));
    let es = EventStream::builder().grip(publisher.build().unwrap());
    let (listener, address) = server::bind().await;
    let serving = server::serve(listener, quickstart::app(es.build().unwrap()));
    let (client, url) = (reqwest::Client::new(), format!("http://{address}"));
    let stream = async || {
        let events = client.get(format!("{url}/events")).send();
        Events::open(within("a stream", events).await.unwrap()).await
    };
    let mut events = stream().await;
    let post = client.post(format!("{url}/messages"));
    let sent = within("an answer", post.form(&[("text", "hello")]).send()).await;
    assert_eq!(sent.unwrap().status(), StatusCode::NO_CONTENT);
    assert_eq!(events.json("message").await["text"], "hello");
    assert_eq!(texts(&stream().await.json("state").await), ["hello"]);
    serving.abort();
}

const JSON: &str = "application/json";

#[tokio::test]
async fn board_begins_with_the_orders_and_continues_with_the_changes_after_them() {
    let example = Example::start("board").await;
    let change = async |change: Value| {
        let answer = example.post("/changes", JSON, &change.to_string()).await;
        answer.status()
    };
    assert_eq!(change(json!({"ordered": ["tea", 2]})).await, StatusCode::OK);
    let mut events = example.stream("/events").await;
    assert_eq!(events.json("board").await, json!({"tea": 2}));
    change(json!({"ordered": ["</script>", 1]})).await;
    change(json!({"ordered": ["tea", -1]})).await;
    change(json!({"served": "tea"})).await;
    assert_eq!(events.json("ordered").await, json!(["</script>", 1]));
    assert_eq!(events.json("ordered").await, json!(["tea", -1]));
    assert_eq!(events.json("served").await, json!("tea"));
    let mut later = example.stream("/events").await;
    assert_eq!(later.json("board").await, json!({"</script>": 1}));
    let invalid = change(json!({"ordered": "tea"})).await;
    assert_eq!(invalid, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        example
            .page("/")
            .await
            .contains("new EventSource('/events')")
    );
    example.stop().await;
    while later.next().await.is_some() {}
}

#[tokio::test]
async fn instances_says_how_to_start_redis_and_serves_its_page_meanwhile() {
    let (port, nothing) = (free_ports().to_string(), "redis://127.0.0.1:1");
    let variables = [("PORT", &*port), ("REDIS_URL", nothing)];
    let mut example = Example::start_with("instances", &variables).await;
    while !example.line().await.contains("run `redis-server`") {}
    let page = example.page("/").await;
    assert!(page.contains("new EventSource('/events')"));
    let mut events = example.stream("/events").await;
    example.stop().await;
    while events.next().await.is_some() {}
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn postgres_has_the_log_of_two_programs() {
    let server = PostgresServer::start().await;
    let url = server.url();
    let variables = [("DATABASE_URL", &*url)];
    let one = Example::start_with("postgres", &variables).await;
    let two = Example::start_with("postgres", &variables).await;
    let mut events = one.stream("/rooms/red").await;
    let sent = two.post("/rooms/red", "text/plain", "hello").await;
    assert_eq!(sent.status(), StatusCode::OK);
    assert_eq!(events.data("message").await, "hello");
    assert_eq!(one.page("/health").await, "ok\n");
    one.stop().await;
    two.stop().await;
}

#[tokio::test]
async fn notifications_reach_a_user_a_team_and_everyone_until_a_ban() {
    let example = Example::start("notifications").await;
    let mut cookies = Vec::new();
    for name in ["ann", "bob", "cat"] {
        let login = example.post("/login", "text/plain", name).await;
        let cookie = login.headers()["set-cookie"].to_str().unwrap();
        cookies.push(cookie.split(';').next().unwrap().to_owned());
    }
    let post = async |path: &str, cookie: &str, body: &str| {
        let answer = example.request(Method::POST, path, ("cookie", cookie), body);
        answer.await.status().as_u16()
    };
    let open = async |cookie: &str| {
        let header = ("cookie", cookie);
        example.request(Method::GET, "/events", header, "").await
    };
    let [ann, bob, cat] = [&cookies[0], &cookies[1], &cookies[2]];
    let mut bobs = Events::open(open(bob).await).await;
    let mut cats = Events::open(open(cat).await).await;
    assert_eq!(post("/mention/bob", cat, "hello").await, 204);
    assert_eq!(post("/team", ann, "lunch?").await, 204);
    assert_eq!(post("/maintenance", bob, "10").await, 403);
    assert_eq!(post("/maintenance", ann, "10").await, 204);
    let mention = json!({"from": "cat", "text": "hello"});
    assert_eq!(bobs.json("mention").await, mention);
    let message = json!({"from": "ann", "text": "lunch?"});
    assert_eq!(bobs.json("team-message").await, message);
    for events in [&mut bobs, &mut cats] {
        let next = events.next().await.unwrap();
        assert_eq!(
            (&*next.event, &*next.data),
            ("maintenance", r#"{"minutes":10}"#)
        );
    }
    assert_eq!(post("/ban/bob", ann, "").await, 204);
    while bobs.next().await.is_some() {}
    assert_eq!(open(bob).await.status(), StatusCode::UNAUTHORIZED);
    let login = example.post("/login", "text/plain", "bob").await;
    assert_eq!(login.status(), StatusCode::FORBIDDEN);
    example.stop().await;
}

/// The routes of the example in this process.
mod notifications {
    use crate::support::notifications::{self as example, Notification};
    use axum::{Router, body::Body, http::Request};
    use axum_eventstream::{EventStream, testing::TestClient};
    use std::time::Duration;

    /// A client with the session of this user.
    async fn log_in(app: &Router, name: &str) -> TestClient {
        let client = TestClient::new(app.clone());
        let login = client.post("/login", name.to_owned()).await;
        let cookie = login.headers()["set-cookie"].to_str().unwrap();
        let (session, _) = cookie.split_once(';').unwrap();
        client.header("cookie", format!("theme=dark; {session}"))
    }

    #[tokio::test]
    async fn a_notification_is_an_event_of_its_variant() {
        let app = example::app(EventStream::new());
        let (ann, cat) = (log_in(&app, "ann").await, log_in(&app, "cat").await);
        let mut stream = ann.get("/events").await;
        cat.post("/mention/ann", "hello").await;
        let (from, text) = ("cat".to_owned(), "hello".to_owned());
        let mention = Notification::Mention { from, text };
        stream.expect_tagged(&mention).await;
    }

    #[tokio::test]
    async fn a_stream_without_a_session_is_refused() {
        let app = example::app(EventStream::new());
        let nobody = TestClient::new(app.clone());
        assert_eq!(nobody.refused("/events").await.0, 401);
        let guess = nobody.header("cookie", "session=guess");
        assert_eq!(guess.refused("/events").await.0, 401);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_ends_when_its_session_expires() {
        let app = example::app(EventStream::new());
        let ann = log_in(&app, "ann").await.limit(Duration::from_secs(7200));
        let opened = tokio::time::Instant::now();
        let mut stream = ann.get("/events").await;
        stream.expect_end().await;
        assert!(
            stream.retry().is_some(),
            "a browser reconnects, and is refused"
        );
        let minutes = opened.elapsed().as_secs_f64() / 60.0;
        assert!((59.0..=60.1).contains(&minutes), "{minutes}");
    }

    /// The ban comes before, between and after the steps of the handler.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_stream_survives_a_ban_at_any_time() {
        for _ in 0..300 {
            let app = example::app(EventStream::new());
            let (ann, bob) = (log_in(&app, "ann").await, log_in(&app, "bob").await);
            let opens = tokio::spawn(async move {
                let request = Request::get("/events").body(Body::empty()).unwrap();
                let response = bob.send(request).await;
                axum::body::to_bytes(response.into_body(), 10_000).await
            });
            let bans = tokio::spawn(async move { ann.post("/ban/bob", "").await.status() });
            assert_eq!(bans.await.unwrap(), 204);
            let ended = crate::support::within("the end of the stream", opens).await;
            ended.unwrap().unwrap();
        }
    }
}

#[tokio::test]
async fn chat_shows_who_is_here_as_streams_come_and_go() {
    let example = Example::start("chat").await;
    let mut ann = example.stream("/rooms/red/events?name=Ann").await;
    assert_eq!(ann.json("who").await, json!(["Ann"]));
    let mut bob = example.stream("/rooms/red/events?name=Bob").await;
    assert_eq!(ann.json("who").await, json!(["Ann", "Bob"]));
    assert_eq!(bob.json("who").await, json!(["Ann", "Bob"]));
    // A second window of Bob's, and the first one closes: he is still here.
    let mut again = example.stream("/rooms/red/events?name=Bob").await;
    assert_eq!(again.json("who").await, json!(["Ann", "Bob"]));
    drop(bob);
    assert_eq!(again.json("who").await, json!(["Ann", "Bob"]));
    drop(again);
    ann.wait_for("who", &json!(["Ann"])).await;
    // Another room has its own list, and a HEAD request is not on it.
    let mut cat = example.stream("/rooms/blue/events?name=Cat").await;
    assert_eq!(cat.json("who").await, json!(["Cat"]));
    let path = "/rooms/blue/events?name=Eve";
    let head = example.request(Method::HEAD, path, ("accept", "*/*"), "");
    assert_eq!(head.await.status(), StatusCode::OK);
    let message = json!({"name": "Ann", "text": "hello"}).to_string();
    let json = "application/json";
    example.post("/rooms/blue", json, &message).await;
    loop {
        let event = cat.next().await.unwrap();
        match &*event.event {
            "who" => assert_eq!(event.data, r#"["Cat"]"#),
            name => break assert_eq!(name, "message"),
        }
    }
    example.stop().await;
    assert_eq!(ann.next().await, None);
}

#[tokio::test]
async fn chat_delivers_messages_to_the_room_and_shows_them_after_a_reload() {
    let example = Example::start("chat").await;
    let mut ann = example.stream("/rooms/red/events?name=Ann").await;
    let mut eve = example.stream("/rooms/blue/events?name=Eve").await;
    let said = json!({"name": "Bob", "text": "</script><img onerror=alert(1)>"});
    let sent = example.post("/rooms/red", JSON, &said.to_string()).await;
    assert_eq!(sent.status(), StatusCode::NO_CONTENT);
    assert_eq!(ann.json("message").await, said);
    drop(ann);
    // The reload: the page has the messages, and the stream starts where the page ends.
    let page = example.page("/rooms/red").await;
    assert!(!page.contains("<img"));
    let state = rendered(&page);
    assert_eq!(state["room"], "red");
    assert_eq!(state["messages"], json!([said]));
    let between = json!({"name": "Bob", "text": "between"});
    example.post("/rooms/red", JSON, &between.to_string()).await;
    let position = state["lastEventId"].as_str().unwrap();
    let path = format!("/rooms/red/events?name=Ann&lastEventId={position}");
    let mut ann = example.stream(&path).await;
    assert_eq!(ann.json("message").await, between);
    // Eve's room heard none of it: the first message there is her own.
    let own = json!({"name": "Eve", "text": "hello?"});
    example.post("/rooms/blue", JSON, &own.to_string()).await;
    assert_eq!(eve.json("message").await, own);
    example.stop().await;
}

#[tokio::test]
async fn chat_refuses_what_is_no_name_text_or_room() {
    let example = Example::start("chat").await;
    let lobby = example.page("/").await;
    assert_eq!(rendered(&lobby)["room"], "lobby");
    for path in [
        "/rooms/red/events",
        "/rooms/red/events?name=%20",
        "/rooms/a%2Cb/events?name=Ann",
        "/rooms/a%3Bb",
    ] {
        let status = example.get(path).await.status();
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}");
    }
    let empty = json!({"name": "Ann", "text": " "}).to_string();
    let sent = example.post("/rooms/red", "application/json", &empty).await;
    assert_eq!(sent.status(), StatusCode::BAD_REQUEST);
    example.stop().await;
}

#[tokio::test]
async fn authorize_lets_in_who_may_and_nobody_else() {
    let example = Example::start("authorize").await;
    let ann = ("authorization", "Bearer ann-secret");
    let bob = ("cookie", "a=b; token=bob-secret");
    let refused = [
        ("/rooms/red", ("accept", "*/*"), 401),
        ("/rooms/red", ("authorization", "Bearer ann-secret2"), 401),
        ("/rooms/red", ("authorization", "Bearer "), 401),
        ("/rooms/red", ("cookie", "token="), 401),
        ("/rooms/red", bob, 403),
        ("/rooms/green", ann, 403),
    ];
    for (path, header, status) in refused {
        for method in [Method::GET, Method::POST] {
            let response = example.request(method, path, header, "x").await;
            assert_eq!(response.status().as_u16(), status, "{path} {header:?}");
            let asks = response.headers().contains_key("www-authenticate");
            assert_eq!(asks, status == 401);
        }
    }
    let stream = example.request(Method::GET, "/rooms/red", ann, "").await;
    let mut red = Events::open(stream).await;
    let stream = example.request(Method::GET, "/rooms/blue", bob, "").await;
    let mut blue = Events::open(stream).await;
    for (room, header, text) in [("red", ann, "for red"), ("blue", bob, "for blue")] {
        let path = format!("/rooms/{room}");
        example.request(Method::POST, &path, header, text).await;
    }
    assert_eq!(red.json("message").await, json!(["Ann", "for red"]));
    assert_eq!(blue.json("message").await, json!(["Bob", "for blue"]));
    example.stop().await;
}

#[tokio::test]
async fn sink_forwards_the_progress_of_a_job() {
    let example = Example::start("sink").await;
    let mut events = example.stream("/jobs/7").await;
    let mut other = example.stream("/jobs/8").await;
    let started = example.post("/jobs/7", "text/plain", "").await;
    assert_eq!(started.status(), StatusCode::ACCEPTED);
    for percent in (0..=100).step_by(10) {
        assert_eq!(events.json("progress").await, json!(percent));
    }
    assert_eq!(events.next().await.unwrap().event, "done");
    example.stop().await;
    assert_eq!(events.next().await, None);
    assert_eq!(other.next().await, None);
}

#[tokio::test]
async fn singleton_is_one_stream_for_both_modules() {
    let example = Example::start("singleton").await;
    let mut events = example.stream("/events").await;
    let said = example.post("/say", "text/plain", "hello").await;
    assert_eq!(said.text().await.unwrap(), "1 are listening\n");
    assert_eq!(events.data("said").await, "hello");
    let first = events.json("uptime").await.as_u64().unwrap();
    assert_eq!(events.json("uptime").await, json!(first + 1));
    example.stop().await;
}

#[tokio::test]
async fn shutdown_says_goodbye_to_open_streams_and_ends() {
    let mut example = Example::start("shutdown").await;
    let mut events = [
        example.stream("/events").await,
        example.stream("/events").await,
    ];
    example.signal(Signal::TERM);
    for events in &mut events {
        let goodbye = events.next().await.unwrap();
        let said = (&*goodbye.event, &*goodbye.data);
        assert_eq!(said, ("goodbye", "back in a moment"));
        assert_eq!(goodbye.retry, Some(Duration::from_secs(3)));
        assert_eq!(events.next().await, None);
    }
    assert_eq!(example.line().await, "stopping with 2 open streams");
    assert_eq!(example.line().await, "stopped with 0 open streams");
    let status = within("the end", example.process.wait()).await.unwrap();
    assert!(status.success(), "{status}");
}

#[tokio::test]
async fn grip_is_direct_without_a_proxy() {
    let example = Example::start("grip").await;
    let mut events = example.stream("/rooms/red").await;
    let sent = example.post("/rooms/red", "text/plain", "hello").await;
    let text = sent.error_for_status().unwrap().text().await.unwrap();
    assert_eq!(text, "published, 1 clients are held here\n");
    assert_eq!(events.data("message").await, "hello");
    let invalid = example.post("/rooms/a%2Cb", "text/plain", "hello").await;
    assert_eq!(invalid.status(), StatusCode::BAD_REQUEST);
    example.stop().await;
}

#[tokio::test]
async fn grip_says_when_the_proxy_is_not_there_and_delivers_direct() {
    // Nothing listens on the discard port of this machine.
    let grip_url = ("GRIP_URL", "http://127.0.0.1:9?verify-key=changeme");
    let example = Example::start_with("grip", &[grip_url]).await;
    let mut events = example.stream("/rooms/red").await;
    let sent = example.post("/rooms/red", "text/plain", "hello").await;
    assert_eq!(events.data("message").await, "hello");
    assert_eq!(sent.status(), StatusCode::BAD_GATEWAY);
    let reason = within("the reason", sent.text()).await.unwrap();
    assert!(reason.contains("127.0.0.1:9"), "{reason}");
    assert!(!reason.contains("changeme"), "{reason}");
    example.stop().await;
}

#[tokio::test]
#[ignore = "needs pushpin"]
async fn grip_is_the_same_behind_pushpin_which_holds_clients_over_a_restart() {
    // Pushpin must know where the example will be, and the example where Pushpin is.
    let [reserved] = server::reserve(Ipv4Addr::LOCALHOST);
    let origin = reserved.local_addr().unwrap();
    let pushpin = pushpin::Pushpin::builder().origin(origin).start().await;
    drop(reserved);
    let grip_url = format!("{}?verify-key=changeme", pushpin.control_uri());
    let port = origin.port().to_string();
    let variables = [("PORT", &*port), ("GRIP_URL", &grip_url)];
    let example = Example::start_with("grip", &variables).await;

    let url = format!("http://{}/rooms/red", pushpin.address());
    let held = within("a hold", example.client.get(url).send()).await;
    let mut held = Events::open(held.unwrap()).await;
    pushpin.wait_for_subscribe("events-room-red", 1).await;
    let mut direct = example.stream("/rooms/red").await;
    let sent = example.post("/rooms/red", "text/plain", "hello").await;
    let text = sent.error_for_status().unwrap().text().await.unwrap();
    assert_eq!(text, "published, 1 clients are held here\n");
    assert_eq!(direct.data("message").await, "hello");
    assert_eq!(held.data("message").await, "hello");

    let forged = ("grip-sig", "e30.e30.");
    let forged = example.request(Method::GET, "/rooms/red", forged, "").await;
    assert_eq!(forged.status(), StatusCode::FORBIDDEN);

    example.stop().await;
    assert_eq!(direct.next().await, None);
    let example = Example::start_with("grip", &variables).await;
    example.post("/rooms/red", "text/plain", "again").await;
    assert_eq!(held.data("message").await, "again");
    example.stop().await;
}

#[tokio::test]
async fn metrics_are_there_for_prometheus() {
    let example = Example::start("metrics").await;
    let _events = example.stream("/rooms/red").await;
    example.post("/rooms/red", "text/plain", "hello").await;
    let metrics = example.page("/metrics").await;
    for line in [
        "eventstream_subscriptions 1",
        "eventstream_published_total 1",
        "eventstream_delivered_total 1",
    ] {
        assert!(metrics.lines().any(|one| one == line), "{metrics}");
    }
    assert_eq!(example.page("/ready").await, "ok\n");
    example.stop().await;
}

#[tokio::test]
async fn ticker_begins_with_the_newest_price_of_each_symbol() {
    let example = Example::start_with("ticker", &[("ROUNDS", "20")]).await;
    let mut events = example.stream("/prices").await;
    let mut seen = BTreeMap::new();
    within("the prices of the server", async {
        loop {
            let price = events.json("price").await;
            let name = price[0].as_str().unwrap().to_owned();
            seen.insert(name, price[1].as_f64().unwrap());
            // Until the last round, the server may be ahead.
            if seen.len() == 500 && seen == prices(&example).await {
                break;
            }
        }
    })
    .await;
}

/// The prices of the server, rounded as in the events.
async fn prices(example: &Example) -> BTreeMap<String, f64> {
    let prices: BTreeMap<String, f64> =
        serde_json::from_str(&example.page("/state").await).unwrap();
    let rounded = |price: f64| (price * 100.0).round() / 100.0;
    let prices = prices.into_iter();
    prices.map(|(name, price)| (name, rounded(price))).collect()
}
