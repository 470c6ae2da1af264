//! The example `board` in a real Chromium: after each disturbance the page has the server's state.
//!
//! The page has no code for gaps. Changes go on during each disturbance.

use crate::support::{
    browser::Browser, example::Example, nginx::Nginx, pushpin::Pushpin, server, wire::Wire, within,
};
use eventsource_stream::Eventsource;
use futures_util::StreamExt;
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    pin::pin,
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    time::Duration,
};
use tokio::time::interval;

/// The history holds 256 events, so a page that reconnects within 25 seconds can resume.
const PACE: Duration = Duration::from_millis(100);

/// Counts how often the page has received the whole board, and how often its stream was opened.
const COUNT: &str = "window.boards = window.opens = 0;
    source.addEventListener('board', () => boards++);
    source.addEventListener('open', () => opens++);";

struct Stage {
    browser: Browser,
    /// Leads to the page's server: the proxy, or the application.
    front: Wire,
    origin: Origin,
    proxy: Option<Pushpin>,
    /// Becomes true in the page while the application is down.
    down: &'static str,
    example: Example,
}

impl Stage {
    async fn direct() -> Self {
        let example = Example::start("board").await;
        let origin = Origin::new(example.address()).await;
        let front = Wire::to(origin.wire.address()).await;
        let down = "source.readyState === EventSource.CONNECTING";
        Self::new(front, origin, None, down, example).await
    }

    async fn behind_nginx() -> (Self, Nginx) {
        let example = Example::start("board").await;
        let origin = Origin::new(example.address()).await;
        let nginx = Nginx::before(origin.wire.address()).await;
        let front = Wire::to(nginx.address()).await;
        // The page has reconnected, and nginx has answered.
        let down = "opens > 0";
        let stage = Self::new(front, origin, None, down, example).await;
        (stage, nginx)
    }

    async fn behind_pushpin() -> Self {
        // The application needs the proxy's address, and is found by the wire.
        let (unused, nowhere) = server::bind().await;
        let origin = Origin::new(nowhere).await;
        let proxy = Pushpin::builder().origin(origin.wire.address());
        let proxy = proxy.set("message_rate", "0").start().await;
        drop(unused);
        let example = Self::start(Some(&proxy)).await;
        origin.wire.lead_to(example.address());
        let front = Wire::to(proxy.address()).await;
        Self::new(front, origin, Some(proxy), "true", example).await
    }

    async fn new(
        front: Wire,
        origin: Origin,
        proxy: Option<Pushpin>,
        down: &'static str,
        example: Example,
    ) -> Self {
        let stage = Self {
            browser: Browser::start().await,
            front,
            origin,
            proxy,
            down,
            example,
        };
        assert!(stage.origin.change(&change(0)).await);
        stage
    }

    /// Opens the page, and waits until it has the board.
    async fn load(&self, server: SocketAddr) {
        self.browser.open(&format!("http://{server}/")).await;
        self.agrees().await;
        self.browser.run(COUNT).await;
    }

    async fn start(proxy: Option<&Pushpin>) -> Example {
        let grip_url = proxy.map(|proxy| format!("{}?verify-key=changeme", proxy.control_uri()));
        let variables: Vec<_> = grip_url.iter().map(|url| ("GRIP_URL", &**url)).collect();
        Example::start_with("board", &variables).await
    }

    /// Ends the application, and starts another one, whose board is empty.
    async fn replace(mut self, end: impl AsyncFnOnce(Example)) -> Self {
        let replaced = async {
            end(self.example).await;
            self.browser.becomes(self.down, true).await;
            let next = Self::start(self.proxy.as_ref()).await;
            self.origin.wire.lead_to(next.address());
            next
        };
        self.example = self.origin.changing(PACE, replaced).await;
        self
    }

    /// The board, as a new client receives it.
    async fn board(&self) -> Value {
        let events = reqwest::get(format!("{}/events", self.example.url));
        let events = within("a stream", events).await.unwrap();
        let mut events = pin!(events.bytes_stream().eventsource());
        let board = async {
            loop {
                let event = events.next().await.unwrap().unwrap();
                if event.event == "board" {
                    break serde_json::from_str(&event.data).unwrap();
                }
            }
        };
        within("the board", board).await
    }

    /// Waits until the page has the server's state.
    async fn agrees(&self) {
        let board = self.board().await;
        let board: Vec<_> = board.as_object().unwrap().iter().collect();
        assert!(!board.is_empty());
        self.browser
            .becomes("[...orders].sort()", json!(board))
            .await;
    }

    async fn count(&self, name: &str) -> u64 {
        let count = self.browser.run(&format!("return {name}")).await;
        count.as_u64().unwrap()
    }

