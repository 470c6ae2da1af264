//~ type mismatch in closure arguments
//~ expected closure signature `for<'a> fn(&'a http::request::Parts) -> _`

use axum_eventstream::EventStream;
use http::request::Parts;

fn main() {
    EventStream::new().handler(|parts: Parts| parts.uri.path().to_owned());
}
