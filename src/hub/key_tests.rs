//! Entries with keys: supersession, loss, retained entries, and starts at the latest entries.

use super::{
    tests::{
        ENDS, LIMIT, after, all, channel, channels, hub, is_consistent, reader, recall, waker,
    },
    *,
};

fn key(text: &str) -> Option<Key> {
    let removed = text.strip_prefix('-');
    (!text.is_empty()).then(|| Key {
        text: removed.unwrap_or(text).into(),
        is_removed: removed.is_some(),
    })
}

/// Publishes entries of this channel: `text:key`, `text` without a key, or `text:-key` to remove it.
fn publish(hub: &Hub, name: &str, entries: &str) {
    for entry in entries.split(' ') {
        let (text, of) = entry.split_once(':').unwrap_or((entry, ""));
        let sealed = |(), _, _| Sealed {
            bytes: Bytes::from(text.to_owned()),
            key: key(of),
        };
        hub.append(&channel(name), [()], sealed);
    }
}

fn retaining(events: usize) -> Arc<Hub> {
    hub(|config| (config.events, config.latest_per_key) = (events, true))
}

#[test]
fn a_backlog_is_read_without_superseded_entries() {
    let hub = hub(|config| config.events = 100);
    let mut one = reader(&hub, &["a"], Start::Live);
    let mut two = reader(&hub, &["a", "b"], Start::Live);
    publish(&hub, "a", "1:x 2:y 3 4:x");
    publish(&hub, "b", "5:x 6:x");
    publish(&hub, "a", "7:y");
    assert_eq!(all(&mut one), "347");
    assert_eq!(all(&mut two), "3467", "keys of other channels are others");
    assert_eq!((one.position(), two.position()), (7, 7));
    assert!(is_consistent(&hub));
}

#[test]
fn a_reader_that_keeps_up_gets_superseded_entries_too() {
    let (hub, (count, waker)) = (hub(|_| {}), waker());
    let mut one = reader(&hub, &["a"], Start::Live);
    let mut two = reader(&hub, &["a", "b"], Start::Live);
    for text in ["1", "2", "3"] {
        publish(&hub, "a", &format!("{text}:x"));
        assert_eq!([all(&mut one), all(&mut two)], [text, text]);
        assert!(one.wait(&waker) && two.wait(&waker));
    }
    assert_eq!(count.take(), 4);
}

#[test]
fn a_client_that_resumes_at_a_superseded_entry_gets_the_entries_after_it() {
    let hub = hub(|config| config.events = 100);
    publish(&hub, "a", "1:x 2:y 3:x 4 5:y");
    let replays = [0, 1, 2, 3, 4, 5].map(|sequence| after(&hub, &["a"], sequence));
    assert_eq!(replays, ["345", "345", "345", "45", "5", ""]);
    assert_eq!(recall(&hub, &[("a", Some(1))], LIMIT), "345 | [5] @5 | []");
    assert_eq!(recall(&hub, &[("a", Some(1))], 1), "3.. | [3] @3 | []");
}

#[test]
fn frames_with_an_entry_are_dropped_when_it_is_superseded() {
    let (hub, (_, waker)) = (hub(|config| config.events = 100), waker());
    let mut blocked = reader(&hub, &["a"], Start::Live);
    assert!(blocked.wait(&waker));
    publish(&hub, "a", "1:x 2 3:y 4");
    for expected in ["1234", "1234"] {
        assert_eq!(after(&hub, &["a"], 0), expected);
    }
    let frames = hub.frames.bytes();
    assert!(frames > 0);
    publish(&hub, "b", "5:x");
    publish(&hub, "a", "6:z");
    assert_eq!(hub.frames.bytes(), frames);
    publish(&hub, "a", "7:x");
    assert_eq!(hub.frames.bytes(), 0);
    assert_eq!(after(&hub, &["a"], 0), "23467");
}

