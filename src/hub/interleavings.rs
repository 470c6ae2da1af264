//! The hub's invariants under many thread interleavings, chosen by shuttle.
//!
//! A lost wakeup blocks a thread forever, which shuttle reports as a deadlock.

mod follow;

use super::{
    tests::{LIMIT, channel, reader, with_key},
    *,
};
use shuttle::{
    check_pct, check_random,
    future::block_on,
    thread::{JoinHandle, spawn},
};
use std::{
    future::poll_fn,
    mem,
    task::{Poll, Wake, Waker},
};

/// Runs `test` with new hubs, as [`check_hub`].
fn check(config: Config, test: impl Fn(&Arc<Hub>) + Send + Sync + Copy + 'static) {
    check_hub(move || Hub::new(config.clone(), 7), test);
}

/// Runs `test` with fully random schedules and with schedules of few context switches. Its hub is clean afterwards.
fn check_hub(
    new: impl Fn() -> Arc<Hub> + Send + Sync + Clone + 'static,
    test: impl Fn(&Arc<Hub>) + Send + Sync + Copy + 'static,
) {
    let run = move || {
        let hub = new();
        test(&hub);
        assert_is_clean(&hub);
    };
    check_random(run.clone(), 2000);
    check_pct(run, 1000, 3);
}

fn config(history: bool, events: usize) -> Config {
    Config {
        history,
        events,
        max_age: Duration::from_secs(3600),
        ..tests::config()
    }
}

/// Appends an entry with its channel, its sequence number and the channel's previous sequence number.
fn append(hub: &Hub, name: &str) {
    let text = |(), sequence, previous| Bytes::from(format!("{name} {sequence} {previous}\n"));
    hub.append(&channel(name), [()], text);
}

/// Spawns a thread that appends an entry to each of these channels in turn.
fn appends(hub: &Arc<Hub>, names: &'static [&'static str]) -> JoinHandle<()> {
    in_thread(hub, |hub| names.iter().for_each(|name| append(hub, name)))
}

/// Appends entries with these channels and keys. No entry before them is missing.
fn appends_with_keys(
    hub: &Arc<Hub>,
    names: &'static [(&'static str, &'static str)],
) -> JoinHandle<()> {
    in_thread(hub, move |hub| {
        for (name, key) in names {
            let seal = |(), sequence, _| with_key(format!("{name} {sequence} 0\n"), *key);
            hub.append(&channel(name), [()], seal);
        }
    })
}

fn in_thread(hub: &Arc<Hub>, run: impl FnOnce(&Arc<Hub>) + Send + 'static) -> JoinHandle<()> {
    let hub = hub.clone();
    spawn(move || run(&hub))
}

fn join(threads: impl IntoIterator<Item = JoinHandle<()>>) {
    for thread in threads {
        thread.join().unwrap();
    }
}

/// A client that checks the order and completeness of its entries.
struct Client {
    hub: Arc<Hub>,
    names: &'static [&'static str],
    reader: Option<Reader>,
    /// The last sequence number read on each channel, at first its start position.
    last: Vec<u64>,
    /// Channels with a gap and no entry read since.
    has_gap: Vec<bool>,
    seen: Vec<u64>,
    /// The number of channels of each gap.
    gaps: Vec<usize>,
    missed: u64,
    /// Whether the next read may return an entry.
    more: bool,
    ended: bool,
    /// The waker it parked with last.
    waker: Option<Waker>,
    /// Whether it pauses after each batch, as a stream with a `min_interval` does.
    pauses: bool,
}

