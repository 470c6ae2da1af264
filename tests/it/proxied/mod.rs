//! Streams that a proxy holds.

mod hold;
mod links;
mod recovery;
