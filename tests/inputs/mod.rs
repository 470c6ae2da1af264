//! Properties that hold for any request and any proxy: shared by the property tests and the fuzz targets.
//!
//! Each function of a module takes any bytes, and panics when something does not hold.

#![allow(
    unreachable_pub,
    reason = "each user of this module is a crate of its own"
)]

pub mod answer;
pub mod config;
pub mod recovery;
pub mod request;
pub mod signature;
pub mod template;

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header::CONTENT_TYPE},
};
use axum_eventstream::EventStream;
use futures_util::FutureExt;
use http_body_util::BodyExt;
use std::sync::LazyLock;
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt;

pub const GRIP_CHANNEL: &str = "grip-channel";
pub const GRIP_HOLD: &str = "grip-hold";
pub const GRIP_LINK: &str = "grip-link";

/// Bodies have timers, so they need a runtime to be polled in; none of them ever fires.
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(1).enable_all().build().unwrap()
});

/// An application with its stream.
pub struct App {
    pub es: EventStream,
    pub router: Router,
}

/// A response, with as much of its body as is ready at once.
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
}

impl App {
    /// The answer to a GET request; none when no HTTP server would let the request pass.
    pub fn get(&self, target: &[u8], headers: &[(&'static str, &[u8])]) -> Option<Answer> {
        let mut request = Request::get(target).body(Body::empty()).ok()?;
        for (name, value) in headers {
            let value = HeaderValue::from_bytes(value).ok()?;
            request
                .headers_mut()
                .append(HeaderName::from_static(name), value);
        }
        let _runtime = RUNTIME.enter();
        let response = self.router.clone().oneshot(request).now_or_never();
        let response = response.expect("no answer waits for anything").unwrap();
        let answer = Answer::read(response);
        assert_eq!(self.es.stats().subscriptions, 0, "nothing is left behind");
        assert_eq!(self.es.stats().channels, 0, "nothing is left behind");
        Some(answer)
    }
}

impl Answer {
    fn read(response: Response<Body>) -> Self {
        let (parts, mut body) = response.into_parts();
        let mut bytes = Vec::new();
        while let Some(Some(frame)) = body.frame().now_or_never() {
            bytes.extend_from_slice(&frame.unwrap().into_data().unwrap());
        }
        Self {
            status: parts.status.as_u16(),
            headers: parts.headers,
            body: String::from_utf8(bytes).expect("streams and refusals are text"),
        }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let value = self.headers.get(name)?;
        Some(str::from_utf8(value.as_bytes()).expect("headers are UTF-8"))
    }

    /// The names in `Grip-Channel`.
    pub fn channels(&self) -> Vec<&str> {
        let channels = self.header(GRIP_CHANNEL).unwrap_or_default();
        let items = channels.split(',').filter(|items| !items.is_empty());
        items
            .map(|item| item.split(';').next().unwrap().trim())
            .collect()
    }

    /// A refusal is one line of text, and says nothing to a proxy.
    pub fn assert_refusal(&self) {
        assert!(
            [400, 403, 404, 406, 500].contains(&self.status),
            "{}",
            self.status
        );
        let is_grip = |name: &HeaderName| name.as_str().starts_with("grip-");
        assert!(!self.headers.keys().any(is_grip), "{:?}", self.headers);
        let line = self.body.strip_suffix('\n').unwrap_or(&self.body);
        assert!(!line.contains(char::is_control), "{line:?}");
        assert!(line.len() < 2000, "{line:?}");
    }

    /// A stream has nothing but whole events, each with the lines that events have.
    pub fn assert_stream(&self) {
        assert_eq!(self.status, 200);
        assert_eq!(self.headers[CONTENT_TYPE], "text/event-stream");
        assert!(
            self.body.is_empty() || self.body.ends_with("\n\n"),
            "{:?}",
            self.body
        );
        assert!(!self.body.contains('\r'), "{:?}", self.body);
        for line in self.body.lines() {
            let names = ["event: ", "data: ", "id: "];
            let known = line.is_empty() || names.iter().any(|name| line.starts_with(name));
            assert!(known, "{line:?}");
        }
    }
}

/// The lines of an input: targets and headers cannot have line breaks anyway.
pub fn lines(input: &[u8]) -> impl Iterator<Item = &[u8]> {
    input.split(|&byte| byte == b'\n')
}