#[test]
fn an_entry_that_is_superseded_after_the_end_of_a_reader_is_returned() {
    for names in [&["a"][..], &["a", "b"]] {
        for end in ENDS {
            let hub = hub(|config| config.events = 100);
            let mut reader = reader(&hub, names, Start::Live);
            publish(&hub, "a", "1:x 2:y 3:x");
            end(&hub);
            publish(&hub, "a", "4:x 5:y");
            assert_eq!(all(&mut reader), "23END");
        }
    }
}

/// An append stores its entry in the log before it advances the head.
#[test]
fn an_entry_that_is_superseded_after_the_head_is_returned() {
    let hub = hub(|config| config.events = 100);
    let mut reader = reader(&hub, &["a", "b"], Start::Live);
    publish(&hub, "a", "1:x 2:y 3:x");
    hub.head.store(2, Release);
    assert_eq!(all(&mut reader), "12");
    hub.head.store(3, Release);
    assert_eq!(all(&mut reader), "3");
}

#[test]
fn the_eviction_of_superseded_entries_loses_nothing() {
    let hub = hub(|config| config.events = 2);
    let mut lagging = [&["a"][..], &["a", "b"]].map(|names| reader(&hub, names, Start::Live));
    publish(&hub, "a", "1:x 2:y 3:x 4:y 5:x 6:y");
    assert_eq!(lagging.each_mut().map(all), ["56", "56"]);
    assert_eq!(after(&hub, &["a"], 0), "56");
    assert_eq!(recall(&hub, &[("a", Some(0))], LIMIT), "56 | [6] @6 | []");
    publish(&hub, "a", "7:z");
    // 5 was the newest of its key.
    assert_eq!(after(&hub, &["a"], 5), "67");
    assert_eq!(after(&hub, &["a"], 4), "[a ? @7]");
    assert_eq!(lagging.each_mut().map(all), ["7", "7"]);
    publish(&hub, "a", "8:y 9:x 10");
    assert_eq!(lagging.each_mut().map(all), ["[a 1 @8]910", "[a 1 @8]910"]);
    assert!(is_consistent(&hub));
}

#[tokio::test(start_paused = true)]
async fn the_expiry_of_superseded_entries_loses_nothing() {
    let hub = hub(|config| config.events = 100);
    publish(&hub, "a", "1:x 2:y");
    tokio::time::advance(Duration::from_secs(30)).await;
    publish(&hub, "a", "3:x");
    tokio::time::advance(Duration::from_secs(31)).await;
    // Before the eviction of 1 and 2, and after it.
    for _ in 0..2 {
        assert_eq!(after(&hub, &["a"], 1), "[a ? @3]", "2 is lost");
        assert_eq!(after(&hub, &["a"], 2), "3");
        hub.sweep_step();
    }
    tokio::time::advance(Duration::from_secs(60)).await;
    hub.sweep_step();
    assert!(hub.state().logs().is_empty());
    assert_eq!([2, 3].map(|at| after(&hub, &["a"], at)), ["[a ? @3]", ""]);
}

#[test]
fn a_removal_supersedes_and_is_lost_when_it_is_evicted() {
    for latest in [false, true] {
        let hub = hub(|config| (config.events, config.latest_per_key) = (3, latest));
        publish(&hub, "a", "1:x 2:-x");
        assert_eq!(after(&hub, &["a"], 0), "2");
        publish(&hub, "a", "3:x");
        assert_eq!(after(&hub, &["a"], 0), "3");
        publish(&hub, "a", "4:-x 5:y 6:y 7:y");
        assert_eq!(after(&hub, &["a"], 4), "7");
        assert_eq!(after(&hub, &["a"], 3), "[a ? @7]");
        assert!(is_consistent(&hub));
    }
}

