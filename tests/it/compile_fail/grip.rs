//~ `{integer}` does not name GRIP proxies
//~ expected the text of a GRIP_URL, or several
//~ note: proxies are text, a `GripConfig`, an array, a slice or a `Vec` of these, or a `grip::Publisher`

use axum_eventstream::EventStream;

fn main() {
    let _ = EventStream::builder().grip(5561);
}
