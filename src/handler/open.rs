//! The pipeline of a request: verify it, follow a link, resolve the channels, subscribe.

use super::{
    StreamResponse,
    held::Held,
    response::{Direct, Kind},
};
use crate::{
    EventStream, LastEventId, Limits,
    channel::Channels,
    core::Core,
    hub::{Reader, Refused, Start},
    proxies::{HoldOptions, HoldResponse, LinkResponse, Proxies},
    request::{self, Delivery, Rejection, StreamRequest, Unavailable},
    stream::Feed,
};
use std::sync::Arc;

impl StreamRequest {
    /// Returns what will hold the stream, given the proxies of `event_stream`.
    ///
    /// # Errors
    ///
    /// Every proxy has a key to verify with, and none of these verifies the request's `Grip-Sig`. If one proxy has no
    /// key, any `Grip-Sig` is accepted.
    pub fn delivery(&self, event_stream: &EventStream) -> Result<Delivery, Rejection> {
        match (event_stream.proxies(), self.signature()) {
            (Some(proxies), Some(signature)) => proxies.delivery(signature),
            _ => Ok(Delivery::Direct),
        }
    }
}

impl EventStream {
    /// The pipeline of all requests. `channels` runs once the request itself is valid.
    pub(super) fn open_stream(
        &self,
        request: &StreamRequest,
        channels: impl FnOnce(&Limits) -> Result<Channels, Rejection>,
    ) -> Result<StreamResponse, Rejection> {
        let opened = self.try_open(request, channels);
        opened.inspect_err(|rejection| self.observer().refused(rejection.reason()))
    }

    fn try_open(
        &self,
        request: &StreamRequest,
        channels: impl FnOnce(&Limits) -> Result<Channels, Rejection>,
    ) -> Result<StreamResponse, Rejection> {
        let core = self.core();
        if let Some(backplane) = self.backplane() {
            backplane.start();
        }
        // `Some` if a proxy will hold the client.
        let proxies = match request.delivery(self)? {
            Delivery::Direct => None,
            Delivery::Proxied => self.proxies(),
        };
        self.check(request, proxies)?;
        let proxies_of_get = proxies.filter(|_| !request.is_head);
        if let Some(answer) =
            proxies_of_get.and_then(|proxies| proxies.follow_link(core, request, None))
        {
            return answer.map(|response| self.linked(request, response));
        }
        let channels = channels(&core.limits)?;
        if request.is_head {
            return head(core, &channels);
        }
        match proxies {
            None => self.subscribe_client(request, channels),
            Some(proxies) => self.hold(proxies, request, channels),
        }
    }

    /// Checks that do not depend on the channels.
    fn check(
        &self,
        request: &StreamRequest,
        proxies: Option<&dyn Proxies>,
    ) -> Result<(), Rejection> {
        if proxies.is_none() && self.proxies().is_some_and(Proxies::are_required) {
            return Err(Rejection::NotProxied);
        }
        if request.last_event_id() == Some("error") {
            return Err(Rejection::InvalidLastEventId);
        }
        Ok(())
    }

    fn subscribe_client(
        &self,
        request: &StreamRequest,
        channels: Channels,
    ) -> Result<StreamResponse, Rejection> {
        let core = self.core();
        let id = request.last_event_id();
        let awaited = id.and_then(|id| self.awaited_position(id));
        let feed = Feed::subscribe(&core.hub, &channels, id.filter(|_| awaited.is_none()));
        let feed = feed.map_err(|refused| unavailable(core, &refused))?;
        let has_position = core.hub.keeps_history() && id.is_some();
        let parts = request.parts().filter(|_| !core.hooks.is_empty());
        let has_gap = feed.reader.has_gap();
        Ok(StreamResponse::new(Kind::Direct(Direct {
            event_stream: self.clone(),
            feed: feed.opened(core.opening, core.lag_policy),
            presence: parts.map(|parts| Box::new((channels, Arc::clone(parts)))),
            detachable: request.is_detachable,
            is_new: !has_position || has_gap,
            start: match id {
                Some(_) if awaited.is_none() && core.hub.keeps_history() => Start::Unknown,
                _ => Start::Live,
            },
            awaited,
        })))
    }

    /// The position of a client that this instance may reach soon, if it is not known yet: other instances of a
    /// backplane can be ahead.
    fn awaited_position(&self, id: &str) -> Option<LastEventId> {
        let hub = &self.core().hub;
        self.backplane()?;
        let id = id.parse().ok().filter(|_| hub.keeps_history())?;
        (!hub.has_reached(id)).then_some(id)
    }

    /// The proxy holds clients while this process closes, so only limits refuse them.
    fn hold(
        &self,
        proxies: &dyn Proxies,
        request: &StreamRequest,
        channels: Channels,
    ) -> Result<StreamResponse, Rejection> {
        let core = self.core();
        let reader = core.hub.watch(&channels);
        let reader = reader.map_err(|refused| unavailable(core, &refused))?;
        let hold = proxies.hold(core, request, &channels, &HoldOptions::default())?;
        Ok(self.held(request, Some(channels), hold, reader))
    }

    fn linked(&self, request: &StreamRequest, response: LinkResponse) -> StreamResponse {
        match response {
            LinkResponse::Ended(response) => {
                StreamResponse::new(Kind::Finished(Box::new(response)))
            }
            LinkResponse::Held(hold, reader) => self.held(request, None, hold, reader),
        }
    }

    fn held(
        &self,
        request: &StreamRequest,
        channels: Option<Channels>,
        hold: HoldResponse,
        reader: Reader,
    ) -> StreamResponse {
        StreamResponse::new(Kind::Held(Box::new(Held {
            event_stream: self.clone(),
            request: request.clone(),
            channels,
            hold,
            snapshot: None,
            reader,
        })))
    }
}

/// The response to HEAD has the headers that all streams have in common. It takes no subscription, so a limit refuses
/// it only with `refuse_with_status`.
fn head(core: &Core, channels: &Channels) -> Result<StreamResponse, Rejection> {
    if core.refuse_with_status {
        let admitted = core.hub.admits(channels);
        admitted.map_err(|refused| unavailable(core, &refused))?;
    }
    let head = Box::new(request::head());
    Ok(StreamResponse::new(Kind::Finished(head)))
}

fn unavailable(core: &Core, refused: &Refused) -> Rejection {
    Rejection::Unavailable(Unavailable::new(refused, core.refuse_with_status))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{Router, body::Body, routing::get};
    use tower::ServiceExt;

    #[tokio::test]
    async fn a_custom_handler_has_the_same_limits() {
        let limits = Limits::new().channels_per_subscription(1);
        let es = EventStream::builder().limits(limits).build().unwrap();
        let respond = async move |request: StreamRequest| es.respond(&request, ["a", "b"]).await;
        let app: Router = Router::new().route("/", get(respond));
        let request = http::Request::get("/").body(Body::empty()).unwrap();
        let response = app.oneshot(request).await.unwrap();
        assert_eq!(response.status(), http::StatusCode::BAD_REQUEST);
    }

    #[cfg(feature = "grip")]
    #[tokio::test]
    async fn every_signature_is_verified() {
        let proxy = "http://127.0.0.1:9?verify-key=changeme";
        let es = EventStream::builder().grip(proxy).build().unwrap();
        let app: Router = Router::new().route("/", get(es.handler("a")));
        for signature in [&b""[..], b"x", b"\xff"] {
            let request = http::Request::get("/").header("grip-sig", signature);
            let request = request.body(Body::empty()).unwrap();
            let response = app.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status(), http::StatusCode::FORBIDDEN);
        }
    }
}
