//! Publishing to proxies, and handles that publish to one channel.

mod channel;
#[cfg(feature = "grip")]
pub(crate) mod grip;
#[cfg(feature = "grip")]
pub(crate) mod links;
#[cfg(feature = "grip")]
mod proxies;
#[cfg(not(feature = "grip"))]
#[path = "no_proxies.rs"]
mod proxies;

pub use channel::{ChannelPublisher, ChannelSink};
#[cfg(feature = "grip")]
pub use proxies::IntoProxies;
pub(crate) use proxies::{InFlight, Proxies, ProxiesBuilder};
