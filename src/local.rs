//! The part of an `EventStream` that delivers: to the subscribers in this process, and to the proxies.

use crate::{
    Channel, Error, Event, LastEventId,
    core::Core,
    hub::{Appended, Following, Hub, Key, Sealed},
    proxies::{InFlight, Proxies},
};
use bytes::Bytes;
use tokio::time::Instant;

pub(crate) struct Local {
    pub(crate) core: Core,
    pub(crate) proxies: Option<Box<dyn Proxies>>,
}

/// Events that the subscribers in this process have, and that wait in the queues of the proxies.
#[derive(Default)]
pub(crate) struct Delivered {
    pub(crate) appended: Appended,
    pub(crate) in_flight: Vec<Box<dyn InFlight>>,
}

impl Local {
    pub(crate) fn proxies(&self) -> Option<&dyn Proxies> {
        self.proxies.as_deref()
    }

    /// Delivers events whose size is checked, and passes each event's id to `assigned`.
    pub(crate) fn deliver(
        &self,
        channel: &Channel,
        mut events: impl AsMut<[Event]> + IntoIterator<Item = Event>,
        mut assigned: impl FnMut(Option<LastEventId>),
    ) -> Delivered {
        events.as_mut().iter_mut().for_each(Event::prepare);
        let mut in_flight = Vec::new();
        let hub = &self.core.hub;
        let appended = hub.append(channel, events, |event: Event, sequence, previous| {
            let (id, sealed) = self.seal(event, sequence);
            assigned(id);
            // Under the sequencer's lock, so that the proxies get events in the order of their ids.
            in_flight.extend(self.enqueue(channel, &sealed.bytes, sequence, previous));
            sealed
        });
        let mut delivered = Delivered {
            appended,
            in_flight,
        };
        delivered.start();
        delivered
    }

    /// Completes the encoded event. It has an id of its own, or the one of its sequence number, which is returned.
    fn seal(&self, mut event: Event, sequence: u64) -> (Option<LastEventId>, Sealed) {
        let has_id = self.core.hub.keeps_history() && !event.has_id();
        let id = has_id.then(|| self.core.id(sequence));
        let key = event.take_key();
        let key = key.map(|(text, is_removed)| Key { text, is_removed });
        let bytes = event.seal(id);
        (id, Sealed { bytes, key })
    }

    fn enqueue(
        &self,
        channel: &Channel,
        bytes: &Bytes,
        sequence: u64,
        previous: u64,
    ) -> Option<Box<dyn InFlight>> {
        let (id, previous) = (self.core.id(sequence), self.core.id(previous));
        let proxies = self.proxies()?;
        Some(proxies.enqueue(channel, bytes, id, previous))
    }

    /// Delivers an event that was read from a shared log. `is_own`: this instance has published it, so its proxies get
    /// it from here.
    pub(crate) fn follow(
        &self,
        following: &mut Following<'_>,
        channel: &Channel,
        mut event: Event,
        sequence: u64,
        at: Instant,
        is_own: bool,
    ) -> (Option<LastEventId>, Delivered) {
        event.prepare();
        let (mut assigned, mut in_flight) = (None, Vec::new());
        let appended = following.append(channel, sequence, at, |previous| {
            let (id, sealed) = self.seal(event, sequence);
            assigned = id;
            if is_own {
                in_flight.extend(self.enqueue(channel, &sealed.bytes, sequence, previous));
            }
            sealed
        });
        (
            assigned,
            Delivered {
                appended,
                in_flight,
            },
        )
    }

    /// Closes a channel where the shared log does.
    pub(crate) fn follow_close(
        &self,
        following: &mut Following<'_>,
        channel: &Channel,
        sequence: u64,
        is_own: bool,
    ) -> (Option<LastEventId>, Delivered) {
        let in_flight = following.close_channel(channel, sequence, |last| {
            let proxies = self.proxies().filter(|_| is_own)?;
            Some(proxies.close_channel(channel, self.core.id(last)))
        });
        let in_flight = in_flight.into_iter().collect();
        (
            None,
            Delivered {
                in_flight,
                ..Delivered::default()
            },
        )
    }
}

impl Delivered {
    /// Starts sending to the proxies, after every lock is released.
    pub(crate) fn start(&mut self) {
        self.in_flight
            .iter_mut()
            .for_each(|in_flight| in_flight.start());
    }

    /// Gives readers a chance to keep up, and waits for the proxies.
    pub(crate) async fn finish(self) -> Result<(), Error> {
        match &self.appended.congested {
            Some(log) => Hub::settle(log).await,
            None => tokio::task::consume_budget().await,
        }
        let mut result = Ok(());
        for in_flight in self.in_flight {
            let answered = in_flight.wait().await;
            result = result.and(answered);
        }
        result
    }
}
