//! Publishing, and handles that publish to one channel.

mod channel;
mod publishing;

pub use channel::{ChannelPublisher, ChannelSink};
pub use publishing::Published;
