//! Losses of the log, which every client receives as a reset.

use super::{CLIENTS, Fleet, instance, record::resets};
use crate::support::until;
use std::time::Duration;
use tokio::time::Instant;

#[tokio::test]
#[ignore = "needs pushpin and Redis"]
async fn a_killed_redis_without_persistence_resets_every_client() {
    let mut fleet = Fleet::start("save ''", Duration::from_secs(2)).await;
    let publishers = fleet.publish().await;
    let start = Instant::now();
    fleet.redis.restart().await;
    fleet.all_are_reset().await;
    println!("every client is reset after {:?}", start.elapsed());
    fleet.receive(50).await;
    instance::stop(publishers).await;
    let seen = fleet.check("Redis was killed and lost its data").await;
    for seen in seen {
        assert_eq!(resets(&seen), 1, "{seen:#?}");
    }
}

/// The proxies do not check for missed events within the test: an instance makes them ask.
#[tokio::test]
#[ignore = "needs pushpin and Redis"]
async fn idle_clients_are_reset_after_a_flush_without_a_publish() {
    let fleet = Fleet::start("save ''", Duration::from_secs(100)).await;
    fleet.instances[1].publish("before", &fleet.record).await;
    fleet.all_have("before").await;
    // They do so once, after the first subscription.
    for proxy in &fleet.proxies {
        until("the first check", || proxy.followed() >= CLIENTS).await;
    }
    let start = Instant::now();
    assert_eq!(fleet.redis.command("FLUSHALL"), "OK");
    tokio::time::timeout(Duration::from_secs(10), fleet.all_are_reset())
        .await
        .expect("a reset within seconds");
    println!("every idle client is reset after {:?}", start.elapsed());
    let seen = fleet.check("Redis was flushed").await;
    for seen in seen {
        assert_eq!(resets(&seen), 1, "{seen:#?}");
    }
}
