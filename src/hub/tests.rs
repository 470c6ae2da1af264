use super::*;
use std::{
    sync::atomic::{AtomicBool, AtomicUsize},
    task::{Wake, Waker},
    thread,
};

pub(super) const LIMIT: usize = 1 << 16;

pub(super) fn config() -> Config {
    Config {
        history: true,
        events: 4,
        max_age: Duration::from_secs(60),
        bytes: 1 << 20,
        max_subscriptions: 100,
        max_subscriptions_per_channel: 100,
        records_closes: false,
        latest_per_key: false,
    }
}

pub(super) fn hub(change: impl FnOnce(&mut Config)) -> Arc<Hub> {
    let mut config = config();
    change(&mut config);
    Hub::new(config, 7)
}

fn live() -> Arc<Hub> {
    hub(|config| config.history = false)
}

pub(super) fn channel(name: &str) -> Channel {
    Channel::new(name).unwrap()
}

pub(super) fn channels(names: &[&str]) -> Channels {
    Channels::collect(names, 100).unwrap()
}

pub(super) fn reader(hub: &Arc<Hub>, names: &[&str], start: Start) -> Reader {
    hub.subscribe(&channels(names), start).unwrap().0
}

pub(super) fn publish(hub: &Hub, name: &str, text: &'static str) -> Appended {
    let seal = |text: &'static str, _, _| Bytes::from_static(text.as_bytes());
    hub.append(&channel(name), [text], seal)
}

/// Publishes an entry for each word: its first character is the channel, and the others are the text.
pub(super) fn publish_all(hub: &Hub, words: &'static str) {
    for (name, text) in words.split(' ').map(|word| word.split_at(1)) {
        publish(hub, name, text);
    }
}

pub(super) fn with_key(bytes: impl Into<Bytes>, key: impl Into<Arc<str>>) -> Sealed {
    let (text, is_removed) = (key.into(), false);
    Sealed {
        bytes: bytes.into(),
        key: Some(Key { text, is_removed }),
    }
}

/// The entries after this sequence number.
pub(super) fn after(hub: &Arc<Hub>, names: &[&str], sequence: u64) -> String {
    all(&mut reader(hub, names, Start::After(sequence)))
}

pub(super) fn is_consistent(hub: &Hub) -> bool {
    hub.state().is_consistent(&hub.config)
}

/// A close of the channel `a`, and of the hub.
pub(super) const ENDS: [fn(&Hub); 2] = [|hub| hub.close_channel(&channel("a"), drop), Hub::close];

/// What wakes a parked reader of the channel `a`.
pub(super) const NEWS: [fn(&Hub); 4] = [
    |hub| drop(publish(hub, "a", "1")),
    ENDS[0],
    |hub| hub.drain(Instant::now()),
    ENDS[1],
];

/// Reads all available entries as text, with gaps as `[channels missed @position]`.
pub(super) fn all(reader: &mut Reader) -> String {
    let mut text = String::new();
    loop {
        match reader.read(LIMIT, None) {
            Read::Batch(batch) => text += std::str::from_utf8(&batch.bytes).unwrap(),
            Read::Gap(Gap { channels, missed }) => {
                let names: Vec<_> = channels.iter().map(|channel| channel.as_str()).collect();
                let (names, position) = (names.join(","), reader.position());
                let missed = missed.map_or("?".to_owned(), |missed| missed.to_string());
                text += &format!("[{names} {missed} @{position}]");
            }
            Read::Empty => return text,
            Read::End => return text + "END",
        }
    }
}

#[derive(Default)]
pub(crate) struct Count(AtomicUsize);
impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}
impl Count {
    pub(crate) fn take(&self) -> usize {
        self.0.swap(0, Relaxed)
    }
}

pub(crate) fn waker() -> (Arc<Count>, Waker) {
    let count = Arc::<Count>::default();
    (count.clone(), Waker::from(count))
}

