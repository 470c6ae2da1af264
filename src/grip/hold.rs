//! Proxied delivery: instructions for the proxy, which holds the client.
//!
//! Without history, the response holds the client on its channels. With history, each channel of the hold has
//! the id of its last event, so that the proxy detects a gap. The hold then has a link, which the proxy
//! requests to recover. The response to a link starts at the positions in the proxy's `Grip-Last`, not at
//! stored state, since the proxy may repeat the request.

use super::{
    GRIP_FEATURE, Instruct, last_ids,
    links::{self, Followed, InvalidLink, LinkRequest, Links, Purpose, Terms, expires},
    prefix::Prefix,
    recovery::{Answer, Recovery, held},
};
use crate::{
    channel::Channels,
    core::Core,
    proxies::{HoldOptions, HoldResponse, LinkResponse},
    request::{Rejection, Route, StreamRequest, ended, with_head},
    sse::LastEventId,
    stream::{Taken, reconnect_after},
    trace,
};
use axum::{body::Body, response::Response};
use bytes::BytesMut;
use http::{HeaderMap, Uri, request::Parts};
use std::time::SystemTime;

/// Logs that Pushpin holds a client on fewer channels by default.
pub(super) fn warn_of_many(channels: &Channels) {
    if channels.len() > links::PUSHPIN_CHANNELS {
        trace::event!(
            warn,
            channels = channels.len(),
            "Pushpin holds a client on its first {} channels, unless `connection_subscription_max` allows more",
            links::PUSHPIN_CHANNELS
        );
    }
}

pub(super) fn without_history(
    core: &Core,
    prefix: &Prefix,
    channels: &Channels,
    options: &HoldOptions,
) -> Result<HoldResponse, Rejection> {
    let mut body = BytesMut::from(&core.opening.frame(None)[..]);
    if let Some(snapshot) = &options.snapshot {
        body.extend_from_slice(&snapshot.bytes);
    }
    let names = channels.iter().map(|channel| prefix.name(channel));
    let answer = Answer {
        instruct: names.fold(held(core), Instruct::channel),
        body: body.freeze(),
        missing: 0,
        has_reset: false,
        needs_snapshot: options.snapshot.is_none(),
        position: core.hub.sequence(),
        channels: channels.to_vec(),
    };
    answer.respond(None)
}

pub(super) fn with_history(
    core: &Core,
    prefix: &Prefix,
    links: &Links,
    request: &StreamRequest,
    channels: &Channels,
    options: &HoldOptions,
) -> Result<HoldResponse, Rejection> {
    // Always present: only a signature makes a request proxied.
    let parts = request.parts().ok_or(Rejection::NotProxied)?;
    if channels.len() > links::MAX_CHANNELS {
        return Err(Rejection::ProxyLimit(format!(
            "more than {} channels, and no proxy can recover more with history",
            links::MAX_CHANNELS
        )));
    }
    links.warn_of_routes(request.route() == Route::Custom);
    let snapshot = options.snapshot.as_ref();
    let after = match (snapshot, request.last_event_id()) {
        (Some(snapshot), _) => Some(snapshot.at),
        (None, Some(id)) if !options.is_deferred => sequence(core, id),
        (None, _) => Some(core.hub.sequence()),
    };
    // Loaded before the events are read: a close in between is found by the next link.
    let closed = core.hub.last_close(channels);
    let channels = links::canonical(channels);
    let is_new = snapshot.is_none() && request.last_event_id().is_none();
    let reports_disconnects = !core.hooks.is_empty() && reports_disconnects(&parts.headers);
    let uri = request.original_uri().unwrap_or(&parts.uri);
    let gone = reports_disconnects.then(|| links.gone(uri, &channels));
    let recovery = Recovery {
        core,
        prefix,
        links,
        uri,
        after: vec![after; channels.len()],
        channels,
        terms: Terms {
            closed,
            expires: expires(options.expires_at, SystemTime::now()),
            has_snapshot: options.has_snapshot,
        },
        opening: Some(
            after
                .filter(|_| snapshot.is_none() && core.hub.has_positions())
                .map(|after| core.id(after)),
        ),
        snapshot,
    };
    let mut hold = recovery.respond(gone.flatten().as_deref())?;
    hold.needs_snapshot |= is_new;
    Ok(hold)
}

