//! A page has the state of the server in the end, after any losses.

use super::sum::Sum;
use axum::{Router, body::Body, http::Request};
use axum_eventstream::{EventStream, History};
use http_body_util::BodyExt;
use proptest::{collection::vec, prelude::*};
use std::time::Duration;
use tokio::time::timeout;
use tower::ServiceExt;

#[derive(Clone, Debug)]
enum Step {
    Publish(u64),
    /// Reads at most this number of frames.
    Read(u8),
    Disconnect,
    /// Loses the last id too, as a new tab does.
    Forget,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..100_u64).prop_map(Step::Publish),
        3 => (1..5_u8).prop_map(Step::Read),
        1 => Just(Step::Disconnect),
        1 => Just(Step::Forget),
    ]
}

/// A browser, which applies each event and resumes from its last id.
#[derive(Default)]
struct Page {
    body: Option<Body>,
    received: String,
    last_event_id: Option<String>,
    total: Option<u64>,
}

impl Page {
    async fn connect(&mut self, app: &Router) -> &mut Body {
        let mut request = Request::get("/");
        if let Some(id) = &self.last_event_id {
            request = request.header("last-event-id", id);
        }
        let request = request.body(Body::empty()).unwrap();
        self.received.clear();
        let response = app.clone().oneshot(request).await.unwrap();
        self.body.insert(response.into_body())
    }

    /// Returns whether there was a frame.
    async fn read(&mut self, app: &Router) -> bool {
        let body = match &mut self.body {
            Some(body) => body,
            None => self.connect(app).await,
        };
        // Time is paused, so it passes only if nothing else can run.
        let Ok(frame) = timeout(Duration::from_millis(1), body.frame()).await else {
            return false;
        };
        let bytes = frame.unwrap().unwrap().into_data().unwrap();
        self.received += str::from_utf8(&bytes).unwrap();
        while let Some((event, rest)) = self.received.split_once("\n\n") {
            let (event, rest) = (event.to_owned(), rest.to_owned());
            self.received = rest;
            self.apply(&event);
        }
        true
    }

    fn apply(&mut self, event: &str) {
        let field = |name| event.lines().find_map(|line| line.strip_prefix(name));
        let number = || field("data: ").unwrap().parse::<u64>().unwrap();
        match field("event: ").unwrap() {
            "sum" => self.total = Some(number()),
            "add" => *self.total.as_mut().expect("the state came first") += number(),
            "stream-open" => {}
            other => panic!("unexpected event {other}"),
        }
        self.last_event_id = field("id: ")
            .map(str::to_owned)
            .or(self.last_event_id.take());
    }
}

async fn run(steps: Vec<Step>, history: History) {
    let es = EventStream::builder().history(history).build().unwrap();
    let sum = Sum::new(&es);
    let (app, mut page) = (sum.app(), Page::default());
    for step in steps {
        match step {
            Step::Publish(number) => sum.add(number),
            Step::Read(frames) => {
                for _ in 0..frames {
                    page.read(&app).await;
                }
            }
            Step::Disconnect => page.body = None,
            Step::Forget => page = Page::default(),
        }
    }
    while page.read(&app).await {}
    assert_eq!(page.total, Some(sum.total()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn the_state_of_a_page_is_the_servers(
        steps in vec(step(), 1..60),
        events in 1..6_usize,
        keeps_history: bool,
    ) {
        let history = match keeps_history {
            true => History::memory(),
            false => History::off(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(run(steps, history.events(events)));
    }
}