#[test]
fn a_reader_of_several_channels_reads_in_order() {
    let hub = live();
    let mut reader = reader(&hub, &["a", "b", "c"], Start::Live);
    publish_all(&hub, "b1 a2 b3 c4 a5");
    assert_eq!(all(&mut reader), "12345");
    assert_eq!((reader.position(), hub.stats().delivered), (5, 5));
}

#[test]
fn a_limit_of_zero_returns_single_entries() {
    let hub = live();
    let mut one = reader(&hub, &["a"], Start::Live);
    let mut two = reader(&hub, &["b", "a"], Start::Live);
    publish_all(&hub, "a1 b2 a3");
    let single = |reader: &mut Reader| match reader.read(0, None) {
        Read::Batch(Batch { bytes, channel, .. }) => {
            let text = String::from_utf8_lossy(&bytes);
            format!("{}{text}", reader.channel(channel))
        }
        other => format!("{other:?}"),
    };
    let two: Vec<_> = (0..4).map(|_| single(&mut two)).collect();
    assert_eq!(two, ["a1", "b2", "a3", "Empty"]);
    let one: Vec<_> = (0..3).map(|_| single(&mut one)).collect();
    assert_eq!(one, ["a1", "a3", "Empty"]);
}

#[test]
fn a_batch_of_several_channels_ends_at_its_limit() {
    let hub = live();
    let mut reader = reader(&hub, &["a", "b"], Start::Live);
    publish_all(&hub, "a1 b2 a3 b4");
    let mut batch = || match reader.read(3, None) {
        Read::Batch(batch) => batch.bytes,
        other => panic!("{other:?}"),
    };
    assert_eq!([batch(), batch()], ["123", "4"]);
}

#[test]
fn a_read_of_the_last_entry_parks_a_reader_of_one_channel() {
    let (hub, (count, waker)) = (live(), waker());
    let mut one = reader(&hub, &["a"], Start::Live);
    let mut two = reader(&hub, &["a", "b"], Start::Live);
    for text in ["1", "2", "3"] {
        publish(&hub, "a", text);
        assert!(!one.is_waiting());
        assert!(matches!(one.read(0, Some(&waker)), Read::Batch(_)));
        assert!(matches!(two.read(0, Some(&waker)), Read::Batch(_)));
        assert_eq!((one.is_waiting(), two.is_waiting()), (true, false));
    }
    assert_eq!(count.take(), 2);
    hub.close();
    assert_eq!((count.take(), one.is_waiting()), (1, false));
}

#[test]
fn more_is_set_if_the_next_read_is_not_empty() {
    type Change = fn(&Hub);
    let cases: [(Change, usize, bool); 5] = [
        (|_| (), 2, false),
        (|_| (), 1, true),
        (|hub| hub.drain(Instant::now()), 2, true),
        (ENDS[0], 2, true),
        (ENDS[1], 2, true),
    ];
    for (change, limit, expected) in cases {
        for names in [&["a"][..], &["b", "a"]] {
            let hub = live();
            let mut reader = reader(&hub, names, Start::Live);
            publish(&hub, names[0], "1");
            publish(&hub, "a", "2");
            change(&hub);
            let Read::Batch(Batch { more, .. }) = reader.read(limit, None) else {
                panic!("there are two entries");
            };
            assert_eq!(more, expected, "of {names:?}");
        }
    }
}

#[test]
fn a_reader_resumes_after_its_position() {
    let hub = hub(|_| ());
    publish_all(&hub, "a1 b2 a3 c4");
    assert_eq!(after(&hub, &["a", "b"], 0), "123");
    assert_eq!(after(&hub, &["a", "b"], 1), "23");
    assert_eq!(after(&hub, &["a"], 1), "3");
    assert_eq!(after(&hub, &["a", "b"], 3), "");
    assert_eq!(after(&hub, &["a", "b", "c"], 4), "");
    assert_eq!(hub.stats().replayed, 6);
    let again = hub.subscribe(&channels(&["a", "b"]), Start::After(0));
    assert_eq!(again.unwrap().1, 3, "of this reader");
}

