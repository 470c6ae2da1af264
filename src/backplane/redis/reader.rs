//! Reads the log.

use super::{
    Keys,
    connection::{Connection, Endpoint},
    entry::{self, Id, Read},
    failure,
    term::Term,
};
use crate::backplane::{Content, Entry, Failure, Reader};
use redis::{Cmd, Value};
use std::{fmt, time::Duration};

/// Most batches of an answer.
const COUNT: usize = 64;

/// Batches of the first answer, which may all be full.
const FIRST_COUNT: usize = 8;

/// An answer should have about so many entries, or so many KiB.
const WEIGHT: usize = 1024;

const BLOCK_MILLISECONDS: usize = 5000;

/// Longer than the server blocks.
const ANSWER_LIMIT: Duration = Duration::from_secs(7);

/// Reads a log in Redis.
///
/// Its connection has no other commands, because they would wait while the server blocks.
pub struct RedisReader {
    endpoint: Endpoint,
    keys: Keys,
    term: Term,
    /// `None` after a read that has failed, or was cancelled while the server blocked.
    connection: Option<Connection>,
    /// The id of the last entry that was read.
    last: Id,
    /// The last sequence up to it.
    position: u64,
    /// The number of batches to ask for.
    count: usize,
}

impl RedisReader {
    pub(super) async fn open(endpoint: Endpoint, keys: Keys, term: Term) -> Result<Self, Failure> {
        let connection = endpoint.connect(ANSWER_LIMIT).await?;
        Ok(Self {
            endpoint,
            keys,
            term,
            connection: Some(connection),
            last: Id::default(),
            position: 0,
            count: FIRST_COUNT,
        })
    }

    /// Returns the id after which to read. Entries of others may follow the one with this sequence.
    fn id_after(&self, sequence: u64) -> Id {
        if self.position == sequence {
            return self.last;
        }
        Id {
            sequence,
            suffix: 0,
        }
    }

    fn ask_term(&self) -> Cmd {
        let mut command = redis::cmd("HMGET");
        command.arg(&self.keys.meta).arg("r");
        command
    }

    /// Fails if the log has another term than at the last attach. A log that was deleted has no term and no entries.
    fn compare(&self, answer: Value) -> Result<(), Failure> {
        let (term,): (Option<Vec<u8>>,) = redis::from_redis_value(answer).unwrap_or_default();
        match term.is_none_or(|term| self.term.is(&term)) {
            true => Ok(()),
            false => Err(Failure::unavailable(format!(
                "{} has data of another server than at the last attach",
                self.endpoint.server.address
            ))),
        }
    }

    fn adapt(&mut self, read: &Read) {
        if let Some(last) = read.last {
            let weight = read.entries.len().max(read.bytes / 1024).max(1);
            (self.last, self.position) = (last, read.position);
            self.count = (read.batches * WEIGHT / weight).clamp(1, COUNT);
        }
    }

    fn command(&self, after: Id) -> Cmd {
        let mut command = redis::cmd("XREAD");
        command
            .arg("COUNT")
            .arg(self.count)
            .arg("BLOCK")
            .arg(BLOCK_MILLISECONDS)
            .arg("STREAMS")
            .arg(&self.keys.log)
            .arg(after.to_string());
        command
    }
}

impl Reader for RedisReader {
    async fn read(&mut self, after: u64) -> Result<Vec<Entry>, Failure> {
        let connection = match self.connection.take() {
            Some(connection) => connection,
            None => self.endpoint.connect(ANSWER_LIMIT).await?,
        };
        let commands = [self.command(self.id_after(after)), self.ask_term()];
        let [read, term] = connection.ask_both(commands).await?;
        let read =
            entry::parse(read, after).ok_or_else(|| failure::unexpected(&connection.name))?;
        self.compare(term)?;
        self.connection = Some(connection);
        self.adapt(&read);
        let mut entries = read.entries;
        // The batch that has the entry `after` is read again if that is not its last.
        entries.retain(|entry| entry.sequence > after || entry.content == Content::Foreign);
        Ok(entries)
    }
}

impl fmt::Debug for RedisReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisReader")
            .field("server", &self.endpoint.server.address)
            .field("keys", &self.keys)
            .field("last", &self.last)
            .finish_non_exhaustive()
    }
}
