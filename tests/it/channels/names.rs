//! Which channels a route names: the rule for names, and templates with parameters.

use crate::support::{call, message};
use axum::{
    Router,
    extract::{Path, Request},
    http::{StatusCode, request::Parts},
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
    routing::get,
};
use axum_eventstream::{ErrorKind, EventStream, StreamRequest};
use http_body_util::BodyExt;

/// White space as a client may send it: percent-encoded, with its character.
const WHITE_SPACE: [(&str, char); 9] = [
    ("%20", ' '),
    ("%09", '\t'),
    ("%0A", '\n'),
    ("%0D", '\r'),
    ("%C2%85", '\u{85}'),
    ("%C2%A0", '\u{a0}'),
    ("%E2%80%A8", '\u{2028}'),
    ("%E3%80%80", '\u{3000}'),
    ("%EF%BB%BF", '\u{feff}'),
];

/// A stream with each delivery, with what a request adds to be served in it.
fn deliveries() -> Vec<(EventStream, &'static str)> {
    let direct = (EventStream::new(), "x-direct");
    #[cfg(feature = "full")]
    {
        let proxied = EventStream::builder().grip("http://127.0.0.1:9").build();
        vec![direct, (proxied.unwrap(), "grip-sig")]
    }
    #[cfg(not(feature = "full"))]
    vec![direct]
}

async fn ask(app: &Router, target: &str, header: &str) -> Response {
    call(app, target, &[(header, "any")]).await
}

