//~ `{integer}` does not name channels
//~ expected a name, several, an `Option` or a `Result` of them
//~ note: names are `&str`, `String`, `Cow<str>` or `Channel`, or a collection or an iterator of them

use axum_eventstream::EventStream;

fn main() {
    let _ = EventStream::new().subscribe(42);
}
