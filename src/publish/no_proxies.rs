//! A substitute for the proxies without the feature `grip`.

use crate::{
    Channel, Error, Health, LastEventId, Rejection, Stats, builder::EventStreamBuilder,
    handler::Delivery,
};
use bytes::Bytes;
use http::HeaderValue;

#[derive(Debug, Default)]
pub(crate) struct ProxiesBuilder;

#[derive(Debug)]
pub(crate) struct Proxies;

#[must_use]
pub(crate) struct InFlight;

impl ProxiesBuilder {
    pub(crate) fn is_empty(&self) -> bool {
        true
    }

    pub(crate) fn build(self, _history: bool) -> Result<Proxies, Error> {
        Ok(Proxies)
    }
}

impl Proxies {
    pub(crate) fn are_required(&self) -> bool {
        false
    }

    pub(crate) fn delivery(&self, _grip_sig: Option<&HeaderValue>) -> Result<Delivery, Rejection> {
        Ok(Delivery::Direct)
    }

    pub(crate) fn enqueue(
        &self,
        _channel: &Channel,
        _bytes: &Bytes,
        _id: LastEventId,
        _previous: LastEventId,
    ) -> InFlight {
        InFlight
    }

    pub(crate) fn close_channel(&self, _channel: &Channel, _last: LastEventId) -> InFlight {
        InFlight
    }

    pub(crate) fn health(&self) -> Health {
        Health::default()
    }

    pub(crate) fn count(&self, stats: Stats) -> Stats {
        stats
    }
}

impl InFlight {
    pub(crate) fn start(&mut self) {}

    pub(crate) async fn wait(self) -> Result<(), Error> {
        Ok(())
    }
}

impl EventStreamBuilder {
    /// `GRIP_URL` without this feature is an error: ignoring it would publish to no proxy silently.
    pub(crate) fn env(
        self,
        variable: impl Fn(&str) -> Result<Option<String>, Error>,
    ) -> Result<Self, Error> {
        match variable("GRIP_URL")?.filter(|url| !url.trim().is_empty()) {
            Some(_) => Err(Error::config(
                "GRIP_URL is set, but axum-eventstream was built without its feature `grip`: switch it on, or unset the variable",
            )),
            None => Ok(self),
        }
    }
}
