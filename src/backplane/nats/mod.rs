//! The engine on NATS JetStream.
//!
//! A stream holds a log. Each of its messages is a batch, and its subject carries the epoch and the origin.

mod link;
mod message;
mod reader;
mod stream;
mod time;
mod url;
mod warned;
mod writer;

use crate::backplane::{Backplane, Failure, url::InvalidUrl};
use link::Link;
use reader::NatsReader;
use std::{fmt, sync::Arc};
use stream::Stream;
use url::Url;
use warned::Warned;
use writer::NatsWriter;

/// A log in NATS JetStream, server 2.11.2 or later, or 2.10.28 or later of 2.10.
///
/// The first instance creates a stream. It has the limits of this value. Later changes of them have no effect:
/// use `nats stream edit`. The stream refuses to delete single messages. A stream of this name with settings that a log
/// cannot have is an error, and is never deleted.
///
/// If entries are gone that an instance has published or read, that instance deletes the stream and creates another one.
/// The clients of all instances receive `stream-reset`.
///
/// # URLs
///
/// | URL | connects to |
/// | --- | --- |
/// | `nats://[user:password@]host[:port]` | a server |
/// | `nats://token@host[:port]` | a server that demands a token |
/// | `nats://host:port,host:port` | the first server that answers, in random order: list all servers of a cluster |
///
/// `tls` in place of `nats` demands TLS. It needs the feature `rustls`, which trusts the certificates of the system. With
/// `nats`, a server that demands TLS gets it too. Reserved characters in names, passwords and tokens are percent-encoded.
/// A user with a JWT, as in Synadia Cloud, needs [`credentials`](Self::credentials).
///
/// # Rights
///
/// A user who may do what the engine needs, for the namespace `chat`:
///
/// ```text
/// permissions {
///   publish: [
///     "eventstream.chat.>", "$JS.API.STREAM.INFO.chat", "$JS.API.STREAM.CREATE.chat", "$JS.API.STREAM.DELETE.chat",
///     "$JS.API.STREAM.MSG.GET.chat", "$JS.API.CONSUMER.CREATE.chat.>", "$JS.API.CONSUMER.MSG.NEXT.chat.>"
///   ]
///   subscribe: "_INBOX.eventstream.chat.>"
/// }
/// ```
///
/// # Sizes
///
/// A batch of events is one message. The server's `max_payload`, by default 1 MiB, limits the size of an event: a larger
/// one is not published. A batch above it goes in several messages, so other events may come between its own.
///
/// # Examples
///
/// ```
/// use axum_eventstream::backplane::{Backplane, Nats};
///
/// let nats = Nats::new("nats://app:secret@10.0.0.1,10.0.0.2,10.0.0.3").namespace("chat").replicas(3);
/// assert!(nats.check().is_ok());
/// assert_eq!(nats.name(), "nats 10.0.0.1:4222,10.0.0.2:4222,10.0.0.3:4222");
/// ```
#[derive(Clone)]
pub struct Nats {
    url: Result<Url, InvalidUrl>,
    credentials: Option<String>,
    settings: Settings,
    warned: Arc<Warned>,
}

/// What a new stream gets.
#[derive(Clone, Debug)]
struct Settings {
    namespace: String,
    replicas: usize,
    max_messages: u64,
    max_bytes: Option<u64>,
}

impl Nats {
    /// Creates the engine. Nothing connects yet, and [`check`](Backplane::check) returns errors in the URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: Url::parse(&url.into()),
            credentials: None,
            settings: Settings {
                namespace: "eventstream".to_owned(),
                replicas: 1,
                max_messages: 100_000,
                max_bytes: None,
            },
            warned: Arc::default(),
        }
    }

    /// Sets the name of the log, by default `eventstream`. Instances with the same name share it.
    ///
    /// The stream has this name, and its subjects begin with `eventstream.{name}.`. The name has up to 64 letters,
    /// digits, `-` and `_` of ASCII.
    #[must_use]
    pub fn namespace(mut self, name: impl Into<String>) -> Self {
        self.settings.namespace = name.into();
        self
    }

    /// Sets the text of a credentials file, which holds a user's JWT and its key.
    #[must_use]
    pub fn credentials(mut self, text: impl Into<String>) -> Self {
        self.credentials = Some(text.into());
        self
    }

    /// Sets on how many servers of a cluster a new stream is stored, by default 1. With 3, the log survives the loss of
    /// a server.
    #[must_use]
    pub fn replicas(mut self, replicas: usize) -> Self {
        self.settings.replicas = replicas;
        self
    }

    /// Sets how many messages a new stream keeps, by default 100,000. A message has all events that an instance
    /// publishes at the same time.
    #[must_use]
    pub fn max_messages(mut self, messages: u64) -> Self {
        self.settings.max_messages = messages;
        self
    }

    /// Sets how many bytes a new stream keeps, by default without a limit. Accounts may demand one.
    #[must_use]
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.settings.max_bytes = Some(bytes);
        self
    }

    fn checked_url(&self) -> Result<&Url, Failure> {
        let parsed = self.url.as_ref();
        let url = parsed.map_err(|error| Failure::refused(error.to_string()))?;
        if url.is_tls && !cfg!(feature = "rustls") {
            return Err(Failure::refused(format!(
                "{url} with TLS needs the feature \"rustls\""
            )));
        }
        Ok(url)
    }

    fn check_namespace(&self) -> Result<(), Failure> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        let name = &self.settings.namespace;
        if (1..=64).contains(&name.len()) && name.bytes().all(is_allowed) {
            return Ok(());
        }
        Err(Failure::refused(format!(
            "the namespace {name:?} must have 1 to 64 letters, digits, - and _ of ASCII"
        )))
    }
}

