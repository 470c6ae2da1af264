//! Keys and retained entries are counted, limited, and freed.

use super::*;

fn keyed(latest_per_key: bool, events: usize, bytes: usize) -> Arc<Hub> {
    without_sweep(hub(|config| {
        (config.latest_per_key, config.events, config.bytes) = (latest_per_key, events, bytes);
    }))
}

fn publish_keyed(hub: &Hub, name: &str, key: usize, is_removed: bool) {
    let sealed = |(), _, _| Sealed {
        bytes: Bytes::from_static(b"12345678"),
        key: Some(Key {
            text: format!("{key:08}").into(),
            is_removed,
        }),
    };
    hub.append(&channel(name), [()], sealed);
}

#[test]
fn retained_entries_and_keys_are_within_the_budget() {
    const KEYS: usize = 10_000;
    let hub = keyed(true, 1, 1 << 20);
    for key in 0..KEYS {
        publish_keyed(&hub, "a", key, false);
        assert!(hub.stats().history_bytes <= 1 << 20);
    }
    let log = hub.state().get(&channel("a")).unwrap();
    let kept = log.lock().log.available_len();
    let each = (1 << 20) / kept;
    // The key is in a map and in a mark or a retained entry, each with a reference to its text.
    let least = 16 + 2 * size_of::<Entry>() + 2 * size_of::<(Arc<str>, u64)>();
    assert!((least..400).contains(&each), "{each} bytes each");
    assert!(is_consistent(&hub));
}

#[test]
fn a_channel_with_many_keys_evicts_nothing_of_others() {
    let hub = keyed(true, 10, 1 << 20);
    fill(&hub, 100, 100);
    (0..10_000).for_each(|key| publish_keyed(&hub, "a", key, false));
    let others = (0..100).filter(|name| hub.state().get(&channel(name)).is_some());
    assert_eq!(others.count(), 100);
}

#[test]
fn removed_keys_leave_nothing() {
    for latest_per_key in [false, true] {
        let hub = keyed(latest_per_key, 4, 1 << 20);
        let mut sizes = Vec::new();
        for _ in 0..3 {
            for key in 0..100 {
                publish_keyed(&hub, "a", key, false);
            }
            for key in 0..100 {
                publish_keyed(&hub, "a", key, true);
            }
            sizes.push(hub.stats().history_bytes);
        }
        assert!(sizes.iter().all(|size| *size == sizes[0]), "{sizes:?}");
        (0..4).for_each(|_| drop(publish(&hub, "a", "12345678")));
        assert!(hub.stats().history_bytes < sizes[0]);
        assert!(is_consistent(&hub));
    }
}

#[tokio::test(start_paused = true)]
async fn a_channel_with_keys_is_freed_when_its_entries_have_expired() {
    let hub = keyed(false, 100, 1 << 20);
    (0..100).for_each(|key| publish_keyed(&hub, "a", key, false));
    advance(AGE).await;
    hub.sweep_step();
    assert_eq!(hub.stats().history_bytes, 0);
    assert!(hub.state().logs().is_empty());
}

#[tokio::test(start_paused = true)]
async fn expired_entries_are_retained_in_steps_and_the_sweep_ends() {
    const KEYS: usize = 10 * STEP;
    let hub = keyed(true, KEYS, 1 << 20);
    (0..KEYS).for_each(|key| publish_keyed(&hub, "a", key, false));
    advance(AGE).await;
    let log = hub.state().get(&channel("a")).unwrap();
    let in_ring = || log.lock().log.len();
    hub.stats();
    assert_eq!(in_ring(), KEYS - FEW);
    let steps = std::iter::from_fn(|| (hub.sweep_step() == Found::More).then_some(()));
    assert_eq!(steps.count(), KEYS / STEP - 1);
    assert_eq!(hub.sweep_step(), Found::Nothing);
    assert_eq!((in_ring(), log.lock().log.available_len()), (0, KEYS));
    assert!(is_consistent(&hub));
}
