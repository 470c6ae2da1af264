//! The log of several instances in PostgreSQL 13 or later.
//!
//! Copy this file and `log.sql`, and change what you like: `testing::backplane::contract` checks the rules of an engine.
//!
//! 1. The functions in `log.sql` attach and append. Each call is one statement, so a call that is dropped or cut off
//!    leaves no open transaction: it is done, or it is not.
//! 2. A reader has a connection of its own, which listens for the notifications of appends and of new epochs.
//! 3. An error of the server means that nothing was done, unless the server ends the connection with it.
//!
//! # What PostgreSQL guarantees
//!
//! - With `synchronous_commit = on`, the default, a crash loses no acknowledged event. With `off` it can lose the last
//!   second's events. Then the clients of all instances are reset.
//! - A failover to an asynchronous standby can lose the newest events, with the same effect. A standby that
//!   `synchronous_standby_names` lists has them all. While none answers, publishes fail as `MaybePublished`.
//! - The tool that promotes a standby must end the connections to the old primary.
//!
//! # Limits
//!
//! - One transaction at a time appends to a log, and waits for the disk: some hundred to some thousand each second.
//!   Events that an instance publishes meanwhile are the next batch.
//! - Each instance has two connections. PgBouncer must pool sessions, because `LISTEN` does not work otherwise.
//! - There is no TLS: see `open`.
//! - Leave autovacuum on: rows that have left the log remain in the tables until then.

use axum_eventstream::backplane::{
    Attached, Backplane, Batch, Committed, Content, Entry, Failure, FailureKind, Head, Known,
    Origin, Publication, Reader, Seen, Writer,
};
use std::{error::Error as _, future::poll_fn, time::Duration, time::SystemTime};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_postgres::config::Host;
use tokio_postgres::error::Severity;
use tokio_postgres::{AsyncMessage, Client, Config, Error, NoTls, Row, Statement, types::ToSql};

/// The server gives up before [`ANSWER_LIMIT`], and then the outcome is known.
const SESSION: &str = "SET lock_timeout = '2s'; SET statement_timeout = '3s'; \
    SET default_transaction_isolation = 'read committed'";
const ANSWER_LIMIT: Duration = Duration::from_secs(4);
const READ_WAIT: Duration = Duration::from_secs(5);

const SERVER: &str = "SELECT pg_postmaster_start_time()";
const LACKS_LOG: &str = "SELECT to_regclass('eventstream_head') IS NULL";
const ATTACH: &str = "SELECT * FROM eventstream_attach($1, $2, $3, $4, $5, $6, $7)";
const APPEND: &str = "SELECT * FROM eventstream_append($1, $2, $3, $4, $5, $6, $7)";
const HEAD: &str = "SELECT epoch, last FROM eventstream_head WHERE namespace = $1";
const READ: &str = "SELECT sequence, mark, origin, number, channel, payload, at \
    FROM eventstream_entry WHERE namespace = $1 AND sequence >= $2 ORDER BY sequence LIMIT 65";

/// A log in PostgreSQL. Instances with the same namespace share it.
#[derive(Clone, Debug)]
pub(crate) struct Postgres {
    pub(crate) config: Config,
    pub(crate) namespace: String,
    /// About how many entries the log keeps: some 100,000. A new epoch deletes them in one statement.
    pub(crate) max_entries: i64,
}

/// A connection, and the server that it leads to.
struct Connection {
    client: Client,
    namespace: String,
    server: SystemTime,
}

impl Postgres {
    /// Returns a connection, and a receiver of the log's notifications.
    async fn open(&self) -> Result<(Connection, mpsc::Receiver<()>), Error> {
        // For TLS, a connector of `postgres-native-tls` or `tokio-postgres-rustls` takes the place of `NoTls`.
        let (client, mut driver) = self.config.connect(NoTls).await?;
        let (wake, woken) = mpsc::channel(1);
        let namespace = self.namespace.clone();
        tokio::spawn(async move {
            while let Some(Ok(message)) = poll_fn(|cx| driver.poll_message(cx)).await {
                if matches!(message, AsyncMessage::Notification(of) if of.payload() == namespace) {
                    // If it is full, the reader has yet to query.
                    let _ = wake.try_send(());
                }
            }
        });
        client.batch_execute(SESSION).await?;
        let connection = Connection {
            server: client.query_one(SERVER, &[]).await?.get(0),
            namespace: self.namespace.clone(),
            client,
        };
        Ok((connection, woken))
    }