impl Backplane for Nats {
    type Writer = NatsWriter;
    type Reader = NatsReader;

    fn name(&self) -> String {
        match &self.url {
            Ok(url) => format!("nats {url}"),
            Err(_) => "nats".to_owned(),
        }
    }

    fn check(&self) -> Result<(), Failure> {
        let Settings {
            replicas,
            max_messages,
            max_bytes,
            ..
        } = &self.settings;
        self.check_namespace()?;
        if !(1..=5).contains(replicas) {
            return Err(Failure::refused("replicas must be 1 to 5"));
        }
        if *max_messages == 0 || *max_bytes == Some(0) {
            return Err(Failure::refused(
                "max_messages and max_bytes must be at least 1",
            ));
        }
        self.checked_url().map(drop)
    }

    async fn connect(&self) -> Result<(NatsWriter, NatsReader), Failure> {
        self.check()?;
        let url = self.checked_url()?;
        #[cfg(feature = "rustls")]
        // Any server may demand TLS.
        crate::backplane::tls::choose_provider();
        let inbox = format!("_INBOX.eventstream.{}", self.settings.namespace);
        let link = Link::connect(url, self.credentials.as_deref(), inbox).await?;
        if !link.keeps_logs() {
            let text = "deletes a log when it restarts: it needs NATS 2.11.2, or 2.10.28";
            return Err(Failure::refused(format!("{} {text}", link.name)));
        }
        // Both halves use one connection, so they see the same stream.
        let stream = Stream {
            link: Arc::new(link),
            settings: self.settings.clone(),
            attached: Arc::default(),
        };
        let reader = NatsReader::new(stream.clone());
        Ok((NatsWriter::new(stream, self.warned.clone()), reader))
    }
}

impl fmt::Debug for Nats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nats")
            .field("url", &self.url)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(nats: &Nats) -> String {
        nats.check().unwrap_err().to_string()
    }

    #[test]
    fn wrong_settings_are_refused_by_name() {
        let nats = Nats::new("nats://localhost");
        for name in ["", "a b", "a.b", "*", ">", "ü", "x\n", &"x".repeat(65)] {
            let message = message(&nats.clone().namespace(name));
            assert!(message.contains(&format!("{name:?}")), "{message}");
        }
        for name in ["chat", "app_1-b", &"x".repeat(64)] {
            assert!(nats.clone().namespace(name).check().is_ok());
        }
        assert!(message(&nats.clone().max_messages(0)).contains("max_messages"));
        assert!(message(&nats.clone().max_bytes(0)).contains("max_bytes"));
        assert!(message(&nats.replicas(0)).contains("replicas"));
        assert!(message(&Nats::new("nats://h:x")).contains("nats://h:***"));
    }

    #[test]
    fn tls_needs_its_feature() {
        let checked = Nats::new("tls://h").check();
        assert_eq!(checked.is_ok(), cfg!(feature = "rustls"), "{checked:?}");
    }

    #[test]
    fn a_password_is_never_shown() {
        for url in [
            "nats://user:secret@h",
            "nats://secret@h:x",
            "tls://secret@h",
            "secret@h",
        ] {
            let nats = Nats::new(url).credentials("secret");
            let shown = format!("{nats:?} {} {:?}", nats.name(), nats.check());
            assert!(!shown.contains("secret") && shown.contains('h'), "{shown}");
        }
    }
}
