//! Direct delivery: what a request gets, byte for byte.

mod http1;
mod http2;
mod nginx;