impl Client {
    fn new(hub: &Arc<Hub>, names: &'static [&'static str], start: Start) -> Self {
        Self::of(hub, names, reader(hub, names, start))
    }

    fn live(hub: &Arc<Hub>, names: &'static [&'static str]) -> Self {
        Self::new(hub, names, Start::Live)
    }

    /// Wraps a reader that has not read anything.
    fn of(hub: &Arc<Hub>, names: &'static [&'static str], reader: Reader) -> Self {
        Self {
            hub: hub.clone(),
            names,
            last: vec![reader.position(); names.len()],
            reader: Some(reader),
            has_gap: vec![false; names.len()],
            seen: Vec::new(),
            gaps: Vec::new(),
            missed: 0,
            more: true,
            ended: false,
            waker: None,
            pauses: false,
        }
    }

    fn reader(&mut self) -> &mut Reader {
        self.reader.as_mut().unwrap()
    }

    /// Drops its reader and resumes from its position.
    fn resume(&mut self) {
        let position = self.reader().position();
        self.reader = None;
        self.reader = Some(reader(&self.hub, self.names, Start::After(position)));
        self.more = true;
    }

    fn note(&mut self, read: Read) {
        match read {
            Read::Batch(batch) => {
                self.more = batch.more;
                let text = str::from_utf8(&batch.bytes).unwrap();
                text.lines().for_each(|line| self.entry(line));
                if self.pauses {
                    self.reader().pause();
                }
            }
            Read::Gap(gap) => {
                self.gaps.push(gap.channels.len());
                self.missed += gap.missed.unwrap_or(0);
                for channel in gap.channels {
                    let index = self.index(channel.as_str());
                    self.has_gap[index] = true;
                }
            }
            Read::Empty => self.more = false,
            Read::End => (self.more, self.ended) = (false, true),
        }
    }

    fn index(&self, name: &str) -> usize {
        self.names.iter().position(|known| *known == name).unwrap()
    }

    fn entry(&mut self, line: &str) {
        let mut words = line.split(' ');
        let index = self.index(words.next().unwrap());
        let [sequence, previous] = [(); 2].map(|()| words.next().unwrap().parse().unwrap());
        let before = self.seen.last().copied().unwrap_or(0);
        assert!(before < sequence, "{sequence} comes after {before}");
        let had_gap = mem::take(&mut self.has_gap[index]);
        assert!(
            previous <= self.last[index] || had_gap,
            "{previous} is missing before {sequence}"
        );
        self.last[index] = sequence;
        self.seen.push(sequence);
    }

    /// Reads all available entries.
    fn read(&mut self) {
        self.more = !self.ended;
        while self.more {
            let read = self.reader().read(LIMIT, None);
            self.note(read);
        }
    }

    /// Reads the next batch and parks until there is one, as a response body does.
    fn next(&mut self) {
        let mut more = self.more;
        let Self { reader, waker, .. } = self;
        let reader = reader.as_mut().unwrap();
        let read = poll_fn(|cx| {
            let last = waker.replace(cx.waker().clone());
            if last.is_some_and(|last| last.will_wake(cx.waker())) && reader.is_waiting() {
                return Poll::Pending;
            }
            loop {
                let read = match mem::take(&mut more) {
                    true => reader.read(LIMIT, Some(cx.waker())),
                    false => Read::Empty,
                };
                match read {
                    Read::Empty if reader.wait(cx.waker()) => {
                        more = true;
                        return Poll::Pending;
                    }
                    Read::Empty => more = true,
                    read => return Poll::Ready(read),
                }
            }
        });
        let read = block_on(read);
        self.note(read);
    }

    /// Reads until it has seen `count` entries.
    fn until(&mut self, count: usize) {
        while self.seen.len() < count {
            self.next();
        }
    }

    fn until_end(&mut self) {
        while !self.ended {
            self.next();
        }
    }

    /// Asserts that it has the last entry of each channel, or a gap.
    fn assert_is_complete(&mut self) {
        self.read();
        let state = self.hub.state();
        for (index, name) in self.names.iter().enumerate() {
            let log = state.get(&channel(name)).unwrap();
            assert!(
                self.last[index] >= log.last() || self.has_gap[index],
                "the end of {name} is missing"
            );
        }
    }
}

