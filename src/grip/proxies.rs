//! The proxies of an `EventStream`: publishing to them, verifying their requests, and holding clients there.

use super::{Item, Publisher, hold, links::Links, prefix::Prefix, publisher::Ticket};
use crate::{
    Channel, Error, ErrorKind, LastEventId, ProxyHealth, Stats,
    channel::Channels,
    core::Core,
    proxies::{HoldOptions, HoldResponse, InFlight, LinkResponse, Proxies},
    request::{Delivery, Rejection, StreamRequest},
    stream::Taken,
    trace,
};
use bytes::Bytes;
use http::HeaderValue;
use std::{
    future::Future,
    pin::Pin,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::SystemTime,
};

#[derive(Debug)]
pub(super) struct GripProxies {
    pub(super) publisher: Publisher,
    pub(super) prefix: Prefix,
    pub(super) required: bool,
    /// `Some` with history: a proxy recovers missed events by links.
    pub(super) links: Option<Links>,
    /// Whether a refused signature was logged: probably the keys differ.
    pub(super) has_refused: AtomicBool,
    /// Whether options that need history were logged.
    pub(super) has_warned: AtomicBool,
}

impl GripProxies {
    /// Logs once that options have little or no effect without links.
    fn warn_of_no_history(&self, options: &HoldOptions) {
        let needs_history = options.has_snapshot || options.expires_at.is_some();
        if needs_history && !self.has_warned.swap(true, Relaxed) {
            trace::event!(
                warn,
                "behind a proxy, `snapshot` and `expires_at` need history: events between the snapshot and the hold are lost, and no stream ends when it expires"
            );
        }
    }
}

impl Proxies for GripProxies {
    fn are_required(&self) -> bool {
        self.required
    }

    fn delivery(&self, signature: &HeaderValue) -> Result<Delivery, Rejection> {
        match self
            .publisher
            .verify(signature.as_bytes(), SystemTime::now())
        {
            Ok(true) => Ok(Delivery::Proxied),
            Ok(false) => Ok(Delivery::Direct),
            Err(error) => {
                // Anyone can send a signature, so only the first refusal is logged as a warning.
                if !self.has_refused.swap(true, Relaxed) {
                    trace::event!(
                        warn,
                        %error,
                        "a Grip-Sig was refused: if all requests of a proxy are, its key and `verify_key` differ; later refusals are logged at debug"
                    );
                }
                trace::event!(debug, %error, "Grip-Sig refused");
                let _ = error;
                Err(Rejection::InvalidGripSignature)
            }
        }
    }

    fn follow_link(
        &self,
        core: &Core,
        request: &StreamRequest,
        snapshot: Option<&Taken>,
    ) -> Option<Result<LinkResponse, Rejection>> {
        hold::follow_link(core, &self.prefix, self.links.as_ref()?, request, snapshot)
    }

    fn hold(
        &self,
        core: &Core,
        request: &StreamRequest,
        channels: &Channels,
        options: &HoldOptions,
    ) -> Result<HoldResponse, Rejection> {
        hold::warn_of_many(channels);
        match &self.links {
            Some(links) => {
                hold::with_history(core, &self.prefix, links, request, channels, options)
            }
            None => {
                self.warn_of_no_history(options);
                hold::without_history(core, &self.prefix, channels, options)
            }
        }
    }

    fn has_link_handler(&self) {
        self.links.iter().for_each(Links::set_routed);
    }

    fn enqueue(
        &self,
        channel: &Channel,
        bytes: &Bytes,
        id: LastEventId,
        previous: LastEventId,
    ) -> Box<dyn InFlight> {
        let item = Item::stream(self.prefix.name(channel), bytes.clone());
        Box::new(self.publisher.enqueue(match self.links {
            Some(_) => item.id(id.to_string()).prev_id(previous.to_string()),
            None => item,
        }))
    }

    fn close_channel(&self, channel: &Channel, last: LastEventId) -> Box<dyn InFlight> {
        let item = Item::close(self.prefix.name(channel));
        Box::new(self.publisher.enqueue(match self.links {
            // A proxy takes an item that does not follow its last one for a gap.
            Some(_) => item.prev_id(last.to_string()),
            None => item,
        }))
    }

    fn recover(&self) {
        if self.links.is_some() {
            self.publisher.recover();
        }
    }

    fn health(&self) -> Vec<ProxyHealth> {
        let endpoints = self.publisher.stats().into_iter();
        let health = endpoints.map(|endpoint| ProxyHealth {
            endpoint: endpoint.endpoint,
            healthy: endpoint.healthy,
        });
        health.collect()
    }

    fn count(&self, stats: &mut Stats) {
        for endpoint in self.publisher.stats() {
            stats.grip_published += endpoint.sent;
            stats.grip_failures += endpoint.failed;
            stats.grip_queued += endpoint.queued as usize;
        }
    }
}

impl InFlight for Ticket {
    fn start(&mut self) {
        self.start();
    }

    fn wait(self: Box<Self>) -> Pin<Box<dyn Future<Output = Result<(), Error>> + Send>> {
        Box::pin(async move {
            (*self).wait().await.map_err(|error| {
                let text = format!("subscribers in this process have the event, but {error}");
                Error::new(ErrorKind::Publish, text).caused_by(error)
            })
        })
    }
}
