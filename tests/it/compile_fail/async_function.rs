//~ does not name channels
//~ note: a future must be awaited first, in a handler that calls `EventStream::respond`

use axum_eventstream::EventStream;
use http::request::Parts;

fn main() {
    EventStream::new().handler(async |_: &Parts| "news");
}
