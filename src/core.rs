//! What all parts of an `EventStream` share: the hub and the settings.

use crate::{
    LagPolicy, LastEventId, Limits, hub::Hub, sse::Opening, stream::Hooks, stream::Streams,
};
use std::{sync::Arc, time::Duration};

pub(crate) struct Core {
    pub(crate) hub: Arc<Hub>,
    pub(crate) streams: Arc<Streams>,
    pub(crate) limits: Limits,
    pub(crate) hooks: Hooks,
    pub(crate) opening: Opening,
    pub(crate) lag_policy: LagPolicy,
    pub(crate) max_age: Option<Duration>,
    pub(crate) refuse_with_status: bool,
}

impl Core {
    /// The position after this publish.
    pub(crate) fn id(&self, sequence: u64) -> LastEventId {
        LastEventId::new(self.hub.epoch(), sequence)
    }
}
