//! Properties that hold for any request and any proxy. The same functions are fuzz targets: see `fuzz/`.

mod inputs;

use inputs::{answer, config, recovery, request, signature, template};
use proptest::{collection::vec, prelude::*, sample::select};
use std::{fs, path::Path};

type Check = fn(&[u8]);

const TARGETS: [(&str, Check); 6] = [
    ("config", config::check),
    ("key", config::check_key),
    ("recovery", recovery::check),
    ("request", request::check),
    ("signature", signature::check),
    ("template", template::check),
];

/// Also what fuzzing has found: its inputs are among the seeds.
#[test]
fn what_the_fuzz_targets_start_from_holds() {
    for (target, check) in TARGETS {
        // A package has no seeds.
        let Ok(seeds) = fs::read_dir(Path::new("../../fuzz/seeds").join(target)) else {
            continue;
        };
        for seed in seeds {
            check(&fs::read(seed.unwrap().path()).unwrap());
        }
    }
}

/// The texts that matter, and now and then any others.
fn text(parts: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        8 => select(parts).prop_map(|part| part.as_bytes().to_vec()),
        1 => ".{0,8}".prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 0..4),
    ];
    vec(part, 0..9).prop_map(|parts| parts.concat())
}

/// One of these beginnings, and more.
fn after(
    beginnings: &'static [&'static str],
    rest: &'static [&'static str],
) -> BoxedStrategy<Vec<u8>> {
    let parts = (select(beginnings), text(rest));
    parts
        .prop_map(|(start, rest)| [start.as_bytes(), &rest].concat())
        .boxed()
}

/// A target that an HTTP server lets pass, and lines of headers.
fn any_request() -> impl Strategy<Value = Vec<u8>> {
    let target = (select(ROUTES), vec(select(TARGET), 0..9));
    let target = target.prop_map(|(route, parts)| route.to_owned() + &parts.concat());
    let headers = vec(after(&["\na", "\ne", "\ns", "\ns", "\nl"], HEADER), 0..4);
    (target, headers).prop_map(|(target, headers)| [target.into_bytes(), headers.concat()].concat())
}

const ROUTES: &[&str] = &[
    "/one/", "/two/a/", "/two/", "/rest/", "/query?", "/one/a?", "/",
];
const TARGET: &[&str] = &[
    "a",
    "secret",
    "/",
    "%2C",
    "%3b",
    "%0a",
    "%0D",
    "%00",
    "%C3%A9",
    "%FF",
    "%20",
    "%7Bid%7D",
    "%",
    "?",
    "&",
    ",",
    ";",
    "lastEventId=",
    "error",
    "000000000000-1",
    "grip-next=",
];
const HEADER: &[&str] = &[
    "text/event-stream",
    "text/*",
    "*/*",
    ";q=0",
    "\"",
    "\\",
    ",",
    ";",
    "=",
    " ",
    "error",
    "000000000000-1",
    "events-a-b",
    "events-all",
    "; last-id=",
    ".",
    "e30",
];
const CONFIG: &[&str] = &[
    "user",
    ":",
    "@",
    "/",
    "?",
    "&",
    "key=",
    "iss=",
    "verify-key=",
    "verify-iss=",
    "base64:",
    "AQ",
    "%",
    "%00",
    "#",
    " ",
    "\n",
    "-----BEGIN PUBLIC KEY-----",
    "[::1]",
    "\",\"key\":\"",
    "\"}",
];
const CLAIMS: &[&str] = &[
    "\"exp\":",
    "\"nbf\":",
    "\"iss\":",
    "\"another\"",
    "1000001",
    "999999",
    "1e400",
    "-1",
    "null",
    ",",
    "[",
    "{",
    "}",
    "\n",
    ".",
];
const ANSWERS: &[&str] = &[
    "",
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.1 400 Bad Request\r\n\r\n",
    "HTTP/1.1 302 Found\r\nlocation: /\r\n\r\n",
    "HTTP/1.1 403 \u{1b}[1m\r\n",
    "HTTP/1.1 500 X\r\ntransfer-encoding: chunked\r\n\r\n",
];
const ANSWER: &[&str] = &[
    "\r\n\r\n",
    "\r\n",
    "content-length: 9",
    "0",
    "9\r\nno\nway\t!!\r\n",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "\u{7}",
    "\u{9b}",
    "\u{2028}",
    ":",
];
const TEMPLATE: &[&str] = &[
    "{x}", "<y>", "{", "}", "<", ">", "{{x}}", "{nope}", "{*y}", ":x", "/", "x", "_", "-", " ",
    "\n", "%7Bx%7D", "%2C", "%3Cy%3E", "%0A", "\u{e9}",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_request_gets_a_stream_on_its_channels_or_a_refusal(input in any_request()) {
        request::check(&input);
    }

    #[test]
    fn any_proxy_gets_only_what_its_link_is_good_for(input in after(&["\n", "\nevents-a-b; last-id=", "e30.e30.", "+", "+\n", "+\nevents-c; last-id=", "+&grip-channels=", "&grip-page=000000000000-"], HEADER)) {
        recovery::check(&input);
    }

    #[test]
    fn any_configuration_works_or_is_an_error(input in after(&["http://", "https://h?", "{\"control_uri\":\"", "base64:", "{\"kty\":\"", ""], CONFIG)) {
        config::check(&input);
        config::check_key(&input);
    }

    #[test]
    fn any_token_is_refused_unless_it_was_signed_and_is_valid(input in after(&["{\"alg\":\"HS256\"}\n{", "{\"alg\":\"HS256\"}\n{}", "{\"alg\":\"none\"}\n{", "", "e30.e30."], CLAIMS)) {
        signature::check(&input);
    }

    #[test]
    fn any_template_and_values_make_one_channel_or_a_refusal(input in text(TEMPLATE)) {
        template::check(&input);
    }

    #[test]
    fn a_key_is_never_shown(key in "[A-Z]{12}", user in "[a-z]{8}", field in 0..3_usize) {
        let url = match field {
            0 => format!("http://{user}:{key}@host"),
            1 => format!("http://host?key={key}"),
            _ => format!("http://host?verify-key={key}&verify-iss=1"),
        };
        let parsed: axum_eventstream::grip::GripConfig = url.parse().unwrap();
        let shown = format!("{parsed:?}");
        prop_assert!(!shown.contains(&key));
        let broken = format!("{url} ://{key}");
        let error = axum_eventstream::EventStream::builder().grip(broken).build().unwrap_err();
        let shown = format!("{error} {error:?}");
        prop_assert!(!shown.contains(&key));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_answer_of_a_proxy_is_an_outcome(input in after(ANSWERS, ANSWER)) {
        answer::check(&input);
    }
}
