//! Proxied delivery: instructions for the proxy, which holds the client.
//!
//! Without history, the response holds the client on its channels. With history, each channel of the hold has
//! the id of its last event, so that the proxy detects a gap. The hold then has a link, which the proxy
//! requests to recover. The response to a link starts at the positions in the proxy's `Grip-Last`, not at
//! stored state, since the proxy may repeat the request.

use super::{
    Rejection, StreamResponse, direct,
    recovery::{Answer, Recovery, held, id},
    response::Held,
};
use crate::{
    Channel,
    channel::Channels,
    event_stream::Inner,
    grip::{GRIP_FEATURE, GRIP_SIG, Instruct, last_ids},
    publish::links::{self, Followed, InvalidLink, LinkRequest, Links, Purpose},
    sse::LastEventId,
    stream::reconnect_after,
    trace,
};
use axum::{body::Body, extract::OriginalUri, response::Response};
use http::{HeaderMap, HeaderValue, Uri, request::Parts};

/// A request that a proxy has forwarded, or has made itself to follow a link.
#[derive(Clone)]
pub(super) struct GripRequest {
    signature: HeaderValue,
    uri: Uri,
    last: Vec<(String, String)>,
    /// Whether the proxy reports that a client has disconnected, if the response has a link for that.
    reports_disconnects: bool,
}

impl GripRequest {
    /// Returns `None` without a `Grip-Sig`, which is not verified here.
    pub(super) fn new(parts: &Parts) -> Option<Self> {
        let signature = parts.headers.get(GRIP_SIG)?.clone();
        Some(Self {
            signature,
            uri: original_uri(parts).unwrap_or(&parts.uri).clone(),
            last: last_ids(&parts.headers),
            reports_disconnects: reports_disconnects(&parts.headers),
        })
    }

    /// The value of `Grip-Sig`.
    pub(super) fn signature(&self) -> &HeaderValue {
        &self.signature
    }

    /// Instructions to hold the client. The flag is whether the proxy will report its disconnect.
    pub(super) fn hold(
        &self,
        inner: &Inner,
        channels: &Channels,
        last_event_id: Option<&str>,
    ) -> Result<(Response, bool), Rejection> {
        if channels.len() > links::PUSHPIN_CHANNELS {
            trace::event!(
                warn,
                channels = channels.len(),
                "Pushpin holds a client on its first {} channels, unless `connection_subscription_max` allows more",
                links::PUSHPIN_CHANNELS
            );
        }
        let Some(links) = inner.proxies.links() else {
            return Ok((without_history(inner, channels).into_response()?, false));
        };
        if channels.len() > links::MAX_CHANNELS {
            return Err(Rejection::ProxyLimit(format!(
                "more than {} channels, and no proxy can recover more with history",
                links::MAX_CHANNELS
            )));
        }
        let answer = self.first(inner, links, channels, last_event_id).answer()?;
        if self.reports_disconnects
            && !inner.hooks.is_empty()
            && let Some(gone) = links.gone(&self.uri, &links::canonical(channels))
            && let Some(reported) = with_gone_link(&answer, gone)
        {
            return Ok((reported, true));
        }
        Ok((answer.into_response()?, false))
    }

