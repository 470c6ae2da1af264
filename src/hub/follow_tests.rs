//! Hubs that follow a shared log.

use super::{
    tests::{LIMIT, after, all, channel, channels, reader, recall, waker, with_key},
    *,
};
use proptest::prelude::*;
use std::mem;

/// A warm hub in the epoch 1, at the sequence number 100.
fn hub(change: impl FnOnce(&mut Config)) -> Arc<Hub> {
    let hub = cold(change);
    hub.begin(1, 100);
    hub.warm_up();
    hub
}

fn cold(change: impl FnOnce(&mut Config)) -> Arc<Hub> {
    let mut config = super::tests::config();
    change(&mut config);
    Hub::following(config)
}

/// Appends an entry with its sequence number as text.
fn append(hub: &Hub, name: &str, sequence: u64) -> Appended {
    append_at(hub, name, sequence, Instant::now())
}

fn append_at(hub: &Hub, name: &str, sequence: u64, at: Instant) -> Appended {
    hub.follow()
        .append(&channel(name), sequence, at, |_| text(sequence))
}

fn text(sequence: u64) -> Bytes {
    format!("{sequence} ").into()
}

fn is_consistent(hub: &Hub) -> bool {
    super::tests::is_consistent(hub) && !hub.state().begun.has_stale
}

/// A close of the hub, and of the channel `a` at the next sequence number.
const ENDS: [fn(&Hub); 2] = [Hub::close, |hub| {
    let sequence = hub.sequence() + 1;
    hub.follow().close_channel(&channel("a"), sequence, drop);
}];

#[test]
fn entries_keep_their_sequence_numbers() {
    let hub = hub(|_| ());
    let mut both = reader(&hub, &["a", "b"], Start::Live);
    append(&hub, "a", 101);
    append(&hub, "b", 105);
    let mut batch = hub.follow();
    batch.advance_to(110);
    assert_eq!(hub.position(), (1, 110));
    let appended = batch.append(&channel("a"), 110, Instant::now(), |_| -> Bytes {
        unreachable!("the hub is there already")
    });
    assert_eq!(appended.subscribers, 0);
    let appended = batch.append(&channel("a"), 111, Instant::now(), |previous| {
        assert_eq!(previous, 101);
        text(111)
    });
    assert_eq!((appended.subscribers, hub.sequence()), (1, 111));
    assert_eq!(all(&mut both), "101 105 111 ");
    assert_eq!(both.position(), 111);
    assert_eq!((hub.stats().published, hub.stats().delivered), (3, 3));
    assert_eq!(after(&hub, &["a", "b"], 101), "105 111 ");
    assert_eq!(after(&hub, &["a", "b"], 100), "101 105 111 ");
    assert_eq!(after(&hub, &["a", "b"], 99), "[a,b ? @111]");
}

#[test]
fn a_batch_wakes_each_channel_once() {
    let hub = hub(|_| ());
    let ((a, a_waker), (b, b_waker)) = (waker(), waker());
    let mut one = reader(&hub, &["a"], Start::Live);
    let mut other = reader(&hub, &["b"], Start::Live);
    assert!(one.wait(&a_waker) && other.wait(&b_waker));
    let mut batch = hub.follow();
    for sequence in 101..=104 {
        let name = if sequence == 103 { "b" } else { "a" };
        batch.append(&channel(name), sequence, Instant::now(), |_| text(sequence));
    }
    assert_eq!((a.take(), b.take()), (0, 0));
    drop(batch);
    assert_eq!((a.take(), b.take()), (1, 1));
    assert_eq!(all(&mut one), "101 102 104 ");
    assert!(one.wait(&a_waker));
    hub.follow().advance_to(200);
    assert_eq!(a.take(), 0);
}

