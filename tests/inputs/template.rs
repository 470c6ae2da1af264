//! A template for channels, with any values of its parameters.

use super::{App, RUNTIME, lines};
use axum::{Router, routing::get};
use axum_eventstream::{EventStream, History};

/// The lines of the input are the template and the values of the parameters `x` and `y`, percent-encoded.
pub fn check(input: &[u8]) {
    let mut lines = lines(input);
    let Ok(template) = str::from_utf8(lines.next().unwrap_or_default()) else {
        return;
    };
    let target = [
        b"/",
        lines.next().unwrap_or(b"x"),
        b"/",
        lines.next().unwrap_or(b"y"),
    ]
    .concat();
    let _runtime = RUNTIME.enter();
    let builder = EventStream::builder().history(History::off());
    let es = builder.grip("http://127.0.0.1:9").build().unwrap();
    let router = Router::new().route("/{x}/{y}", get(es.handler(template)));
    let app = App { es, router };
    let Some(answer) = app.get(&target, &[("grip-sig", b"any")]) else {
        return;
    };
    match answer.status {
        200 => {
            answer.assert_stream();
            let channels = answer.channels();
            assert_eq!(channels.len(), 1, "{channels:?}");
            let is_escaped = template.contains("{{") || template.contains("}}");
            // A brace of a value is percent-encoded, or in the target as it is.
            let may_have_braces = is_escaped || target.iter().any(|byte| b"{}%".contains(byte));
            assert!(
                may_have_braces || !channels[0].contains(['{', '}']),
                "{template:?}"
            );
        }
        500 => {
            answer.assert_refusal();
            assert!(template.contains(['{', '}', '<', ':', '*']), "{template:?}");
        }
        _ => answer.assert_refusal(),
    }
}
