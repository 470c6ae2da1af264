//! The servers that the tests start.

#[path = "../support/guarded.rs"]
#[allow(dead_code, reason = "the fleet has one Redis")]
pub(crate) mod guarded;
#[path = "../support/pushpin.rs"]
#[allow(dead_code, reason = "the fleet reads no log of Pushpin")]
pub(crate) mod pushpin;
#[path = "../support/redis.rs"]
#[allow(dead_code, reason = "the fleet has no Sentinel")]
pub(crate) mod redis;
#[path = "../support/server.rs"]
#[allow(dead_code, reason = "instances listen on ports of their own")]
pub(crate) mod server;
