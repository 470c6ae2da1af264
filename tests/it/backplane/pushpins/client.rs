//! A client that reconnects with its last id, as browsers do. It records its events and resets.

use super::{
    CHANNEL,
    record::{Seen, What},
};
use eventsource_stream::{Event, Eventsource};
use futures_util::StreamExt;
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

/// How long it waits for an answer before it asks again: a proxy may be killed before it gives one.
const ANSWER: Duration = Duration::from_secs(5);

const PAUSE: Duration = Duration::from_millis(20);

/// Dropping it disconnects.
pub(super) struct Client {
    record: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

/// The task of a client.
struct Browser {
    proxies: [SocketAddr; 2],
    /// Number of events after which it connects to the other proxy.
    hop: usize,
    connections: usize,
    last_id: String,
    record: Arc<Mutex<Vec<Seen>>>,
}

impl Client {
    /// Connects to the first proxy. After each end of a stream, it connects to the other one.
    pub(super) fn connect(proxies: [SocketAddr; 2], hop: usize) -> Self {
        let record = Arc::default();
        let browser = Browser {
            proxies,
            hop,
            connections: 0,
            last_id: String::new(),
            record: Arc::clone(&record),
        };
        let task = tokio::spawn(browser.run());
        Self { record, task }
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.record.lock().unwrap().clone()
    }

    pub(super) fn is_running(&self) -> bool {
        !self.task.is_finished()
    }

    pub(super) fn received(&self) -> usize {
        self.record.lock().unwrap().len()
    }

    pub(super) fn has(&self, what: impl Fn(&What) -> bool) -> bool {
        let record = self.record.lock().unwrap();
        record.iter().any(|seen| what(&seen.what))
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Browser {
    async fn run(mut self) {
        loop {
            self.stream().await;
            self.connections += 1;
            sleep(PAUSE).await;
        }
    }

    /// Reads one stream until it ends, or until the client hops.
    async fn stream(&mut self) {
        let proxy = self.proxies[self.connections % 2];
        let mut request = reqwest::Client::new().get(format!("http://{proxy}/events/{CHANNEL}"));
        if !self.last_id.is_empty() {
            request = request.header("last-event-id", &self.last_id);
        }
        let Ok(Ok(response)) = timeout(ANSWER, request.send()).await else {
            return;
        };
        let Ok(response) = response.error_for_status() else {
            return;
        };
        let mut events = response.bytes_stream().eventsource();
        let mut received = 0;
        while received < self.hop
            && let Some(Ok(event)) = events.next().await
        {
            received += usize::from(self.take(event));
        }
    }

    /// Returns whether it is an event of the application.
    fn take(&mut self, event: Event) -> bool {
        let is_message = event.event == "message";
        let what = match &*event.event {
            "message" => Some(What::Event(event.id.parse().unwrap(), event.data)),
            "stream-reset" => Some(What::Reset),
            _ => None,
        };
        let seen = what.map(|what| Seen {
            what,
            at: Instant::now(),
        });
        self.record.lock().unwrap().extend(seen);
        self.last_id = event.id;
        is_message
    }
}
