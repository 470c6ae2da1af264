//! Faults of the engine: each loss is a reset, and nothing else is.

use super::Instance;
use axum_eventstream::testing::{TestStream, backplane::Memory};
use std::time::Duration;

async fn expect_reset(stream: &mut TestStream) {
    let reset = stream.expect("stream-reset").await;
    assert_eq!(reset.data(), r#"{"channels":["room"],"missed":null}"#);
}

/// Engines whose sequences have no gaps, or many.
fn engines() -> [Memory; 2] {
    [Memory::new(), Memory::new().in_blocks()]
}

/// Two instances, each with a client that has the event `one`.
async fn two(engine: &Memory) -> ([Instance; 2], [TestStream; 2]) {
    let instances = [Instance::warm(engine).await, Instance::warm(engine).await];
    let mut streams = [
        instances[0].client.get("/room").await,
        instances[1].client.get("/room").await,
    ];
    instances[0].publish("room", "one").await.unwrap();
    for stream in &mut streams {
        stream.expect_text("message", "one").await;
    }
    (instances, streams)
}

#[tokio::test(start_paused = true)]
async fn a_wiped_engine_resets_all_clients_and_goes_on() {
    for engine in engines() {
        let ([a, b], mut streams) = two(&engine).await;
        let old = a.es.current_id().unwrap();
        engine.wipe();
        for stream in &mut streams {
            expect_reset(stream).await;
        }
        let new = b.publish("room", "two").await.unwrap().id.unwrap();
        assert!(new.epoch() != old.epoch() && new.sequence() > old.sequence());
        for stream in &mut streams {
            stream.expect_text("message", "two").await;
        }
        let client = a.resuming(&old);
        let mut stream = client.get("/room").await;
        expect_reset(&mut stream).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_publish_to_a_wiped_engine_succeeds() {
    for engine in engines() {
        let ([a, _b], mut streams) = two(&engine).await;
        engine.wipe();
        a.publish("room", "two").await.unwrap();
        for stream in &mut streams {
            expect_reset(stream).await;
            stream.expect_text("message", "two").await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_tail_resets_all_clients() {
    for engine in engines() {
        let ([a, _b], mut streams) = two(&engine).await;
        a.publish("room", "two").await.unwrap();
        for stream in &mut streams {
            stream.expect_text("message", "two").await;
        }
        engine.lose_tail(1);
        for stream in &mut streams {
            expect_reset(stream).await;
        }
        a.publish("room", "three").await.unwrap();
        for stream in &mut streams {
            stream.expect_text("message", "three").await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn another_history_resets_the_clients_that_saw_the_first() {
    for engine in engines() {
        let (left, right) = (engine.link(), engine.link());
        let (a, b) = (Instance::warm(&left).await, Instance::warm(&right).await);
        let mut at_a = a.client.get("/room").await;
        let mut at_b = b.client.get("/room").await;
        let other = engine.fork();
        right.switch(&other);
        a.publish("room", "left").await.unwrap();
        b.publish("room", "right").await.unwrap();
        at_a.expect_text("message", "left").await;
        at_b.expect_text("message", "right").await;
        left.switch(&other);
        expect_reset(&mut at_a).await;
        a.publish("room", "joined").await.unwrap();
        at_a.expect_text("message", "joined").await;
        // The histories have met, so nobody knows which events all clients have.
        let next = at_b.next().await;
        if next.event() == "stream-reset" {
            at_b.expect_text("message", "joined").await;
        } else {
            assert_eq!(next.data(), "joined");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_lags_behind_the_log_resets_its_clients() {
    for engine in engines() {
        let link = engine.link();
        let (a, b) = (Instance::warm(&engine).await, Instance::warm(&link).await);
        let (mut at_a, mut at_b) = (a.client.get("/room").await, b.client.get("/room").await);
        link.down();
        for text in ["one", "two", "three"] {
            a.publish("room", text).await.unwrap();
        }
        engine.trim(1);
        link.up();
        expect_reset(&mut at_b).await;
        at_b.expect_text("message", "three").await;
        for text in ["one", "two", "three"] {
            at_a.expect_text("message", text).await;
        }
        assert_eq!(
            (a.es.stats().backplane_resets, b.es.stats().backplane_resets),
            (0, 1)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_entry_after_a_gap_is_delivered() {
    for engine in engines() {
        let link = engine.link();
        let (a, b) = (Instance::warm(&engine).await, Instance::warm(&link).await);
        let mut at_b = b.client.get("/room").await;
        link.hang();
        for text in ["one", "two", "three"] {
            a.publish("room", text).await.unwrap();
        }
        engine.trim(1);
        link.resume();
        expect_reset(&mut at_b).await;
        at_b.expect_text("message", "three").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_without_entries_is_no_loss_for_instances_that_have_read_all() {
    for engine in engines() {
        let ([a, b], mut streams) = two(&engine).await;
        engine.trim(0);
        tokio::time::sleep(Duration::from_secs(30)).await;
        b.publish("room", "two").await.unwrap();
        for stream in &mut streams {
            stream.expect_text("message", "two").await;
        }
        assert_eq!(a.es.stats().resets + b.es.stats().resets, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn entries_of_others_are_counted_and_skipped() {
    for engine in engines() {
        let ([a, b], mut streams) = two(&engine).await;
        engine.forge("a,b", "1\ndata: a\n");
        engine.forge("room", "1\ndata: forged\n");
        a.publish("room", "two").await.unwrap();
        for stream in &mut streams {
            stream.expect_text("message", "forged").await;
            stream.expect_text("message", "two").await;
        }
        for instance in [a, b] {
            let stats = instance.es.stats();
            assert_eq!((stats.backplane_skipped, stats.resets), (1, 0));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_entry_of_the_log_that_cannot_be_read_resets_all_clients() {
    for engine in engines() {
        let ([a, b], mut streams) = two(&engine).await;
        engine.foreign();
        a.publish("room", "two").await.unwrap();
        for stream in &mut streams {
            stream.expect("stream-reset").await;
            stream.expect_text("message", "two").await;
        }
        for instance in [a, b] {
            let stats = instance.es.stats();
            assert_eq!((stats.backplane_skipped, stats.backplane_resets), (1, 1));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_of_a_later_version_is_a_reset_of_its_channel() {
    for payload in ["2\ndata: of a later version\n", "1\ndata: a\n\ndata: b\n"] {
        let engine = Memory::new();
        let ([a, b], mut streams) = two(&engine).await;
        let mut other = b.client.get("/other").await;
        engine.forge("room", payload);
        a.publish("room", "two").await.unwrap();
        a.publish("other", "three").await.unwrap();
        for stream in &mut streams {
            stream.expect("stream-reset").await;
            stream.expect_text("message", "two").await;
        }
        other.expect_text("message", "three").await;
        for instance in [a, b] {
            assert_eq!(instance.es.stats().backplane_skipped, 1);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_does_not_answer_is_noticed() {
    for engine in engines() {
        let ([a, _b], mut streams) = two(&engine).await;
        engine.hang();
        tokio::time::sleep(Duration::from_secs(8)).await;
        assert!(!a.es.health().is_healthy());
        engine.resume();
        a.publish("room", "two").await.unwrap();
        for stream in &mut streams {
            stream.expect_text("message", "two").await;
        }
        assert_eq!(a.es.stats().resets, 0);
    }
}
