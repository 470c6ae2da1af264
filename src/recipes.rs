//! How to, by example: pages to read. There is nothing to call here.

#[doc = include_str!("../docs/recipes/authorization.md")]
pub mod authorization {}

#[doc = include_str!("../docs/recipes/cors.md")]
pub mod cors {}

#[cfg(feature = "grip")]
#[doc = include_str!("../docs/recipes/fastly_fanout.md")]
pub mod fastly_fanout {}

#[doc = include_str!("../docs/recipes/frontends.md")]
pub mod frontends {}

#[doc = include_str!("../docs/recipes/many_channels.md")]
pub mod many_channels {}

#[doc = include_str!("../docs/recipes/moving.md")]
pub mod moving {}

#[cfg(feature = "grip")]
#[doc = include_str!("../docs/recipes/pushpin.md")]
pub mod pushpin {}

#[doc = include_str!("../docs/recipes/reverse_proxies.md")]
pub mod reverse_proxies {}

#[doc = include_str!("../docs/recipes/shutdown.md")]
pub mod shutdown {}