/// Reads for several readers with one waiter per channel, as a driver does.
struct Driver {
    hub: Arc<Hub>,
    clients: Vec<Client>,
    waiters: Vec<(Arc<ChannelLog>, WaiterKey)>,
    inbox: Arc<Inbox>,
    /// Whether every other pass over a channel ends with a pause.
    pauses: bool,
    passes: usize,
}

/// Indices of the channels with news, and the driver's waker.
#[derive(Default)]
struct Inbox(std::sync::Mutex<(Vec<usize>, Option<Waker>)>);

struct OfChannel(Arc<Inbox>, usize);

impl Inbox {
    fn post(&self, channel: usize) {
        let mut inbox = self.0.lock().unwrap();
        inbox.0.push(channel);
        let waker = inbox.1.take();
        drop(inbox);
        waker.into_iter().for_each(Waker::wake);
    }

    fn take(&self, waker: &Waker) -> Vec<usize> {
        let mut inbox = self.0.lock().unwrap();
        inbox.1 = Some(waker.clone());
        mem::take(&mut inbox.0)
    }
}

impl Wake for OfChannel {
    fn wake(self: Arc<Self>) {
        self.0.post(self.1);
    }
}

impl Driver {
    fn new(mut clients: Vec<Client>) -> Self {
        let hub = clients[0].hub.clone();
        let mut logs: Vec<Arc<ChannelLog>> = Vec::new();
        for log in clients.iter_mut().flat_map(|client| client.reader().logs()) {
            if !logs.iter().any(|known| Arc::ptr_eq(known, log)) {
                logs.push(log.clone());
            }
        }
        let inbox = Arc::<Inbox>::default();
        (0..logs.len()).for_each(|channel| inbox.post(channel));
        let waiters = logs
            .into_iter()
            .map(|log| (log.clone(), log.register_waiter()));
        Self {
            hub,
            clients,
            waiters: waiters.collect(),
            inbox,
            pauses: false,
            passes: 0,
        }
    }

    /// Reads for the clients of each channel with news, until `done`.
    fn run(&mut self, done: impl Fn(&[Client]) -> bool) {
        block_on(poll_fn(|cx| {
            while !done(&self.clients) {
                let news = self.inbox.take(cx.waker());
                if news.is_empty() {
                    return Poll::Pending;
                }
                news.into_iter().for_each(|channel| self.pass(channel));
            }
            Poll::Ready(())
        }));
    }

