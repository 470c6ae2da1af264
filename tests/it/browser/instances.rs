//! The example `instances` in a real Chromium: the page survives its instance.

use crate::support::{
    browser::Browser,
    example::{Example, free_ports},
    redis::RedisServer,
    within,
};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use std::{sync::Mutex, time::Duration};
use tokio::time::sleep;

const TEXTS: &str =
    "[...document.querySelectorAll('#log span')].map(span => span.textContent).reverse()";
const PORT: &str = "+document.getElementById('instance').textContent";

struct Stage {
    browser: Browser,
    example: Example,
    client: Client,
    /// The messages that were published, in order.
    texts: Mutex<Vec<String>>,
}

impl Stage {
    async fn new(redis: &RedisServer) -> Self {
        let (port, url) = (free_ports().to_string(), redis.url());
        let variables = [("PORT", &*port), ("REDIS_URL", &*url)];
        let stage = Self {
            browser: Browser::start().await,
            example: Example::start_with("instances", &variables).await,
            client: Client::new(),
            texts: Mutex::default(),
        };
        for port in stage.ports() {
            stage.runs(port).await;
        }
        stage.browser.open(&stage.example.url).await;
        stage.browser.becomes(&format!("{PORT} > 0"), true).await;
        stage
    }

    fn ports(&self) -> [u16; 2] {
        let port = self.example.address().port();
        [port + 1, port + 2]
    }

    /// Waits until an instance answers.
    async fn runs(&self, port: u16) {
        let url = format!("http://127.0.0.1:{port}/");
        within("an instance", async {
            while self.client.get(&url).send().await.is_err() {
                sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }

    /// Publishes the next message at an instance.
    async fn publish(&self, port: u16) {
        let text = format!("message {}", self.texts.lock().unwrap().len());
        let post = self
            .client
            .post(format!("http://127.0.0.1:{port}/messages"));
        let sent = post.form(&[("text", &text)]).send().await.unwrap();
        assert_eq!(sent.status(), StatusCode::NO_CONTENT);
        self.texts.lock().unwrap().push(text);
    }

    /// Kills the page's instance. Messages are published at the other one until the page is there.
    async fn kill(&self) {
        let port = self.browser.run(&format!("return {PORT}")).await;
        let other = self.ports().into_iter().find(|other| port != *other);
        let other = other.unwrap();
        self.publish(port.as_u64().unwrap() as u16).await;
        self.browser.click("#kill").await;
        let is_there = async || self.browser.run(&format!("return {PORT}")).await == other;
        self.publish_until(other, is_there).await;
        self.publish(other).await;
    }

    async fn publish_until(&self, port: u16, is_so: impl AsyncFn() -> bool) {
        within("the other instance", async {
            while !is_so().await {
                self.publish(port).await;
            }
        })
        .await;
    }

    /// Waits until the page has all messages, each once and in order.
    async fn has_all(&self) {
        let texts = self.texts.lock().unwrap().clone();
        self.browser.becomes(TEXTS, json!(texts)).await;
    }

    async fn count(&self, id: &str) -> Value {
        let count = format!("return +document.getElementById('{id}').textContent");
        self.browser.run(&count).await
    }
}

#[tokio::test]
#[ignore = "needs chromium and Redis"]
async fn instances_can_be_killed_one_after_the_other_and_the_page_has_each_message_once() {
    let redis = RedisServer::start().await;
    let stage = Stage::new(&redis).await;
    stage.kill().await;
    stage.has_all().await;
    assert_eq!(stage.count("reconnects").await, 1);
    assert!(stage.count("replayed").await.as_u64() > Some(0));
    // The first instance has started again, and has nothing but the log.
    for port in stage.ports() {
        stage.runs(port).await;
    }
    stage.kill().await;
    stage.has_all().await;
    assert_eq!(stage.count("reconnects").await, 2);
    assert_eq!(stage.count("resets").await, 0);
    stage.example.stop().await;
}
