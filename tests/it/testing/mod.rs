//! The feature `testing`, used as applications use it.

mod client;
mod proxy;
