use axum_eventstream::{Event, InvalidEvent};
use serde::Serialize;

/// Puts elements into the page: those with their ids, or with `options` elsewhere.
fn patch_elements(html: &str, options: &[(&str, &str)]) -> Result<Event, InvalidEvent> {
    let options = options
        .iter()
        .map(|(name, value)| format!("{name} {value}"));
    let elements = html.lines().map(|line| format!("elements {line}"));
    let lines: Vec<_> = options.chain(elements).collect();
    Event::text("datastar-patch-elements", lines.join("\n"))
}

/// Sets signals: a value that JSON expresses as an object.
fn patch_signals(signals: &impl Serialize) -> Result<Event, Box<dyn std::error::Error>> {
    let signals = serde_json::to_string(signals)?;
    Ok(Event::text(
        "datastar-patch-signals",
        format!("signals {signals}"),
    )?)
}
