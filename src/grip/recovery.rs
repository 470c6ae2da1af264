//! The response to a proxy with history: the events after a client's positions, then a hold there or a link to
//! the next page.

use super::{
    Hold, Instruct, InvalidInstruct, head_limit,
    links::{Links, Page, Terms},
    prefix::Prefix,
};
use crate::{
    Channel, Error, ErrorKind,
    core::Core,
    hub::Recall,
    proxies::HoldResponse,
    request::{Rejection, with_head},
    sse::{self, LastEventId},
    stream::Taken,
    trace,
};
use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use bytes::{Bytes, BytesMut};
use http::Uri;

/// Bytes of events in one page. A response that ends in a hold may have slightly more.
const PAGE: usize = 64 << 10;

/// The positions of a client, or of a proxy that follows a link.
pub(super) struct Recovery<'a> {
    pub(super) core: &'a Core,
    pub(super) prefix: &'a Prefix,
    pub(super) links: &'a Links,
    pub(super) uri: &'a Uri,
    /// In the order of links.
    pub(super) channels: Vec<Channel>,
    /// Where the response begins on each channel. `None` for a position that this hub has not issued.
    pub(super) after: Vec<Option<u64>>,
    pub(super) terms: Terms,
    /// `Some` for a client that has just connected, with the position that it resumes from, if any.
    pub(super) opening: Option<Option<LastEventId>>,
    /// The state, to which the positions belong.
    pub(super) snapshot: Option<&'a Taken>,
}

/// Instructions for the proxy, and the bytes that the client receives now.
pub(super) struct Answer {
    pub(super) instruct: Instruct,
    pub(super) body: Bytes,
    /// Number of bytes by which the head may grow while the stream is held.
    pub(super) missing: usize,
    /// Whether events before the body are gone.
    pub(super) has_reset: bool,
    /// Whether events before the body are gone, and nothing in it replaces them.
    pub(super) needs_snapshot: bool,
    /// The sequence number up to which the body has all events.
    pub(super) position: u64,
    pub(super) channels: Vec<Channel>,
}

impl Answer {
    /// Adds the link by which the proxy reports a disconnect, unless the head would be too large. Pushpin takes
    /// this link from the first response only.
    pub(super) fn respond(&self, gone: Option<&str>) -> Result<HoldResponse, Rejection> {
        let reporting = gone.and_then(|gone| {
            let instruct = self.instruct.clone().gone_link(gone);
            self.response(&instruct).ok()
        });
        Ok(HoldResponse {
            reports_disconnect: reporting.is_some(),
            response: reporting.map_or_else(|| self.response(&self.instruct), Ok)?,
            has_reset: self.has_reset,
            needs_snapshot: self.needs_snapshot,
            position: self.position,
            channels: self.channels.clone(),
        })
    }

    fn response(&self, instruct: &Instruct) -> Result<Response, Rejection> {
        let mut response = with_head(Body::from(self.body.clone()));
        let headers = instruct.to_headers().map_err(invalid)?;
        response.headers_mut().extend(headers);
        head_limit::check(response.headers(), self.missing)?;
        Ok(response)
    }
}

