//~ `{integer}` does not name channels
//~ expected a name, or several
//~ note: a name is a `&str`, a `String` or a `Channel`; several are anything that iterates over names

use axum_eventstream::EventStream;

fn main() {
    let _ = EventStream::new().subscribe(42);
}