#[tokio::test(start_paused = true)]
async fn the_newest_entry_of_each_key_is_kept_beyond_count_and_age() {
    let hub = retaining(2);
    let mut lagging = [&["a"][..], &["a", "b"]].map(|names| reader(&hub, names, Start::Live));
    publish(&hub, "a", "1:x 2:y 3:x 4:z 5:w 6:w");
    for _ in 0..2 {
        assert_eq!(after(&hub, &["a"], 0), "2346");
        let replays = [2, 3, 5].map(|at| after(&hub, &["a"], at));
        assert_eq!(replays, ["346", "46", "6"]);
        assert_eq!(after(&hub, &["b", "a"], 1), "2346");
        assert_eq!(recall(&hub, &[("a", Some(2))], 2), "34.. | [4] @4 | []");
        assert_eq!(recall(&hub, &[("a", Some(4))], 1), "6 | [6] @6 | []");
        assert!(is_consistent(&hub));
        tokio::time::advance(Duration::from_secs(100)).await;
        while matches!(hub.sweep_step(), sweep::Found::More) {}
    }
    assert_eq!(hub.state().oldest.len(), 0, "the ring is empty");
    assert_eq!(lagging.each_mut().map(all), ["2346", "2346"]);
    publish(&hub, "a", "7:y 8:-z");
    assert_eq!(after(&hub, &["a"], 0), "3678");
    assert_eq!(lagging.each_mut().map(all), ["78", "78"]);
    assert!(is_consistent(&hub));
    drop(lagging);
    assert_eq!(after(&hub, &["a"], 0), "3678", "without readers too");
}

#[test]
fn entries_without_keys_are_lost_beside_retained_ones() {
    let hub = retaining(2);
    let mut lagging = reader(&hub, &["a"], Start::Live);
    publish(&hub, "a", "1:x 2:y 3 4:z 5:z 6:z");
    assert_eq!(after(&hub, &["a"], 2), "[a ? @6]");
    assert_eq!(after(&hub, &["a"], 3), "6");
    assert_eq!(all(&mut lagging), "[a 3 @3]6");
}

#[test]
fn the_oldest_entries_go_first_under_the_budget() {
    let hub = hub(|config| {
        (config.events, config.latest_per_key, config.bytes) = (1, true, 20_000);
    });
    let large = "x".repeat(1000);
    for n in 0..100 {
        publish(&hub, &format!("{}", n % 2), &format!("{large}:{n}"));
        assert!(hub.stats().history_bytes <= 20_000);
        assert!(is_consistent(&hub));
    }
    let kept = ["0", "1"].map(|name| all(&mut reader(&hub, &[name], Start::Latest)).len() / 1000);
    assert!((5..=10).contains(&kept[0]), "{kept:?}");
    assert!(kept[0].abs_diff(kept[1]) <= 1, "{kept:?}");
    let first = 100 - kept[0] as u64 - kept[1] as u64;
    let length = after(&hub, &["0", "1"], first).len();
    assert_eq!(length, 1000 * (100 - first as usize));
    assert!(after(&hub, &["0", "1"], first - 2).starts_with("[0"));
}

#[test]
fn a_retained_entry_that_is_superseded_is_freed() {
    let hub = retaining(1);
    publish(&hub, "a", &format!("{}:x 1:y", "large".repeat(10_000)));
    let before = hub.stats().history_bytes;
    publish(&hub, "a", "2:x");
    assert!(before > 50_000 && hub.stats().history_bytes < 2000);
    publish(&hub, "a", "3:-y 4:-x 5");
    assert_eq!(after(&hub, &["a"], 5), "5");
    assert!(hub.stats().history_bytes < 1000);
    assert!(is_consistent(&hub));
}

#[test]
fn a_start_at_the_latest_entries_returns_them_and_continues_live() {
    for names in [&["a"][..], &["a", "b"]] {
        for (latest, expected) in [(true, "236"), (false, "6")] {
            let hub = hub(|config| (config.events, config.latest_per_key) = (3, latest));
            publish(&hub, "a", "1:x 2:y 3:x 4:z 5:-z 6:w 7");
            let (mut new, replayed) = hub.subscribe(&channels(names), Start::Latest).unwrap();
            assert!(replayed > 0 && !new.has_position());
            publish(&hub, "a", "8:v");
            assert_eq!(all(&mut new), format!("{expected}8"));
            assert_eq!((new.has_position(), new.position()), (true, 8));
            publish(&hub, "a", "9:x 10");
            assert_eq!(all(&mut new), "910");
        }
    }
}