    fn pass(&mut self, channel: usize) {
        let (log, waiter) = &mut self.waiters[channel];
        let mark = log.mark(&self.hub);
        let listens = |client: &&mut Client| client.names.contains(&log.name().as_str());
        self.clients
            .iter_mut()
            .filter(listens)
            .for_each(Client::read);
        self.passes += 1;
        if self.pauses && self.passes % 2 == 1 {
            // The pause ends at some later time.
            log.pause(waiter);
            self.inbox.post(channel);
            return;
        }
        let waker = Waker::from(Arc::new(OfChannel(self.inbox.clone(), channel)));
        if !log.wait(&self.hub, waiter, &waker, mark) {
            self.inbox.post(channel);
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        for (log, waiter) in &mut self.waiters {
            log.remove_waiter(waiter);
        }
    }
}

/// Asserts that no reader or waiter is left and that the counters are consistent.
fn assert_is_clean(hub: &Hub) {
    let state = hub.state();
    assert!(state.is_consistent(&hub.config));
    assert_eq!(state.subscriptions, 0);
    for log in state.logs() {
        assert!(hub.config.history, "{} is left", log.name());
        let inner = log.lock();
        assert_eq!((inner.subscribers, inner.waiters.len()), (0, 0));
    }
}

#[test]
fn a_parked_reader_is_woken_by_each_append() {
    check(config(false, 100), |hub| {
        let mut client = Client::live(hub, &["a"]);
        let appending = [appends(hub, &["a", "a"]), appends(hub, &["a"])];
        client.until(3);
        assert_eq!(client.seen, [1, 2, 3]);
        join(appending);
    });
}

#[test]
fn a_reader_of_several_channels_is_woken_by_each_append_and_reads_in_order() {
    check(config(false, 100), |hub| {
        let mut client = Client::live(hub, &["a", "b"]);
        let appending = [appends(hub, &["a", "b"]), appends(hub, &["b", "a"])];
        client.until(4);
        assert_eq!(client.seen, [1, 2, 3, 4]);
        join(appending);
    });
}

#[test]
fn a_driver_is_woken_by_each_append() {
    for pauses in [false, true] {
        check(config(false, 100), move |hub| {
            let mut driver = driver(hub);
            driver.pauses = pauses;
            let appending = [appends(hub, &["a", "b"]), appends(hub, &["b", "a"])];
            driver.run(|clients| clients[0].seen.len() == 2 && clients[1].seen.len() == 4);
            assert_eq!(driver.clients[1].seen, [1, 2, 3, 4]);
            join(appending);
        });
    }
}

#[test]
fn a_reader_that_pauses_gets_each_entry_and_the_end() {
    check(config(false, 100), |hub| {
        let mut one = Client::live(hub, &["a"]);
        let mut both = Client::live(hub, &["a", "b"]);
        (one.pauses, both.pauses) = (true, true);
        let appending = in_thread(hub, |hub| {
            ["a", "b", "a"].iter().for_each(|name| append(hub, name));
            hub.close_channel(&channel("a"), drop);
        });
        one.until_end();
        both.until_end();
        assert_eq!((&*one.seen, &*both.seen), (&[1, 3][..], &[1, 2, 3][..]));
        join([appending]);
    });
}

#[test]
fn a_subscription_during_publishes_gets_each_entry_once() {
    check(config(true, 100), |hub| {
        let appending = [appends(hub, &["a", "b"]), appends(hub, &["b"])];
        let mut live = Client::live(hub, &["a", "b"]);
        let began = live.last[0];
        let mut replayed = Client::new(hub, &["b", "a"], Start::After(0));
        replayed.until(3);
        live.until(3 - began as usize);
        assert_eq!(replayed.seen, [1, 2, 3]);
        assert_eq!(live.seen, (began + 1..=3).collect::<Vec<_>>());
        join(appending);
    });
}

#[test]
fn a_client_that_resumes_gets_all_entries() {
    check(config(true, 100), |hub| {
        let mut client = Client::live(hub, &["a", "b"]);
        let appending = [appends(hub, &["a", "b"]), appends(hub, &["b", "a"])];
        while client.seen.len() < 4 {
            client.next();
            client.resume();
        }
        assert_eq!(client.seen, [1, 2, 3, 4]);
        join(appending);
    });
}

/// The ring holds one entry.
#[test]
fn a_lagging_reader_gets_the_number_of_missed_entries() {
    check(config(false, 1), |hub| {
        let mut client = Client::live(hub, &["a"]);
        let mut both = Client::live(hub, &["a", "b"]);
        let appending = [appends(hub, &["a", "b", "a"]), appends(hub, &["b", "a"])];
        both.next();
        client.read();
        join(appending);
        for (client, published) in [(&mut client, 3), (&mut both, 5)] {
            client.assert_is_complete();
            assert_eq!(client.seen.len() as u64 + client.missed, published);
        }
    });
}

/// The ring holds one entry. The newest entry of each key is retained.
#[test]
fn every_client_gets_the_newest_entry_of_each_key_without_a_gap() {
    let config = Config {
        latest_per_key: true,
        ..config(true, 1)
    };
    check(config, |hub| {
        let mut clients = [Client::live(hub, &["a"]), Client::live(hub, &["a", "b"])];
        let appending = [
            appends_with_keys(hub, &[("a", "x"), ("b", "x"), ("a", "y"), ("a", "x")]),
            appends_with_keys(hub, &[("b", "y"), ("a", "x"), ("b", "x")]),
        ];
        let mut latest = Client::new(hub, &["b", "a"], Start::Latest);
        latest.last.fill(0);
        clients[1].read();
        clients[1].resume();
        latest.read();
        join(appending);
        for client in clients.iter_mut().chain([&mut latest]) {
            client.read();
            assert_eq!((client.missed, client.has_gap.contains(&true)), (0, false));
            for name in client.names {
                let log = hub.state().get(&channel(name)).unwrap();
                let inner = log.lock();
                let newest = inner.log.available(0, keyed::Select::Latest).unwrap();
                let has = |(_, entry): (u64, &Entry)| client.seen.contains(&entry.sequence);
                assert!(newest.map(has).all(|has| has), "of {name}");
            }
        }
    });
}

/// A client may disconnect at any time, also between a gap and the remaining entries.
#[test]
fn a_client_that_resumes_after_a_gap_gets_a_gap_for_all_missed_entries() {
    check(config(true, 1), |hub| {
        let mut client = Client::live(hub, &["b", "a"]);
        let appending = [
            appends(hub, &["a", "b", "a", "b"]),
            appends(hub, &["a", "b"]),
        ];
        for _ in 0..2 {
            client.next();
            client.resume();
        }
        join(appending);
        client.assert_is_complete();
    });
}

#[test]
fn channels_are_removed_with_their_last_readers() {
    check(config(false, 1), |hub| {
        let subscribe_and_drop = |names| {
            in_thread(hub, move |hub| {
                for _ in 0..2 {
                    Client::live(hub, names).read();
                }
            })
        };
        let subscribing = [subscribe_and_drop(&["a", "b"]), subscribe_and_drop(&["b"])];
        join([appends(hub, &["a", "b", "a"])]);
        join(subscribing);
        assert_eq!(hub.stats().history_bytes, 0);
    });
}

/// A driver with a client of one channel and a client of two.
fn driver(hub: &Arc<Hub>) -> Driver {
    Driver::new(vec![
        Client::live(hub, &["a"]),
        Client::live(hub, &["b", "a"]),
    ])
}

#[test]
fn a_close_ends_every_reader_after_its_last_entry() {
    check(config(false, 100), |hub| {
        let (mut client, mut driver) = (Client::live(hub, &["a", "b"]), driver(hub));
        let driving = spawn(move || {
            driver.run(|clients| clients.iter().all(|client| client.ended));
            assert_eq!(driver.clients[0].seen, [1]);
            assert_eq!(driver.clients[1].seen, [1, 2]);
        });
        let closing = in_thread(hub, |hub| {
            append(hub, "a");
            append(hub, "b");
            hub.close();
        });
        client.until_end();
        assert_eq!(client.seen, [1, 2]);
        join([driving, closing]);
    });
}

/// The close may happen while the reader is parked after the last entry.
#[test]
fn a_close_ends_a_reader_of_one_channel_after_its_last_entry() {
    check(config(false, 100), |hub| {
        let mut client = Client::live(hub, &["a"]);
        let closing = in_thread(hub, |hub| {
            append(hub, "a");
            hub.close();
        });
        client.until_end();
        assert_eq!(client.seen, [1]);
        join([closing]);
    });
}

/// The ring holds one entry, and a second one is appended after the close.
#[test]
fn a_reader_gets_an_evicted_entry_as_a_gap_before_its_end() {
    check(config(false, 1), |hub| {
        let mut clients = [&["a"][..], &["a", "b"]].map(|names| Client::live(hub, names));
        let closing = in_thread(hub, |hub| {
            append(hub, "a");
            hub.close();
            append(hub, "a");
        });
        for client in &mut clients {
            client.until_end();
            assert!(client.last[0] > 0 || client.has_gap[0]);
        }
        join([closing]);
    });
}

#[test]
fn closing_a_channel_ends_its_readers_after_its_last_entry() {
    check(config(false, 100), |hub| {
        let (mut client, mut driver) = (Client::live(hub, &["a", "b"]), driver(hub));
        let driving = spawn(move || {
            driver.run(|clients| clients.iter().all(|client| client.ended));
            let has_it = |client: &Client| client.last[client.index("a")] > 0;
            assert!(driver.clients.iter().all(has_it));
        });
        let closing = in_thread(hub, |hub| {
            append(hub, "a");
            hub.close_channel(&channel("a"), drop);
        });
        let other = appends(hub, &["c", "b"]);
        client.until_end();
        assert!(client.last[0] > 0);
        join([driving, closing, other]);
    });
}

#[test]
fn a_drain_wakes_every_reader() {
    check(config(false, 100), |hub| {
        let client = Client::live(hub, &["a"]);
        let mut driver = Driver::new(vec![Client::live(hub, &["a"])]);
        let driving = {
            let hub = hub.clone();
            spawn(move || driver.run(|_| hub.drained_by().is_some()))
        };
        let draining = in_thread(hub, |hub| hub.drain(Instant::now()));
        let mut reader = client.reader.unwrap();
        block_on(poll_fn(|cx| {
            loop {
                assert_eq!(reader.read(LIMIT, None), Read::Empty);
                if hub.drained_by().is_some() {
                    return Poll::Ready(());
                }
                if reader.wait(cx.waker()) {
                    return Poll::Pending;
                }
            }
        }));
        join([driving, draining]);
    });
}

/// Every entry expires at once.
#[test]
fn a_reader_that_resumes_during_the_sweep_gets_each_entry_or_a_gap() {
    let config = Config {
        max_age: Duration::ZERO,
        ..config(true, 100)
    };
    check(config, |hub| {
        let mut client = Client::live(hub, &["a", "b"]);
        let appending = [appends(hub, &["a", "b"]), appends(hub, &["a"])];
        let sweeping = in_thread(hub, |hub| {
            (0..3).for_each(|_| drop(hub.sweep_step()));
        });
        client.read();
        client.resume();
        join(appending);
        join([sweeping]);
        client.assert_is_complete();
        drop(client);
        while hub.sweep_step() != sweep::Found::Nothing {}
        assert!(hub.state().logs().is_empty());
    });
}

/// A step of the walk covers two channels.
#[test]
fn a_close_ends_readers_of_channels_that_are_added_during_it() {
    check(config(false, 100), |hub| {
        let (mut first, leaving) = (Client::live(hub, &["a"]), Client::live(hub, &["b"]));
        let mut last = [Client::live(hub, &["c"]), Client::live(hub, &["d"])];
        let threads = [
            in_thread(hub, |hub| hub.close()),
            spawn(move || drop(leaving)),
            in_thread(hub, |hub| {
                let channels = Channels::collect(["e"], 1).unwrap();
                if let Ok((reader, _)) = hub.subscribe(&channels, Start::Live) {
                    let mut client = Client::of(hub, &["e"], reader);
                    client.until_end();
                }
            }),
        ];
        first.until_end();
        last.iter_mut().for_each(Client::until_end);
        join(threads);
    });
}

/// The budget is too small for frames.
#[test]
fn frames_are_dropped_while_readers_use_them() {
    let config = Config {
        bytes: 1000,
        ..config(true, 100)
    };
    check(config, |hub| {
        let reading = ["a", "b"].map(|name| {
            append(hub, name);
            in_thread(hub, move |hub| {
                let names: &'static [&'static str] = if name == "a" { &["a"] } else { &["b"] };
                append(hub, name);
                Client::new(hub, names, Start::After(0)).read();
            })
        });
        join([appends(hub, &["a", "c"])]);
        join(reading);
        assert_eq!((hub.frames.bytes(), hub.frames.len()), (0, 0));
    });
}