    /// The recovery of a client that has just connected.
    fn first<'a>(
        &'a self,
        inner: &'a Inner,
        links: &'a Links,
        channels: &[Channel],
        last_event_id: Option<&str>,
    ) -> Recovery<'a> {
        let after = match last_event_id {
            None => Some(inner.hub.sequence()),
            Some(id) => sequence(inner, id),
        };
        let closed = inner.hub.last_close(channels);
        let channels = links::canonical(channels).into_iter();
        Recovery {
            inner,
            links,
            uri: &self.uri,
            wanted: channels.map(|channel| (channel, after)).collect(),
            closed,
            opening: Some(after.map(|after| id(inner, after))),
        }
    }

    /// The response to a proxy that follows a link of this crate. Returns `None` for other requests.
    /// `is_link_path`: the request was routed to the handler of the link path.
    pub(super) fn follow_link(
        &self,
        inner: &Inner,
        is_proxied: bool,
        is_link_path: bool,
        parts: Option<&Parts>,
    ) -> Option<Result<StreamResponse, Rejection>> {
        let links = inner.proxies.links().filter(|_| is_proxied)?;
        let names = self
            .last
            .iter()
            .filter_map(|(name, _)| inner.proxies.channel(name));
        let last: Vec<_> = names.collect();
        let followed = links.follow(LinkRequest {
            uri: &self.uri,
            is_link_path,
            last: &last,
        })?;
        Some(match followed {
            Ok(followed) => self.followed(inner, links, &followed, parts),
            Err(invalid) => Ok(StreamResponse::ready(ended(invalid))),
        })
    }

    fn followed(
        &self,
        inner: &Inner,
        links: &Links,
        followed: &Followed,
        parts: Option<&Parts>,
    ) -> Result<StreamResponse, Rejection> {
        let channels = inner.limits.channels(&followed.channels)?;
        if followed.purpose == Purpose::Gone {
            if let Some(parts) = parts {
                inner.hooks.unsubscribed(&channels, parts);
            }
            return Ok(StreamResponse::ready(Response::default()));
        }
        // The reader detects closes from now on, the number in the link those before.
        let reader = inner.hub.watch_held(&channels);
        let closed = inner.hub.last_close(&channels);
        if closed > followed.closed {
            trace::event!(
                debug,
                "stream ended: a channel was closed since its link was made"
            );
            return Ok(StreamResponse::ready(direct::ended(reconnect_after())));
        }
        let after = |(index, channel): (usize, &Channel)| match &followed.purpose {
            Purpose::Page(page) => page.position(inner.hub.epoch(), index),
            _ => sequence(inner, self.last_id(&inner.proxies.name(channel))?),
        };
        let wanted = channels.iter().enumerate();
        let recovery = Recovery {
            inner,
            links,
            uri: &self.uri,
            wanted: wanted
                .map(|(index, channel)| (channel.clone(), after((index, channel))))
                .collect(),
            closed,
            opening: None,
        };
        Ok(StreamResponse::held(Held {
            response: recovery.answer()?.into_response()?,
            reader,
            presence: None,
        }))
    }

    fn last_id(&self, name: &str) -> Option<&str> {
        let mut last = self.last.iter();
        let found = last.find(|(channel, _)| channel == name);
        found.map(|(_, id)| &**id)
    }
}

/// Adds the link by which the proxy reports a disconnect, unless the head would be too large. Pushpin takes
/// this link from the first response only.
fn with_gone_link(answer: &Answer, gone: String) -> Option<Response> {
    let mut answer = answer.clone();
    answer.instruct = answer.instruct.gone_link(gone);
    answer.into_response().ok()
}

fn without_history(inner: &Inner, channels: &Channels) -> Answer {
    let names = channels.iter().map(|channel| inner.proxies.name(channel));
    Answer {
        instruct: names.fold(held(inner), Instruct::channel),
        body: inner.opening.frame(None),
        missing: 0,
    }
}

/// Ends a stream whose link cannot be used: the client has to reconnect.
fn ended(invalid: InvalidLink) -> Response {
    match invalid {
        InvalidLink::Token => trace::event!(
            info,
            "stream ended: its link for missed events has expired, or has another key than this process: `grip_link_key`"
        ),
        InvalidLink::Digest => trace::event!(
            error,
            "stream ended: its link for missed events is for another route, or for other channels than the proxy holds; one cause is a `connection_subscription_max` of less than {}",
            links::PUSHPIN_CHANNELS
        ),
    }
    direct::with_body(Body::empty())
}

/// The URI before a router removed the prefix of a nested route.
fn original_uri(parts: &Parts) -> Option<&Uri> {
    let uri = parts.extensions.get().map(|OriginalUri(uri)| uri);
    #[cfg(feature = "axum-07")]
    let uri = uri.or_else(|| crate::axum07::original_uri(parts));
    uri
}

fn reports_disconnects(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(GRIP_FEATURE).into_iter();
    let features = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    features
        .into_iter()
        .any(|feature| feature.trim_ascii() == b"link:gone")
}

/// The sequence number of a position, if this hub has issued it.
fn sequence(inner: &Inner, id: &str) -> Option<u64> {
    let id = id.parse::<LastEventId>().ok()?;
    (id.epoch() == inner.hub.epoch()).then(|| id.sequence())
}
