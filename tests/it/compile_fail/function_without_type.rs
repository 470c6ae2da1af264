//~ error[E0282]: type annotations needed
//~ ^^^^^

use axum_eventstream::EventStream;

fn main() {
    EventStream::new().handler(|parts| parts.uri.path().to_owned());
}
