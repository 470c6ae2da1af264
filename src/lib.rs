//! Server-sent events on named channels for axum.

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "axum-07")]
mod axum07;
mod builder;
mod channel;
mod error;
mod event_stream;
mod excerpt;
mod extract;
mod feed;
#[cfg(feature = "grip")]
pub mod grip;
mod handler;
mod history;
mod hooks;
mod hub;
mod keep_alive;
mod limits;
pub mod net;
mod publish;
pub mod registry;
mod sse;
mod stats;
mod stream;
mod subscription;
mod trace;

pub use builder::EventStreamBuilder;
pub use channel::{Channel, InvalidChannel};
pub use error::{Error, ErrorKind};
pub use event_stream::{EventStream, Published};
pub use handler::{Delivery, IntoChannels, IntoResolver, Rejection, StreamHandler, StreamRequest};
pub use history::{History, LagPolicy};
pub use keep_alive::KeepAlive;
pub use limits::Limits;
#[cfg(feature = "grip")]
pub use publish::IntoProxies;
pub use publish::{ChannelPublisher, ChannelSink};
pub use sse::{Event, EventBuilder, InvalidEvent, InvalidLastEventId, LastEventId, ReceivedEvent};
pub use stats::Stats;
pub use subscription::Subscription;
