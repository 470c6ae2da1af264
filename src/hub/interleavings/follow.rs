//! A hub that follows a shared log: begins, and the end of the cold stage.

use super::*;

fn following(events: usize) -> Arc<Hub> {
    let hub = Hub::following(config(true, events));
    hub.begin(1, 10);
    hub
}

fn cold() -> Arc<Hub> {
    following(100)
}

fn check_warm(events: usize, test: impl Fn(&Arc<Hub>) + Send + Sync + Copy + 'static) {
    let warm = move || {
        let hub = following(events);
        hub.warm_up();
        hub
    };
    check_hub(warm, test);
}

/// Appends an entry as [`append`] does, after one that is skipped.
fn follow(hub: &Hub, name: &str) {
    let sequence = hub.sequence() + 2;
    let text = |previous| Bytes::from(format!("{name} {sequence} {previous}\n"));
    let mut batch = hub.follow();
    batch.append(&channel(name), sequence, Instant::now(), text);
}

fn follow_all(hub: &Hub, names: &[&str]) {
    names.iter().for_each(|name| follow(hub, name));
}

/// The channels of each reader.
const READERS: [&[&str]; 2] = [&["a"], &["a", "b"]];

#[test]
fn a_begin_is_one_gap_and_skips_no_later_entry() {
    for names in READERS {
        check_warm(100, move |hub| {
            let mut client = Client::live(hub, names);
            let following = in_thread(hub, |hub| {
                follow_all(hub, &["a", "b"]);
                hub.begin(2, 20);
                follow_all(hub, &["b", "a"]);
            });
            while client.seen.last() != Some(&24) {
                client.next();
            }
            assert_eq!(client.gaps, [names.len()]);
            let of_second: Vec<_> = client.seen.iter().filter(|at| **at > 20).collect();
            match names.len() {
                1 => assert_eq!(of_second, [&24]),
                _ => assert_eq!(of_second, [&22, &24]),
            }
            join([following]);
            assert_eq!(hub.stats().lagged, 0);
        });
    }
}

/// The ring holds one entry, so entries of the new epoch may be within the gap.
#[test]
fn a_begin_is_one_gap_for_a_reader_that_lags() {
    for names in READERS {
        check_warm(1, move |hub| {
            let mut client = Client::live(hub, names);
            let following = in_thread(hub, |hub| {
                follow_all(hub, &["a", "b"]);
                hub.begin(2, 20);
                follow_all(hub, &["a", "a"]);
            });
            while client.last[0] < 24 {
                client.next();
            }
            join([following]);
            client.assert_is_complete();
            assert!(hub.stats().resets >= 1);
        });
    }
}

#[test]
fn a_driver_gets_the_gap_of_a_begin() {
    check_warm(100, |hub| {
        let mut driver = driver(hub);
        let following = in_thread(hub, |hub| {
            follow(hub, "a");
            hub.begin(2, 20);
            follow(hub, "b");
        });
        let has_gap = |client: &Client| client.has_gap[0] || client.last[0] > 20;
        driver.run(|clients| clients.iter().all(has_gap) && clients[1].seen.last() == Some(&22));
        join([following]);
        assert_eq!(hub.stats().resets, 2);
    });
}

/// A step of the walk covers two channels.
#[test]
fn a_subscription_during_a_begin_gets_each_entry_or_a_gap() {
    check_warm(100, |hub| {
        let _others = [&["c"][..], &["d"]].map(|names| Client::live(hub, names));
        follow_all(hub, &["a", "b", "e"]);
        let following = in_thread(hub, |hub| {
            hub.begin(2, 20);
            follow_all(hub, &["b", "a"]);
        });
        let mut client = Client::new(hub, &["a", "b"], Start::After(10));
        client.last.fill(10);
        client.read();
        client.resume();
        join([following]);
        client.assert_is_complete();
    });
}