#[test]
fn a_lost_entry_is_a_gap_for_its_channel_only() {
    for history in [true, false] {
        let hub = hub(|config| config.history = history);
        let (woken, waker) = waker();
        let mut live = reader(&hub, &["a", "b"], Start::Live);
        append(&hub, "a", 101);
        assert_eq!(all(&mut live), "101 ");
        assert!(live.wait(&waker));
        append(&hub, "b", 102);
        hub.follow().lose(&channel("a"), 103);
        assert!(woken.take() > 0);
        append(&hub, "a", 104);
        assert_eq!(all(&mut live), "[a 1 @101]102 104 ");
        assert!(is_consistent(&hub));
        if history {
            assert_eq!(after(&hub, &["a"], 102), "[a ? @104]");
            assert_eq!(after(&hub, &["a"], 103), "104 ");
            assert_eq!(after(&hub, &["b"], 101), "102 ");
        }
    }
}

#[test]
fn a_lost_entry_of_a_channel_without_readers_is_a_gap_on_resume() {
    let hub = hub(|config| config.latest_per_key = true);
    hub.follow().lose(&channel("a"), 101);
    append(&hub, "b", 102);
    hub.follow().lose(&channel("b"), 103);
    hub.follow().lose(&channel("b"), 103);
    assert_eq!(hub.stats().channels, 0);
    for name in ["a", "b"] {
        assert_eq!(after(&hub, &[name], 100), format!("[{name} ? @103]"));
        assert_eq!(after(&hub, &[name], 103), "");
    }
    assert_eq!(after(&hub, &["a"], 101), "");
    assert!(is_consistent(&hub));
}

/// Otherwise the ring would overtake readers that were not woken yet.
#[test]
fn a_long_batch_is_congested() {
    let hub = hub(|config| config.events = 8);
    let (_, waker) = waker();
    let mut reader = reader(&hub, &["a"], Start::Live);
    assert!(reader.wait(&waker));
    let mut batch = hub.follow();
    let append = |batch: &mut Following<'_>, sequence| {
        let appended = batch.append(&channel("a"), sequence, Instant::now(), |_| text(sequence));
        appended.congested.is_some()
    };
    let congested = [101, 102, 103].map(|sequence| append(&mut batch, sequence));
    assert_eq!(congested, [false, true, true]);
    batch.wake();
    assert_eq!(all(&mut reader), "101 102 103 ");
    assert!(reader.wait(&waker));
    let congested = [104, 105].map(|sequence| append(&mut batch, sequence));
    assert_eq!(congested, [false, true]);
}

#[tokio::test(start_paused = true)]
async fn an_old_entry_is_not_replayed() {
    let hub = hub(|_| ());
    let start = Instant::now();
    tokio::time::advance(Duration::from_secs(100)).await;
    let mut live = reader(&hub, &["a"], Start::Live);
    append_at(&hub, "a", 101, start);
    assert_eq!(after(&hub, &["a"], 100), "[a ? @101]");
    append_at(&hub, "a", 102, start + Duration::from_secs(50));
    assert_eq!(after(&hub, &["a"], 101), "102 ");
    // Older than its predecessor, and younger than now.
    append_at(&hub, "b", 103, start);
    append_at(&hub, "b", 104, start + Duration::from_secs(500));
    assert_eq!(after(&hub, &["b"], 102), "103 104 ");
    assert_eq!(all(&mut live), "[a 1 @101]102 ", "101 has expired since");
    tokio::time::advance(Duration::from_secs(11)).await;
    assert_eq!(after(&hub, &["b"], 102), "[b ? @104]");
    assert_eq!(after(&hub, &["b"], 103), "104 ");
    assert!(is_consistent(&hub));
}

/// As after a time without a connection.
#[tokio::test(start_paused = true)]
async fn a_reader_gets_a_batch_of_old_entries() {
    let hub = hub(|_| ());
    let start = Instant::now();
    tokio::time::advance(Duration::from_secs(100)).await;
    let mut live = reader(&hub, &["a"], Start::Live);
    let mut batch = hub.follow();
    for sequence in 101..=104 {
        batch.append(&channel("a"), sequence, start, |_| text(sequence));
    }
    drop(batch);
    assert_eq!(all(&mut live), "101 102 103 104 ");
}

