//! The engine on Redis.

mod attach;
mod cluster;
mod contract;
mod faults;
mod rights;
pub(crate) mod sentinel;
mod stream;
#[cfg(any(feature = "rustls", feature = "native-tls"))]
mod tls;

use super::raw::{self, *};
use axum_eventstream::backplane::{
    Attached, Backplane, FailureKind, Known, Origin, Reader, Redis, Writer,
};

type Instance = raw::Instance<Redis>;
