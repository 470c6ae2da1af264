//! Tools to test applications with several instances, and to test engines.
//!
//! A [`Memory`] is an engine with faults on demand. [`contract`] checks any engine against the
//! [rules](crate::backplane#rules-of-an-engine).

mod connection;
mod contract;
mod faults;
mod history;
mod link;
mod log;
mod memory;
#[cfg(test)]
mod tests;

pub use connection::{MemoryReader, MemoryWriter};
pub use contract::{Subject, contract};
pub use memory::Memory;
