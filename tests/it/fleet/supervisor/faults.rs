//! The faults, and their order.
//!
//! One fault is over, and all instances are attached again, before the next one begins: the promise does not hold for
//! any two together.

use super::{
    fleet::Fleet,
    parts::{Part, State},
    tally::PUSHPINS,
};
use crate::line::INSTANCES;
use std::time::Duration;
use tokio::time::sleep;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    KillInstance,
    KillPushpin,
    KillRedis,
    Replace,
    KillRedisForSeconds,
    StopRedis,
    CloseConnections,
    CutLink,
    HalfOpenLink,
    LoseAnswers,
    Wipe,
}

/// One of each kind of process is killed.
const KILLS: [Fault; 3] = [Fault::KillInstance, Fault::KillPushpin, Fault::KillRedis];

const OTHERS: [Fault; 7] = [
    Fault::Replace,
    Fault::KillRedisForSeconds,
    Fault::StopRedis,
    Fault::CloseConnections,
    Fault::CutLink,
    Fault::HalfOpenLink,
    Fault::LoseAnswers,
];

/// Random faults. Each round has all of them, and the first one begins with the kills.
pub(super) struct Order {
    next: Vec<Fault>,
    given: usize,
    wipes: bool,
    random: fastrand::Rng,
}

impl Order {
    pub(super) fn new(wipes: bool, mut random: fastrand::Rng) -> Self {
        let mut kills = KILLS;
        random.shuffle(&mut kills);
        let mut others = OTHERS.to_vec();
        random.shuffle(&mut others);
        others.extend(wipes.then_some(Fault::Wipe));
        others.extend(kills);
        Self {
            next: others,
            given: 0,
            wipes,
            random,
        }
    }

    /// Whether there was a kill of each kind of process, and a wipe if that was asked for.
    pub(super) fn has_begun(&self) -> bool {
        self.given >= KILLS.len() + usize::from(self.wipes)
    }

    pub(super) fn next(&mut self) -> Fault {
        if self.next.is_empty() {
            self.next.extend(KILLS.into_iter().chain(OTHERS));
            self.next.extend(self.wipes.then_some(Fault::Wipe));
            self.random.shuffle(&mut self.next);
        }
        self.given += 1;
        self.next.pop().expect("there is one")
    }

    /// A part of this fault's kind.
    pub(super) fn part(&mut self, fault: Fault) -> Part {
        match fault {
            Fault::KillPushpin => Part::Pushpin(self.random.usize(..PUSHPINS)),
            Fault::KillInstance
            | Fault::Replace
            | Fault::CutLink
            | Fault::HalfOpenLink
            | Fault::LoseAnswers => Part::Instance(self.random.usize(..INSTANCES)),
            Fault::KillRedis
            | Fault::KillRedisForSeconds
            | Fault::StopRedis
            | Fault::CloseConnections
            | Fault::Wipe => Part::Redis,
        }
    }
}

impl Fault {
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::KillInstance => "killed",
            Self::KillPushpin => "killed",
            Self::KillRedis => "killed, back at once",
            Self::KillRedisForSeconds => "killed, back after 5 s",
            Self::Replace => "replaced by a new version",
            Self::StopRedis => "stopped for 3 s",
            Self::CloseConnections => "closes all connections",
            Self::CutLink => "cut off from Redis for 2 s",
            Self::HalfOpenLink => "with a half-open connection to Redis",
            Self::LoseAnswers => "without an answer of Redis",
            Self::Wipe => "wiped",
        }
    }
}

impl Fleet {
    /// Lets a fault happen. Returns when all parts are well again.
    pub(super) async fn inject(&mut self, fault: Fault, part: Part) -> Result<(), String> {
        self.board.begin(part, fault.text());
        match (fault, part) {
            (Fault::KillInstance, Part::Instance(index)) => self.kill_instance(index).await?,
            (Fault::Replace, Part::Instance(index)) => self.replace(index).await?,
            (Fault::KillPushpin, Part::Pushpin(index)) => self.kill_pushpin(index).await,
            (Fault::KillRedis, _) => self.kill_redis(Duration::ZERO).await,
            (Fault::KillRedisForSeconds, _) => self.kill_redis(Duration::from_secs(5)).await,
            (Fault::StopRedis, _) => self.stop_redis().await,
            (Fault::CloseConnections, _) => drop(self.redis.command("CLIENT KILL TYPE normal")),
            (Fault::Wipe, _) => drop(self.redis.command("FLUSHALL")),
            (Fault::CutLink, Part::Instance(index)) => {
                self.links[index].down();
                sleep(Duration::from_secs(2)).await;
                self.links[index].up();
            }
            (Fault::HalfOpenLink, Part::Instance(index)) => self.links[index].half_open(),
            (Fault::LoseAnswers, Part::Instance(index)) => self.links[index].drop_answers(),
            _ => unreachable!("{fault:?} is no fault of {part:?}"),
        }
        self.recovers().await?;
        self.board.end();
        Ok(())
    }

    async fn kill_instance(&mut self, index: usize) -> Result<(), String> {
        self.instances[index].kill().await?;
        self.board.set(Part::Instance(index), State::Down);
        sleep(Duration::from_secs(1)).await;
        self.start_instance(index).await
    }

    async fn kill_pushpin(&mut self, index: usize) {
        self.pushpins[index].kill().await;
        self.board.set(Part::Pushpin(index), State::Down);
        sleep(Duration::from_secs(1)).await;
        self.pushpins[index].start_again().await;
        self.board
            .up(Part::Pushpin(index), self.pushpins[index].pid());
    }

    async fn kill_redis(&mut self, absence: Duration) {
        self.redis.kill();
        self.board.set(Part::Redis, State::Down);
        sleep(absence).await;
        self.redis.restart().await;
        self.board.up(Part::Redis, self.redis.pid());
    }

    async fn stop_redis(&mut self) {
        self.redis.pause();
        self.board.set(Part::Redis, State::Stopped);
        sleep(Duration::from_secs(3)).await;
        self.redis.resume();
        self.board.set(Part::Redis, State::Up);
    }
}