#[test]
fn an_unknown_position_is_reported_as_a_gap() {
    let hub = hub(|_| ());
    publish(&hub, "a", "1");
    let unknown = |start| all(&mut reader(&hub, &["a", "b"], start));
    assert_eq!(unknown(Start::Unknown), "[a,b ? @1]");
    assert_eq!(unknown(Start::After(2)), "[a,b ? @1]", "from the future");
    let (mut unread, (_, waker)) = (reader(&hub, &["a"], Start::Unknown), waker());
    assert!(unread.has_gap() && !unread.wait(&waker));
    assert_eq!(all(&mut unread), "[a ? @1]");
    assert!(!unread.has_gap() && unread.wait(&waker));
}

#[test]
fn an_evicted_position_is_a_gap_of_the_channels_that_lost_entries() {
    let hub = hub(|config| config.events = 2);
    publish_all(&hub, "a1 b2 a3 a4 b5");
    assert_eq!(after(&hub, &["a"], 0), "[a ? @5]");
    assert_eq!(after(&hub, &["a"], 1), "34");
    // `b` replays after the gap, so the position of the gap must precede these entries.
    assert_eq!(after(&hub, &["a", "b"], 0), "[a ? @0]25");
}

#[test]
fn a_lagging_reader_gets_a_gap_and_then_the_oldest_entry() {
    let hub = live();
    let mut reader = reader(&hub, &["a"], Start::Live);
    publish_all(&hub, "a1 a2 a3 a4 a5 a6");
    assert_eq!(all(&mut reader), "[a 2 @2]3456");
    assert_eq!(hub.stats().lagged, 2);
    assert_eq!(hub.stats().delivered, 6);
}

#[test]
fn a_gap_in_one_channel_skips_no_entries_of_others() {
    let hub = live();
    let mut reader = reader(&hub, &["a", "b"], Start::Live);
    publish_all(&hub, "a1 b2 a3 a4 a5 a6 a7");
    // Sequence numbers 1 and 3 of `a` were evicted. 2 of `b` is unread, so the position is before it.
    assert_eq!(all(&mut reader), "[a 2 @1]24567");
    publish_all(&hub, "a8 a9 a10 a11 a12 a13");
    assert_eq!(all(&mut reader), "[a 2 @9]10111213", "8 and 9");
}

#[test]
fn an_append_wakes_only_readers_of_its_channel() {
    let hub = live();
    let ((a, a_waker), (b, b_waker)) = (waker(), waker());
    let mut one = reader(&hub, &["a"], Start::Live);
    let mut other = reader(&hub, &["b"], Start::Live);
    assert!(one.wait(&a_waker) && other.wait(&b_waker));
    publish(&hub, "a", "1");
    assert_eq!((a.take(), b.take()), (1, 0));
    assert!(!one.wait(&a_waker), "there is something to read");
    assert_eq!(all(&mut one), "1");
    assert!(one.wait(&a_waker));
}

/// An append stores its entry in the log before it advances the head.
#[test]
fn a_reader_of_several_channels_stops_at_the_head() {
    let (hub, (_, waker)) = (live(), waker());
    let mut reader = reader(&hub, &["a", "b"], Start::Live);
    let entry = Entry::new(1, Instant::now(), Bytes::from_static(b"1"));
    let mut state = hub.state();
    let log = state.get_or_create(&channel("a"));
    state.append(&log, entry, None, &hub.config);
    drop(state);
    assert_eq!(all(&mut reader), "");
    assert!(reader.wait(&waker));
    hub.head.store(1, Release);
    assert!(!reader.wait(&waker));
    assert_eq!(all(&mut reader), "1");
}

