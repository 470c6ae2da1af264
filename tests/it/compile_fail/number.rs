//~ `{integer}` does not name the channels of a handler
//~ ^^ expected names of channels, or a function `|parts: &Parts| ..` that returns them
//~ note: names are `&str`, `String`, `Cow<str>` or `Channel`, or an array, a slice or a `Vec` of them
//~ note: for anything asynchronous, write a handler that calls `EventStream::respond`

use axum_eventstream::EventStream;

fn main() {
    EventStream::new().handler(42);
}