#[test]
fn an_id_with_the_new_epoch_is_not_before_the_base() {
    check_warm(100, |hub| {
        let mut client = Client::live(hub, &["a"]);
        let following = in_thread(hub, |hub| {
            follow(hub, "a");
            hub.begin(2, 20);
        });
        for _ in 0..3 {
            client.read();
            let (epoch, sequence) = hub.position();
            assert!(epoch == 1 || sequence >= 20);
            // As a frame's id is formed.
            let epoch = hub.epoch();
            let reader = client.reader();
            if reader.has_position() {
                assert!(epoch == 1 || reader.position() >= 20);
            }
        }
        join([following]);
    });
}

#[test]
fn a_parked_reader_of_a_cold_hub_is_woken_when_it_is_warm() {
    for names in READERS {
        check_hub(cold, move |hub| {
            let mut client = Client::live(hub, names);
            let following = in_thread(hub, |hub| {
                follow_all(hub, &["a", "b"]);
                hub.warm_up();
                follow_all(hub, &["b", "a"]);
            });
            client.next();
            assert_eq!(
                (&*client.gaps, &*client.seen),
                (&[names.len()][..], &[][..])
            );
            join([following]);
            let position = client.reader().position();
            client.read();
            let mut seen = client.seen.iter();
            assert!(seen.all(|at| *at > position && *at > 14));
            assert!(position == 18 || client.seen.last() == Some(&18));
        });
    }
}

#[test]
fn a_driver_of_a_cold_hub_is_woken_when_it_is_warm() {
    for is_draining in [false, true] {
        check_hub(cold, move |hub| {
            let mut driver = driver(hub);
            let following = in_thread(hub, move |hub| {
                follow(hub, "a");
                if is_draining {
                    hub.drain(Instant::now());
                }
                hub.warm_up();
            });
            driver.run(|clients| clients.iter().all(|client| client.has_gap[0]));
            join([following]);
        });
    }
}

#[test]
fn readers_of_a_cold_hub_end_with_a_close() {
    for closes_channel in [false, true] {
        check_hub(cold, move |hub| {
            let (mut client, mut driver) = (Client::live(hub, &["a", "b"]), driver(hub));
            let closing = in_thread(hub, move |hub| match closes_channel {
                true => hub.follow().close_channel(&channel("a"), 12, drop),
                false => hub.close(),
            });
            client.until_end();
            driver.run(|clients| clients.iter().all(|client| client.ended));
            join([closing]);
        });
    }
}

/// Its position is from an instance that is ahead.
#[test]
fn a_seek_during_appends_loses_no_entry() {
    check_warm(100, |hub| {
        let mut client = Client::live(hub, &["a", "b"]);
        let following = in_thread(hub, |hub| follow_all(hub, &["a", "b", "a", "b"]));
        while !client.reader().seek(14) {
            shuttle::thread::yield_now();
        }
        client.last.fill(14);
        client.until(2);
        assert_eq!(client.seen, [16, 18]);
        join([following]);
    });
}

#[test]
fn a_batch_wakes_readers_that_park_during_it() {
    check_warm(100, |hub| {
        let mut client = Client::live(hub, &["a", "b"]);
        let mut one = Client::live(hub, &["a"]);
        let following = in_thread(hub, |hub| {
            let mut batch = hub.follow();
            for (name, sequence, previous) in [("a", 11, 0), ("b", 12, 0), ("a", 13, 11)] {
                let text = |_| Bytes::from(format!("{name} {sequence} {previous}\n"));
                batch.append(&channel(name), sequence, Instant::now(), text);
            }
        });
        one.until(2);
        client.until(3);
        assert_eq!(
            (&*one.seen, &*client.seen),
            (&[11, 13][..], &[11, 12, 13][..])
        );
        join([following]);
    });
}

#[test]
fn a_lost_entry_is_a_gap_while_another_thread_reads() {
    check_warm(100, |hub| {
        let mut reader = reader(hub, &["a"], Start::Live);
        let following = in_thread(hub, |hub| hub.follow().lose(&channel("a"), 14));
        // A reader that does not park reads between any two steps.
        while !matches!(reader.read(LIMIT, None), Read::Gap(_)) {
            assert!(reader.position() < 14, "the loss was passed");
            shuttle::thread::yield_now();
        }
        join([following]);
    });
}
