//! Proxied delivery: instructions for the proxy, which holds the client.
//!
//! Without history, the response holds the client on its channels. With history, each channel of the hold has
//! the id of its last event, so that the proxy detects a gap. The hold then has a link, which the proxy
//! requests to recover. The response to a link starts at the positions in the proxy's `Grip-Last`, not at
//! stored state, since the proxy may repeat the request.

use super::{
    GRIP_FEATURE, Instruct, last_ids,
    links::{self, Followed, InvalidLink, LinkRequest, Links, Purpose},
    prefix::Prefix,
    recovery::{Answer, Recovery, held},
};
use crate::{
    Channel,
    channel::Channels,
    core::Core,
    proxies::{HoldResponse, LinkResponse},
    request::{Rejection, Route, StreamRequest, ended, with_head},
    sse::LastEventId,
    stream::reconnect_after,
    trace,
};
use axum::{body::Body, response::Response};
use http::{HeaderMap, Uri, request::Parts};

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
) -> Result<HoldResponse, Rejection> {
    let names = channels.iter().map(|channel| prefix.name(channel));
    let answer = Answer {
        instruct: names.fold(held(core), Instruct::channel),
        body: core.opening.frame(None),
        missing: 0,
    };
    answer.respond(None)
}

pub(super) fn with_history(
    core: &Core,
    prefix: &Prefix,
    links: &Links,
    request: &StreamRequest,
    channels: &Channels,
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
    let after = match request.last_event_id() {
        None => Some(core.hub.sequence()),
        Some(id) => sequence(core, id),
    };
    let (closed, channels) = (core.hub.last_close(channels), links::canonical(channels));
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
        closed,
        opening: Some(after.map(|after| core.id(after))),
    };
    recovery.respond(gone.flatten().as_deref())
}

/// The response to a proxy that follows a link of this crate. Returns `None` for other requests.
pub(super) fn follow_link(
    core: &Core,
    prefix: &Prefix,
    links: &Links,
    request: &StreamRequest,
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
        Ok(followed) => recover(core, prefix, links, (parts, uri), &followed, &positions),
        Err(invalid) => Ok(LinkResponse::Ended(end_of(invalid))),
    })
}

fn recover(
    core: &Core,
    prefix: &Prefix,
    links: &Links,
    (parts, uri): (&Parts, &Uri),
    followed: &Followed,
    positions: &[(String, String)],
) -> Result<LinkResponse, Rejection> {
    let channels = core.limits.channels(&followed.channels)?;
    if followed.purpose == Purpose::Gone {
        core.hooks.unsubscribed(&channels, parts);
        return Ok(LinkResponse::Ended(Response::default()));
    }
    // The reader detects closes from now on, the number in the link those before.
    let reader = core.hub.watch_held(&channels);
    let closed = core.hub.last_close(&channels);
    if closed > followed.closed {
        trace::event!(
            debug,
            "stream ended: a channel was closed since its link was made"
        );
        return Ok(LinkResponse::Ended(ended(reconnect_after())));
    }
    let after = |(index, channel): (usize, &Channel)| match &followed.purpose {
        Purpose::Page(page) => page.position(core.hub.epoch(), index),
        _ => {
            let name = prefix.name(channel);
            let (_, id) = positions.iter().find(|(channel, _)| *channel == name)?;
            sequence(core, id)
        }
    };
    let recovery = Recovery {
        core,
        prefix,
        links,
        uri,
        after: channels.iter().enumerate().map(after).collect(),
        channels: channels.to_vec(),
        closed,
        opening: None,
    };
    let HoldResponse { response, .. } = recovery.respond(None)?;
    Ok(LinkResponse::Held(response, reader))
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