#[test]
fn a_start_without_latest_entries_is_live() {
    let (hub, (_, waker)) = (hub(|_| {}), waker());
    publish(&hub, "a", "1 2");
    let mut new = reader(&hub, &["a", "b"], Start::Latest);
    assert!(!new.wait(&waker));
    assert_eq!(all(&mut new), "");
    assert!(new.wait(&waker) && new.position() == 2);
}

#[test]
fn a_start_at_the_latest_entries_is_read_in_batches() {
    for names in [&["a"][..], &["b", "a"]] {
        let hub = retaining(2);
        publish(&hub, "a", "1:x 2:y 3:z 4:w");
        let mut new = reader(&hub, names, Start::Latest);
        let mut batch = || match new.read(2, None) {
            Read::Batch(Batch { bytes, more, .. }) => (bytes, more, new.position()),
            other => panic!("{other:?}"),
        };
        assert_eq!(batch(), ("12".into(), true, 2));
        // 3 is superseded, and the ring has overtaken the reader.
        publish(&hub, "a", "5:z 6:z 7:z");
        assert_eq!(batch(), ("4".into(), true, 4));
        assert_eq!(batch().0, "7");
        assert_eq!(all(&mut new), "");
    }
}

#[test]
fn entries_that_are_lost_while_the_latest_are_read_are_a_gap_after_them() {
    let hub = retaining(2);
    publish(&hub, "a", "1:x 2:y 3:z");
    let mut new = reader(&hub, &["a"], Start::Latest);
    publish(&hub, "a", "4 5 6 7:w");
    assert_eq!(all(&mut new), "123[a 2 @5]67");
}

#[test]
fn a_lagging_reader_can_move_to_the_latest_entries() {
    for names in [&["a"][..], &["b", "a"]] {
        let hub = retaining(2);
        let mut lagging = reader(&hub, names, Start::Live);
        publish(&hub, "a", "1:x 2 3:y 4 5 6:y");
        assert!(matches!(lagging.read(LIMIT, None), Read::Gap(_)));
        lagging.seek_latest();
        assert_eq!(all(&mut lagging), "16");
        publish(&hub, "a", "7");
        assert_eq!(all(&mut lagging), "7");
    }
}

#[test]
fn a_reader_of_the_latest_entries_stops_at_its_end() {
    let hub = retaining(2);
    publish(&hub, "a", "1:x 2:y 3:z");
    let mut new = reader(&hub, &["a", "b"], Start::Latest);
    hub.close_channel(&channel("b"), drop);
    publish(&hub, "a", "4");
    assert_eq!(all(&mut new), "123END");
}

#[tokio::test(start_paused = true)]
async fn an_expired_entry_is_not_a_latest_one() {
    for (latest, expected) in [(true, "12"), (false, "2")] {
        let hub = hub(|config| config.latest_per_key = latest);
        publish(&hub, "a", "1:x");
        tokio::time::advance(Duration::from_secs(40)).await;
        publish(&hub, "a", "2:y");
        let mut before = reader(&hub, &["a"], Start::Latest);
        assert_eq!(all(&mut before), "12");
        tokio::time::advance(Duration::from_secs(40)).await;
        assert_eq!(all(&mut reader(&hub, &["a"], Start::Latest)), expected);
    }
}

