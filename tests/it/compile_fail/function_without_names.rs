//~ `{integer}` does not name channels
//~ expected a name, several, an `Option` or a `Result` of them
//~ note: names are `&str`, `String`, `Cow<str>` or `Channel`, or a collection or an iterator of them

use axum_eventstream::EventStream;
use http::request::Parts;

fn main() {
    EventStream::new().handler(|_: &Parts| 42);
}
