//! The engine on Redis or Valkey.
//!
//! Two keys hold a log: a stream of batches, and a hash with the epoch, the last sequence and what each origin has
//! appended. Two scripts, `attach.lua` and `publish.lua`, change both at once. A batch is one entry of the stream, whose
//! id is `<sequence of its last draft>-0`: parsing an answer costs Redis and the client crate more than a draft itself.

mod connection;
#[cfg(feature = "tracing")]
mod durability;
mod entry;
mod failure;
mod reader;
mod resolve;
mod script;
mod term;
mod url;
mod writer;

use crate::backplane::{Backplane, Failure, url::InvalidUrl};
use reader::RedisReader;
use std::{
    fmt,
    sync::{Arc, atomic::AtomicBool},
};
use term::Term;
use url::Url;
use writer::RedisWriter;

/// A log in Redis 7.0 or later, or in Valkey.
///
/// Redis 6.2 works too, but `min-replicas-to-write` does not protect the log there. The tests of this engine were run
/// with Redis 7.0.15 and Valkey 9.1.2, and with Redis 6.2.14 except for clusters.
///
/// # URLs
///
/// | URL | connects to |
/// | --- | --- |
/// | `redis://[user:password@]host[:port][/database]` | a server |
/// | `redis://host:port,host:port` | a node of a cluster: the first that answers names the node of the log |
/// | `redis+sentinel://[user:password@]host[:port],host[:port]/master[/database]` | the master that Sentinel names |
/// | `unix://[user:password@]/path` | a socket in the file system |
///
/// `rediss` in place of `redis` encrypts connections. It needs one of the features `rustls` and `native-tls`, which
/// trust the certificates of the system. `valkey` and `valkeys` mean the same as `redis` and `rediss`. Reserved
/// characters in names and passwords are percent-encoded. Sentinels receive the password if they demand one.
///
/// # Rights
///
/// A user who may do what the engine needs, for the namespace `chat`:
///
/// ```text
/// ACL SETUSER app on >password ~{chat}:* -@all +evalsha +eval +expire +hmget +hset +hlen +hgetall +hdel +time
///     +unlink +xadd +xrange +xrevrange +xread +info
/// ```
///
/// The text is one line. Without `+info`, the engine works, but does not notice every loss after a failover. With `+config|get`, it warns of
/// settings that lose entries. `+select` is for a database, and `+sentinel|get-master-addr-by-name` for Sentinels.
///
/// # Examples
///
/// ```
/// use axum_eventstream::backplane::{Backplane, Redis};
///
/// let redis = Redis::new("redis://:secret@127.0.0.1:6379").namespace("chat");
/// assert!(redis.check().is_ok());
/// assert_eq!(redis.name(), "redis 127.0.0.1:6379");
/// ```
#[derive(Clone)]
pub struct Redis {
    url: Result<Url, InvalidUrl>,
    namespace: String,
    max_entries: usize,
    warned: Arc<Warned>,
}

/// Which warnings were logged already.
#[derive(Default)]
struct Warned {
    #[cfg(feature = "tracing")]
    of_settings: AtomicBool,
    of_terms: AtomicBool,
}

/// The names of both keys. The braces put them into one slot of a cluster.
#[derive(Clone, Debug)]
struct Keys {
    log: String,
    meta: String,
}

