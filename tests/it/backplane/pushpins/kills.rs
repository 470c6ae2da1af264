//! Kills after which nothing is missing.

use super::{Fleet, assert_same, instance};
use crate::support::until;
use std::time::Duration;
use tokio::time::Instant;

const POLL: Duration = Duration::from_secs(2);

#[tokio::test]
#[ignore = "needs pushpin and Redis"]
async fn an_instance_killed_between_publishes_loses_no_event() {
    let mut fleet = Fleet::start("save ''", POLL).await;
    let publishers = fleet.publish().await;
    fleet.instances[0].kill().await;
    fleet.receive(50).await;
    instance::stop(publishers).await;
    let seen = fleet.check("an instance was killed").await;
    assert_same(&seen);
}

/// Events that are in the log, and whose instance is killed before a proxy has them.
async fn commit_without_forward(fleet: &mut Fleet, index: usize, texts: &[String]) {
    let instance = &fleet.instances[index];
    let before = instance.position().sequence();
    instance.cut_off();
    instance.publish_later(texts, &fleet.record);
    let other = &fleet.instances[1];
    until("the events are in the log", || {
        other.position().sequence() == before + texts.len() as u64
    })
    .await;
    fleet.instances[index].kill().await;
}

#[tokio::test]
#[ignore = "needs pushpin and Redis"]
async fn events_that_a_killed_instance_has_not_forwarded_reach_all_clients() {
    let mut fleet = Fleet::start("save ''", POLL).await;
    let texts = |round: &str| ["1", "2", "3"].map(|n| format!("{round} {n}"));
    let silent = texts("before silence");
    commit_without_forward(&mut fleet, 0, &silent).await;
    let killed = Instant::now();
    fleet.have_all(&silent).await;
    println!("repaired by a poll after {:?}", killed.elapsed());

    let followed = texts("before another");
    commit_without_forward(&mut fleet, 2, &followed).await;
    let killed = Instant::now();
    fleet.instances[1].publish("another", &fleet.record).await;
    fleet.have_all(&followed).await;
    println!("repaired with another event after {:?}", killed.elapsed());

    let seen = fleet
        .check("two instances were killed before they forwarded")
        .await;
    assert_same(&seen);
}

#[tokio::test]
#[ignore = "needs pushpin and Redis"]
async fn clients_of_a_killed_proxy_resume_at_the_other() {
    let mut fleet = Fleet::start("save ''", POLL).await;
    let publishers = fleet.publish().await;
    fleet.proxies[0].kill().await;
    fleet.receive(20).await;
    instance::stop(publishers).await;
    let seen = fleet.check("a proxy was killed").await;
    assert_same(&seen);
}

#[tokio::test]
#[ignore = "needs pushpin and Redis"]
async fn a_killed_redis_that_keeps_its_data_resets_no_client() {
    let persistence = "save ''\nappendonly yes\nappendfsync always";
    let mut fleet = Fleet::start(persistence, POLL).await;
    let publishers = fleet.publish().await;
    fleet.redis.restart().await;
    fleet.receive(50).await;
    instance::stop(publishers).await;
    let seen = fleet.check("Redis was killed and kept its data").await;
    assert_same(&seen);
}
