//! Attaches and appends with the scripts.

use super::{
    Keys, Warned, connection::Connection, failure, resolve::Master, script::Script, term::Term,
    value,
};
use crate::{
    backplane::{
        Attached, Batch, Committed, Failure, FailureKind, Head, Known, Seen, Writer, block,
    },
    trace,
};
use redis::{Cmd, Value};
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

    fn unexpected(&self) -> Failure {
        failure::unexpected(&self.connection.name)
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
        let attached = attached(answer).ok_or_else(|| self.unexpected())?;
        self.term.set(attached.mark.slice(OF_TERM.len()..));
        self.review_term(&attached.mark);
        Ok(attached)
    }

    async fn append(&self, batch: Batch<'_>) -> Result<Committed, Failure> {
        let script = &self.scripts.publish;
        if batch.drafts.len() > block::MAX_DRAFTS {
            let text = format!("a batch has at most {} drafts", block::MAX_DRAFTS);
            return Err(Failure::new(FailureKind::Refused, text));
        }
        let block = block::encode(batch.drafts);
        let arguments =
            |command: &mut Cmd| publish_arguments(batch, &block, self.max_entries, command);
        let answer = script.run(&self.connection, &self.keys, arguments).await?;
        committed(answer).ok_or_else(|| self.unexpected())
    }

    async fn head(&self) -> Result<Head, Failure> {
        let mut command = redis::cmd("HMGET");
        command.arg(&self.keys.meta).arg("e").arg("s");
        let answer = self.connection.ask(&command).await?;
        let none = || Failure::new(FailureKind::Stale, "there is no log");
        head(answer).ok_or_else(none)
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
    let nothing = Seen {
        epoch: 0,
        last: 0,
        mark: bytes::Bytes::new(),
    };
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

fn attached(answer: Vec<Value>) -> Option<Attached> {
    let [epoch, last, first, term, cause, seconds, micros] = answer.try_into().ok()?;
    let since_1970 = Duration::from_secs(value::number(seconds)?)
        + Duration::from_micros(value::number(micros)?);
    Some(Attached {
        epoch: value::number(epoch)?,
        last: value::number(last)?,
        first: value::number(first),
        mark: format!("{OF_TERM}{}", value::text(term)?).into(),
        max_draft: None,
        cause: value::text(cause).filter(|cause| !cause.is_empty()),
        time: UNIX_EPOCH + since_1970,
    })
}

fn committed(answer: Vec<Value>) -> Option<Committed> {
    let [last, added] = answer.try_into().ok()?;
    let Value::Int(added) = added else {
        return None;
    };
    Some(Committed {
        last: value::number(last)?,
        added: added.try_into().ok()?,
    })
}

fn head(answer: Value) -> Option<Head> {
    let [epoch, last] = value::list(answer)?.try_into().ok()?;
    Some(Head {
        epoch: value::number(epoch)?,
        last: value::number(last)?,
    })
}
