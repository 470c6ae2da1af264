//~ `Result<String, Forbidden>` does not name channels
//~ note: the error of a `Result` must implement `axum::response::IntoResponse`

use axum_eventstream::EventStream;
use http::request::Parts;

struct Forbidden;

fn main() {
    EventStream::new().handler(|_: &Parts| Err::<String, _>(Forbidden));
}
