//! The example `ticker` in a real Chromium.

use crate::support::{browser::Browser, example::Example, within};
use serde_json::Value;

/// The price of each symbol on the page.
const PRICES: &str = "Object.fromEntries([...document.querySelectorAll('#prices div')].map(row => [row.firstChild.textContent, +row.lastChild.textContent]))";

/// Whether both have the same symbols, and prices that are equal when they are rounded.
fn is_equal(page: &Value, server: &Value) -> bool {
    let (Some(page), Some(server)) = (page.as_object(), server.as_object()) else {
        return false;
    };
    let cents = |value: &Value| (value.as_f64().unwrap_or(f64::NAN) * 100.0).round() as i64;
    let is_same = |(symbol, price): (&String, &Value)| {
        let shown = page.get(symbol);
        shown.is_some_and(|shown| cents(shown) == cents(price))
    };
    page.len() == server.len() && server.iter().all(is_same)
}

#[tokio::test]
#[ignore = "needs chromium"]
async fn a_page_has_the_newest_price_of_each_symbol_in_the_end() {
    let example = Example::start_with("ticker", &[("ROUNDS", "200")]).await;
    let browser = Browser::start().await;
    browser.open(&example.url).await;
    within("the page shows the server's prices", async {
        while !shows_all(&browser, &example).await {}
    })
    .await;
    browser.open(&example.url).await;
    within("a new page shows the server's prices", async {
        while !shows_all(&browser, &example).await {}
    })
    .await;
}

/// Whether the page has the prices of the server. That is so for long only when the updates have ended.
async fn shows_all(browser: &Browser, example: &Example) -> bool {
    let server: Value = serde_json::from_str(&example.page("/state").await).unwrap();
    let page = browser.run(&format!("return {PRICES}")).await;
    server.as_object().is_some_and(|prices| prices.len() == 500) && is_equal(&page, &server)
}
