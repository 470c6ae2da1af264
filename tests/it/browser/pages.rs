//! The examples' pages, in a real Chromium.
//!
//! `SCREENSHOTS=1` replaces the picture in the README.

use crate::support::{
    browser::Browser, example::Example, pushpin::Pushpin, quickstart, server, wire::Wire,
};
use axum_eventstream::{EventStream, History};
use serde_json::json;
use std::{env, fs, net::SocketAddr};
use tokio::net::TcpListener;

/// The messages, the newest first, each with its mark.
const LOG: &str = "[...document.querySelectorAll('#log li:not(.note)')].map(li => [...li.children].slice(1).map(part => part.textContent).join(', '))";
const COUNTS: &str =
    "['reconnects', 'replayed', 'resets'].map(id => +document.getElementById(id).textContent)";

/// Publishes as the page's form does, but past all that can be cut.
async fn say(server: SocketAddr, text: &str) {
    let post = reqwest::Client::new().post(format!("http://{server}/messages"));
    let sent = post.form(&[("text", text)]).send().await.unwrap();
    sent.error_for_status().unwrap();
}

/// Publishes with the page's form.
async fn submit(browser: &Browser, text: &str) {
    browser.type_into("form input[name=text]", text).await;
    browser.click("form button").await;
    browser
        .becomes("document.querySelector('form input[name=text]').value", "")
        .await;
}

fn serve(tcp: TcpListener, es: EventStream, detach: bool) {
    server::serve_until(tcp, quickstart::app(es), detach, std::future::pending());
}

/// Events that were published while the page was disconnected are replayed. After a change of the server the page
/// receives a reset, and loads its state again.
///
/// The page comes by the `front`; the server is at `here`, and its successor, at `there`, takes over
/// when the function is called.
async fn catches_up(
    front: &Wire,
    (here, there): (SocketAddr, SocketAddr),
    take_over: impl AsyncFnOnce(),
) {
    let browser = Browser::start().await;
    browser.open(&format!("http://{}/", front.address())).await;
    browser.shows("state", "live").await;
    submit(&browser, "one").await;
    browser.becomes(LOG, json!(["one"])).await;

    let target = front.cut();
    browser.shows("state", "reconnecting").await;
    say(here, "two").await;
    say(here, "three").await;
    front.lead_to(target);
    browser.shows("state", "live").await;
    browser
        .becomes(LOG, json!(["three, replayed", "two, replayed", "one"]))
        .await;
    say(here, "four").await;
    browser
        .becomes(
            LOG,
            json!(["four", "three, replayed", "two, replayed", "one"]),
        )
        .await;
    browser.becomes(COUNTS, json!([1, 2, 0])).await;

    take_over().await;
    say(there, "five").await;
    browser.shows("resets", "1").await;
    browser.becomes(LOG, json!(["five"])).await;
    browser.shows("state", "live").await;
    submit(&browser, "six").await;
    browser.becomes(LOG, json!(["six", "five"])).await;
}

#[tokio::test]
#[ignore = "needs chromium"]
async fn quickstart_catches_up_when_its_connection_breaks_or_its_server_is_another() {
    for detach in [false, true] {
        let (tcp, here) = server::bind().await;
        serve(tcp, EventStream::new(), detach);
        let (tcp, there) = server::bind().await;
        let front = Wire::to(here).await;
        catches_up(&front, (here, there), async || {
            serve(tcp, EventStream::new(), detach);
            front.lead_to(there);
        })
        .await;
    }
}

fn behind(proxy: &Pushpin) -> EventStream {
    let builder = EventStream::builder()
        .grip(proxy.control_uri())
        .grip_link_key("a secret of all instances")
        .history(History::memory());
    builder.build().unwrap()
}

#[tokio::test]
#[ignore = "needs chromium and pushpin"]
async fn quickstart_catches_up_behind_pushpin_and_is_told_by_it_when_the_server_is_another() {
    let (tcp, here) = server::bind().await;
    let origin = Wire::to(here).await;
    let proxy = Pushpin::builder().origin(origin.address()).start().await;
    serve(tcp, behind(&proxy), false);
    let (tcp, there) = server::bind().await;
    let front = Wire::to(proxy.address()).await;
    catches_up(&front, (here, there), async || {
        serve(tcp, behind(&proxy), false);
        origin.lead_to(there);
    })
    .await;
}

/// Kills it, and starts another.
async fn replace(example: &mut Example, name: &str, front: &Wire) {
    example.process.kill().await.unwrap();
    *example = Example::start(name).await;
    front.lead_to(example.address());
}