#[test]
fn a_close_is_recorded_with_its_sequence_number() {
    let hub = hub(|config| config.records_closes = true);
    let (count, waker) = waker();
    let mut one = reader(&hub, &["a"], Start::Live);
    append(&hub, "a", 101);
    assert_eq!(all(&mut one), "101 ");
    assert!(one.wait(&waker));
    let mut batch = hub.follow();
    batch.close_channel(&channel("a"), 103, |last| assert_eq!(last, 101));
    batch.close_channel(&channel("never"), 104, |last| assert_eq!(last, 100));
    assert_eq!((count.take(), hub.sequence()), (1, 104));
    assert_eq!(hub.last_close(&[channel("a")]), 103);
    drop(batch);
    append(&hub, "a", 105);
    assert_eq!(all(&mut one), "END");
    assert_eq!(after(&hub, &["a"], 101), "105 ");
}

#[test]
fn a_begin_is_one_gap_for_each_reader() {
    for names in [&["a"][..], &["a", "b"], &["a", "b", "quiet"]] {
        let hub = hub(|_| ());
        let ((count, waker), all_names) = (super::tests::waker(), names.join(","));
        let [mut at_end, mut behind, mut parked] =
            [(); 3].map(|()| reader(&hub, names, Start::Live));
        append(&hub, "a", 101);
        append(&hub, "b", 102);
        let read = if names.len() == 1 { "101 " } else { "101 102 " };
        assert_eq!([all(&mut at_end), all(&mut parked)], [read; 2]);
        assert!(parked.wait(&waker));
        hub.begin(2, 200);
        assert!(count.take() > 0 && !parked.is_waiting() && !parked.wait(&waker));
        assert!(behind.has_gap() && !behind.has_position());
        assert_eq!(all(&mut parked), format!("[{all_names} ? @200]"));
        assert!(parked.wait(&waker));
        append(&hub, "a", 201);
        for reader in [&mut at_end, &mut behind] {
            assert_eq!(all(reader), format!("[{all_names} ? @200]201 "));
        }
        assert_eq!(all(&mut parked), "201 ");
        assert_eq!(hub.position(), (2, 201));
        assert_eq!((hub.stats().resets, hub.stats().lagged), (3, 0));
        assert!(is_consistent(&hub));
    }
}