    async fn writer(&self) -> Result<PostgresWriter, Error> {
        let (connection, _) = self.open().await?;
        let client = &connection.client;
        if client.query_one(LACKS_LOG, &[]).await?.get(0) {
            client.batch_execute(include_str!("log.sql")).await?;
        }
        Ok(PostgresWriter {
            attach: client.prepare(ATTACH).await?,
            append: client.prepare(APPEND).await?,
            head: client.prepare(HEAD).await?,
            max_entries: self.max_entries,
            connection,
        })
    }

    async fn reader(&self) -> Result<PostgresReader, Error> {
        let (connection, woken) = self.open().await?;
        let client = &connection.client;
        client.batch_execute("LISTEN eventstream").await?;
        Ok(PostgresReader {
            read: client.prepare(READ).await?,
            last: None,
            connection,
            woken,
        })
    }
}

impl Backplane for Postgres {
    type Writer = PostgresWriter;
    type Reader = PostgresReader;

    fn name(&self) -> String {
        let host = |host: &Host| match host {
            Host::Tcp(name) => name.clone(),
            #[cfg(unix)]
            Host::Unix(path) => path.display().to_string(),
        };
        let hosts: Vec<_> = self.config.get_hosts().iter().map(host).collect();
        format!("postgres {}", hosts.join(","))
    }

    async fn connect(&self) -> Result<(PostgresWriter, PostgresReader), Failure> {
        let halves = async { Ok((self.writer().await?, self.reader().await?)) };
        let failed = |error| failure(FailureKind::Unavailable, error);
        let (writer, reader) = halves.await.map_err(failed)?;
        if writer.connection.server != reader.connection.server {
            // For instance during a failover.
            return Err(unavailable("the connections lead to two servers"));
        }
        Ok((writer, reader))
    }
}

pub(crate) struct PostgresWriter {
    connection: Connection,
    attach: Statement,
    append: Statement,
    head: Statement,
    max_entries: i64,
}

impl Writer for PostgresWriter {
    async fn attach(&self, known: &Known) -> Result<Attached, Failure> {
        let nothing = Seen::new(0, 0, Vec::new());
        let seen = known.seen.as_ref().unwrap_or(&nothing);
        let (me, acked) = (
            known.origin.number().cast_signed(),
            known.acknowledged.cast_signed(),
        );
        let (epoch, last) = (seen.epoch.cast_signed(), seen.last.cast_signed());
        let (mark, fresh) = (&*seen.mark, known.fresh_epoch.cast_signed());
        let known: Arguments<'_> = &[&me, &acked, &epoch, &last, &mark, &fresh];
        let row = self.connection.query(&self.attach, known).await?;
        let row = row.first().ok_or_else(stale)?;
        let (epoch, last) = (number(row, "log_epoch"), number(row, "log_last"));
        let mark: Vec<u8> = row.get("log_mark");
        let mut attached = Attached::new(epoch, last, mark, row.get("log_time"));
        attached.first = row
            .get::<_, Option<i64>>("log_first")
            .map(i64::cast_unsigned);
        attached.cause = row.get("cause");
        Ok(attached)
    }

    async fn append(&self, batch: Batch<'_>) -> Result<Committed, Failure> {
        let (epoch, me) = (
            batch.epoch.cast_signed(),
            batch.origin.number().cast_signed(),
        );
        let (first, max) = (batch.first_number.cast_signed(), self.max_entries);
        let drafts = batch
            .drafts
            .iter()
            .map(|draft| (&*draft.channel, &*draft.payload));
        let (channels, payloads): (Vec<&str>, Vec<&[u8]>) = drafts.unzip();
        let batch: Arguments<'_> = &[&epoch, &me, &first, &channels, &payloads, &max];
        let row = self.connection.query(&self.append, batch).await?;
        let row = row.first().ok_or_else(stale)?;
        let (last, added) = (number(row, "batch_last"), number(row, "added") as usize);
        Ok(Committed::new(last, added))
    }

