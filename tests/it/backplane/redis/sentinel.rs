//! Failovers, with a real Sentinel.

use super::*;
use crate::support::redis::RedisServer;
use crate::support::within;
use std::time::Duration;
use tokio::time::sleep;

/// A replica is sent the data at once, and not after 5 seconds in which others may ask for it, too.
const REPLICATED: &str = "save ''\nrepl-diskless-sync-delay 0";

pub(crate) struct Failover {
    pub(crate) master: RedisServer,
    pub(crate) replica: RedisServer,
    sentinel: RedisServer,
    redis: Redis,
}

impl Failover {
    pub(crate) async fn start() -> Self {
        let master = RedisServer::with(REPLICATED).await;
        let port = master.port();
        let replica = RedisServer::with(&format!("{REPLICATED}\nreplicaof 127.0.0.1 {port}")).await;
        until(|| master.command("INFO replication").contains("state=online")).await;
        let sentinel = RedisServer::sentinel(&format!(
            "sentinel monitor main 127.0.0.1 {port} 1\n\
             sentinel down-after-milliseconds main 500\n\
             sentinel failover-timeout main 3000"
        ))
        .await;
        until(|| {
            let replicas = sentinel.command("SENTINEL REPLICAS main");
            replicas.contains("master-link-status\nok")
        })
        .await;
        Self {
            redis: Redis::new(url_at(&sentinel)),
            master,
            replica,
            sentinel,
        }
    }

    pub(crate) fn url(&self) -> String {
        url_at(&self.sentinel)
    }

    /// Waits until Sentinel names the replica.
    pub(crate) async fn is_over(&self) {
        let port = self.replica.port().to_string();
        until(|| {
            let answer = self
                .sentinel
                .command("SENTINEL GET-MASTER-ADDR-BY-NAME main");
            answer.ends_with(&port)
        })
        .await;
    }

    /// Connects and attaches as the driver does: until a master is there.
    async fn attach_again(&self, instance: &mut Instance) -> Attached {
        loop {
            instance.reconnect(&self.redis).await;
            match instance.attach().await {
                Ok(attached) => return attached,
                Err(failure) => assert_eq!(failure.kind(), FailureKind::Unavailable),
            }
        }
    }
}

/// The URL with a Sentinel that is not there, and this one.
fn url_at(sentinel: &RedisServer) -> String {
    let port = sentinel.port();
    format!("redis+sentinel://127.0.0.1:1,127.0.0.1:{port}/main")
}

