//! The crate as its users see it: over real sockets, behind real proxies, in a real browser.
//!
//! One module for each kind of behaviour. Tests that need Pushpin, nginx, Redis, PostgreSQL or Chromium are ignored by
//! default: `scripts/test` runs them.
#![cfg_attr(
    not(feature = "full"),
    allow(dead_code, reason = "fewer tests use the support code")
)]

mod channels;
mod direct;
mod lifetime;
mod net;
mod replay;
mod support;

#[cfg(feature = "full")]
mod backplane;
#[cfg(all(unix, feature = "full"))]
mod browser;
#[cfg(feature = "full")]
mod compile_fail;
#[cfg(all(unix, feature = "full"))]
mod examples;
#[cfg(feature = "full")]
mod observe;
#[cfg(all(unix, feature = "full"))]
mod proxied;
#[cfg(feature = "full")]
mod publisher;
#[cfg(feature = "full")]
mod publishing;
#[cfg(feature = "full")]
mod recipes;
#[cfg(feature = "full")]
mod state;
#[cfg(feature = "full")]
mod testing;

/// Counts allocated bytes.
#[global_allocator]
static MEMORY: cap::Cap<std::alloc::System> = cap::Cap::new(std::alloc::System, usize::MAX);