#[test]
fn a_begin_forgets_every_entry() {
    let hub = hub(|config| config.latest_per_key = true);
    let keyed = |name, sequence: u64| {
        let seal = |_| with_key(text(sequence), sequence.to_string());
        hub.follow()
            .append(&channel(name), sequence, Instant::now(), seal)
    };
    let mut lagging = reader(&hub, &["0", "keys"], Start::Live);
    let mut latest = reader(&hub, &["keys", "0"], Start::Latest);
    (101..110).for_each(|sequence| drop(keyed("keys", sequence)));
    (110..1000).for_each(|sequence| drop(append(&hub, &(sequence % 300).to_string(), sequence)));
    drop(reader(&hub, &["0"], Start::After(200)));
    hub.begin(2, 1000);
    assert!(is_consistent(&hub));
    let stats = hub.stats();
    assert_eq!((stats.history_bytes, hub.frames.bytes()), (0, 0));
    assert_eq!(hub.state().logs().len(), 2, "those with readers");
    assert_eq!(after(&hub, &["0", "7"], 999), "[0,7 ? @1000]");
    assert_eq!(after(&hub, &["0", "7"], 1000), "");
    let missed = recall(&hub, &[("0", Some(999)), ("7", Some(1000))], LIMIT);
    assert_eq!(missed, r#" | [1000, 1000] @1000 | ["0"]"#);
    keyed("keys", 1001);
    keyed("keys", 1002);
    assert_eq!(all(&mut lagging), "[0,keys ? @1000]1001 1002 ");
    assert_eq!(all(&mut latest), "[keys,0 ? @1000]1001 1002 ");
    assert_eq!(after(&hub, &["keys"], 1001), "1002 ");
    assert!(is_consistent(&hub));
}

#[test]
fn joined_frames_are_forgotten() {
    let hub = hub(|_| ());
    append(&hub, "a", 101);
    append(&hub, "a", 102);
    let _awake = hub.state().get(&channel("a")).unwrap().register_waiter();
    assert_eq!(after(&hub, &["a"], 100), "101 102 ");
    assert!(hub.frames.bytes() > 0);
    hub.begin(1, 103);
    assert_eq!((hub.frames.bytes(), hub.frames.len()), (0, 0));
    append(&hub, "a", 104);
    append(&hub, "a", 105);
    assert_eq!(after(&hub, &["a"], 103), "104 105 ");
}

#[test]
fn a_lag_after_a_begin_is_within_its_gap() {
    let hub = hub(|_| ());
    let mut one = reader(&hub, &["a"], Start::Live);
    let mut both = reader(&hub, &["a", "b"], Start::Live);
    hub.begin(2, 200);
    (201..=210).for_each(|sequence| drop(append(&hub, "a", sequence)));
    assert_eq!(all(&mut one), "[a ? @206]207 208 209 210 ");
    assert_eq!(all(&mut both), "[a,b ? @206]207 208 209 210 ");
    (211..=215).for_each(|sequence| drop(append(&hub, "a", sequence)));
    assert_eq!(all(&mut one), "[a 1 @211]212 213 214 215 ");
    assert_eq!(hub.stats().lagged, 1);
}

#[test]
fn readers_end_after_the_gap_of_a_begin() {
    for end in ENDS {
        let hub = hub(|_| ());
        let mut one = reader(&hub, &["a"], Start::Live);
        let mut both = reader(&hub, &["a", "b"], Start::Live);
        append(&hub, "a", 101);
        end(&hub);
        hub.begin(2, 200);
        append(&hub, "a", 201);
        assert_eq!(all(&mut one), "[a ? @200]END");
        assert_eq!(all(&mut both), "[a,b ? @200]END");
    }
}

#[test]
fn a_cold_hub_shows_no_entries_and_then_a_gap() {
    for names in [&["a"][..], &["a", "b"]] {
        let hub = cold(|_| ());
        let (count, waker) = waker();
        assert!(hub.is_cold() && !hub.has_positions());
        let mut early = reader(&hub, names, Start::Live);
        hub.begin(1, 100);
        let mut with_position = reader(&hub, names, Start::After(100));
        append(&hub, "a", 101);
        count.take();
        for reader in [&mut early, &mut with_position] {
            assert_eq!(reader.read(LIMIT, Some(&waker)), Read::Empty);
            assert!(reader.wait(&waker) && reader.has_gap() && !reader.has_position());
        }
        append(&hub, "a", 102);
        assert_eq!(count.take(), 0, "a cold reader is not woken by entries");
        assert_eq!(early.is_waiting(), names.len() == 1);
        hub.warm_up();
        assert!(count.take() > 0 && !early.is_waiting() && !early.wait(&waker));
        append(&hub, "a", 103);
        let gap = format!("[{} ? @103]", names.join(","));
        assert_eq!([all(&mut early), all(&mut with_position)], [&*gap; 2]);
        append(&hub, "a", 104);
        assert_eq!([all(&mut early), all(&mut with_position)], ["104 "; 2]);
        assert_eq!((hub.stats().published, hub.stats().resets), (2, 2));
        assert!(hub.has_positions() && is_consistent(&hub));
    }
}

#[test]
fn a_waiter_of_a_driver_is_woken_when_the_hub_is_warm() {
    let hub = cold(|_| ());
    let (count, waker) = waker();
    let mut one = reader(&hub, &["a"], Start::Live);
    let log = one.logs().next().unwrap().clone();
    let mut waiter = log.register_waiter();
    for is_draining in [false, true] {
        if is_draining {
            hub.drain(Instant::now());
            assert_eq!(count.take(), 1);
        }
        let mark = log.mark(&hub);
        assert_eq!(one.read(LIMIT, None), Read::Empty);
        assert!(log.wait(&hub, &mut waiter, &waker, mark));
    }
    let mark = log.mark(&hub);
    hub.warm_up();
    assert_eq!(count.take(), 1);
    assert!(
        !log.wait(&hub, &mut waiter, &waker, mark),
        "the mark is outdated"
    );
    assert_eq!(all(&mut one), "[a ? @0]");
    log.remove_waiter(&waiter);
}

#[test]
fn readers_of_a_cold_hub_end() {
    for end in ENDS {
        let hub = cold(|_| ());
        let ((one_count, one_waker), (count, waker)) = (waker(), super::tests::waker());
        let mut one = reader(&hub, &["a"], Start::Live);
        let mut both = reader(&hub, &["b", "a"], Start::Live);
        append(&hub, "a", 6);
        assert_eq!([all(&mut one), all(&mut both)], [""; 2]);
        assert!(one.wait(&one_waker) && both.wait(&waker));
        end(&hub);
        assert!(one_count.take() > 0 && count.take() > 0);
        assert!(!one.wait(&one_waker) && !both.wait(&waker));
        assert_eq!([all(&mut one), all(&mut both)], ["END"; 2]);
        hub.warm_up();
        assert_eq!(all(&mut one), "END");
    }
}

#[test]
fn a_drain_wakes_readers_of_a_cold_hub() {
    let hub = cold(|_| ());
    let (count, waker) = waker();
    let mut one = reader(&hub, &["a"], Start::Live);
    assert_eq!(all(&mut one), "");
    assert!(one.wait(&waker) && !hub.is_closing());
    hub.drain(Instant::now());
    assert!(count.take() == 1 && !one.is_waiting() && hub.is_closing());
    let refused = hub.subscribe(&channels(&["a"]), Start::Live).unwrap_err();
    assert_eq!(refused, Refused::Closed);
    assert_eq!(all(&mut one), "");
    assert!(one.wait(&waker));
}

#[test]
fn a_cold_start_can_be_replaced() {
    let hub = cold(|_| ());
    let [mut live, mut at, mut gone] = [(); 3].map(|()| reader(&hub, &["a", "b"], Start::Live));
    hub.begin(1, 100);
    append(&hub, "a", 101);
    append(&hub, "b", 102);
    assert!(!at.seek(101) && at.rejoin(Start::After(101)) == 0);
    assert_eq!(all(&mut at), "", "it is still cold");
    hub.warm_up();
    live.rejoin(Start::Live);
    assert_eq!(at.rejoin(Start::After(101)), 1);
    gone.rejoin(Start::After(99));
    append(&hub, "a", 103);
    assert_eq!(all(&mut live), "103 ");
    assert_eq!((at.has_gap(), all(&mut at)), (false, "102 103 ".into()));
    assert_eq!(all(&mut gone), "[a,b ? @102]103 ");
    assert_eq!((hub.stats().resets, hub.stats().replayed), (1, 1));
}

/// Its position is from an instance that is ahead.
#[test]
fn a_reader_seeks_once_the_hub_has_caught_up() {
    for names in [&["a"][..], &["b", "a"]] {
        let hub = hub(|_| ());
        let mut one = reader(&hub, names, Start::Live);
        append(&hub, "a", 101);
        assert!(!one.seek(103), "not reached yet");
        append(&hub, "b", 103);
        append(&hub, "a", 104);
        assert!(one.seek(103));
        append(&hub, "a", 105);
        assert_eq!(all(&mut one), "104 105 ");
        assert!(one.seek(103));
        assert_eq!((all(&mut one), hub.stats().resets), ("104 105 ".into(), 0));
        hub.follow().close_channel(&channel("a"), 106, drop);
        append(&hub, "a", 107);
        assert!(one.seek(104));
        assert_eq!(all(&mut one), "105 END");
        assert!(one.seek(106));
        assert_eq!(all(&mut one), "END");
    }
}

#[test]
fn a_seek_to_a_lost_position_changes_nothing() {
    let hub = hub(|_| ());
    let mut one = reader(&hub, &["b", "a"], Start::Live);
    append(&hub, "b", 101);
    (102..=107).for_each(|sequence| drop(append(&hub, "a", sequence)));
    assert!(!one.seek(102), "103 is gone");
    assert_eq!(all(&mut one), "[a 2 @100]101 104 105 106 107 ");
    assert!(!one.seek(102));
    one.lose_position();
    append(&hub, "b", 108);
    assert_eq!(all(&mut one), "[b,a ? @107]108 ");
    hub.begin(2, 200);
    append(&hub, "a", 201);
    assert!(!one.seek(108), "it is from the earlier epoch");
    assert!(one.seek(200));
    assert_eq!(all(&mut one), "201 ");
}

#[derive(Clone, Debug)]
enum Step {
    Append(usize, u64),
    Skip(u64),
    Begin(u64),
    Subscribe(Vec<usize>, u64),
    Read(usize, usize),
    Seek(usize, u64),
    Lose(usize),
    Drop(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0..3_usize, 1..3_u64).prop_map(|(channel, by)| Step::Append(channel, by)),
        1 => (1..4_u64).prop_map(Step::Skip),
        1 => (0..3_u64).prop_map(Step::Begin),
        2 => (prop::sample::subsequence(vec![0, 1, 2], 1..=3), 0..12_u64)
            .prop_map(|(channels, back)| Step::Subscribe(channels, back)),
        6 => (0..4_usize, 0..9_usize).prop_map(|(reader, limit)| Step::Read(reader, limit)),
        1 => (0..4_usize, 0..8_u64).prop_map(|(reader, back)| Step::Seek(reader, back)),
        1 => (0..4_usize).prop_map(Step::Lose),
        1 => (0..4_usize).prop_map(Step::Drop),
    ];
    prop::collection::vec(step, 1..120)
}