#[test]
fn a_reader_of_several_channels_stores_one_waker_per_channel() {
    let hub = live();
    let (_, waker) = waker();
    let mut reader = reader(&hub, &["busy", "idle"], Start::Live);
    for _ in 0..100 {
        assert!(reader.wait(&waker));
        publish(&hub, "busy", "1");
        assert_eq!(all(&mut reader), "1");
    }
    let idle = hub.state().get(&channel("idle")).unwrap();
    assert_eq!((idle.progress().awake, idle.subscribers()), (0, 1));
}

#[test]
fn a_close_ends_readers_after_the_last_entry_and_refuses_new_ones() {
    for names in [&["a"][..], &["a", "b"]] {
        let (hub, (count, waker)) = (live(), waker());
        let mut readers = [(); 2].map(|()| reader(&hub, names, Start::Live));
        publish(&hub, "a", "1");
        assert_eq!(all(&mut readers[0]), "1");
        assert!(readers[0].wait(&waker));
        hub.close();
        assert!(count.take() > 0 && !readers[0].wait(&waker));
        assert_eq!(readers.each_mut().map(all), ["END", "1END"]);
        let refused = hub.subscribe(&channels(names), Start::Live).unwrap_err();
        assert_eq!(refused, Refused::Closed);
    }
}

#[test]
fn closing_a_channel_ends_its_current_readers() {
    let hub = live();
    let (count, waker) = waker();
    let [mut one, mut two, mut other] =
        [&["a"][..], &["b", "a"], &["b"]].map(|names| reader(&hub, names, Start::Live));
    assert!(one.wait(&waker) && two.wait(&waker));
    publish(&hub, "a", "1");
    hub.close_channel(&channel("a"), |last| assert_eq!(last, 1));
    hub.close_channel(&channel("nobody is here"), |last| assert_eq!(last, 0));
    assert_eq!(count.take(), 2);
    assert_eq!(
        [all(&mut one), all(&mut two), all(&mut other)],
        ["1END", "1END", ""]
    );
    assert!(!one.wait(&waker));
    let mut new = reader(&hub, &["a"], Start::Live);
    publish(&hub, "a", "2");
    assert_eq!(all(&mut new), "2", "the channel itself stays open");
}

#[tokio::test(start_paused = true)]
async fn a_drain_wakes_parked_readers_and_refuses_new_ones() {
    let hub = live();
    let (count, waker) = waker();
    let mut reader = reader(&hub, &["a"], Start::Live);
    assert!(reader.wait(&waker));
    let by = Instant::now() + Duration::from_secs(9);
    hub.drain(by);
    assert_eq!((count.take(), hub.drained_by()), (1, Some(by)));
    let refused = hub.subscribe(&channels(&["a"]), Start::Live).unwrap_err();
    assert_eq!(refused, Refused::Closed);
    publish(&hub, "a", "1");
    assert_eq!(all(&mut reader), "1", "events are delivered until then");
}

#[test]
fn subscriptions_are_limited_in_total_and_per_channel() {
    let hub = hub(|config| {
        config.max_subscriptions = 3;
        config.max_subscriptions_per_channel = 2;
    });
    let _two = [
        reader(&hub, &["a"], Start::Live),
        reader(&hub, &["a", "b"], Start::Live),
    ];
    let refused = |names: &[&str]| hub.subscribe(&channels(names), Start::Live).unwrap_err();
    assert_eq!(refused(&["b", "a"]), Refused::OnChannel(channel("a"), 2));
    let three = reader(&hub, &["b"], Start::Live);
    assert_eq!(refused(&["c"]), Refused::Subscriptions(3));
    drop(three);
    reader(&hub, &["c"], Start::Live);
}

