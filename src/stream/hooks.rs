//! Callbacks of the application for subscribing and unsubscribing clients.

use super::guard::contain;
use crate::{Channel, channel::Channels};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, request::Parts};
use std::{fmt, sync::Arc};

type Hook = Arc<dyn Fn(&[Channel], &Parts) + Send + Sync>;

/// Callbacks that receive the channels of a stream and the parts of its request.
#[derive(Clone, Default)]
pub(crate) struct Hooks {
    pub(crate) on_subscribe: Option<Hook>,
    pub(crate) on_unsubscribe: Option<Hook>,
}

impl Hooks {
    pub(crate) fn is_empty(&self) -> bool {
        self.on_subscribe.is_none() && self.on_unsubscribe.is_none()
    }

    /// Calls `on_subscribe` for a client that a proxy holds.
    pub(crate) fn subscribed(&self, channels: &Channels, parts: &Parts) {
        call(self.on_subscribe.as_ref(), channels, parts);
    }

    /// Calls `on_unsubscribe` for a client that a proxy held.
    pub(crate) fn unsubscribed(&self, channels: &Channels, parts: &Parts) {
        call(self.on_unsubscribe.as_ref(), channels, parts);
    }

    /// Calls `on_subscribe`. Dropping the returned value calls `on_unsubscribe`.
    pub(crate) fn subscribe(&self, channels: Channels, parts: &Parts) -> UnsubscribeGuard {
        call(self.on_subscribe.as_ref(), &channels, parts);
        let on_unsubscribe = self.on_unsubscribe.clone();
        UnsubscribeGuard(on_unsubscribe.map(|hook| (hook, channels, compact(parts))))
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

/// Calls `on_unsubscribe`, if it is set, when dropped.
pub(crate) struct UnsubscribeGuard(Option<(Hook, Channels, Parts)>);

impl Drop for UnsubscribeGuard {
    fn drop(&mut self) {
        if let Some((hook, channels, parts)) = &self.0 {
            call(Some(hook), channels, parts);
        }
    }
}

impl fmt::Debug for UnsubscribeGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let channels = self.0.as_ref().map(|(_, channels, _)| channels);
        f.debug_tuple("UnsubscribeGuard").field(&channels).finish()
    }
}

/// Copies the parts into new allocations. Header values and the URI are slices of the connection's read
/// buffer, which would otherwise live as long as the stream.
fn compact(parts: &Parts) -> Parts {
    let (mut copy, ()) = Request::new(()).into_parts();
    copy.method = parts.method.clone();
    copy.uri = parts.uri.to_string().parse().unwrap_or_default();
    copy.version = parts.version;
    copy.headers = HeaderMap::with_capacity(parts.headers.len());
    for (name, value) in &parts.headers {
        copy.headers.append(name, own(value));
    }
    copy
}

fn own(value: &HeaderValue) -> HeaderValue {
    let copy = Bytes::copy_from_slice(value.as_bytes());
    // The bytes come from a valid value, so the conversion cannot fail.
    let mut copy = HeaderValue::from_maybe_shared(copy).unwrap_or(HeaderValue::from_static(""));
    copy.set_sensitive(value.is_sensitive());
    copy
}

fn call(hook: Option<&Hook>, channels: &Channels, parts: &Parts) {
    if let Some(hook) = hook {
        let call = || hook(channels, parts);
        contain("a hook of an event stream panicked", call);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compact_copy_shares_no_memory_with_the_request_and_has_no_extensions() {
        let value = HeaderValue::from_maybe_shared(Bytes::from_static(b"text/event-stream"));
        let request = Request::get("/events/1?a=b").extension(7_u8);
        let request = request
            .header("accept", value.unwrap())
            .header("x-user", "ann");
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        if let Some(user) = parts.headers.get_mut("x-user") {
            user.set_sensitive(true);
        }
        let copy = compact(&parts);
        assert_eq!((&copy.method, &copy.uri), (&parts.method, &parts.uri));
        assert_eq!(
            (copy.version, &copy.headers),
            (parts.version, &parts.headers)
        );
        assert!(copy.headers["x-user"].is_sensitive());
        assert!(copy.extensions.is_empty());
        for (name, value) in &parts.headers {
            let copied = copy.headers[name].as_bytes();
            assert_ne!(copied.as_ptr(), value.as_bytes().as_ptr(), "{name}");
        }
        assert_ne!(copy.uri.path().as_ptr(), parts.uri.path().as_ptr());
    }
}