    async fn head(&self) -> Result<Head, Failure> {
        let row = self.connection.query(&self.head, &[]).await?;
        let row = row.first().ok_or_else(stale)?;
        let (epoch, last) = (number(row, "epoch"), number(row, "last"));
        Ok(Head::new(epoch, last))
    }
}

pub(crate) struct PostgresReader {
    connection: Connection,
    read: Statement,
    woken: mpsc::Receiver<()>,
    /// The last entry that was returned.
    last: Option<Entry>,
}

impl PostgresReader {
    async fn entries(&self, after: u64) -> Result<Vec<Entry>, Failure> {
        let rows = self
            .connection
            .query(&self.read, &[&after.cast_signed()])
            .await?;
        let mut entries: Vec<_> = rows.iter().map(entry).collect();
        if entries.first().is_some_and(|first| first.sequence == after) {
            let first = entries.remove(0);
            let is_other = |last: &Entry| last.sequence == after && last.mark != first.mark;
            if self.last.as_ref().is_some_and(is_other) {
                // A dump was restored. The next session attaches, and begins an epoch.
                return Err(unavailable("the log has another history"));
            }
        }
        Ok(entries)
    }
}

impl Reader for PostgresReader {
    async fn read(&mut self, after: u64) -> Result<Vec<Entry>, Failure> {
        let until = Instant::now() + READ_WAIT;
        loop {
            let entries = self.entries(after).await?;
            if let Some(last) = entries.last() {
                self.last = Some(last.clone());
                return Ok(entries);
            }
            match timeout_at(until, self.woken.recv()).await {
                Ok(Some(())) => {}
                Ok(None) => return Err(lost("the connection was closed")),
                Err(_) => return Ok(entries),
            }
        }
    }
}

type Arguments<'a> = &'a [&'a (dyn ToSql + Sync)];

impl Connection {
    /// Runs a statement whose first argument is the namespace.
    async fn query(&self, query: &Statement, others: Arguments<'_>) -> Result<Vec<Row>, Failure> {
        let mut arguments: Vec<&(dyn ToSql + Sync)> = vec![&self.namespace];
        arguments.extend(others);
        match timeout(ANSWER_LIMIT, self.client.query(query, &arguments)).await {
            Ok(answered) => answered.map_err(|error| failure(kind(&error), error)),
            Err(_) => Err(lost("the server does not answer")),
        }
    }
}

fn entry(row: &Row) -> Entry {
    let content = row.get::<_, Option<i64>>("origin").map(|origin| {
        let (origin, number) = (Origin::new(origin.cast_unsigned()), number(row, "number"));
        let (channel, payload): (&str, Vec<u8>) = (row.get("channel"), row.get("payload"));
        Content::Published(Publication::new(
            origin,
            number,
            channel,
            payload,
            row.get("at"),
        ))
    });
    let mark: Vec<u8> = row.get("mark");
    Entry::new(
        number(row, "sequence"),
        mark,
        content.unwrap_or(Content::NewEpoch),
    )
}

fn number(row: &Row, column: &str) -> u64 {
    row.get::<_, i64>(column).cast_unsigned()
}

fn kind(error: &Error) -> FailureKind {
    let Some(answer) = error.as_db_error() else {
        return FailureKind::Lost;
    };
    if let Some(Severity::Fatal | Severity::Panic) = answer.parsed_severity() {
        return FailureKind::Lost;
    }
    match answer.code().code() {
        // lock_not_available, query_canceled, deadlock_detected, serialization_failure
        "55P03" | "57014" | "40P01" | "40001" => FailureKind::Busy,
        // read_only_sql_transaction: a standby. undefined_table, undefined_function: `connect` creates them.
        "25006" | "42P01" | "42883" => FailureKind::Unavailable,
        _ => FailureKind::Refused,
    }
}

/// The text of an error itself does not contain its cause.
fn failure(kind: FailureKind, error: Error) -> Failure {
    let cause = error.source().map(|cause| format!(": {cause}"));
    Failure::new(kind, format!("{error}{}", cause.unwrap_or_default())).caused_by(error)
}

fn lost(message: &str) -> Failure {
    Failure::new(FailureKind::Lost, message)
}

fn unavailable(message: &str) -> Failure {
    Failure::new(FailureKind::Unavailable, message)
}

fn stale() -> Failure {
    Failure::new(FailureKind::Stale, "the log has another epoch")
}