/// All entries since the last begin, by channel.
#[derive(Default)]
struct Model {
    entries: Vec<(usize, u64)>,
    begins: usize,
}

/// A reader, and the state that its results must match.
struct Modelled {
    reader: Reader,
    channels: Vec<usize>,
    /// The last entry that it has read or missed on each channel, by the position in `channels`.
    last: Vec<u64>,
    /// The begins that it has reported.
    begins: usize,
    /// Whether a gap of all channels is the next result.
    gap: bool,
}

const NAMES: [&str; 3] = ["a", "b", "c"];

impl Modelled {
    fn read(&mut self, model: &Model, limit: usize) {
        match self.reader.read(limit, None) {
            Read::Batch(batch) => {
                assert!(self.begins == model.begins && !self.gap);
                let text = String::from_utf8(batch.bytes.to_vec()).unwrap();
                let sequences = text.split_whitespace().map(|text| text.parse().unwrap());
                sequences.for_each(|sequence| self.entry(model, sequence));
            }
            Read::Gap(gap) => self.gap(model, &gap),
            Read::Empty => {
                assert!(self.begins == model.begins && !self.gap);
                let next = model.entries.iter().find(|entry| self.is_unread(entry));
                assert_eq!(next, None, "it is missing");
            }
            Read::End => panic!("nothing was closed"),
        }
    }

