//! Walks over the channels with readers.

use super::*;

const CHANNELS: usize = 5 * STEP + 7;

fn many(hub: &Arc<Hub>) -> Vec<Reader> {
    let names = (0..CHANNELS).map(|name| name.to_string());
    names
        .map(|name| reader(hub, &[&name], Start::Live))
        .collect()
}

#[test]
fn each_channel_with_readers_is_listed_once() {
    let hub = hub(|config| config.max_subscriptions = 10_000);
    fill(&hub, 3, 1);
    let _readers = (many(&hub), reader(&hub, &["0", "a"], Start::Live));
    publish(&hub, "only history", "1");
    let channels = hub.channels();
    assert_eq!(channels.len(), CHANNELS + 1);
    assert_eq!(hub.stats().channels, CHANNELS + 1);
    assert!(channels.is_sorted() && channels.contains(&(channel(0), 2)));
    assert_eq!(hub.subscribers(&channel(0)), 2);
    assert_eq!(hub.subscribers(&channel("only history")), 0);
    assert_eq!(hub.subscribers(&channel("never")), 0);
}

#[test]
fn a_close_or_drain_wakes_the_readers_of_all_channels() {
    for end in [Hub::close, |hub: &Hub| hub.drain(Instant::now())] {
        let hub = hub(|config| config.max_subscriptions = 10_000);
        let (count, waker) = waker();
        let mut readers = many(&hub);
        assert!(readers.iter_mut().all(|reader| reader.wait(&waker)));
        end(&hub);
        assert_eq!(count.take(), CHANNELS);
    }
}

/// Channels lose readers and get new ones between two steps.
#[test]
fn a_walk_visits_every_channel_that_keeps_a_reader() {
    let hub = hub(|config| config.max_subscriptions = 10_000);
    let mut readers: Vec<_> = many(&hub).into_iter().map(Some).collect();
    let mut seen = vec![0; CHANNELS];
    let mut added = Vec::new();
    hub.each_with_readers(|log| {
        let name = log.name().as_str();
        let Ok(index) = name.parse::<usize>() else {
            return;
        };
        seen[index] += 1;
        if index.is_multiple_of(3) {
            // May be visited already or not.
            readers[(7 * index + 1) % CHANNELS / 3 * 3] = None;
            added.push(reader(&hub, &[&format!("new {index}")], Start::Live));
        }
    });
    let stayed = (0..CHANNELS).filter(|index| readers[*index].is_some());
    let missed: Vec<_> = stayed.filter(|index| seen[*index] == 0).collect();
    assert!(missed.is_empty(), "{missed:?}");
    assert!(is_consistent(&hub));
}
