//! Counters compared with the logs after random operations.

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Publish(u8, usize),
    Subscribe(Vec<u8>, Option<u64>),
    Read(usize, usize),
    Wait(usize),
    Leave(usize),
    CloseChannel(u8),
    Advance(u64),
    Sweep,
}

fn step() -> impl Strategy<Value = Step> {
    let name = 0..6_u8;
    prop_oneof![
        8 => (name.clone(), prop_oneof![4 => 0..200_usize, 1 => 500..5000_usize])
            .prop_map(|(name, length)| Step::Publish(name, length)),
        3 => (vec(name.clone(), 1..4), any::<Option<u8>>())
            .prop_map(|(names, after)| Step::Subscribe(names, after.map(u64::from))),
        6 => (any::<usize>(), 0..1000_usize).prop_map(|(reader, limit)| Step::Read(reader, limit)),
        3 => any::<usize>().prop_map(Step::Wait),
        2 => any::<usize>().prop_map(Step::Leave),
        1 => name.prop_map(Step::CloseChannel),
        2 => (0..40_u64).prop_map(Step::Advance),
        1 => Just(Step::Sweep),
    ]
}

/// A hub and the expected values of its counters.
struct Model {
    hub: Arc<Hub>,
    readers: Vec<Reader>,
    expected: Stats,
}

impl Model {
    fn new(history: bool) -> Self {
        let hub = hub(|config| {
            (config.history, config.bytes) = (history, 10_000);
        });
        Self {
            hub: without_sweep(hub),
            readers: Vec::new(),
            expected: Stats::default(),
        }
    }

    async fn step(&mut self, step: Step) {
        let count = self.readers.len();
        match step {
            Step::Publish(name, length) => {
                self.expected.delivered += publish_line(&self.hub, name, length) as u64;
                self.expected.published += 1;
            }
            Step::Subscribe(names, after) => self.subscribe(&names, after),
            Step::Read(index, limit) if count > 0 => self.read(index % count, limit),
            Step::Wait(index) if count > 0 => {
                _ = self.readers[index % count].wait(Waker::noop());
            }
            Step::Leave(index) if count > 0 => drop(self.readers.remove(index % count)),
            Step::CloseChannel(name) => self.hub.close_channel(&channel(name), drop),
            Step::Advance(seconds) => advance(Duration::from_secs(seconds)).await,
            Step::Sweep => _ = self.hub.sweep_step(),
            Step::Read(..) | Step::Wait(_) | Step::Leave(_) => {}
        }
    }

    fn subscribe(&mut self, names: &[u8], after: Option<u64>) {
        let names = names.iter().map(u8::to_string);
        let channels = Channels::collect(names, 100).unwrap();
        let start = after.map_or(Start::Live, Start::After);
        let (reader, replayed) = self.hub.subscribe(&channels, start).unwrap();
        self.readers.push(reader);
        self.expected.replayed += replayed;
    }

    fn read(&mut self, index: usize, limit: usize) {
        if let Read::Gap(gap) = self.readers[index].read(limit, None) {
            self.expected.resets += 1;
            self.expected.lagged += gap.missed.unwrap_or(0);
        }
    }

    fn check(&self) {
        assert!(is_consistent(&self.hub));
        let logs = self.hub.state().logs();
        let frames = logs.iter().map(|log| log.lock().log.frames_size());
        assert_eq!(self.hub.frames.bytes(), frames.sum::<usize>());
        let (read, unread): (Vec<_>, Vec<_>) = logs.iter().partition(|log| log.subscribers() > 0);
        let keeps = |log: &&Arc<ChannelLog>| self.hub.config.history && !log.lock().log.is_empty();
        assert!(unread.iter().all(keeps));
        let stats = self.hub.stats();
        let expected = Stats {
            subscriptions: self.readers.len(),
            channels: read.len(),
            history_bytes: stats.history_bytes,
            ..self.expected
        };
        assert_eq!(stats, expected);
    }
}

/// Returns the number of subscribers.
fn publish_line(hub: &Hub, name: u8, length: usize) -> usize {
    let mut line = vec![b'x'; length];
    line.push(b'\n');
    let appended = hub.append(&channel(name), [line], |line, _, _| Bytes::from(line));
    let exempt = (length + 1) * usize::from(length + 1 > hub.config.share());
    assert!(hub.state().bytes + hub.frames.bytes() <= hub.config.bytes + exempt);
    appended.subscribers
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn counters_match_the_logs(history: bool, steps in vec(step(), 0..150)) {
        paused().block_on(async {
            let mut model = Model::new(history);
            for step in steps {
                model.step(step).await;
                model.check();
            }
            let hub = model.hub.clone();
            drop(model);
            assert_eq!((hub.stats().channels, hub.frames.bytes()), (0, 0));
            assert!(history || hub.stats().history_bytes == 0);
        });
    }
}
