//! Publishing, and handles that publish to one channel.

mod channel;
mod publishing;
mod sink;

pub use channel::ChannelPublisher;
pub use publishing::Published;
pub use sink::ChannelSink;
