//! The published events, and whether a client has all of them or a reset for the missing ones.

use std::sync::{Arc, Mutex};

use axum_eventstream::{Event, EventStream, LastEventId};

use super::client::{Client, Item};

/// Everything that was published, on streams that took over one from another.
#[derive(Clone, Default)]
pub(crate) struct Records(Arc<Mutex<Vec<Record>>>);

#[derive(Clone)]
pub(crate) struct Record {
    channel: String,
    id: LastEventId,
    data: String,
}

impl Records {
    /// Publishes an event with data that no other has.
    pub(crate) async fn publish(
        &self,
        es: &EventStream,
        channel: &str,
        length: usize,
    ) -> LastEventId {
        let data = format!("{channel} {:016x} {length}", fastrand::u64(..));
        let event = Event::text("message", format!("{data} {}", "x".repeat(length))).unwrap();
        let published = es.publish_event(channel, event).await.unwrap();
        let id = published.id.expect("there is history");
        let channel = channel.to_owned();
        self.0.lock().unwrap().push(Record { channel, id, data });
        id
    }

    fn on(&self, channel: &str, position: impl Fn(LastEventId) -> Position) -> Vec<Record> {
        let mut records = self.0.lock().unwrap().clone();
        records.retain(|record| record.channel == channel);
        records.sort_by_key(|record| position(record.id));
        records
    }
}

/// Which of the streams, and the sequence there.
type Position = (usize, u64);

impl Client {
    /// Checks that it has every event of its channels since it began, in order and none twice, or a reset
    /// exactly where some are missing. `epochs` has one of each stream, in order.
    pub(crate) fn check(&self, records: &Records, epochs: &[u64]) {
        let position = |id: LastEventId| {
            let stream = epochs.iter().position(|epoch| *epoch == id.epoch());
            (stream.expect("an id of these streams"), id.sequence())
        };
        let Some(Item::Open(Some(start))) = self.items.first() else {
            panic!("it begins with {:?}", self.items.first());
        };
        let start = position(*start);
        let mut last = start;
        for item in &self.items {
            if let Item::Event { id, .. } = item {
                assert!(last < position(*id), "{id} comes after {last:?}");
                last = position(*id);
            }
        }
        for channel in &self.channels {
            let mut expected = records.on(channel, position);
            expected.retain(|record| position(record.id) > start);
            // After a restart nobody knows whether something is missing.
            self.check_channel(channel, &expected, epochs.len() > 1);
        }
    }

    fn check_channel(&self, channel: &str, expected: &[Record], may_err: bool) {
        let mut next = 0;
        // The number of missing events in resets since the last event; the inner `None` is an unknown number.
        let mut told = None;
        for item in &self.items {
            match item {
                Item::Event { id, data } if data.starts_with(&format!("{channel} ")) => {
                    let mut places = expected.iter();
                    let place = places.position(|record| record.id == *id);
                    let place = place.expect("it was published");
                    assert_eq!(*data, expected[place].data);
                    check_gap(channel, place - next, told.take(), may_err);
                    next = place + 1;
                }
                Item::Reset { channels, missed } if channels.iter().any(|name| name == channel) => {
                    let missed = missed.filter(|_| channels.len() == 1);
                    told = Some(match (told, missed) {
                        (None, missed) => missed,
                        (Some(before), missed) => before.zip(missed).map(|(a, b)| a + b),
                    });
                }
                _ => {}
            }
        }
        check_gap(channel, expected.len() - next, told, may_err);
    }
}

fn check_gap(channel: &str, missing: usize, told: Option<Option<u64>>, may_err: bool) {
    match told {
        None => assert_eq!(missing, 0, "missing on {channel}, and it was not told"),
        Some(Some(count)) => assert_eq!(missing as u64, count, "missing on {channel}"),
        Some(None) => assert!(missing > 0 || may_err, "told without need on {channel}"),
    }
}
