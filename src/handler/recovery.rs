//! The response to a proxy with history: the events after a client's positions, then a hold there or a link to
//! the next page.

use super::{Rejection, direct, head};
use crate::{
    Channel, Error,
    event_stream::Inner,
    grip::{Hold, Instruct},
    hub::Recall,
    publish::links::{Links, Page},
    sse::{self, LastEventId},
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

/// Where the response begins on each channel. The channels have the order of links.
pub(super) type Wanted = Vec<(Channel, Option<u64>)>;

/// The URI of a client's request, or of a proxy's request to a link.
pub(super) struct Recovery<'a> {
    pub(super) inner: &'a Inner,
    pub(super) links: &'a Links,
    pub(super) uri: &'a Uri,
    pub(super) wanted: Wanted,
    /// The number of the last close of any of the channels.
    pub(super) closed: u64,
    /// `Some` for a client that has just connected, with the position that it resumes from, if any.
    pub(super) opening: Option<Option<LastEventId>>,
}

/// Instructions for the proxy, and the bytes that the client receives now.
#[derive(Clone)]
pub(super) struct Answer {
    pub(super) instruct: Instruct,
    pub(super) body: Bytes,
    /// Number of bytes by which the head may grow while the stream is held.
    pub(super) missing: usize,
}

impl Answer {
    pub(super) fn into_response(self) -> Result<Response, Rejection> {
        let mut response = direct::with_body(Body::from(self.body));
        response.headers_mut().extend(self.instruct.to_headers()?);
        head::check(response.headers(), self.missing)?;
        Ok(response)
    }
}

impl Recovery<'_> {
    /// All missed events and a hold after them, or a page of them and a link to the next one.
    pub(super) fn answer(&self) -> Result<Answer, Rejection> {
        let recall = self.inner.hub.recall(&self.wanted, PAGE);
        if !recall.more {
            return self.hold(&recall);
        }
        let page = self.page(&recall)?;
        match page.clone().into_response() {
            Ok(_) => Ok(page),
            Err(_) => {
                trace::event!(
                    warn,
                    channels = self.wanted.len(),
                    "the channels make the link to a next page too long: the stream is reset instead"
                );
                self.hold(&self.reset())
            }
        }
    }

    fn hold(&self, recall: &Recall) -> Result<Answer, Rejection> {
        let link = self.links.resume(self.uri, &self.channels(), self.closed);
        let (link, poll) = link.map_err(unsigned)?;
        let instruct = self.wanted.iter().zip(&recall.positions).fold(
            held(self.inner),
            |instruct, ((channel, _), sequence)| {
                let id = id(self.inner, *sequence).to_string();
                instruct.channel_after(self.inner.proxies.name(channel), id)
            },
        );
        Ok(Answer {
            instruct: instruct.next_link(link, Some(poll)),
            body: self.body(recall),
            missing: head::missing_digits(&recall.positions),
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
        let page = Page::new(self.inner.hub.epoch(), positions);
        let channels = self.channels();
        let link = self.links.page(self.uri, &channels, self.closed, &page);
        Ok(Answer {
            instruct: Instruct::new().next_link(link.map_err(unsigned)?, None),
            body: self.body(recall),
            missing: 0,
        })
    }

    /// A hold at the head without events, and a reset of each channel that has newer ones.
    fn reset(&self) -> Recall {
        let heads: Vec<_> = self
            .channels()
            .into_iter()
            .map(|channel| (channel, None))
            .collect();
        let mut recall = self.inner.hub.recall(&heads, 0);
        let missed = |(wanted, head): (&(Channel, Option<u64>), &u64)| {
            let (channel, after) = wanted;
            after
                .is_none_or(|after| after < *head)
                .then(|| channel.clone())
        };
        recall.gone = self
            .wanted
            .iter()
            .zip(&recall.positions)
            .filter_map(missed)
            .collect();
        recall
    }

    /// A reset comes first. It has an id only if nothing follows: a client that disconnects in between must
    /// reconnect with its previous position.
    fn body(&self, recall: &Recall) -> Bytes {
        let mut body = BytesMut::new();
        if let Some(position) = self.opening {
            let position = position.filter(|_| recall.gone.is_empty());
            body.extend_from_slice(&self.inner.opening.frame(position));
        }
        if !recall.gone.is_empty() {
            let id = recall
                .bytes
                .is_empty()
                .then(|| id(self.inner, recall.position));
            body.extend_from_slice(&sse::stream_reset(&recall.gone, None, id));
        }
        body.extend_from_slice(&recall.bytes);
        body.freeze()
    }

    fn channels(&self) -> Vec<Channel> {
        self.wanted
            .iter()
            .map(|(channel, _)| channel.clone())
            .collect()
    }
}

/// Only a defect of this crate can keep a key from signing.
fn unsigned(error: Error) -> Rejection {
    Rejection::response(error.into_response())
}

/// Instructions to hold a stream, without channels.
pub(super) fn held(inner: &Inner) -> Instruct {
    let keep_alive = &inner.streams.keep_alive;
    let instruct = Instruct::new().hold(Hold::Stream);
    instruct.keep_alive(keep_alive.frame(), keep_alive.after())
}

pub(super) fn id(inner: &Inner, sequence: u64) -> LastEventId {
    LastEventId::new(inner.hub.epoch(), sequence)
}
