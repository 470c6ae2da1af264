//~ `{integer}` does not name channels
//~ expected a name, several, an `Option` or a `Result` of them

use axum_eventstream::{EventStream, StreamRequest};

async fn events(es: EventStream, request: StreamRequest) {
    let _ = es.respond(&request, 42).await;
}

fn main() {
    let _ = events;
}