    fn is_unread(&self, (channel, sequence): &(usize, u64)) -> bool {
        let index = self.channels.iter().position(|known| known == channel);
        index.is_some_and(|index| *sequence > self.last[index])
    }

    /// It is the next unread entry of all its channels.
    fn entry(&mut self, model: &Model, sequence: u64) {
        let next = model.entries.iter().find(|entry| self.is_unread(entry));
        let (channel, next) = *next.expect("an entry");
        assert_eq!(sequence, next);
        let index = self.channels.iter().position(|known| *known == channel);
        self.last[index.unwrap()] = sequence;
    }

    /// A gap covers the unread entries that the logs have lost.
    fn gap(&mut self, model: &Model, gap: &Gap) {
        let all = self.channels.iter().map(|channel| NAMES[*channel]);
        let is_begin = self.begins != model.begins;
        assert_eq!(gap.missed.is_none(), is_begin || self.gap);
        if gap.missed.is_none() {
            let channels = gap.channels.iter().map(|channel| channel.as_str());
            assert!(channels.eq(all));
        }
        if mem::take(&mut self.gap) && !is_begin {
            // It was known at the start, and the cursors are at the ends of that time.
            return;
        }
        let (begins, lost) = (model.begins, self.lost());
        let mut missed = 0;
        for ((channel, last), lost) in self.channels.iter().zip(&mut self.last).zip(lost) {
            let of_channel = model.entries.iter().filter(|entry| entry.0 == *channel);
            missed += of_channel
                .filter(|entry| *last < entry.1 && entry.1 <= lost)
                .count() as u64;
            *last = lost.max(*last);
        }
        if let Some(count) = gap.missed {
            assert!(count == missed && count > 0, "{count} of {missed}");
        }
        self.begins = begins;
    }