#[tokio::test]
#[ignore = "needs chromium"]
async fn quickstart_shows_messages_in_all_windows_replays_missed_ones_and_survives_its_server() {
    let mut example = Example::start("quickstart").await;
    let front = Wire::to(example.address()).await;
    let browser = Browser::start().await;
    let page = format!("http://{}/", front.address());
    browser.open(&page).await;
    let first = browser.window().await;
    browser
        .becomes(
            "/^(\\d\\d:){2}\\d\\d$/.test(document.getElementById('clock').textContent)",
            true,
        )
        .await;
    browser.shows("state", "live").await;
    let hint = format!("curl -N {page}events");
    browser.shows("curl", &hint).await;
    let hint = format!("curl {page}messages -d text=hello");
    browser.shows("post", &hint).await;
    browser
        .run("window.then = document.getElementById('clock').textContent")
        .await;

    browser.new_window().await;
    browser.open(&page).await;
    browser.shows("clients", "2").await;
    submit(&browser, "Hello from the form").await;
    submit(&browser, "<b>Text</b>, never markup").await;
    browser.go_to(&first).await;
    let sent = json!(["<b>Text</b>, never markup", "Hello from the form"]);
    browser.becomes(LOG, sent).await;
    browser
        .becomes(
            "document.getElementById('clock').textContent !== then",
            true,
        )
        .await;

    browser.click("#cut").await;
    browser.shows("state", "cut off for 5 s").await;
    let server = example.address();
    say(server, "Published while this page was cut off").await;
    browser.shows("state", "live").await;
    browser.becomes(COUNTS, json!([1, 1, 0])).await;
    say(server, "And this one live again").await;
    let replayed = json!([
        "And this one live again",
        "Published while this page was cut off, replayed",
        "<b>Text</b>, never markup",
        "Hello from the form",
    ]);
    browser.becomes(LOG, replayed).await;
    browser
        .becomes("document.querySelectorAll('#log li').length", 5)
        .await;
    browser.shows("clients", "2").await;
    if env::var_os("SCREENSHOTS").is_some() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs");
        fs::create_dir_all(folder).unwrap();
        fs::write(format!("{folder}/quickstart.png"), browser.picture().await).unwrap();
    }

    replace(&mut example, "quickstart", &front).await;
    browser.becomes(COUNTS, json!([2, 1, 1])).await;
    browser.becomes(LOG, json!([])).await;
    browser.shows("clients", "2").await;
    submit(&browser, "new").await;
    browser.becomes(LOG, json!(["new"])).await;
    example.stop().await;
}

async fn join(browser: &Browser, url: &str, name: &str) {
    browser.open(url).await;
    browser.type_into("dialog input", name).await;
    browser.click("dialog button").await;
    browser.shows("state", "live").await;
}

#[tokio::test]
#[ignore = "needs chromium"]
async fn chat_lets_two_windows_talk_also_after_a_break_and_with_another_server() {
    const SAID: &str =
        "[...document.querySelectorAll('#log li:not(.note)')].map(li => li.textContent)";
    const HERE: &str = "[...document.querySelectorAll('#who li')].map(li => li.textContent)";
    const RESETS: &str = "document.querySelectorAll('#log .bad').length";
    let mut example = Example::start("chat").await;
    let front = Wire::to(example.address()).await;
    let url = format!("http://{}/", front.address());
    let browser = Browser::start().await;
    let ann = browser.window().await;
    join(&browser, &url, "Ann").await;
    let bob = browser.new_window().await;
    join(&browser, &url, "Bob").await;
    browser.becomes(HERE, json!(["Ann", "Bob"])).await;
    let talk = async |words: [&str; 2]| {
        for (window, words) in [&ann, &bob].into_iter().zip(words) {
            browser.go_to(window).await;
            browser.shows("state", "live").await;
            browser.becomes(HERE, json!(["Ann", "Bob"])).await;
            browser
                .type_into("#send input", &format!("{words}\u{e007}"))
                .await;
            browser
                .becomes("document.querySelector('#send input').value", "")
                .await;
        }
    };
    talk(["<i>hello?</i>", "hi"]).await;
    browser
        .becomes(SAID, json!(["Ann<i>hello?</i>", "hi"]))
        .await;
    browser.go_to(&ann).await;
    browser
        .becomes(SAID, json!(["<i>hello?</i>", "Bobhi"]))
        .await;

    let target = front.cut();
    for window in [&ann, &bob] {
        browser.go_to(window).await;
        browser.shows("state", "reconnecting").await;
    }
    let message = json!({"name": "Eve", "text": "psst"}).to_string();
    let sent = example
        .post("/rooms/lobby", "application/json", &message)
        .await;
    assert!(sent.status().is_success());
    front.lead_to(target);
    talk(["again", "yes"]).await;
    let said = json!(["Ann<i>hello?</i>", "hi", "Evepsst", "Annagain", "yes"]);
    browser.becomes(SAID, said).await;

    replace(&mut example, "chat", &front).await;
    for window in [&ann, &bob] {
        browser.go_to(window).await;
        browser.becomes(RESETS, 1).await;
    }
    talk(["a new server", "so it is"]).await;
    browser
        .becomes(SAID, json!(["Anna new server", "so it is"]))
        .await;
    browser.close_window().await;
    browser.go_to(&ann).await;
    browser.becomes(HERE, json!(["Ann"])).await;
    browser
        .becomes(SAID, json!(["a new server", "Bobso it is"]))
        .await;
    example.stop().await;
}