#[test]
fn the_latest_entries_are_recalled_in_pages() {
    let hub = retaining(2);
    publish(&hub, "a", "1:x 2:y 3");
    publish(&hub, "b", "4:x");
    let both = ["a", "b", "c"].map(channel);
    let (whole, _) = hub.recall_latest(&both, None, LIMIT);
    assert_eq!((&*whole.bytes, whole.position), (&b"124"[..], 4));
    assert_eq!((whole.positions, whole.more), (vec![3, 4, 0], false));
    let (first, until) = hub.recall_latest(&both, None, 1);
    assert_eq!((&*first.bytes, first.position), (&b"1"[..], 1));
    assert!(first.more && until == 4);
    publish(&hub, "a", "5:y 6:-x");
    let (last, _) = hub.recall_latest(&both, Some((first.position, until)), LIMIT);
    assert_eq!((&*last.bytes, last.position), (&b"4"[..], 4));
    assert_eq!((last.positions, last.gone), (vec![3, 4, 0], Vec::new()));
    assert_eq!(
        recall(&hub, &[("a", Some(3)), ("b", Some(4))], LIMIT),
        "56 | [6, 4] @6 | []"
    );
    publish(&hub, "a", "7 8 9");
    let (late, _) = hub.recall_latest(&both, Some((first.position, until)), LIMIT);
    assert_eq!(late.gone, both[..1]);
}

/// A client that applies the entries it gets, compared with the entries that were published.
mod properties {
    use super::*;
    use proptest::{collection::vec, prelude::*};
    use std::{
        collections::{BTreeMap, BTreeSet},
        ops::Range,
    };
    use tokio::{runtime::Builder, time::advance};

    const CHANNELS: [&str; 2] = ["a", "b"];
    const CLIENTS: Range<usize> = 0..3;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        /// On a channel, with a key or without, which it may remove.
        Publish(usize, Option<u8>, bool),
        Read(usize, usize),
        ReadAll(usize),
        /// The client loses its connection and resumes from one of its positions.
        Resume(usize, prop::sample::Index),
        StartAtLatest(usize),
        SeekLatest(usize),
        /// A proxy asks for the entries after one of the client's positions.
        Recall(usize, prop::sample::Index, usize),
        Wait(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        use prop::sample::Index;
        let index = any::<Index>;
        prop_oneof![
            8 => (0..2_usize, prop::option::weighted(0.7, 0..4_u8), prop::bool::weighted(0.2))
                .prop_map(|(channel, key, removes)| Step::Publish(channel, key, removes)),
            3 => (CLIENTS, 0..60_usize).prop_map(|(client, limit)| Step::Read(client, limit)),
            1 => CLIENTS.prop_map(Step::ReadAll),
            2 => (CLIENTS, index()).prop_map(|(client, at)| Step::Resume(client, at)),
            1 => CLIENTS.prop_map(Step::StartAtLatest),
            1 => CLIENTS.prop_map(Step::SeekLatest),
            1 => (CLIENTS, index(), 0..60_usize)
                .prop_map(|(client, at, limit)| Step::Recall(client, at, limit)),
            1 => (1..40_u64).prop_map(Step::Wait),
        ]
    }

    #[derive(Clone, Debug)]
    struct Published {
        sequence: u64,
        channel: usize,
        key: Option<u8>,
        removes: bool,
    }

    /// What a client knows.
    #[derive(Clone, Debug, Default, PartialEq)]
    struct Known {
        newest: BTreeMap<(usize, u8), u64>,
        without_key: BTreeSet<u64>,
        /// Channels with a gap.
        gaps: BTreeSet<usize>,
        /// The start: entries up to it are not known.
        since: u64,
        /// The sequence number at a start at the latest entries.
        latest_at: Option<u64>,
    }

    impl Known {
        fn apply(&mut self, published: &Published) {
            let Published {
                sequence,
                channel,
                key,
                removes,
            } = *published;
            match key {
                None => _ = self.without_key.insert(sequence),
                Some(key) if removes => _ = self.newest.remove(&(channel, key)),
                Some(key) => _ = self.newest.insert((channel, key), sequence),
            }
        }

        fn note_gap(&mut self, gone: &[Channel]) {
            let has_gap = |index: &usize| gone.iter().any(|gone| gone.as_str() == CHANNELS[*index]);
            self.gaps.extend((0..CHANNELS.len()).filter(has_gap));
        }
    }