impl Redis {
    /// Creates the engine. Nothing connects yet, and [`check`](Backplane::check) returns errors in the URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: Url::parse(&url.into()),
            namespace: "eventstream".to_owned(),
            max_entries: 100_000,
            warned: Arc::default(),
        }
    }

    /// Sets the name of the log, by default `eventstream`. Instances with the same name share it.
    ///
    /// The keys are `{name}:log` and `{name}:meta`. The name has up to 128 visible ASCII characters, without braces.
    #[must_use]
    pub fn namespace(mut self, name: impl Into<String>) -> Self {
        self.namespace = name.into();
        self
    }

    /// Sets about how many entries the log keeps, by default 100,000. Redis trims it in blocks, so it may keep some
    /// hundred more.
    #[must_use]
    pub fn max_entries(mut self, entries: usize) -> Self {
        self.max_entries = entries;
        self
    }

    fn keys(&self) -> Keys {
        Keys {
            log: format!("{{{}}}:log", self.namespace),
            meta: format!("{{{}}}:meta", self.namespace),
        }
    }

    fn checked_url(&self) -> Result<&Url, Failure> {
        let parsed = self.url.as_ref();
        let url = parsed.map_err(|error| Failure::refused(error.to_string()))?;
        url.check_tls().map_err(Failure::refused)?;
        Ok(url)
    }

    fn check_namespace(&self) -> Result<(), Failure> {
        let is_allowed = |byte: u8| byte.is_ascii_graphic() && !b"{}".contains(&byte);
        let name = &self.namespace;
        if (1..=128).contains(&name.len()) && name.bytes().all(is_allowed) {
            return Ok(());
        }
        Err(Failure::refused(format!(
            "the namespace {name:?} must have 1 to 128 visible ASCII characters, without braces"
        )))
    }
}

impl Backplane for Redis {
    type Writer = RedisWriter;
    type Reader = RedisReader;

    fn name(&self) -> String {
        match &self.url {
            Ok(url) => format!("redis {url}"),
            Err(_) => "redis".to_owned(),
        }
    }

    fn check(&self) -> Result<(), Failure> {
        self.check_namespace()?;
        if self.max_entries == 0 {
            return Err(Failure::refused("max_entries must be at least 1"));
        }
        self.checked_url().map(drop)
    }

    async fn connect(&self) -> Result<(RedisWriter, RedisReader), Failure> {
        self.check()?;
        let url = self.checked_url()?;
        #[cfg(feature = "rustls")]
        if url.is_tls {
            crate::backplane::tls::choose_provider();
        }
        let keys = self.keys();
        let (connection, master) = resolve::connect(url, &keys.meta).await?;
        let term = Term::default();
        let reader =
            RedisReader::open(connection.endpoint.clone(), keys.clone(), term.clone()).await?;
        #[cfg(feature = "tracing")]
        durability::review(&connection, &self.warned).await;
        let warned = Arc::clone(&self.warned);
        let writer = RedisWriter::new(connection, keys, self.max_entries, master, term, warned);
        Ok((writer, reader))
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis")
            .field("url", &self.url)
            .field("namespace", &self.namespace)
            .field("max_entries", &self.max_entries)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(redis: &Redis) -> String {
        redis.check().unwrap_err().to_string()
    }

    #[test]
    fn wrong_settings_are_refused_by_name() {
        let redis = Redis::new("redis://localhost");
        for name in ["", "a b", "{chat}", "ü", "x\n", &"x".repeat(129)] {
            let message = message(&redis.clone().namespace(name));
            assert!(message.contains(&format!("{name:?}")), "{message}");
        }
        for name in ["chat", "app:1/*", &"x".repeat(128)] {
            assert!(redis.clone().namespace(name).check().is_ok());
        }
        assert!(message(&redis.max_entries(0)).contains("max_entries"));
        assert!(message(&Redis::new("redis://h:x")).contains("redis://h:***"));
    }

    #[test]
    fn tls_needs_exactly_one_of_its_features() {
        let has_one = cfg!(feature = "rustls") != cfg!(feature = "native-tls");
        for url in ["rediss://h", "valkeys://h", "rediss+sentinel://h/main"] {
            let checked = Redis::new(url).check();
            assert_eq!(checked.is_ok(), has_one, "{checked:?}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        for url in [
            "redis://user:secret@h",
            "redis://user:secret@h:x",
            "secret@h",
        ] {
            let redis = Redis::new(url);
            let shown = format!("{redis:?} {} {:?}", redis.name(), redis.check());
            assert!(!shown.contains("secret") && shown.contains('h'), "{shown}");
        }
    }
}
