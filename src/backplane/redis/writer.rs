//! Attaches and appends with the scripts.

use super::{Keys, Warned, connection::Connection, resolve::Master, script::Script, term::Term};
use crate::{
    backplane::{
        Attached, Batch, Committed, Failure, FailureKind, Head, Known, Seen, Writer, block,
    },
    trace,
};
use redis::Cmd;
use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
    time::{Duration, UNIX_EPOCH},
};

/// The keys expire after a week without an instance, in seconds.
const EXPIRY: u32 = 7 * 24 * 3600;

/// The term of a server on which the scripts may not use INFO.
const UNKNOWN_TERM: &str = "x";

/// How the mark of an attach begins: the term follows.
const OF_TERM: &str = "?:";

/// Appends to a log in Redis.
pub struct RedisWriter {
    connection: Connection,
    keys: Keys,
    max_entries: usize,
    master: Option<Master>,
    term: Term,
    warned: Arc<Warned>,
    scripts: Scripts,
}

struct Scripts {
    attach: Script,
    publish: Script,
}

impl RedisWriter {
    pub(super) fn new(
        connection: Connection,
        keys: Keys,
        max_entries: usize,
        master: Option<Master>,
        term: Term,
        warned: Arc<Warned>,
    ) -> Self {
        Self {
            connection,
            keys,
            max_entries,
            master,
            term,
            warned,
            scripts: Scripts {
                attach: Script::new(include_str!("attach.lua")),
                publish: Script::new(include_str!("publish.lua")),
            },
        }
    }

    /// Warns once if a server's restarts and promotions cannot be recognized.
    fn review_term(&self, mark: &[u8]) {
        if mark.ends_with(UNKNOWN_TERM.as_bytes())
            && !self.warned.of_terms.swap(true, Ordering::Relaxed)
        {
            trace::event!(
                warn,
                server = self.connection.name,
                "scripts may not use INFO, so some losses after a failover are not noticed: grant the right to INFO"
            );
        }
    }
}

impl Writer for RedisWriter {
    async fn attach(&self, known: &Known) -> Result<Attached, Failure> {
        if let Some(master) = &self.master {
            master.check().await?;
        }
        let script = &self.scripts.attach;
        let arguments = |command: &mut Cmd| attach_arguments(known, command);
        let answer = script.run(&self.connection, &self.keys, arguments).await?;
        let attached = attached(answer);
        self.term.set(attached.mark.slice(OF_TERM.len()..));
        self.review_term(&attached.mark);
        Ok(attached)
    }

    async fn append(&self, batch: Batch<'_>) -> Result<Committed, Failure> {
        let script = &self.scripts.publish;
        if batch.drafts.len() > block::MAX_DRAFTS {
            let text = format!("a batch has at most {} drafts", block::MAX_DRAFTS);
            return Err(Failure::refused(text));
        }
        let block = block::encode(batch.drafts);
        let arguments =
            |command: &mut Cmd| publish_arguments(batch, &block, self.max_entries, command);
        let answer = script.run(&self.connection, &self.keys, arguments).await?;
        let (last, added) = answer;
        Ok(Committed { last, added })
    }

    async fn head(&self) -> Result<Head, Failure> {
        let mut command = redis::cmd("HMGET");
        command.arg(&self.keys.meta).arg("e").arg("s");
        let answer = self.connection.ask(&command).await?;
        let none = |_| Failure::new(FailureKind::Stale, "there is no log");
        let (epoch, last) = redis::from_redis_value(answer).map_err(none)?;
        Ok(Head { epoch, last })
    }
}

impl fmt::Debug for RedisWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisWriter")
            .field("server", &self.connection.name)
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

fn attach_arguments(known: &Known, command: &mut Cmd) {
    let nothing = Seen::new(0, 0, bytes::Bytes::new());
    let seen = known.seen.as_ref();
    let epoch = seen.map_or_else(String::new, |seen| seen.epoch.to_string());
    let seen = seen.unwrap_or(&nothing);
    command
        .arg(known.fresh_epoch)
        .arg(EXPIRY)
        .arg(known.origin.to_string())
        .arg(epoch)
        .arg(known.acknowledged)
        .arg(seen.last)
        .arg(&*seen.mark);
}

fn publish_arguments(batch: Batch<'_>, block: &[u8], max_entries: usize, command: &mut Cmd) {
    command
        .arg(batch.epoch)
        .arg(max_entries)
        .arg(EXPIRY)
        .arg(batch.origin.to_string())
        .arg(batch.first_number)
        .arg(batch.drafts.len())
        .arg(block);
}

/// Epoch, last and first sequence, term, cause, and the time in seconds and microseconds.
type AttachAnswer = (u64, u64, Option<u64>, String, String, u64, u64);

fn attached((epoch, last, first, term, cause, seconds, micros): AttachAnswer) -> Attached {
    let since_1970 = Duration::from_secs(seconds) + Duration::from_micros(micros);
    Attached {
        epoch,
        last,
        first,
        mark: format!("{OF_TERM}{term}").into(),
        max_draft: None,
        cause: Some(cause).filter(|cause| !cause.is_empty()),
        time: UNIX_EPOCH + since_1970,
    }
}
