//! Proxied delivery: instructions for the proxy, which holds the client.

use super::direct;
use crate::{
    KeepAlive,
    channel::Channels,
    grip::{Hold, Instruct, InvalidInstruct},
    publish::Proxies,
    sse, trace,
};
use axum::{body::Body, response::Response};

/// Pushpin's `connection_subscription_max`: it drops further channels without a word.
const PUSHPIN_CHANNELS: usize = 20;

pub(super) fn hold(
    proxies: &Proxies,
    channels: &Channels,
    keep_alive: &KeepAlive,
) -> Result<Response, InvalidInstruct> {
    if channels.len() > PUSHPIN_CHANNELS {
        trace::event!(
            warn,
            channels = channels.len(),
            "Pushpin holds a client on its first {PUSHPIN_CHANNELS} channels, unless `connection_subscription_max` allows more"
        );
    }
    let names = channels.iter().map(|channel| proxies.name(channel));
    let instruct = Instruct::new()
        .hold(Hold::Stream)
        .keep_alive(keep_alive.frame(), keep_alive.after());
    let instruct = names.fold(instruct, Instruct::channel);
    let mut response = direct::with_body(Body::from(sse::stream_open(None)));
    response.headers_mut().extend(instruct.to_headers()?);
    Ok(response)
}
