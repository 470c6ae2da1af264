//! The pipeline of a request: verify it, follow a link, resolve the channels, subscribe.

#[cfg(feature = "grip")]
use super::response::Held;
use super::{
    Delivery, Rejection, StreamRequest, StreamResponse, Unavailable, direct, response::Direct,
};
use crate::{
    EventStream, Limits, channel::Channels, event_stream::Inner, feed::Feed, hub::Refused,
};

impl EventStream {
    /// The pipeline of all requests. `channels` runs once the request itself is valid.
    pub(crate) fn open_stream(
        &self,
        request: &StreamRequest,
        channels: impl FnOnce(&Limits) -> Result<Channels, Rejection>,
    ) -> Result<StreamResponse, Rejection> {
        let inner = self.inner();
        let delivery = request.delivery(self)?;
        check(request, inner, delivery)?;
        #[cfg(feature = "grip")]
        if let Some(answer) = request.follow_link(inner, delivery) {
            return answer;
        }
        let channels = channels(&inner.limits)?;
        if request.is_head() {
            return head(inner, &channels);
        }
        match delivery {
            Delivery::Direct => self.subscribe_client(request, channels),
            #[cfg(feature = "grip")]
            Delivery::Proxied => hold(request, inner, channels),
            #[cfg(not(feature = "grip"))]
            Delivery::Proxied => Err(Rejection::NotProxied),
        }
    }

    fn subscribe_client(
        &self,
        request: &StreamRequest,
        channels: Channels,
    ) -> Result<StreamResponse, Rejection> {
        let inner = self.inner();
        let feed = Feed::subscribe(&inner.hub, &channels, request.last_event_id());
        let feed = feed.map_err(|refused| unavailable(inner, &refused))?;
        let presence = (!inner.hooks.is_empty()).then(|| (channels, request.parts()));
        Ok(StreamResponse::direct(Direct {
            event_stream: self.clone(),
            feed: feed.opened(inner.opening, inner.lag_policy),
            presence: presence.map(Box::new),
            detachable: request.is_detachable(),
        }))
    }
}

/// Checks that do not depend on the channels.
fn check(request: &StreamRequest, inner: &Inner, delivery: Delivery) -> Result<(), Rejection> {
    if delivery == Delivery::Direct && inner.proxies.are_required() {
        return Err(Rejection::NotProxied);
    }
    if request.last_event_id() == Some("error") {
        return Err(Rejection::InvalidLastEventId);
    }
    Ok(())
}

/// A response to HEAD has the same head as one to GET, even if no subscription is left.
fn head(inner: &Inner, channels: &Channels) -> Result<StreamResponse, Rejection> {
    if inner.refuse_with_status {
        let admitted = inner.hub.admits(channels);
        admitted.map_err(|refused| unavailable(inner, &refused))?;
    }
    Ok(StreamResponse::ready(direct::head()))
}

/// The proxy holds clients while this process closes, so only limits refuse them.
#[cfg(feature = "grip")]
fn hold(
    request: &StreamRequest,
    inner: &Inner,
    channels: Channels,
) -> Result<StreamResponse, Rejection> {
    let reader = inner.hub.watch(&channels);
    let reader = reader.map_err(|refused| unavailable(inner, &refused))?;
    let (response, reports_disconnects) = request.hold(inner, &channels)?;
    let presence =
        reports_disconnects.then(|| Box::new((inner.hooks.clone(), channels, request.parts())));
    Ok(StreamResponse::held(Held {
        response,
        reader,
        presence,
    }))
}

fn unavailable(inner: &Inner, refused: &Refused) -> Rejection {
    Rejection::Unavailable(Unavailable::new(refused, inner.refuse_with_status))
}
