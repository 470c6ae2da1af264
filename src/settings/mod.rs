//! Settings of an `EventStream`, their defaults and their checks.

mod history;
mod keep_alive;
mod limits;

pub use history::{History, LagPolicy};
pub use keep_alive::KeepAlive;
pub use limits::Limits;