#[tokio::test(start_paused = true)]
async fn a_channel_is_removed_with_its_last_expired_entry() {
    let hub = hub(|_| ());
    publish(&hub, "a", "1");
    tokio::time::advance(Duration::from_secs(40)).await;
    publish_all(&hub, "a2 b3");
    assert_eq!(hub.stats().channels, 0, "nobody reads");
    tokio::time::advance(Duration::from_secs(30)).await;
    assert_eq!(after(&hub, &["a"], 1), "2");
    assert_eq!(after(&hub, &["a"], 0), "[a ? @3]");
    tokio::time::advance(Duration::from_secs(30)).await;
    assert_eq!(hub.stats().history_bytes, 0);
    assert!(hub.state().logs().is_empty());
    assert_eq!(after(&hub, &["a"], 1), "[a ? @3]");
    assert_eq!(after(&hub, &["a"], 2), "", "nothing followed it");
    assert!(is_consistent(&hub));
}

#[tokio::test(start_paused = true)]
async fn a_channel_with_readers_outlives_its_entries() {
    let hub = hub(|_| ());
    let mut reader = reader(&hub, &["a"], Start::Live);
    publish(&hub, "a", "1");
    assert_eq!(all(&mut reader), "1");
    tokio::time::advance(Duration::from_secs(70)).await;
    publish_all(&hub, "b2 a3");
    assert_eq!(all(&mut reader), "3");
    assert!(is_consistent(&hub));
}

#[tokio::test]
async fn a_reader_keeps_up_with_a_tight_loop_that_settles() {
    let hub = live();
    let mut reader = reader(&hub, &["a"], Start::Live);
    let reading = tokio::spawn(async move {
        let mut text = String::new();
        while text.len() < 1000 {
            text += &all(&mut reader);
            std::future::poll_fn(|cx| match reader.wait(cx.waker()) {
                true if text.len() < 1000 => std::task::Poll::Pending,
                _ => std::task::Poll::Ready(()),
            })
            .await;
        }
        text
    });
    tokio::task::yield_now().await;
    for _ in 0..1000 {
        if let Some(log) = publish(&hub, "a", "x").congested {
            Hub::settle(&log).await;
        }
    }
    assert_eq!(reading.await.unwrap(), "x".repeat(1000));
}

#[tokio::test]
async fn a_stalled_reader_does_not_block_the_publisher() {
    let hub = live();
    let _stalled = reader(&hub, &["a"], Start::Live);
    let (_, waker) = waker();
    let mut stalled = reader(&hub, &["a"], Start::Live);
    assert!(stalled.wait(&waker));
    for _ in 0..100 {
        if let Some(log) = publish(&hub, "a", "x").congested {
            Hub::settle(&log).await;
        }
    }
    assert_eq!(all(&mut stalled), "[a 96 @96]xxxx");
}

#[test]
fn appends_of_many_threads_have_one_order() {
    const EACH: usize = 2000;
    let hub = hub(|config| config.events = 4 * EACH);
    let mut reader = reader(&hub, &["a", "b", "c", "d"], Start::Live);
    let publishing: Vec<_> = ["a", "b", "c", "d"]
        .map(|name| {
            let (hub, channel) = (hub.clone(), Channel::new(name).unwrap());
            std::thread::spawn(move || {
                for _ in 0..EACH {
                    let seal = |(), sequence: u64, _| Bytes::from(format!("{sequence}\n"));
                    hub.append(&channel, [()], seal);
                }
            })
        })
        .into();
    let mut text = String::new();
    while publishing.iter().any(|thread| !thread.is_finished()) {
        text += &all(&mut reader);
    }
    text += &all(&mut reader);
    let sequences: Vec<usize> = text.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(sequences, (1..=4 * EACH).collect::<Vec<_>>());
}

/// Recalls `wanted` with `limit`, as `text | positions | gone`.
pub(super) fn recall(hub: &Hub, wanted: &[(&str, Option<u64>)], limit: usize) -> String {
    let wanted = wanted.iter().map(|(name, after)| (channel(name), *after));
    let wanted: Vec<_> = wanted.collect();
    let recall = hub.recall(&wanted, limit);
    let gone: Vec<_> = recall.gone.iter().map(|channel| channel.as_str()).collect();
    let text = String::from_utf8_lossy(&recall.bytes);
    let more = if recall.more { ".." } else { "" };
    format!(
        "{text}{more} | {:?} @{} | {gone:?}",
        recall.positions, recall.position
    )
}

