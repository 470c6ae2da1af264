//! The programs of `docs/recipes`, and the behaviour that the pages describe.
use axum_eventstream::{Event, testing::TestClient};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// The files of a folder, with their text.
fn read(folder: &str) -> impl Iterator<Item = (PathBuf, String)> + use<> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let paths = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path());
    let files = paths.filter(|path| path.is_file());
    files.map(|path| (path.clone(), fs::read_to_string(path).unwrap()))
}

/// The program of every page is the text of a file beside this one.
#[test]
fn the_programs_of_the_pages_are_those_that_are_tested() {
    let pages: String = read("../../docs/recipes").map(|(_, page)| page).collect();
    for (path, program) in read("recipes").filter(|(path, _)| !path.ends_with("mod.rs")) {
        let block = format!("```rust\n{program}```\n");
        assert!(pages.contains(&block), "no page has {}", path.display());
    }
}

/// A table of faults names the tests that show each effect.
#[test]
fn every_test_that_a_table_of_faults_names_exists() {
    let folders = ["", "/checker", "/nats", "/redis", "/../browser"];
    let files = folders.map(|folder| read(&format!("backplane{folder}")));
    let tests: String = files.into_iter().flatten().map(|(_, text)| text).collect();
    let page = include_str!("../../../docs/recipes/several_instances.md");
    let rows = page.lines().filter(|line| line.starts_with("| "));
    let cells = rows.filter_map(|row| row.strip_suffix(" |")?.rsplit(" | ").next());
    let names = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    let names: Vec<_> = names.filter(|name| name.matches('_').count() > 2).collect();
    assert!(names.len() > 50, "{names:?}");
    for name in names {
        assert!(
            tests.contains(&format!(" fn {name}(")),
            "there is no test {name}"
        );
    }
}

mod session_cookie {
    include!("session_cookie.rs");
    use super::{TestClient, text};
    use axum::{body::Body, http::Request};
    use std::time::Duration;
    use tower::ServiceExt;

    fn with_ann() -> App {
        let ann = User {
            name: "ann".into(),
            rooms: vec!["red".into()],
        };
        App {
            es: EventStream::new(),
            sessions: Arc::new(RwLock::new(HashMap::from([("s3cret".into(), ann)]))),
        }
    }

    #[tokio::test]
    async fn a_cookie_opens_the_rooms_of_its_user() {
        let state = with_ann();
        let client = TestClient::new(app(state.clone()));
        assert_eq!(client.refused("/rooms/red").await.0, 401);
        let other = client.clone().header("cookie", "__Host-session=guess");
        assert_eq!(other.refused("/rooms/red").await.0, 401);
        let ann = client.header("cookie", "theme=dark; __Host-session=s3cret");
        assert_eq!(ann.refused("/rooms/blue").await.0, 403);
        let mut room = ann.get("/rooms/red").await;
        let published = state.es.publish_event("room-red", text("hello")).await;
        published.unwrap();
        room.expect_text("message", "hello").await;
        state.log_out("s3cret").await.unwrap();
        room.expect_end().await;
        assert_eq!(ann.refused("/rooms/red").await.0, 401);
    }

    /// The logout comes before, between and after the steps of the handler.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_stream_survives_a_logout_at_any_moment() {
        for _ in 0..500 {
            let state = with_ann();
            let service = app(state.clone());
            let opens = tokio::spawn(async move {
                let request = Request::get("/rooms/red").header("cookie", "__Host-session=s3cret");
                let request = request.body(Body::empty()).unwrap();
                let response = service.oneshot(request).await.unwrap();
                axum::body::to_bytes(response.into_body(), 10_000).await
            });
            let logs_out = tokio::spawn(async move { state.log_out("s3cret").await });
            logs_out.await.unwrap().unwrap();
            let ended = tokio::time::timeout(Duration::from_secs(10), opens).await;
            let ended = ended.expect("the stream survives the logout");
            ended.unwrap().unwrap();
        }
    }
}

mod state_first {
    include!("state_first.rs");
    use super::TestClient;
    use axum_eventstream::{History, testing::FakeGripProxy};
    use serde_json::json;

    /// The application on an event stream with a history of this many events, direct or behind a proxy.
    fn stock(events: usize, proxy: Option<&FakeGripProxy>) -> (Stock, TestClient) {
        let mut builder = EventStream::builder().history(History::memory().events(events));
        if let Some(proxy) = proxy {
            builder = builder.grip(proxy.config());
        }
        let stock = Stock::new(builder.build().unwrap());
        let client = TestClient::new(app(stock.clone()));
        match proxy {
            Some(proxy) => (stock, client.through(proxy)),
            None => (stock, client),
        }
    }

