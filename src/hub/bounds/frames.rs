//! Joined frames are counted, limited, and dropped with their last reader.

use super::*;

fn publish_some(hub: &Hub, name: &str) {
    (0..4).for_each(|_| drop(publish_bytes(hub, name, 100)));
}

fn read(reader: &mut Reader) {
    assert!(matches!(reader.read(LIMIT, None), Read::Batch(_)));
}

#[test]
fn dropped_readers_leave_no_frames() {
    let hub = hub(|config| (config.bytes, config.max_subscriptions) = (2 << 20, 1000));
    let names: Vec<_> = (0..900).map(|name| name.to_string()).collect();
    names.iter().for_each(|name| publish_some(&hub, name));
    let before = hub.stats().history_bytes;
    for round in 0..4 {
        let mut readers: Vec<_> = names
            .iter()
            .map(|name| reader(&hub, &[name], Start::After(0)))
            .collect();
        readers.iter_mut().for_each(read);
        assert!(hub.frames.bytes() > 0);
        if round % 2 == 0 {
            let (_, waker) = waker();
            readers
                .iter_mut()
                .for_each(|reader| _ = reader.wait(&waker));
            assert_eq!(hub.frames.bytes(), 0, "all have read");
        }
        drop(readers);
        assert_eq!(hub.stats().history_bytes, before, "in round {round}");
    }
    assert!(is_consistent(&hub));
}

/// A reader that was woken but does not read keeps its channel's frames alive.
fn blocked(hub: &Arc<Hub>, name: &str) -> Reader {
    let (_, waker) = waker();
    let mut blocked = reader(hub, &[name], Start::Live);
    assert!(blocked.wait(&waker));
    publish_some(hub, name);
    read(&mut reader(hub, &[name], Start::After(0)));
    blocked
}

#[test]
fn frames_kept_alive_by_blocked_readers_are_limited() {
    let hub = hub(|config| (config.bytes, config.max_subscriptions) = (1 << 20, 10_000));
    let mut kept = Vec::new();
    let _blocked: Vec<_> = (0..1000)
        .map(|name| {
            let blocked = blocked(&hub, &name.to_string());
            kept.push(hub.frames.bytes());
            blocked
        })
        .collect();
    let most = kept.into_iter().max().unwrap();
    assert!((1 << 16..=1 << 17).contains(&most), "{most}");
}

#[test]
fn frames_are_dropped_before_entries_are_evicted() {
    let hub = hub(|config| config.bytes = 1 << 20);
    let _blocked: Vec<_> = (0..10)
        .map(|name| blocked(&hub, &name.to_string()))
        .collect();
    let frames = hub.frames.bytes();
    assert!(frames > 0);
    let mut entries = 50;
    while hub.stats().history_bytes + (101 << 10) < hub.config.bytes {
        publish_bytes(&hub, entries, 100 << 10);
        entries += 1;
    }
    assert_eq!((hub.frames.bytes(), kept(&hub)), (frames, entries - 40));
    let room = hub.config.bytes - hub.stats().history_bytes;
    publish_bytes(&hub, entries, room);
    assert!(hub.frames.bytes() < frames);
    assert_eq!(kept(&hub), entries - 39, "no entry was evicted");
    assert!(hub.stats().history_bytes <= hub.config.bytes);
}

#[test]
fn the_index_removes_channels_without_readers() {
    let hub = hub(|config| config.history = false);
    for name in ["a", "b"] {
        drop(blocked(&hub, name));
    }
    assert_eq!((hub.frames.bytes(), hub.frames.len()), (0, 0));
    assert!(!hub.frames.drop_oldest());
}