impl Recovery<'_> {
    /// All missed events and a hold after them, or a page of them and a link to the next one.
    pub(super) fn respond(&self, gone: Option<&str>) -> Result<HoldResponse, Rejection> {
        let recall = self.core.hub.recall(&self.wanted(), PAGE);
        if !recall.more {
            return self.hold(&recall)?.respond(gone);
        }
        self.page(&recall)?.respond(gone).or_else(|_| {
            trace::event!(
                warn,
                channels = self.channels.len(),
                "the channels make the link to a next page too long: the stream is reset instead"
            );
            self.hold(&self.reset())?.respond(gone)
        })
    }

    fn hold(&self, recall: &Recall) -> Result<Answer, Rejection> {
        let link = self.links.resume(self.uri, &self.channels, &self.terms);
        let (link, poll) = link.map_err(unsigned)?;
        let instruct = self.channels.iter().zip(&recall.positions).fold(
            held(self.core),
            |instruct, (channel, sequence)| {
                let id = self.core.id(*sequence).to_string();
                instruct.channel_after(self.prefix.name(channel), id)
            },
        );
        Ok(Answer {
            instruct: instruct.next_link(link, Some(poll)),
            body: self.body(recall),
            missing: head_limit::missing_digits(&recall.positions),
            has_reset: !recall.gone.is_empty(),
            needs_snapshot: self.is_incomplete(recall),
            position: recall.position,
            channels: self.channels.clone(),
        })
    }

    fn page(&self, recall: &Recall) -> Result<Answer, Rejection> {
        // One position suffices for all channels, unless some are beyond it already. After a gap such channels
        // are at their heads, and a proxy may have lost events of one channel only.
        let is_beyond = |at: &u64| *at > recall.position;
        let positions = match recall.positions.iter().any(is_beyond) {
            false => vec![recall.position],
            true => recall.positions.clone(),
        };
        let page = Page::new(self.core.hub.epoch(), positions);
        let link = self.links.page(self.uri, &self.channels, &self.terms, page);
        Ok(Answer {
            instruct: Instruct::new().next_link(link.map_err(unsigned)?, None),
            body: self.body(recall),
            missing: 0,
            has_reset: !recall.gone.is_empty(),
            needs_snapshot: self.is_incomplete(recall),
            position: recall.position,
            channels: self.channels.clone(),
        })
    }

    /// A hold at the head without events, and a reset of each channel that has newer ones.
    fn reset(&self) -> Recall {
        let heads = self.channels.iter().map(|channel| (channel.clone(), None));
        let mut recall = self.core.hub.recall(&heads.collect::<Vec<_>>(), 0);
        let after = self.after.iter().zip(&recall.positions);
        let missed = after.map(|(after, head)| after.is_none_or(|after| after < *head));
        let channels = self.channels.iter().zip(missed);
        let gone = channels.filter(|(_, missed)| *missed);
        recall.gone = gone.map(|(channel, _)| channel.clone()).collect();
        recall
    }

    /// Whether a reset is in the body of a client that expects a snapshot.
    fn is_incomplete(&self, recall: &Recall) -> bool {
        let expects_snapshot = self.opening.is_some() || self.terms.has_snapshot;
        expects_snapshot && !recall.gone.is_empty()
    }

    fn wanted(&self) -> Vec<(Channel, Option<u64>)> {
        let after = self.after.iter().copied();
        self.channels.iter().cloned().zip(after).collect()
    }

    /// A reset comes first. It has an id only if nothing follows: a client that disconnects in between must
    /// reconnect with its previous position.
    fn body(&self, recall: &Recall) -> Bytes {
        let mut body = BytesMut::new();
        if let Some(position) = self.opening {
            let position = position.filter(|_| recall.gone.is_empty());
            body.extend_from_slice(&self.core.opening.frame(position));
        }
        if let Some(snapshot) = self.snapshot {
            body.extend_from_slice(&snapshot.bytes);
        }
        if !recall.gone.is_empty() {
            let is_last = recall.bytes.is_empty();
            let id = is_last.then(|| self.core.id(recall.position));
            body.extend_from_slice(&sse::stream_reset(&recall.gone, None, id));
        }
        body.extend_from_slice(&recall.bytes);
        body.freeze()
    }
}

/// Only a defect of this crate: channels and prefix are validated earlier.
fn invalid(error: InvalidInstruct) -> Rejection {
    unsigned(Error::transparent(ErrorKind::InvalidConfig, error))
}

/// Only a defect of this crate can keep a key from signing.
fn unsigned(error: Error) -> Rejection {
    Rejection::response(error.into_response())
}

/// Instructions to hold a stream, without channels.
pub(super) fn held(core: &Core) -> Instruct {
    let keep_alive = &core.streams.keep_alive;
    let instruct = Instruct::new().hold(Hold::Stream);
    instruct.keep_alive(keep_alive.frame(), keep_alive.after())
}
