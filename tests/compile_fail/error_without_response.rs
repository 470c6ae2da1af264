//~ IntoResponse` is not implemented for `Forbidden`
//~ required for `Result<String, Forbidden>` to implement `IntoChannels`

use axum_eventstream::EventStream;
use http::request::Parts;

struct Forbidden;

fn main() {
    EventStream::new().handler(|_: &Parts| Err::<String, _>(Forbidden));
}
