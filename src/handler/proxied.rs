//! Proxied delivery: instructions for the proxy, which holds the client.
//!
//! Without history that is all. With history, each channel of the hold has the id of its last event, so
//! that the proxy sees when it has missed one, and a link where it then asks. What is answered there is
//! made from what the proxy says it has, since it may ask twice.

use super::{Rejection, direct};
use crate::{
    Channel,
    channel::Channels,
    event_stream::Inner,
    grip::{GRIP_FEATURE, GRIP_SIG, Hold, Instruct, InvalidInstruct, last_ids},
    hub::Recall,
    publish::links::{self, Claims, Links},
    sse::{self, LastEventId},
    trace,
};
use axum::{body::Body, extract::OriginalUri, response::Response};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Uri, request::Parts};

/// Pushpin's `connection_subscription_max`: it drops further channels without a word.
const PUSHPIN_CHANNELS: usize = 20;

/// What one answer to a proxy may have. It takes a little more than this with a hold.
const PAGE: usize = 64 << 10;

/// What a request of a proxy says to proxied delivery.
#[derive(Clone)]
pub(super) struct Asked {
    signature: HeaderValue,
    uri: Uri,
    token: Option<String>,
    last: Vec<(String, String)>,
    /// The proxy tells when a client has gone, if it is given a link for that.
    tells_gone: bool,
}

/// Where the answer begins on each channel.
type Wanted = Vec<(Channel, Option<u64>)>;

impl Asked {
    /// Nothing where there is no signature. Whether it is valid is not looked at here.
    pub(super) fn new(parts: &Parts) -> Option<Self> {
        let signature = parts.headers.get(GRIP_SIG)?.clone();
        let uri = original_uri(parts).unwrap_or(&parts.uri).clone();
        let query = uri.query().unwrap_or_default().as_bytes();
        let mut pairs = form_urlencoded::parse(query);
        let token = pairs.find(|(name, _)| name == links::PARAMETER);
        Some(Self {
            signature,
            token: token.map(|(_, token)| token.into_owned()),
            last: last_ids(&parts.headers),
            tells_gone: tells_gone(&parts.headers),
            uri,
        })
    }

    /// The value of `Grip-Sig`.
    pub(super) fn signature(&self) -> &HeaderValue {
        &self.signature
    }

    /// Instructions to hold the client, and whether the proxy will report when it has gone.
    pub(super) fn hold(
        &self,
        inner: &Inner,
        channels: &Channels,
        last_event_id: Option<&str>,
    ) -> Result<(Response, bool), InvalidInstruct> {
        if channels.len() > PUSHPIN_CHANNELS {
            trace::event!(
                warn,
                channels = channels.len(),
                "Pushpin holds a client on its first {PUSHPIN_CHANNELS} channels, unless `connection_subscription_max` allows more"
            );
        }
        let Some(links) = inner.proxies.links() else {
            let names = channels.iter().map(|channel| inner.proxies.name(channel));
            let instruct = names.fold(held(inner), Instruct::channel);
            return Ok((answer(&instruct, inner.opening.frame(None))?, false));
        };
        let after = match last_event_id {
            None => Some(inner.hub.sequence()),
            Some(id) => sequence(inner, id),
        };
        let wanted: Wanted = channels
            .iter()
            .map(|channel| (channel.clone(), after))
            .collect();
        let open = after.map(|after| id(inner, after));
        let tells_gone = self.gone_link(inner, links, channels).is_some();
        Ok((self.recover(inner, links, &wanted, Some(open))?, tells_gone))
    }

    /// Where the proxy tells that the client has gone, if somebody wants to know.
    fn gone_link(&self, inner: &Inner, links: &Links, channels: &[Channel]) -> Option<String> {
        let wanted = self.tells_gone && !inner.hooks.is_empty();
        links.gone_link(&self.uri, channels).filter(|_| wanted)
    }

    /// The answer to a proxy that follows one of our links, if that is what this is.
    pub(super) fn follow_link(
        &self,
        inner: &Inner,
        is_proxied: bool,
        parts: Option<&Parts>,
    ) -> Option<Result<Response, Rejection>> {
        let links = inner.proxies.links().filter(|_| is_proxied)?;
        let claims = links.claims(self.token.as_ref()?);
        if let Some(claims) = claims.as_ref().filter(|claims| claims.gone) {
            let channels = Channels::collect(&claims.channels, usize::MAX);
            if let (Ok(channels), Some(parts)) = (channels, parts) {
                inner.hooks.went(&channels, parts);
            }
            return Some(Ok(Response::default()));
        }
        let Some(wanted) = claims.and_then(|claims| self.wanted(inner, claims)) else {
            // The end of the stream: the client has to come itself.
            trace::event!(
                info,
                "stream ended: its link for missed events has expired, or has another key than this process: `grip_link_key`"
            );
            return Some(Ok(direct::with_body(Body::empty())));
        };
        let answer = self.recover(inner, links, &wanted, None);
        Some(answer.map_err(Rejection::from))
    }