    #[tokio::test]
    async fn a_stream_begins_with_the_state_and_resumes_or_begins_again() {
        let proxy = FakeGripProxy::start().await;
        for proxy in [None, Some(&proxy)] {
            for path in ["/events", "/checked"] {
                let (stock, client) = stock(3, proxy);
                let count = |more| stock.change(Change::Counted("bolt".into(), more));
                count(2).unwrap();
                let mut stream = client.get(path).await;
                stream.expect_json("stock", &json!({"bolt": 2})).await;
                count(3).unwrap();
                stream.expect_json("counted", &json!(["bolt", 3])).await;
                let mut stream = stream.reconnect().await;
                count(-1).unwrap();
                stream.expect_json("counted", &json!(["bolt", -1])).await;
                let id = stream.last_event_id().unwrap().to_owned();
                drop(stream);
                (0..4).for_each(|_| count(1).unwrap());
                let client = client.header("last-event-id", id);
                let mut stream = client.get(path).await;
                stream.expect_json("stock", &json!({"bolt": 8})).await;
            }
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn each_change_is_in_the_state_or_after_it() {
        for _ in 0..20 {
            // With a shorter history, a snapshot can be too late three times, which ends the stream.
            let (stock, client) = stock(500, None);
            let other = stock.clone();
            let changes = std::thread::spawn(move || {
                for more in 1..500 {
                    other.change(Change::Counted("bolt".into(), more)).unwrap();
                }
            });
            let mut stream = client.get("/events").await;
            let (mut bolts, all) = (0, (1..500).sum::<i64>());
            while bolts < all {
                let event = stream.next().await;
                match event.event() {
                    "stock" => {
                        let stock: BTreeMap<String, i64> = event.json().unwrap();
                        bolts = stock.get("bolt").copied().unwrap_or_default();
                    }
                    name => {
                        assert_eq!(name, "counted");
                        bolts += event.json::<(String, i64)>().unwrap().1;
                    }
                }
            }
            changes.join().unwrap();
            assert_eq!(bolts, all);
            stock.change(Change::Removed("bolt".into())).unwrap();
            stream.expect_json("removed", &"bolt").await;
        }
    }
}

mod bans_and_expiry {
    include!("bans_and_expiry.rs");
    use super::{TestClient, text};
    use axum_eventstream::{History, testing::FakeGripProxy};
    use std::time::Duration;

    fn with_ann(es: EventStream, valid_for: Duration) -> App {
        let (user, expires) = ("ann".to_owned(), SystemTime::now() + valid_for);
        let ann = Token { user, expires };
        let tokens = HashMap::from([("s3cret".to_owned(), ann)]);
        App {
            es,
            tokens: Arc::new(RwLock::new(tokens)),
        }
    }

    const HOUR: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn a_ban_ends_the_streams_of_a_user_and_its_reconnects_are_refused() {
        let proxy = FakeGripProxy::start().await;
        for is_proxied in [false, true] {
            let builder = EventStream::builder();
            let builder = match is_proxied {
                true => builder.grip(proxy.config()).grip_link_path("/missed"),
                false => builder,
            };
            let es = builder.history(History::memory()).build().unwrap();
            let state = with_ann(es, HOUR);
            let mut client = TestClient::new(app(state.clone()));
            if is_proxied {
                client = client.through(&proxy);
            }
            assert_eq!(client.refused("/events").await.0, 401);
            let ann = client.header("authorization", "Bearer s3cret");
            let mut stream = ann.get("/events").await;
            state.es.publish_event("news", text("1")).await.unwrap();
            stream.expect_text("message", "1").await;
            state.ban("ann").await.unwrap();
            stream.expect_end().await;
            assert_eq!(ann.refused("/events").await.0, 401);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_ends_when_its_token_expires() {
        let state = with_ann(EventStream::new(), HOUR);
        let client = TestClient::new(app(state.clone())).limit(2 * HOUR);
        let ann = client.header("authorization", "Bearer s3cret");
        let mut stream = ann.get("/events").await;
        stream.expect_end().await;
        assert!(stream.retry().is_some());
        let expired = with_ann(state.es, Duration::ZERO);
        let ann = TestClient::new(app(expired)).header("authorization", "Bearer s3cret");
        assert_eq!(ann.refused("/events").await.0, 401);
    }
}

mod query_token {
    include!("query_token.rs");
    use super::{TestClient, text};

    #[tokio::test]
    async fn a_token_opens_its_room_until_it_expires() {
        let (es, secret) = (EventStream::new(), [7; 32]);
        let state = App { es, secret };
        let client = TestClient::new(app(state.clone()));
        let response = client.post("/rooms/red/token", "").await;
        let token = axum::body::to_bytes(response.into_body(), 999)
            .await
            .unwrap();
        let token = String::from_utf8(token.into()).unwrap();
        let mut room = client.get(&format!("/events?token={token}")).await;
        state
            .es
            .publish_event("room-red", text("hello"))
            .await
            .unwrap();
        room.expect_text("message", "hello").await;

        let other = App {
            secret: [8; 32],
            ..state.clone()
        };
        let (past, future) = (get_current_timestamp() - 1, get_current_timestamp() + 999);
        for token in [
            state.token("red".into(), past),
            other.token("red".into(), future),
            "nonsense".into(),
        ] {
            let (status, _) = client.refused(&format!("/events?token={token}")).await;
            assert_eq!(status, 401);
        }
        assert_eq!(client.refused("/events").await.0, 400);
        // A token for something else.
        let claims = serde_json::json!({ "aud": "else", "room": "red", "exp": future });
        let key = EncodingKey::from_secret(&secret);
        let token = encode(&Header::new(HS256), &claims, &key).unwrap();
        let (status, _) = client.refused(&format!("/events?token={token}")).await;
        assert_eq!(status, 401);

        // A page that reconnects with a new token resumes.
        let id = room.last_event_id().unwrap().to_owned();
        drop(room);
        state
            .es
            .publish_event("room-red", text("missed"))
            .await
            .unwrap();
        let token = state.token("red".into(), future);
        let path = format!("/events?token={token}&lastEventId={id}");
        client
            .get(&path)
            .await
            .expect_text("message", "missed")
            .await;
    }
}

mod cors {
    include!("cors.rs");
    use super::TestClient;
    use axum::{body::Body, http::Request};

    #[tokio::test]
    async fn the_allowed_origin_gets_streams_with_credentials() {
        let client = TestClient::new(app(&EventStream::new()));
        let stream = client.clone().header("origin", "https://app.example");
        let stream = stream.get("/events").await;
        let header = |name: &str| stream.headers()[name].to_str().unwrap();
        assert_eq!(header("access-control-allow-origin"), "https://app.example");
        assert_eq!(header("access-control-allow-credentials"), "true");

        // The name of the allowed one, which a browser compares with its own.
        let other = client.clone().header("origin", "https://evil.example");
        let other = other.get("/events").await;
        let allowed = &other.headers()["access-control-allow-origin"];
        assert_eq!(allowed, "https://app.example");

        let preflight = Request::options("/events")
            .header("origin", "https://app.example")
            .header("access-control-request-method", "GET")
            .header("access-control-request-headers", "last-event-id");
        let answer = client.send(preflight.body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(
            answer.headers()["access-control-allow-headers"],
            "last-event-id"
        );
    }
}

mod many_channels {
    include!("many_channels.rs");
    use super::{TestClient, text};

    #[tokio::test]
    async fn a_stream_has_the_rooms_of_its_query_and_their_number_can_change() {
        let es = EventStream::new();
        let client = TestClient::new(app(&es));
        assert_eq!(client.refused("/events").await.0, 400);
        assert_eq!(client.refused("/events?room=a%2Cb").await.0, 400);
        let mut red = client.get("/events?room=red").await;
        es.publish_event("room-red", text("1")).await.unwrap();
        red.expect_text("message", "1").await;
        let id = red.last_event_id().unwrap().to_owned();
        drop(red);
        es.publish_event("room-red", text("2")).await.unwrap();
        es.publish_event("room-blue", text("3")).await.unwrap();
        let path = format!("/events?room=red&room=blue&lastEventId={id}");
        let mut both = client.get(&path).await;
        both.expect_text("message", "2").await;
        both.expect_text("message", "3").await;
    }
}

mod htmx {
    include!("htmx.rs");
    use super::TestClient;
    use axum::http::Request;

    #[tokio::test]
    async fn a_message_is_an_element() {
        let client = TestClient::new(app(&EventStream::new()));
        let mut stream = client.get("/events").await;
        let form =
            Request::post("/messages").header("content-type", "application/x-www-form-urlencoded");
        let form = form.body("text=1+%3C+2+%26+3".into()).unwrap();
        assert_eq!(client.send(form).await.status(), 204);
        stream
            .expect_text("message", "<li>1 &lt; 2 &amp; 3</li>")
            .await;
    }
}

mod datastar {
    include!("datastar.rs");

    #[test]
    fn events_have_the_lines_that_datastar_reads() {
        let bytes = |event: Event| String::from_utf8(event.encode().into()).unwrap();
        let options = [("selector", "#list"), ("mode", "append")];
        let event = patch_elements("<li>\n1</li>", &options).unwrap();
        assert_eq!(
            bytes(event),
            "event: datastar-patch-elements\ndata: selector #list\ndata: mode append\ndata: elements <li>\ndata: elements 1</li>\n\n"
        );
        let event = patch_signals(&serde_json::json!({ "count": 1 })).unwrap();
        assert_eq!(
            bytes(event),
            "event: datastar-patch-signals\ndata: signals {\"count\":1}\n\n"
        );
    }
}

mod broadcast {
    mod before {
        include!("broadcast_before.rs");
        use super::super::TestClient;

        #[tokio::test]
        async fn a_client_hears_a_message() {
            let app = app();
            let request = |method: &str, path: &str| {
                let request = axum::http::Request::builder().method(method).uri(path);
                request.body(axum::body::Body::from("hello")).unwrap()
            };
            let client = TestClient::new(app);
            let stream = client.send(request("GET", "/events")).await;
            client.send(request("POST", "/messages")).await;
            let mut body = stream.into_body().into_data_stream();
            let first = tokio_stream::StreamExt::next(&mut body).await;
            assert_eq!(first.unwrap().unwrap(), "event: message\ndata: hello\n\n");
        }
    }

    mod after {
        include!("broadcast_after.rs");
        use super::super::TestClient;

        #[tokio::test]
        async fn a_client_hears_a_message() {
            let client = TestClient::new(app());
            let mut stream = client.get("/events").await;
            client.post("/messages", "hello").await;
            stream.expect_text("message", "hello").await;
        }
    }
}

fn text(text: &str) -> Event {
    Event::text("message", text).unwrap()
}

mod typed_events {
    include!("typed_events.rs");
    use super::TestClient;
    use axum::{body::Body, http::Request};

    #[tokio::test]
    async fn each_change_is_an_event_that_a_subscriber_reads_as_the_same_variant() {
        let es = EventStream::new();
        let client = TestClient::new(app(&es));
        let mut stream = client.get("/events").await;
        let changes = es.subscribe("list").unwrap();
        for (method, path, body) in [
            ("PUT", "/list/7", "tea"),
            ("DELETE", "/list/7", ""),
            ("DELETE", "/list", ""),
        ] {
            let request = Request::builder().method(method).uri(path);
            let request = request.body(Body::from(body)).unwrap();
            assert_eq!(client.send(request).await.status(), 204);
        }
        let (id, text) = (7, "tea".to_owned());
        stream.expect_tagged(&Change::Added { id, text }).await;
        stream.expect_tagged(&Change::Removed(7)).await;
        stream.expect_tagged(&Change::Cleared).await;
        es.close();
        let lines = log(changes).await.unwrap();
        assert_eq!(lines, ["7 is tea", "7 is removed", "all are removed"]);
    }
}

mod latest_value {
    include!("latest_value.rs");
    use super::TestClient;

    #[tokio::test]
    async fn a_new_page_has_the_newest_price_of_each_listed_symbol() {
        let es = event_stream().unwrap();
        for (symbol, price) in [("A", 1.5), ("B", 2.5), ("A", 3.5), ("C", 4.5)] {
            update(&es, symbol, price).await.unwrap();
        }
        delist(&es, "C").await.unwrap();
        let mut page = TestClient::new(routes(&es)).get("/prices").await;
        page.expect_json("price", &("B", 2.5)).await;
        page.expect_json("price", &("A", 3.5)).await;
        delist(&es, "B").await.unwrap();
        page.expect_json("delisted", "B").await;
    }
}

mod several_instances {
    include!("several_instances.rs");
    use super::TestClient;
    use axum::{body::Body, http::Request};
    use axum_eventstream::testing::backplane::Memory;
    use std::time::Duration;

    #[test]
    fn it_needs_no_connection_to_be_built() {
        assert!(event_stream().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_sender_receives_whether_the_event_is_published() {
        let engine = Memory::new();
        let es = EventStream::builder().backplane(engine.clone());
        let client = TestClient::new(app(es.build().unwrap()));
        let client = client.limit(Duration::from_secs(20));
        let mut page = client.get("/rooms/red").await;
        let send = async |text: &'static str| {
            let request = Request::post("/rooms/red").body(Body::from(text)).unwrap();
            client.send(request).await.status()
        };
        assert_eq!(send("one").await, StatusCode::NO_CONTENT);
        page.expect_text("message", "one").await;
        engine.down();
        assert_eq!(send("two").await, StatusCode::SERVICE_UNAVAILABLE);
        engine.up();
        assert_eq!(send("three").await, StatusCode::NO_CONTENT);
        page.expect_text("message", "three").await;
        engine.hang();
        assert_eq!(send("four").await, StatusCode::GATEWAY_TIMEOUT);
    }
}
