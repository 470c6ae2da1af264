//! Expired entries are evicted in small steps, by calls and by the sweep.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_call_evicts_few_expired_entries_and_the_sweep_the_rest_in_steps() {
    const CHANNELS: usize = 200_000;
    let hub = without_sweep(hub(|config| config.bytes = 1 << 30));
    fill(&hub, CHANNELS, 1);
    advance(AGE).await;
    let mut left = CHANNELS;
    let mut evicted = |hub: &Hub| {
        let before = std::mem::replace(&mut left, kept(hub));
        before - left
    };
    publish(&hub, "0", "new");
    assert_eq!(evicted(&hub), FEW - 1, "and one is new");
    let _reader = reader(&hub, &["0"], Start::After(1));
    assert_eq!(evicted(&hub), FEW);
    hub.stats();
    assert_eq!(evicted(&hub), FEW);
    hub.sweep.stop_for_test(false);
    publish(&hub, "0", "new");
    assert_eq!(evicted(&hub), FEW);
    while kept(&hub) > 1 {
        sleep(Duration::from_millis(1)).await;
        assert!(evicted(&hub) <= STEP);
    }
    assert!(is_consistent(&hub));
}

#[tokio::test(start_paused = true)]
async fn the_sweep_evicts_expired_entries_without_a_call_and_ends() {
    let hub = hub(|_| {});
    for _ in 0..2 {
        fill(&hub, 1000, 1);
        assert_eq!(alive_tasks(), 1);
        sleep(AGE / 2).await;
        publish(&hub, "later", "1");
        sleep(AGE / 2 + Duration::from_secs(2)).await;
        assert_eq!(kept(&hub), 1);
        sleep(AGE / 2).await;
        assert_eq!((kept(&hub), hub.state().bytes), (0, 0));
        assert!(hub.state().logs().is_empty());
        assert_eq!(alive_tasks(), 0);
    }
}

#[test]
fn a_publish_spawns_a_sweep_after_the_runtime_of_the_last_one_has_ended() {
    for panics in [false, true] {
        let hub = hub(|_| {});
        let first = hub.clone();
        let ending = std::thread::spawn(move || {
            let runtime = paused();
            runtime.block_on(async { drop(publish(&first, "a", "1")) });
            assert!(!panics, "a test of an application fails");
        });
        assert_eq!(ending.join().is_err(), panics);
        paused().block_on(async {
            publish(&hub, "b", "2");
            sleep(3 * AGE).await;
        });
        // Only the second runtime's clock has advanced.
        assert!(kept(&hub) <= 1 && hub.state().get(&channel("b")).is_none());
        publish(&hub, "c", "no runtime at all");
        assert!(is_consistent(&hub));
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_not_kept_spawns_no_sweep() {
    let hub = hub(|config| config.history = false);
    publish(&hub, "a", "nobody listens");
    assert_eq!(alive_tasks(), 0);
    let _reader = reader(&hub, &["a"], Start::Live);
    publish(&hub, "a", "1");
    assert_eq!(alive_tasks(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_sweep_does_not_outlive_its_hub() {
    let hub = hub(|_| {});
    publish(&hub, "a", "1");
    yield_now().await;
    assert_eq!((Arc::strong_count(&hub), alive_tasks()), (1, 1));
    drop(hub);
    yield_now().await;
    assert_eq!(alive_tasks(), 0);
}

#[test]
fn a_runtime_without_timers_has_no_sweep() {
    let hub = hub(|_| {});
    let runtime = Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        for _ in 0..3 {
            publish(&hub, "a", "1");
            yield_now().await;
            assert_eq!(alive_tasks(), 0);
        }
    });
    assert_eq!(kept(&hub), 1);
}

#[tokio::test(start_paused = true)]
async fn a_waiting_sweep_does_not_advance_a_paused_clock() {
    let (hub, start) = (hub(|_| {}), Instant::now());
    publish(&hub, "a", "1");
    for _ in 0..100 {
        yield_now().await;
    }
    assert_eq!(Instant::now(), start);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(Instant::now(), start + Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn the_sweep_batches_expiries_under_constant_load() {
    let hub = hub(|_| {});
    let publishing = async {
        for _ in 0..1000 {
            publish(&hub, "a", "1");
            sleep(Duration::from_millis(100)).await;
        }
    };
    publishing.await;
    let mut looks = Vec::new();
    for _ in 0..100 {
        match hub.sweep_step() {
            Found::NextAt(at) => looks.push(at - Instant::now()),
            found => panic!("{found:?}"),
        }
        publish(&hub, "a", "1");
        advance(Duration::from_millis(100)).await;
    }
    assert!(looks.iter().all(|pause| *pause >= AGE / 64), "{looks:?}");
}

#[tokio::test(start_paused = true)]
async fn an_expired_entry_is_not_replayed_before_it_is_evicted() {
    let hub = without_sweep(hub(|_| {}));
    fill(&hub, 100, 1);
    for text in ["101", "102", "103"] {
        publish(&hub, "a", text);
    }
    advance(AGE / 2).await;
    publish(&hub, "a", "104");
    advance(AGE / 2).await;
    let recall = |after| hub.recall(&[(channel("a"), Some(after))], LIMIT);
    assert_eq!(recall(102).gone, [channel("a")]);
    assert_eq!(recall(103).bytes, "104");
    let mut gone = reader(&hub, &["a"], Start::After(102));
    assert!(matches!(gone.read(LIMIT, None), Read::Gap(_)));
    let mut resumed = reader(&hub, &["a"], Start::After(103));
    let Read::Batch(batch) = resumed.read(LIMIT, None) else {
        panic!("the last entry is there");
    };
    assert_eq!(batch.bytes, "104");
    assert!(kept(&hub) > 50, "they were not evicted");
}