    fn sequences(entries: &Bytes) -> impl Iterator<Item = u64> {
        let lines = str::from_utf8(entries).unwrap().lines();
        lines.map(|line| line.trim_end_matches('.').parse().unwrap())
    }

    struct Client {
        reader: Option<Reader>,
        channels: &'static [&'static str],
        known: Known,
        /// Entries come after it.
        last: u64,
        positions: Vec<(u64, Known)>,
    }

    struct World {
        hub: Arc<Hub>,
        published: Vec<Published>,
        clients: Vec<Client>,
    }

    impl Client {
        fn new(hub: &Arc<Hub>, channels: &'static [&'static str]) -> Self {
            let reader = reader(hub, channels, Start::Live);
            let known = Known {
                since: reader.position(),
                ..Known::default()
            };
            Self {
                positions: vec![(reader.position(), known.clone())],
                last: reader.position(),
                reader: Some(reader),
                channels,
                known,
            }
        }

        fn start(&mut self, hub: &Arc<Hub>, start: Start) {
            self.reader = None;
            self.reader = Some(reader(hub, self.channels, start));
        }

        fn expect_latest(&mut self, at: u64) {
            (self.known, self.last) = (Known::default(), 0);
            self.known.latest_at = Some(at);
            self.positions.clear();
        }

        fn resume(&mut self, hub: &Arc<Hub>, at: prop::sample::Index) {
            if self.positions.is_empty() {
                return;
            }
            let (position, known) = at.get(&self.positions).clone();
            self.start(hub, Start::After(position));
            (self.known, self.last) = (known, position);
        }

        /// Returns false if there is nothing to read.
        fn read(&mut self, limit: usize, published: &[Published]) -> bool {
            let reader = self.reader.as_mut().unwrap();
            match reader.read(limit, None) {
                Read::Batch(batch) => {
                    for sequence in sequences(&batch.bytes) {
                        assert!(sequence > self.last, "{sequence} after {}", self.last);
                        self.last = sequence;
                        self.known.apply(&published[sequence as usize - 1]);
                        self.positions.push((sequence, self.known.clone()));
                    }
                }
                Read::Gap(gap) => self.known.note_gap(&gap.channels),
                Read::Empty => return false,
                Read::End => panic!("nothing was closed"),
            }
            let reader = self.reader.as_ref().unwrap();
            if reader.has_position() {
                self.positions.push((reader.position(), self.known.clone()));
            }
            true
        }
    }

    impl World {
        fn new(events: usize, latest_per_key: bool, bytes: usize) -> Self {
            let hub = hub(|config| {
                (config.events, config.latest_per_key, config.bytes) =
                    (events, latest_per_key, bytes);
            });
            hub.sweep.stop_for_test(true);
            let names: [&'static [&'static str]; 3] = [&["a"], &["a", "b"], &["b", "a"]];
            let clients = names.iter().map(|names| Client::new(&hub, names));
            Self {
                clients: clients.collect(),
                hub,
                published: Vec::new(),
            }
        }

        fn publish(&mut self, channel: usize, key: Option<u8>, removes: bool) {
            let removes = removes && key.is_some();
            let name = Channel::new(CHANNELS[channel]).unwrap();
            let hub = self.hub.clone();
            hub.append(&name, [()], |(), sequence, _| {
                self.published.push(Published {
                    sequence,
                    channel,
                    key,
                    removes,
                });
                let key = key.map(|key| Key {
                    text: key.to_string().into(),
                    is_removed: removes,
                });
                Sealed {
                    bytes: format!("{sequence:.<9}\n").into(),
                    key,
                }
            });
        }

        /// Compares with a client that has applied every entry since `known`'s start.
        fn check(&self, known: &Known, channels: &[&str]) {
            let is_complete = |channel: usize| {
                channels.contains(&CHANNELS[channel]) && !known.gaps.contains(&channel)
            };
            let mut all = Known::default();
            let since = |published: &&Published| {
                is_complete(published.channel) && (published.sequence > known.since)
            };
            self.published
                .iter()
                .filter(since)
                .for_each(|published| all.apply(published));
            let newest = known
                .newest
                .iter()
                .filter(|((channel, _), _)| is_complete(*channel));
            let newest: BTreeMap<_, _> = newest.map(|(key, at)| (*key, *at)).collect();
            let keeps_all = self.hub.config.latest_per_key && self.hub.config.bytes > 100_000;
            match known.latest_at {
                Some(at) if !keeps_all => all.newest.retain(|key, sequence| {
                    // The entry may have been evicted before it was read.
                    *sequence > at || newest.contains_key(key)
                }),
                _ => {}
            }
            assert_eq!(newest, all.newest, "the newest of each key");
            match known.latest_at {
                None => {
                    let is_complete = |sequence: &u64| {
                        is_complete(self.published[*sequence as usize - 1].channel)
                    };
                    let without_key = known.without_key.iter().copied().filter(is_complete);
                    assert!(without_key.eq(all.without_key), "those without a key");
                }
                Some(at) => {
                    let mut later = all.without_key.range(at + 1..);
                    assert!(later.all(|sequence| known.without_key.contains(sequence)));
                }
            }
        }

        fn recall(&self, client: usize, at: prop::sample::Index, limit: usize) {
            let client = &self.clients[client];
            if client.positions.is_empty() {
                return;
            }
            let (position, mut known) = at.get(&client.positions).clone();
            let mut positions: Vec<_> = client.channels.iter().map(|_| position).collect();
            for page in 0.. {
                assert!(page < 1000, "the pages do not end");
                let wanted = client.channels.iter().zip(&positions);
                let wanted = wanted.map(|(name, at)| (channel(name), Some(*at)));
                let recall = self.hub.recall(&wanted.collect::<Vec<_>>(), limit);
                known.note_gap(&recall.gone);
                for sequence in sequences(&recall.bytes) {
                    known.apply(&self.published[sequence as usize - 1]);
                }
                positions = recall.positions;
                if !recall.more {
                    break;
                }
            }
            self.check(&known, client.channels);
        }

        fn run(&mut self, step: Step, runtime: &tokio::runtime::Runtime) {
            let (hub, published) = (self.hub.clone(), &self.published);
            match step {
                Step::Publish(channel, key, removes) => self.publish(channel, key, removes),
                Step::Read(client, limit) => _ = self.clients[client].read(limit, published),
                Step::ReadAll(client) => {
                    let reads =
                        (0..1000).take_while(|_| self.clients[client].read(LIMIT, published));
                    assert!(reads.count() < 1000, "the reads do not end");
                    let client = &self.clients[client];
                    self.check(&client.known, client.channels);
                }
                Step::Resume(client, at) => self.clients[client].resume(&hub, at),
                Step::StartAtLatest(client) => {
                    self.clients[client].start(&hub, Start::Latest);
                    self.clients[client].expect_latest(hub.sequence());
                }
                Step::SeekLatest(client) => {
                    self.clients[client].reader.as_mut().unwrap().seek_latest();
                    self.clients[client].expect_latest(hub.sequence());
                }
                Step::Recall(client, at, limit) => self.recall(client, at, limit),
                Step::Wait(seconds) => {
                    runtime.block_on(advance(Duration::from_secs(seconds)));
                    hub.sweep_step();
                }
            }
            assert!(is_consistent(&hub));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_client_without_a_gap_knows_the_newest_entry_of_each_key(
            events in 1..6_usize,
            latest_per_key: bool,
            bytes in prop_oneof![Just(1 << 20), 1500..4000_usize],
            steps in vec(step(), 1..80),
        ) {
            let mut builder = Builder::new_current_thread();
            let runtime = builder.enable_time().start_paused(true).build().unwrap();
            let _entered = runtime.enter();
            let mut world = World::new(events, latest_per_key, bytes);
            steps.into_iter().for_each(|step| world.run(step, &runtime));
            CLIENTS.for_each(|client| world.run(Step::ReadAll(client), &runtime));
        }
    }
}