async fn text(response: Response) -> String {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

/// The channels of a stream that is open.
fn listened(es: &EventStream, response: &Response) -> Vec<String> {
    assert_eq!(response.status(), StatusCode::OK);
    let mut names: Vec<_> = match response.headers().get("grip-channel") {
        None => es.channels().map(|(name, _)| name.to_string()).collect(),
        Some(names) => str::from_utf8(names.as_bytes())
            .unwrap()
            .split(", ")
            .map(|name| name.strip_prefix("events-").unwrap().to_owned())
            .collect(),
    };
    names.sort();
    names
}

async fn refuse_private(Path(name): Path<String>, request: Request, next: Next) -> Response {
    match &*name {
        "private-x" => StatusCode::FORBIDDEN.into_response(),
        _ => next.run(request).await,
    }
}

/// Routes that name the channel of their last segment in every way there is.
fn guarded(es: &EventStream) -> Router {
    async fn events(es: EventStream, Path(name): Path<String>, request: StreamRequest) -> Response {
        es.respond(&request, [name]).await.into_response()
    }
    let own = |parts: &Parts| {
        let name = parts.uri.path().rsplit('/').next().unwrap_or_default();
        let decoded = form_urlencoded::parse(name.as_bytes()).next();
        decoded.map(|(name, _)| name.into_owned())
    };
    Router::new()
        .route("/template/{name}", get(es.handler("{name}")))
        .route("/several/{name}", get(es.handler(["all", "{name}"])))
        .route("/rest/{*name}", get(es.handler("<name>")))
        .route("/function/{name}", get(es.handler(own)))
        .route("/own/{name}", get(events))
        .layer(axum::Extension(es.clone()))
        .route_layer(from_fn(refuse_private))
}

#[tokio::test]
async fn white_space_around_a_name_never_gets_past_a_check_of_the_name() {
    for (es, header) in deliveries() {
        let app = guarded(&es);
        for route in ["template", "several", "rest", "function", "own"] {
            let private = ask(&app, &format!("/{route}/private-x"), header).await;
            assert_eq!(private.status(), StatusCode::FORBIDDEN);
            for (encoded, character) in WHITE_SPACE {
                let rule = match character.is_control() {
                    true => " is not allowed\n",
                    false => ": it begins or ends with white space\n",
                };
                for name in [
                    format!("{encoded}private-x"),
                    format!("private-x{encoded}"),
                    format!("{encoded}private-x{encoded}"),
                    encoded.to_owned(),
                ] {
                    let response = ask(&app, &format!("/{route}/{name}"), header).await;
                    assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{route} {name}");
                    let text = text(response).await;
                    assert!(text.starts_with("invalid channel name \""), "{text}");
                    assert!(text.ends_with(rule), "{route} {name}: {text}");
                }
            }
        }
        assert_eq!(es.stats().subscriptions, 0);
    }
}

#[tokio::test]
async fn white_space_around_a_name_is_an_error_of_every_operation() {
    for (es, _) in deliveries() {
        for (_, c) in WHITE_SPACE {
            for name in [format!("{c}a"), format!("a{c}"), c.to_string()] {
                let published = es.publish_event(&name, message("")).await;
                let kinds = [
                    published.unwrap_err().kind(),
                    es.subscribe(&name).unwrap_err().kind(),
                    es.subscribe(["a", &name]).unwrap_err().kind(),
                    es.close_channel(&name).await.unwrap_err().kind(),
                    es.channel_publisher(&name).unwrap_err().kind(),
                    es.channel_sink(&name).unwrap_err().kind(),
                ];
                assert_eq!(kinds, [ErrorKind::InvalidChannel; 6], "{name:?}");
                assert_eq!(es.subscribers(&name), 0);
            }
        }
    }
}

#[cfg(feature = "full")]
#[test]
fn a_grip_prefix_does_not_begin_with_white_space() {
    for (_, c) in WHITE_SPACE {
        let built = |prefix| {
            let builder = EventStream::builder().grip("http://127.0.0.1:9");
            builder.grip_prefix(prefix).build()
        };
        let error = built(format!("{c}events-")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{c:?}");
        assert_eq!(built(format!("a{c}")).is_ok(), !c.is_control());
    }
}

#[tokio::test]
async fn literals_are_trimmed_when_the_handler_is_built() {
    for (es, header) in deliveries() {
        let app = Router::new()
            .route("/one", get(es.handler("\u{feff} test\t")))
            .route(
                "/several",
                get(es.handler([" a ", "", "\u{3000}", "a", "b"])),
            )
            .route("/blank", get(es.handler(["", "   ", "\t"])))
            .route("/{name}", get(es.handler(["  {name} "])))
            .route("/room/{name}/x", get(es.handler(["{name}-{name}"])));
        let cases = [
            ("/one", &["test"][..]),
            ("/several", &["a", "b"]),
            ("/other", &["other"]),
            ("/room/a%20b/x", &["a b-a b"]),
        ];
        for (target, expected) in cases {
            let response = ask(&app, target, header).await;
            assert_eq!(listened(&es, &response), expected, "{target}");
        }
        let invalid =
            |name| format!("invalid channel name {name:?}: it begins or ends with white space\n");
        for (target, expected) in [
            ("/blank", "No specified channels.\n"),
            ("/%20", &invalid(" ")),
            ("/room/%20/x", &invalid(" - ")),
        ] {
            let response = ask(&app, target, header).await;
            assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{target}");
            assert_eq!(text(response).await, expected);
        }
    }
}

#[tokio::test]
async fn a_template_takes_every_name_that_a_route_can_have() {
    let routes = [
        ("/{room-id}", "{room-id}"),
        ("/{room-id}", "<room-id>"),
        ("/{room.id}", "{room.id}"),
        ("/{1}", "{1}"),
        ("/{id:uuid}", "{id:uuid}"),
        ("/{ id }", "{ id }"),
        ("/{\u{e9}}", "{\u{e9}}"),
        ("/{*path}", "{path}"),
        ("/{*path}", "{*path}"),
        ("/{*path}", "<path>"),
    ];
    for (es, header) in deliveries() {
        for (route, template) in routes {
            let app = Router::new().route(route, get(es.handler(template)));
            let response = ask(&app, "/7", header).await;
            assert_eq!(listened(&es, &response), ["7"], "{route} {template}");
        }
        let nested = Router::new().route("/{*path}", get(es.handler("{room}:{*path}")));
        let app = Router::new().nest("/{room}", nested);
        let response = ask(&app, "/1/a/b", header).await;
        assert_eq!(listened(&es, &response), ["1:a/b"]);
    }
}

#[tokio::test]
async fn a_template_that_the_route_cannot_fill_is_a_500_for_every_client() {
    let templates = [
        ("{rom}", "rom"),
        ("room-{rom}", "rom"),
        ("<rom>", "rom"),
        ("{ id }", " id "),
        ("{id:uuid}", "id:uuid"),
        ("{room-id}", "room-id"),
        ("{*path}", "path"),
        ("{id", "`{`"),
        ("id}", "`}`"),
        ("{id}}", "`}`"),
        ("{}", "braces without a name"),
        (":id", ":id"),
        ("rooms/:id", ":id"),
        ("*id", "*id"),
    ];
    for (es, header) in deliveries() {
        for (template, named) in templates {
            let one = Router::new().route("/{id}", get(es.handler(template)));
            let all = Router::new().route("/{id}", get(es.handler(["all", template])));
            for app in [&one, &one, &all] {
                let response = ask(app, "/7", header).await;
                let status = response.status();
                assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR, "{template}");
                assert!(response.headers().get("grip-hold").is_none());
                let text = text(response).await;
                let line = text.strip_suffix('\n').unwrap();
                let is_line = line.contains(named) && !line.contains('\n');
                assert!(is_line, "{template}: {text}");
            }
        }
        assert_eq!(es.stats().subscriptions, 0);
        let fallback = Router::new().fallback(get(es.handler("{id}")));
        let response = ask(&fallback, "/7", header).await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    }
}

#[tokio::test]
async fn text_that_is_no_parameter_is_literal() {
    for (es, header) in deliveries() {
        let literals = ["a<1>c", "user:other", "{{id}}", "a/*b", ":other"];
        let app = Router::new().route("/{id}", get(es.handler(literals)));
        let response = ask(&app, "/7", header).await;
        let expected = [":other", "a/*b", "a<1>c", "user:other", "{id}"];
        assert_eq!(listened(&es, &response), expected);
    }
}
