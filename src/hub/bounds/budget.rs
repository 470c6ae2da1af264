//! The memory budget: overhead counts, and no channel evicts the history of others.

use super::*;

#[test]
fn overhead_counts_toward_the_budget() {
    let one = size_of_one(1);
    assert!(one > size_of::<ChannelLog>() + size_of::<Entry>());
    assert_eq!(size_of_one(1001), one + 1000);
    let hub = hub(|config| config.bytes = 100 * one);
    fill(&hub, 1000, 1);
    assert!((80..=100).contains(&kept(&hub)), "{}", kept(&hub));
    assert!(hub.stats().history_bytes <= 100 * one && is_consistent(&hub));
}

#[test]
fn the_oldest_entry_of_the_hub_is_evicted_first() {
    let hub = hub(|config| (config.bytes, config.events) = (20 * size_of_one(100), 100));
    for last in 1..=100 {
        publish_bytes(&hub, last * last % 11 + last % 3, 100);
        let logs = hub.state().logs();
        let entries = |log: &Arc<ChannelLog>| {
            let inner = log.lock();
            let entries = inner.log.available(inner.log.lost().end, Select::All);
            entries
                .unwrap()
                .map(|(_, entry)| entry.sequence)
                .collect::<Vec<_>>()
        };
        let mut kept: Vec<_> = logs.iter().flat_map(entries).collect();
        kept.sort_unstable();
        let first = last + 1 - kept.len() as u64;
        assert_eq!(kept, (first..=last).collect::<Vec<_>>());
    }
    assert!(kept(&hub) < 100 && is_consistent(&hub));
}

#[test]
fn room_for_a_large_event_is_made_in_steps() {
    let hub = hub(|config| config.bytes = 1 << 22);
    fill(&hub, 5000, 1);
    (0..3).for_each(|name| drop(publish_bytes(&hub, 10_000 + name, 700 << 10)));
    assert!((2 * FEW..4000).contains(&(5003 - kept(&hub))));
    assert!(hub.stats().history_bytes <= 1 << 22);
    assert!(is_consistent(&hub));
}

#[test]
fn a_channel_above_its_share_loses_its_own_entries_first() {
    for has_reader in [false, true] {
        let hub = hub(|config| (config.bytes, config.events) = (1 << 20, 1000));
        let (_, waker) = waker();
        // It is awake after the first publish, and never reads.
        let _live = has_reader.then(|| {
            let mut live = reader(&hub, &["large"], Start::Live);
            assert!(live.wait(&waker));
            live
        });
        fill(&hub, 100, 100);
        for _ in 0..100 {
            publish_bytes(&hub, "large", 64 << 10);
            publish_bytes(&hub, "small", 10);
        }
        let others = (0..100).filter(|name| hub.state().get(&channel(name)).is_some());
        assert_eq!(others.count(), 100);
        let bytes = hub.stats().history_bytes;
        assert!(bytes > (1 << 20) - (100 << 10), "it may use the rest");
        assert!(bytes <= 1 << 20 && is_consistent(&hub));
    }
}

#[test]
fn a_channel_alone_may_use_the_whole_budget() {
    let hub = hub(|config| (config.bytes, config.events) = (1 << 20, 1000));
    (0..100).for_each(|_| drop(publish_bytes(&hub, "a", 64 << 10)));
    let entries = hub.state().get(&channel("a")).unwrap().lock().log.len();
    assert_eq!(entries, 15, "of 64 KiB and some overhead each");
}

#[test]
fn an_event_above_the_share_is_delivered_and_evicts_nothing_else() {
    let hub = hub(|config| config.bytes = 1 << 20);
    let (_, waker) = waker();
    let mut live = reader(&hub, &["large"], Start::Live);
    assert!(live.wait(&waker));
    fill(&hub, 100, 100);
    let before = hub.stats().history_bytes;
    publish_bytes(&hub, "large", 2 << 20);
    let Read::Batch(batch) = live.read(LIMIT, Some(&waker)) else {
        panic!("it is delivered");
    };
    assert_eq!((batch.bytes.len(), live.is_waiting()), (2 << 20, true));
    drop(batch);
    assert_eq!(kept(&hub), 101);
    publish_bytes(&hub, 0, 1);
    assert_eq!(kept(&hub), 100, "the large one was evicted");
    assert!(hub.stats().history_bytes < before + 500);
    assert!(is_consistent(&hub));
}
