//! Which channels a stream subscribes to.

mod arguments;
mod names;