/// The response to a proxy that follows a link of this crate. Returns `None` for other requests.
pub(super) fn follow_link(
    core: &Core,
    prefix: &Prefix,
    links: &Links,
    request: &StreamRequest,
    snapshot: Option<&Taken>,
) -> Option<Result<LinkResponse, Rejection>> {
    let parts = request.parts()?;
    let uri = request.original_uri().unwrap_or(&parts.uri);
    let positions = last_ids(&parts.headers);
    let names = positions.iter().map(|(name, _)| name);
    let last: Vec<_> = names.filter_map(|name| prefix.channel(name)).collect();
    let followed = links.follow(LinkRequest {
        uri,
        is_link_path: request.route() == Route::Links,
        last: &last,
    })?;
    Some(match followed {
        Ok(followed) => {
            let link = Link {
                parts,
                uri,
                followed,
                positions,
                snapshot,
            };
            link.respond(core, prefix, links)
        }
        Err(invalid) => Ok(LinkResponse::Ended(end_of(invalid))),
    })
}

/// A valid link that a proxy follows.
struct Link<'a> {
    parts: &'a Parts,
    uri: &'a Uri,
    followed: Followed,
    /// The proxy's position on each channel.
    positions: Vec<(String, String)>,
    snapshot: Option<&'a Taken>,
}

impl Link<'_> {
    fn respond(
        &self,
        core: &Core,
        prefix: &Prefix,
        links: &Links,
    ) -> Result<LinkResponse, Rejection> {
        let Followed {
            channels,
            purpose,
            terms,
        } = &self.followed;
        let channels = core.limits.channels(channels)?;
        if *purpose == Purpose::Gone {
            core.hooks.unsubscribed(&channels, self.parts);
            return Ok(LinkResponse::Ended(Response::default()));
        }
        // The reader detects closes from now on, the number in the link those before.
        let reader = core.hub.watch_held(&channels);
        let closed = core.hub.last_close(&channels);
        if closed > terms.closed {
            trace::event!(
                debug,
                "stream ended: a channel was closed since its link was made"
            );
            return Ok(LinkResponse::Ended(ended(reconnect_after())));
        }
        let after = channels.iter().enumerate();
        let recovery = Recovery {
            core,
            prefix,
            links,
            uri: self.uri,
            after: after
                .map(|(index, channel)| self.position(core, index, &prefix.name(channel)))
                .collect(),
            channels: channels.to_vec(),
            terms: Terms { closed, ..*terms },
            opening: None,
            snapshot: self.snapshot,
        };
        Ok(LinkResponse::Held(recovery.respond(None)?, reader))
    }

    /// The position on the channel with this index and this name at the proxies.
    fn position(&self, core: &Core, index: usize, name: &str) -> Option<u64> {
        match (self.snapshot, &self.followed.purpose) {
            (Some(snapshot), _) => Some(snapshot.at),
            (None, Purpose::Page(page)) => page.position(core.hub.epoch(), index),
            _ => {
                let mut positions = self.positions.iter();
                let (_, id) = positions.find(|(channel, _)| channel == name)?;
                sequence(core, id)
            }
        }
    }
}

/// Ends a stream whose link cannot be used: the client has to reconnect.
fn end_of(invalid: InvalidLink) -> Response {
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
    with_head(Body::empty())
}

fn reports_disconnects(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(GRIP_FEATURE).into_iter();
    let features = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    features
        .into_iter()
        .any(|feature| feature.trim_ascii() == b"link:gone")
}

/// The sequence number of a position, if this hub has issued it.
fn sequence(core: &Core, id: &str) -> Option<u64> {
    let id = id.parse::<LastEventId>().ok()?;
    (id.epoch() == core.hub.epoch()).then(|| id.sequence())
}