async fn until(is_so: impl Fn() -> bool) {
    within("the failover", async {
        while !is_so() {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn a_failover_without_a_loss_keeps_the_epoch() {
    let mut failover = Failover::start().await;
    let mut instance = Instance::of(&failover.redis).await;
    instance.append(&["a"]).await.unwrap();
    instance.read().await.unwrap();
    until(|| failover.replica.command("XLEN {eventstream}:log") == "2").await;
    let epoch = instance.epoch;
    let term = instance.attach().await.unwrap().mark;

    failover.master.kill();
    failover.is_over().await;

    let attached = failover.attach_again(&mut instance).await;
    assert_eq!((attached.epoch, attached.cause), (epoch, None));
    assert_ne!(attached.mark, term);
    instance.append(&["b"]).await.unwrap();
    assert_eq!(payloads(&instance.read().await.unwrap()), ["b"]);
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn a_failover_that_loses_entries_begins_an_epoch() {
    let mut failover = Failover::start().await;
    let mut instance = Instance::of(&failover.redis).await;
    instance.append(&["a"]).await.unwrap();
    until(|| failover.replica.command("XLEN {eventstream}:log") == "2").await;

    failover.replica.pause();
    failover.master.command("CLIENT KILL TYPE replica");
    instance.append(&["b"]).await.unwrap();
    instance.read().await.unwrap();
    failover.master.kill();
    failover.replica.resume();
    failover.is_over().await;

    let last = instance.last;
    let attached = failover.attach_again(&mut instance).await;
    assert_eq!(attached.cause.as_deref(), Some("regress"));
    assert!(attached.last > last);
}

/// An earlier master that takes writes, because nothing has told it of the promotion.
#[tokio::test]
#[ignore = "needs Redis"]
async fn a_reader_of_one_of_two_masters_finds_an_epoch_at_the_other() {
    let failover = Failover::start().await;
    let [earlier, later] =
        [&failover.master, &failover.replica].map(|server| Redis::new(server.url()));
    let (mut writer, mut reader) = (Instance::of(&earlier).await, Instance::of(&earlier).await);
    writer.append(&["a"]).await.unwrap();
    reader.read().await.unwrap();
    until(|| failover.replica.command("XLEN {eventstream}:log") == "2").await;

    failover.replica.command("REPLICAOF NO ONE");
    let mut other = Instance::of(&later).await;
    writer.append(&["b"]).await.unwrap();
    assert_eq!(payloads(&reader.read().await.unwrap()), ["b"]);
    other.append_when_possible("c").await;
    assert_eq!(payloads(&other.read().await.unwrap()), ["c"]);
    // Both events have the same sequence.
    assert_eq!(other.last, reader.last);

    reader.reconnect(&later).await;
    let last = reader.last;
    let attached = reader.attach().await.unwrap();
    assert_eq!(attached.cause.as_deref(), Some("term"));
    assert!(attached.last > last);
}

/// A connection stays open when its server becomes a replica, and takes over the other master's data.
#[tokio::test]
#[ignore = "needs Redis"]
async fn a_reader_does_not_continue_with_the_data_of_another_master() {
    let failover = Failover::start().await;
    let (earlier, later) = (&failover.master, &failover.replica);
    let mut reader = Instance::of(&Redis::new(earlier.url())).await;
    reader.append(&["a"]).await.unwrap();
    until(|| later.command("XLEN {eventstream}:log") == "2").await;
    later.command("REPLICAOF NO ONE");
    reader.append(&["b"]).await.unwrap();
    assert_eq!(payloads(&reader.read().await.unwrap()), ["a", "b"]);
    let mut other = Instance::of(&Redis::new(later.url())).await;
    other.append_when_possible("c").await;
    other.append_when_possible("d").await;

    let port = later.port();
    earlier.command(&format!("REPLICAOF 127.0.0.1 {port}"));
    until(|| earlier.command("XLEN {eventstream}:log") == "4").await;

    // The event after "b" would be "d".
    assert_eq!(kind(reader.read().await), FailureKind::Unavailable);
    reader.reconnect(&Redis::new(later.url())).await;
    let attached = reader.attach().await.unwrap();
    assert_eq!(attached.cause.as_deref(), Some("publisher"));
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn an_earlier_master_that_still_answers_is_unavailable() {
    let failover = Failover::start().await;
    let mut instance = Instance::of(&failover.redis).await;
    assert_eq!(failover.sentinel.command("SENTINEL FAILOVER main"), "OK");
    failover.is_over().await;

    let failure = instance.attach().await.unwrap_err();
    assert_eq!(failure.kind(), FailureKind::Unavailable);
    let port = failover.replica.port().to_string();
    assert!(failure.to_string().contains(&port), "{failure}");
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn a_master_that_no_sentinel_knows_is_named() {
    let sentinel = RedisServer::sentinel("sentinel monitor main 127.0.0.1 1 1").await;
    let url = format!("redis+sentinel://127.0.0.1:{}/other", sentinel.port());
    let failure = Redis::new(url).connect().await.unwrap_err();
    assert_eq!(failure.kind(), FailureKind::Unavailable);
    assert!(failure.to_string().contains("\"other\""), "{failure}");
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn a_sentinel_receives_the_password_if_it_demands_one() {
    let server = RedisServer::start().await;
    server.command("ACL SETUSER app on >secret +@all ~*");
    let port = server.port();
    let sentinel =
        RedisServer::sentinel(&format!("sentinel monitor main 127.0.0.1 {port} 1")).await;
    let url = format!(
        "redis+sentinel://app:secret@127.0.0.1:{}/main",
        sentinel.port()
    );
    Instance::of(&Redis::new(&url)).await;

    sentinel.command("ACL SETUSER app on >secret +@all");
    sentinel.command("ACL SETUSER default off");
    Instance::of(&Redis::new(url)).await;
}