    async fn survives_cuts(&self) {
        self.load(self.front.address()).await;
        let cuts = async {
            for _ in 0..2 {
                let target = self.front.cut();
                self.browser.becomes("source.readyState", 0).await;
                self.front.lead_to(target);
                self.browser.becomes("source.readyState", 1).await;
            }
        };
        self.origin.changing(PACE, cuts).await;
        self.agrees().await;
        assert_eq!(self.count("opens").await, 2);
        assert_eq!(self.count("boards").await, 0, "the page has resumed");
    }

    async fn survives_another_server(self, end: impl AsyncFnOnce(Example)) -> Self {
        self.load(self.front.address()).await;
        let has_some = self.browser.becomes("orders.size > 3", true);
        self.origin.changing(PACE, has_some).await;
        let stage = self.replace(end).await;
        stage.origin.change(&json!({"ordered": ["after", 1]})).await;
        stage.agrees().await;
        assert_ne!(stage.count("boards").await, 0);
        if stage.proxy.is_some() {
            assert_eq!(stage.count("opens").await, 0, "the proxy held the page");
        }
        stage
    }

    /// Where the page's server is, past the wire: its buffers would read for the browser.
    fn address(&self) -> SocketAddr {
        let proxy = self.proxy.as_ref();
        proxy.map_or_else(|| self.example.address(), Pushpin::address)
    }

    /// Changes the board more often while the browser is frozen than the history holds.
    async fn survives_overload(&self, item: &str) {
        self.load(self.address()).await;
        let overload = async {
            for number in 0..3_000 {
                let change = json!({"ordered": [format!("{item}-{}", number % 7), number]});
                assert!(self.origin.change(&change).await);
            }
        };
        self.browser.frozen(overload).await;
        self.origin.change(&change(0)).await;
        self.agrees().await;
        assert_eq!(self.count("opens").await, 0);
    }
}

/// The way to the application, past everything that can be cut.
struct Origin {
    wire: Wire,
    client: reqwest::Client,
}

impl Origin {
    async fn new(application: SocketAddr) -> Self {
        Self {
            wire: Wire::to(application).await,
            client: reqwest::Client::new(),
        }
    }

    /// Sends a change. Returns false while the application does not run.
    async fn change(&self, change: &Value) -> bool {
        let url = format!("http://{}/changes", self.wire.address());
        let sent = self.client.post(url).json(change).send().await;
        sent.is_ok_and(|answer| answer.status().is_success())
    }

    /// Changes the board, a change in each interval, until `disturbance` is complete.
    async fn changing<T>(&self, pace: Duration, disturbance: impl Future<Output = T>) -> T {
        let is_over = AtomicBool::new(false);
        let changes = async {
            let (mut ticks, mut number) = (interval(pace), 0);
            while !is_over.load(SeqCst) {
                ticks.tick().await;
                self.change(&change(number)).await;
                number += 1;
            }
        };
        let disturbance = async {
            let done = disturbance.await;
            is_over.store(true, SeqCst);
            done
        };
        tokio::join!(disturbance, changes).0
    }
}

/// A change of one of a few items: mostly of a number, so that a change that is missing or comes twice is seen.
fn change(number: usize) -> Value {
    let item = format!("item-{}", number % 7);
    match number % 23 {
        22 => json!({"served": item}),
        more => json!({"ordered": [item, more]}),
    }
}

#[tokio::test]
#[ignore = "needs chromium"]
async fn board_has_the_servers_state_after_each_disturbance() {
    let stage = Stage::direct().await;
    stage.survives_cuts().await;
    let stage = stage.survives_another_server(Example::stop).await;
    let stage = stage.survives_another_server(Example::kill).await;
    // More than the buffers of the sockets hold, so the ring overtakes the page.
    stage.survives_overload(&"x".repeat(4_000)).await;
    assert_eq!(stage.count("boards").await, 1);
}

#[tokio::test]
#[ignore = "needs chromium and nginx"]
async fn board_behind_nginx_has_the_servers_state_after_a_restart_and_a_kill() {
    let (stage, _nginx) = Stage::behind_nginx().await;
    let stage = stage.survives_another_server(Example::stop).await;
    stage.survives_another_server(Example::kill).await;
}

#[tokio::test]
#[ignore = "needs chromium and pushpin"]
async fn board_behind_pushpin_has_the_servers_state_after_each_disturbance() {
    let stage = Stage::behind_pushpin().await;
    stage.survives_cuts().await;
    let stage = stage.survives_another_server(Example::stop).await;
    let stage = stage.survives_another_server(Example::kill).await;
    // A client whose sockets' buffers are full receives nothing more from Pushpin 1.36, also when it reads again.
    stage.survives_overload("item").await;
}
