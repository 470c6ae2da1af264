//! An application: a number, and the events that change it.

use axum::{Router, routing::get};
use axum_eventstream::{
    Event, EventStream, InvalidEvent, Rejection, Snapshot, StreamRequest, StreamResponse,
};
use std::sync::{Arc, Mutex};

#[derive(Clone)]
pub(super) struct Sum {
    pub(super) es: EventStream,
    total: Arc<Mutex<u64>>,
}

impl Sum {
    pub(super) fn new(es: &EventStream) -> Self {
        let (es, total) = (es.clone(), Arc::default());
        Self { es, total }
    }

    pub(super) fn total(&self) -> u64 {
        *self.total.lock().unwrap()
    }

    pub(super) fn add(&self, number: u64) {
        let mut total = self.total.lock().unwrap();
        let event = Event::json("add", &number).unwrap();
        self.es.try_publish("a", event).unwrap();
        *total += number;
    }

    fn snapshot(&self) -> Result<Snapshot, InvalidEvent> {
        let total = self.total.lock().unwrap();
        Ok(Snapshot::from(Event::json("sum", &*total)?).at(self.es.current_id()))
    }

    /// `/` is a handler with snapshots; `/custom` and `/ready` are custom handlers.
    pub(super) fn app(&self) -> Router {
        let sum = self.clone();
        let handler = self.es.handler("a").snapshot(move |_| {
            let sum = sum.clone();
            async move { sum.snapshot() }
        });
        let (custom, ready) = (self.clone(), self.clone());
        let custom = async move |request: StreamRequest| custom.open(&request);
        let ready = async move |request: StreamRequest| match ready.open(&request) {
            Ok(stream) => Ok(stream.ready().await),
            Err(rejection) => Err(rejection),
        };
        let router = Router::new()
            .route("/", get(handler))
            .route("/plain", get(self.es.handler("a")))
            .route("/custom", get(custom))
            .route("/ready", get(ready));
        router.route("/missed/{link}", get(self.es.link_handler()))
    }

    fn open(&self, request: &StreamRequest) -> Result<StreamResponse, Rejection> {
        let sum = self.clone();
        let stream = self.es.open(request, ["a"])?;
        Ok(stream.snapshot(move || {
            let sum = sum.clone();
            async move { sum.snapshot() }
        }))
    }
}