#[test]
fn a_recall_returns_entries_in_order() {
    let hub = hub(|_| ());
    publish_all(&hub, "a1 b2 a3 b4");
    let all = |a, b| recall(&hub, &[("a", a), ("b", b)], LIMIT);
    assert_eq!(all(Some(0), Some(0)), "1234 | [3, 4] @4 | []");
    assert_eq!(all(Some(1), Some(2)), "34 | [3, 4] @4 | []");
    assert_eq!(all(Some(4), Some(4)), " | [3, 4] @4 | []");
    // A position that is unknown, or in the future.
    for after in [None, Some(5)] {
        assert_eq!(all(after, Some(2)), r#"4 | [3, 4] @4 | ["a"]"#);
    }
    assert_eq!(recall(&hub, &[("never", Some(2))], LIMIT), " | [0] @4 | []");
}

#[test]
fn a_recall_returns_pages() {
    let hub = hub(|_| ());
    publish_all(&hub, "a11 b22 a33 b44");
    let page = |a, b, limit| recall(&hub, &[("a", Some(a)), ("b", Some(b))], limit);
    assert_eq!(page(0, 0, 4), "1122.. | [1, 2] @2 | []");
    assert_eq!(page(1, 2, 4), "3344 | [3, 4] @4 | []");
    assert_eq!(page(0, 2, 1), "11.. | [1, 2] @1 | []");
}

#[tokio::test(start_paused = true)]
async fn a_recall_reports_channels_with_evicted_entries() {
    let hub = hub(|config| config.events = 2);
    publish_all(&hub, "a1 a2 a3");
    let after = |sequence| recall(&hub, &[("a", Some(sequence))], LIMIT);
    assert_eq!(after(0), r#" | [3] @3 | ["a"]"#);
    assert_eq!(after(1), "23 | [3] @3 | []");
    tokio::time::advance(Duration::from_secs(61)).await;
    assert_eq!(hub.stats().history_bytes, 0);
    assert_eq!(after(2), r#" | [3] @3 | ["a"]"#);
    assert_eq!(after(3), " | [3] @3 | []");
}

#[test]
fn an_append_gets_the_previous_sequence_of_its_channel() {
    let hub = hub(|_| ());
    let mut seen = Vec::new();
    for (name, count) in [("a", 1), ("b", 1), ("a", 2), ("b", 1)] {
        let channel = Channel::new(name).unwrap();
        hub.append(&channel, 0..count, |_, sequence, previous| {
            seen.push((sequence, previous));
            Bytes::from_static(b"x")
        });
    }
    assert_eq!(seen, [(1, 0), (2, 0), (3, 1), (4, 3), (5, 2)]);
}

#[test]
fn appends_of_several_entries_keep_within_the_ring_and_the_budget() {
    let hub = hub(|config| (config.events, config.bytes) = (3, 2000));
    let a = channel("a");
    let appended = hub.append(&a, 0..100, |n, _, _| Bytes::from(vec![n; 10]));
    assert_eq!(appended.subscribers, 0);
    let published = hub
        .observer()
        .stats(crate::observe::Sizes::default())
        .published;
    assert_eq!((hub.sequence(), published), (100, 100));
    assert_eq!(hub.state().get(&a).unwrap().lock().log.len(), 3);
    hub.append(&a, 0..3, |n, _, _| Bytes::from(vec![n; 700]));
    assert!(hub.state().bytes <= 2000 + 700, "the last one is exempt");
    assert!(is_consistent(&hub));
}

#[test]
fn the_position_of_a_gap_precedes_all_unread_entries() {
    let hub = hub(|config| config.events = 2);
    let mut both = reader(&hub, &["a", "b"], Start::Live);
    publish_all(&hub, "b1 b2 b3 a4 a5 a6");
    // 2 and 3 of `b` are unread: a client that reconnects now must get them.
    assert_eq!(all(&mut both), "[a,b 2 @1]2356");
    assert_eq!(after(&hub, &["a", "b"], 1), "[a ? @1]23");
}

#[test]
fn channels_without_entries_leave_no_tombstones() {
    let hub = hub(|config| config.events = 1);
    publish_all(&hub, "a1 a2");
    let mut state = hub.state();
    for n in 0..20_000 {
        state.tombstones.insert(n, n + 1);
    }
    let (floor, tombstones) = state.tombstones.floor_and_len();
    drop(state);
    assert!(floor > 0);
    for n in 0..100 {
        drop(reader(&hub, &[&format!("named {n}")], Start::Live));
    }
    let now = hub.state().tombstones.floor_and_len();
    assert_eq!(now, (floor, tombstones));
}

#[test]
fn large_events_congest_the_log() {
    let hub = hub(|config| (config.events, config.bytes) = (1000, 40));
    let (_, waker) = waker();
    let mut reader = reader(&hub, &["a"], Start::Live);
    assert!(reader.wait(&waker));
    assert!(publish(&hub, "a", "123456789").congested.is_none());
    assert!(publish(&hub, "a", "123456789").congested.is_some());
}

/// The head advances between any two loads of it.
#[test]
fn closing_one_of_many_channels_ends_a_reader_during_publishes() {
    let hub = live();
    let names: Vec<_> = (0..100).map(|index| index.to_string()).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    let mut reader = reader(&hub, &names, Start::Live);
    let is_done = Arc::new(AtomicBool::new(false));
    let publishing = {
        let (hub, is_done) = (hub.clone(), is_done.clone());
        thread::spawn(move || {
            while !is_done.load(Relaxed) {
                _ = publish(&hub, "elsewhere", "1");
            }
        })
    };
    hub.close_channel(&channel("7"), drop);
    let reading = thread::Builder::new().stack_size(32 << 10);
    let reading = reading.spawn(move || assert_eq!(reader.read(LIMIT, None), Read::End));
    let read = reading.unwrap().join();
    is_done.store(true, Relaxed);
    publishing.join().unwrap();
    read.unwrap();
}

/// Otherwise a reader with a constant backlog would never end.
#[test]
fn a_lagging_reader_stops_at_the_position_of_its_end() {
    for names in [&["a"][..], &["a", "b"]] {
        for end in ENDS {
            let hub = hub(|_| {});
            let mut reader = reader(&hub, names, Start::Live);
            publish(&hub, names[names.len() - 1], "before");
            end(&hub);
            let mut read = Vec::new();
            loop {
                publish(&hub, "a", "after");
                publish(&hub, "b", "after");
                match reader.read(1, None) {
                    Read::Batch(batch) => read.push(batch.bytes),
                    other => break assert_eq!(other, Read::End),
                }
            }
            assert_eq!(read, ["before"]);
        }
    }
}

#[test]
fn each_close_of_a_channel_ends_its_readers_at_that_position() {
    let hub = hub(|config| config.events = 100);
    let a = channel("a");
    let readers: Vec<_> = (0..20)
        .map(|close: u64| {
            let reader = reader(&hub, &["a"], Start::Live);
            publish(&hub, "a", "x");
            hub.close_channel(&a, drop);
            publish(&hub, "a", "y");
            (close, reader)
        })
        .collect();
    for (close, mut reader) in readers {
        let Read::Batch(batch) = reader.read(1, None) else {
            panic!("close {close}: the event before it is missing");
        };
        assert_eq!(batch.bytes, "x");
        // The last eight ends are exact. Older readers end with the oldest of these.
        if close >= 12 {
            assert_eq!(reader.read(1, None), Read::End, "close {close}");
        }
        let rest = std::iter::from_fn(|| (reader.read(1, None) != Read::End).then_some(()));
        assert!(rest.count() < 40, "close {close}");
    }
}
