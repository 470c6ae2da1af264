//! Engines that fail in the middle of something, and clocks that disagree.

use super::Instance;
use axum_eventstream::{
    ErrorKind, Event, EventStream, History,
    backplane::{
        Attached, Backplane, Batch, Committed, Content, Entry, Failure, FailureKind, Head, Known,
        Reader, Writer,
    },
    testing::backplane::Memory,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::{
    runtime::{Builder, Runtime},
    time::{sleep, timeout},
};
use tokio_stream::StreamExt;

const HOUR: Duration = Duration::from_secs(3600);

/// An engine in memory with more faults.
#[derive(Clone)]
struct Bent {
    memory: Memory,
    faults: Arc<Faults>,
}

#[derive(Default)]
struct Faults {
    /// Appends are not accepted.
    is_unavailable: AtomicBool,
    /// The next read panics.
    panics: AtomicBool,
    /// The engine's clock is an hour slow.
    is_slow: AtomicBool,
    /// Entries are an hour old.
    are_old: AtomicBool,
    /// The log has another epoch, whose entries continue the earlier one's.
    is_replaced: AtomicBool,
}

impl Faults {
    /// The epoch as an instance sees it, from the engine's, and the other way round.
    fn renamed(&self, epoch: u64) -> u64 {
        epoch ^ u64::from(self.is_replaced.load(SeqCst))
    }
}

struct BentWriter(<Memory as Backplane>::Writer, Arc<Faults>);
struct BentReader(<Memory as Backplane>::Reader, Arc<Faults>);

impl Bent {
    fn new(memory: &Memory) -> Self {
        Self {
            memory: memory.clone(),
            faults: Arc::default(),
        }
    }

    async fn warm(&self) -> Instance {
        let builder = EventStream::builder().backplane(self.clone());
        let instance = Instance::of(builder.build().unwrap());
        assert!(instance.es.catch_up().await);
        instance
    }
}

impl Backplane for Bent {
    type Writer = BentWriter;
    type Reader = BentReader;

    fn name(&self) -> String {
        "bent".into()
    }

    async fn connect(&self) -> Result<(BentWriter, BentReader), Failure> {
        let (writer, reader) = self.memory.connect().await?;
        let faults = || self.faults.clone();
        Ok((BentWriter(writer, faults()), BentReader(reader, faults())))
    }
}

impl Writer for BentWriter {
    async fn attach(&self, known: &Known) -> Result<Attached, Failure> {
        let mut attached = self.0.attach(known).await?;
        if self.1.is_slow.load(SeqCst) {
            attached.time -= HOUR;
        }
        attached.epoch = self.1.renamed(attached.epoch);
        Ok(attached)
    }

    async fn append(&self, mut batch: Batch<'_>) -> Result<Committed, Failure> {
        batch.epoch = self.1.renamed(batch.epoch);
        match self.1.is_unavailable.load(SeqCst) {
            true => Err(Failure::new(FailureKind::Unavailable, "a test")),
            false => self.0.append(batch).await,
        }
    }

    async fn head(&self) -> Result<Head, Failure> {
        let mut head = self.0.head().await?;
        head.epoch = self.1.renamed(head.epoch);
        Ok(head)
    }
}

impl Reader for BentReader {
    async fn read(&mut self, after: u64) -> Result<Vec<Entry>, Failure> {
        let mut entries = self.0.read(after).await?;
        assert!(!self.1.panics.swap(false, SeqCst), "a test");
        let is_older = self.1.is_slow.load(SeqCst) || self.1.are_old.load(SeqCst);
        for entry in &mut entries {
            if let Content::Published(publication) = &mut entry.content
                && is_older
            {
                publication.at -= HOUR;
            }
        }
        Ok(entries)
    }
}

fn event(text: &str) -> Event {
    Event::text("message", text).unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_not_published_does_not_come_later() {
    let memory = Memory::new();
    let bent = Bent::new(&memory);
    let (a, b) = (bent.warm().await, Instance::warm(&memory).await);
    let mut at_b = b.client.get("/room").await;
    memory.down();
    let publish = |text| {
        let es = a.es.clone();
        tokio::spawn(async move { es.publish_event("room", event(text)).await })
    };
    let one = publish("one");
    sleep(Duration::from_secs(5)).await;
    let two = publish("two");
    sleep(Duration::from_millis(10)).await;
    bent.faults.is_unavailable.store(true, SeqCst);
    memory.up();
    let error = one.await.unwrap().unwrap_err();
    bent.faults.is_unavailable.store(false, SeqCst);
    two.await.unwrap().unwrap();
    // Both are in one batch, and the second one is still wanted.
    assert_eq!(error.kind(), ErrorKind::MaybePublished, "{error}");
    at_b.expect_text("message", "one").await;
    at_b.expect_text("message", "two").await;
}

#[tokio::test(start_paused = true)]
async fn an_append_that_was_cancelled_may_have_been_done() {
    for _ in 0..20 {
        let memory = Memory::new();
        let a = Instance::warm(&memory).await;
        memory.slow(Duration::from_secs(1));
        sleep(Duration::from_secs(20)).await;
        let before = memory.entries();
        let es = a.es.clone();
        let publish = tokio::spawn(async move { es.publish_event("room", event("one")).await });
        sleep(Duration::from_millis(700)).await;
        assert_eq!(memory.entries(), before + 1);
        memory.down();
        memory.full(true);
        sleep(Duration::from_millis(1)).await;
        memory.up();
        if let Err(error) = publish.await.unwrap() {
            assert_eq!(error.kind(), ErrorKind::MaybePublished, "{error}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_of_which_some_events_are_published_may_be_published() {
    let memory = Memory::new();
    let a = Instance::warm(&memory).await;
    memory.slow(Duration::from_millis(100));
    sleep(Duration::from_secs(20)).await;
    let es = a.es.clone();
    let list = tokio::spawn(async move {
        let events = (0..600).map(|n: u32| event(&n.to_string()));
        es.publish_events("room", events.collect::<Vec<_>>()).await
    });
    sleep(Duration::from_millis(120)).await;
    memory.full(true);
    let error = list.await.unwrap().unwrap_err();
    assert_eq!(memory.entries(), 513);
    assert_eq!(error.kind(), ErrorKind::MaybePublished);
    assert!(
        error
            .to_string()
            .starts_with("512 of 600 events are published"),
        "{error}"
    );
}

fn runtime() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_all().start_paused(true).build().unwrap()
}

#[test]
fn a_subscription_connects_a_stream_that_was_built_without_a_runtime() {
    let memory = Memory::new();
    let b = Instance::new(&memory).es;
    runtime().block_on(async {
        let a = Instance::warm(&memory).await;
        let mut subscription = b.subscribe(["room"]).unwrap();
        a.publish("room", "one").await.unwrap();
        assert!(
            timeout(Duration::from_secs(60), subscription.next())
                .await
                .is_ok()
        );
    });
}

#[test]
fn a_publish_ends_although_the_runtime_of_the_driver_stands_still() {
    let (one, two) = (runtime(), runtime());
    let es = one.block_on(async { Instance::new(&Memory::new()).es });
    two.block_on(async {
        let publish = es.publish_event("room", event("one"));
        let outcome = timeout(Duration::from_secs(60), publish).await;
        assert_eq!(
            outcome.unwrap().unwrap_err().kind(),
            ErrorKind::MaybePublished
        );
    });
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_has_panicked_is_connected_again() {
    let memory = Memory::new();
    let bent = Bent::new(&memory);
    let (a, b) = (Instance::warm(&memory).await, bent.warm().await);
    let mut stream = b.client.get("/room").await;
    bent.faults.panics.store(true, SeqCst);
    a.publish("room", "one").await.unwrap();
    sleep(Duration::from_secs(6)).await;
    let mut later = b.client.get("/room").await;
    stream.expect_text("message", "one").await;
    a.publish("room", "two").await.unwrap();
    stream.expect_text("message", "two").await;
    later.expect_text("message", "one").await;
    later.expect_text("message", "two").await;
}

#[tokio::test(start_paused = true)]
async fn entries_that_an_instance_reads_late_reset_nobody() {
    let memory = Memory::new();
    let (link, a) = (memory.link(), Instance::warm(&memory).await);
    let bent = Bent::new(&link);
    let b = bent.warm().await;
    let mut stream = b.client.get("/w+x+y+z").await;
    link.down();
    bent.faults.are_old.store(true, SeqCst);
    for n in 0..200 {
        let channel = ["w", "x", "y", "z"][n % 4];
        a.publish(channel, &n.to_string()).await.unwrap();
    }
    link.up();
    for n in 0..200 {
        stream.expect_text("message", &n.to_string()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_engine_whose_clock_is_set_back_resets_nobody() {
    let bent = Bent::new(&Memory::new());
    let history = History::memory().max_age(Duration::from_secs(2));
    let builder = EventStream::builder().history(history);
    let a = Instance::of(builder.backplane(bent.clone()).build().unwrap());
    a.publish("room", "zero").await.unwrap();
    bent.faults.is_slow.store(true, SeqCst);
    // The next attach shows it.
    sleep(Duration::from_secs(6)).await;
    let id = a.publish("room", "one").await.unwrap().id.unwrap();
    a.publish("room", "two").await.unwrap();
    a.resuming(&id)
        .get("/room")
        .await
        .expect_text("message", "two")
        .await;
}

#[tokio::test(start_paused = true)]
async fn an_old_session_keeps_its_history() {
    let a = Instance::warm(&Memory::new()).await;
    sleep(Duration::from_secs(400)).await;
    let id = a.publish("room", "one").await.unwrap().id.unwrap();
    a.publish("room", "two").await.unwrap();
    a.resuming(&id)
        .get("/room")
        .await
        .expect_text("message", "two")
        .await;
}

#[tokio::test(start_paused = true)]
async fn an_epoch_that_continues_the_sequences_of_another_resets_all_clients() {
    let bent = Bent::new(&Memory::new().in_blocks());
    let a = bent.warm().await;
    a.publish("room", "zero").await.unwrap();
    let mut stream = a.client.get("/room").await;
    let before = a.es.current_id().unwrap();
    bent.faults.is_replaced.store(true, SeqCst);
    let one = a.publish("room", "one").await.unwrap().id.unwrap();
    assert_ne!(one.epoch(), before.epoch());
    stream.expect("stream-reset").await;
    stream.expect_text("message", "one").await;
    assert_eq!(stream.last_event_id(), Some(one.to_string().as_str()));
}

#[tokio::test(start_paused = true)]
async fn an_epoch_without_entries_is_no_loss() {
    let bent = Bent::new(&Memory::new().in_blocks());
    let a = bent.warm().await;
    bent.faults.is_replaced.store(true, SeqCst);
    // Several attaches.
    sleep(Duration::from_secs(30)).await;
    assert_eq!(a.es.stats().backplane_resets, 1);
    a.publish("room", "one").await.unwrap();
    assert_eq!(a.es.stats().backplane_resets, 1);
}

#[tokio::test(start_paused = true)]
async fn a_position_of_another_epoch_is_awaited() {
    let bent = Bent::new(&Memory::new());
    let a = bent.warm().await;
    let before = a.es.current_id().unwrap();
    bent.faults.is_replaced.store(true, SeqCst);
    assert!(a.es.catch_up().await);
    assert_ne!(a.es.current_id().unwrap().epoch(), before.epoch());
}