    /// Where to go on: at the page the link says, else after what the proxy says it has.
    fn wanted(&self, inner: &Inner, claims: Claims) -> Option<Wanted> {
        let channels = inner.limits.channels(claims.channels).ok()?;
        let mut page = claims.page.map(Vec::into_iter);
        let wanted = |channel: &Channel| {
            let after = match &mut page {
                Some(page) => page.next(),
                None => self.last_id(&inner.proxies.name(channel)),
            };
            (channel.clone(), after.and_then(|id| sequence(inner, &id)))
        };
        Some(channels.iter().map(wanted).collect())
    }

    fn last_id(&self, name: &str) -> Option<String> {
        let mut last = self.last.iter();
        let found = last.find(|(channel, _)| channel == name);
        found.map(|(_, id)| id.clone())
    }

    /// Sends what is wanted, and holds the client there; or a page of it, and where the next one is.
    fn recover(
        &self,
        inner: &Inner,
        links: &Links,
        wanted: &[(Channel, Option<u64>)],
        opening: Option<Option<LastEventId>>,
    ) -> Result<Response, InvalidInstruct> {
        let recall = inner.hub.recall(wanted, PAGE);
        let opening = opening.map(|id| inner.opening.frame(id.filter(|_| recall.gone.is_empty())));
        let opening = opening.unwrap_or_default();
        let channels: Vec<_> = wanted.iter().map(|(channel, _)| channel.clone()).collect();
        let at = |sequence: &u64| id(inner, *sequence).to_string();
        let positions: Vec<_> = recall.positions.iter().map(at).collect();
        let names = channels.iter().map(|channel| inner.proxies.name(channel));
        let page = recall.more.then(|| positions.clone());
        let Some(link) = links.link(&self.uri, Claims::new(&channels, page)) else {
            trace::event!(
                warn,
                channels = channels.len(),
                "the channels make a link too long: the proxy cannot ask for what it misses"
            );
            let gone = if recall.bytes.is_empty() {
                recall.gone
            } else {
                channels.clone()
            };
            let recall = Recall {
                gone,
                bytes: Bytes::new(),
                ..recall
            };
            return answer(
                &names.fold(held(inner), Instruct::channel),
                body(inner, &opening, &recall),
            );
        };
        let instruct = match recall.more {
            true => Instruct::new().next_link(link, None),
            false => names
                .zip(positions)
                .fold(held(inner), |hold, (name, id)| hold.channel_after(name, id))
                .next_link(link, Some(links.poll())),
        };
        let instruct = match self.gone_link(inner, links, &channels) {
            Some(link) => instruct.gone_link(link),
            None => instruct,
        };
        answer(&instruct, body(inner, &opening, &recall))
    }
}

/// The URI before a router took the prefix of a nested one off it.
fn original_uri(parts: &Parts) -> Option<&Uri> {
    let uri = parts.extensions.get().map(|OriginalUri(uri)| uri);
    #[cfg(feature = "axum-07")]
    let uri = uri.or_else(|| crate::axum07::original_uri(parts));
    uri
}

fn tells_gone(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(GRIP_FEATURE).into_iter();
    let features = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    features
        .into_iter()
        .any(|feature| feature.trim_ascii() == b"link:gone")
}

fn held(inner: &Inner) -> Instruct {
    let keep_alive = &inner.streams.keep_alive;
    let instruct = Instruct::new().hold(Hold::Stream);
    instruct.keep_alive(keep_alive.frame(), keep_alive.after())
}

fn answer(instruct: &Instruct, body: Bytes) -> Result<Response, InvalidInstruct> {
    let mut response = direct::with_body(Body::from(body));
    response.headers_mut().extend(instruct.to_headers()?);
    Ok(response)
}

/// What is gone is told first. It has an id only if nothing follows: a client that breaks off in between
/// must come back with the position it has.
fn body(inner: &Inner, opening: &[u8], recall: &Recall) -> Bytes {
    let mut body = BytesMut::from(opening);
    if !recall.gone.is_empty() {
        let id = recall.bytes.is_empty().then(|| id(inner, recall.position));
        body.extend_from_slice(&sse::stream_reset(&recall.gone, None, id));
    }
    body.extend_from_slice(&recall.bytes);
    body.freeze()
}

fn id(inner: &Inner, sequence: u64) -> LastEventId {
    LastEventId::new(inner.hub.epoch(), sequence)
}

/// The sequence of a position of this hub.
fn sequence(inner: &Inner, id: &str) -> Option<u64> {
    let id = id.parse::<LastEventId>().ok()?;
    (id.epoch() == inner.hub.epoch()).then(|| id.sequence())
}
