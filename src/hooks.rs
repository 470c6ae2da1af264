//! Who is told that a client has come or gone.

use crate::{Channel, channel::Channels};
use http::request::Parts;
use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

type Hook = Arc<dyn Fn(&[Channel], &Parts) + Send + Sync>;

/// Functions of the channels of a stream and the request that asked for it.
#[derive(Clone, Default)]
pub(crate) struct Hooks {
    pub(crate) on_subscribe: Option<Hook>,
    pub(crate) on_unsubscribe: Option<Hook>,
}

impl Hooks {
    pub(crate) fn is_empty(&self) -> bool {
        self.on_subscribe.is_none() && self.on_unsubscribe.is_none()
    }

    /// Tells that a client of a proxy has come.
    #[cfg(feature = "grip")]
    pub(crate) fn came(&self, channels: &Channels, parts: &Parts) {
        call(self.on_subscribe.as_ref(), channels, parts);
    }

    /// Tells that a client of a proxy has gone.
    #[cfg(feature = "grip")]
    pub(crate) fn went(&self, channels: &Channels, parts: &Parts) {
        call(self.on_unsubscribe.as_ref(), channels, parts);
    }

    /// Tells that a client has come; dropping what is returned tells that it has gone.
    pub(crate) fn enter(&self, channels: Channels, parts: Arc<Parts>) -> Presence {
        call(self.on_subscribe.as_ref(), &channels, &parts);
        Presence {
            on_unsubscribe: self.on_unsubscribe.clone(),
            channels,
            parts,
        }
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks")
            .field("on_subscribe", &self.on_subscribe.is_some())
            .field("on_unsubscribe", &self.on_unsubscribe.is_some())
            .finish()
    }
}

/// A client that is here.
pub(crate) struct Presence {
    on_unsubscribe: Option<Hook>,
    channels: Channels,
    parts: Arc<Parts>,
}

impl Drop for Presence {
    fn drop(&mut self) {
        call(self.on_unsubscribe.as_ref(), &self.channels, &self.parts);
    }
}

impl fmt::Debug for Presence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Presence").field(&self.channels).finish()
    }
}

/// A hook that panics must not end other streams of the same thread.
fn call(hook: Option<&Hook>, channels: &Channels, parts: &Parts) {
    if let Some(hook) = hook {
        let called = catch_unwind(AssertUnwindSafe(|| hook(channels, parts)));
        if called.is_err() {
            crate::trace::event!(error, "a hook of an event stream has panicked");
        }
    }
}