    fn lost(&self) -> Vec<u64> {
        let logs = self.reader.logs();
        logs.map(|log| log.lock().log.lost().sequence).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 500 }))]

    #[test]
    fn a_reader_gets_each_entry_in_order_or_a_gap(steps in steps()) {
        let hub = hub(|config| config.events = 3);
        let (mut model, mut readers) = (Model::default(), Vec::<Modelled>::new());
        for step in steps {
            take(&hub, &mut model, &mut readers, step);
            prop_assert!(is_consistent(&hub));
        }
        for reader in &mut readers {
            (0..9).for_each(|_| reader.read(&model, LIMIT));
        }
    }
}

fn take(hub: &Arc<Hub>, model: &mut Model, readers: &mut Vec<Modelled>, step: Step) {
    let (sequence, count) = (hub.sequence(), readers.len());
    match step {
        Step::Append(channel, by) => {
            append(hub, NAMES[channel], sequence + by);
            model.entries.push((channel, sequence + by));
        }
        Step::Skip(by) => hub.follow().advance_to(sequence + by),
        Step::Begin(by) => {
            hub.begin(hub.epoch() + u64::from(by > 0), sequence + by);
            model.entries.clear();
            model.begins += 1;
        }
        Step::Subscribe(channels, back) => {
            let names: Vec<_> = channels.iter().map(|channel| NAMES[*channel]).collect();
            let position = sequence.saturating_sub(back);
            let reader = reader(hub, &names, Start::After(position));
            let is_gap = reader.has_gap();
            let is_gone = |log: &Arc<ChannelLog>| log.lock().log.lost().sequence > position;
            if is_gap && !reader.logs().all(is_gone) {
                // Some channels are replayed, others are at their end: checked elsewhere.
                return;
            }
            let start = if is_gap { sequence } else { position };
            readers.push(Modelled {
                reader,
                last: vec![start; channels.len()],
                channels,
                begins: model.begins,
                gap: is_gap,
            });
        }
        _ if count == 0 => {}
        Step::Read(index, limit) => readers[index % count].read(model, limit),
        Step::Seek(index, back) => {
            let (modelled, after) = (&mut readers[index % count], sequence.saturating_sub(back));
            let is_kept = modelled.lost().iter().all(|lost| *lost <= after);
            assert_eq!(modelled.reader.seek(after), is_kept);
            if is_kept {
                modelled.last.fill(after);
                (modelled.begins, modelled.gap) = (model.begins, false);
            }
        }
        Step::Lose(index) => {
            let modelled = &mut readers[index % count];
            modelled.reader.lose_position();
            modelled.last.fill(sequence);
            (modelled.begins, modelled.gap) = (model.begins, true);
        }
        Step::Drop(index) => drop(readers.swap_remove(index % count)),
    }
}
