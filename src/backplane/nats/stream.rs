//! The stream of a log: its settings, and the epoch in its subject.
//!
//! A stream takes messages on the subjects of its own epoch only. So a batch of an earlier epoch reaches no stream,
//! even if a stream of the same name has replaced the first one.

use super::{
    Settings,
    link::Link,
    message::{MAX_MESSAGE, begin_of, last_of, max_draft},
    time,
};
use crate::backplane::{Attached, Failure, Origin, block::Label};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde::{Deserialize, de::IgnoredAny};
use serde_json::json;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::SystemTime,
};

/// Error codes of JetStream.
const NO_STREAM: u16 = 10059;
const NO_MESSAGE: u16 = 10037;
const NAME_IN_USE: u16 = 10058;

/// The first part of all subjects. The namespace, the epoch and the origin follow.
const FIRST: &str = "eventstream.";

/// Some requests must be empty.
const NOTHING: Option<&()> = None;

/// Room for the headers of a message.
const HEADERS: usize = 256;

const SECOND: u64 = 1_000_000_000;

/// How long the server remembers the ids of messages. Publishes are repeated for 10 seconds, but a network that heals
/// can deliver a first attempt minutes after its repetition.
const REMEMBERED: u64 = 300 * SECOND;
const LEAST_REMEMBERED: u64 = 120 * SECOND;

#[derive(Clone)]
pub(super) struct Stream {
    pub(super) link: Arc<Link>,
    pub(super) settings: Settings,
    /// The epoch of the last attach. 0 stands for none.
    pub(super) attached: Arc<AtomicU64>,
}

/// A stream as its leader has it.
pub(super) struct Info {
    pub(super) epoch: u64,
    /// The sequence of the last message.
    pub(super) last: u64,
    /// The sequence of the first message, if there is one.
    pub(super) first: Option<u64>,
    pub(super) config: Config,
    /// Whether several servers may share the stream.
    pub(super) is_clustered: bool,
    /// The server's time.
    time: SystemTime,
}

/// A message of the stream without its drafts.
pub(super) struct Stored {
    /// `None` if another program has written it.
    pub(super) label: Option<Label>,
    at: SystemTime,
}

#[derive(Deserialize)]
struct InfoAnswer {
    config: Config,
    state: State,
    ts: String,
    cluster: Option<IgnoredAny>,
}

/// The settings that matter.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Config {
    subjects: Vec<String>,
    retention: String,
    discard: String,
    pub(super) storage: String,
    pub(super) num_replicas: usize,
    max_msgs_per_subject: i64,
    max_msg_size: i64,
    duplicate_window: u64,
    no_ack: bool,
    sealed: bool,
    allow_msg_ttl: bool,
    allow_rollup_hdrs: bool,
    mirror: Option<IgnoredAny>,
    sources: Vec<IgnoredAny>,
    subject_transform: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct State {
    messages: u64,
    first_seq: u64,
    last_seq: u64,
}

#[derive(Deserialize)]
struct MessageAnswer {
    message: StoredAnswer,
}

#[derive(Deserialize)]
struct StoredAnswer {
    #[serde(default)]
    hdrs: String,
    time: String,
}

impl Stream {
    /// How many bytes of drafts a message may have.
    pub(super) fn room(&self) -> usize {
        self.link.max_payload().saturating_sub(HEADERS)
    }

    /// Where an origin's batches go.
    pub(super) fn subject(&self, epoch: u64, origin: Origin) -> String {
        format!("{}{epoch:012x}.{origin}", self.prefix())
    }

    fn prefix(&self) -> String {
        format!("{FIRST}{}.", self.settings.namespace)
    }

    pub(super) async fn info(&self) -> Result<Option<Info>, Failure> {
        let request = format!("STREAM.INFO.{}", self.settings.namespace);
        match self.link.ask(request, NOTHING).await? {
            Ok(answer) => self.read(answer).map(Some),
            Err(error) if error.err_code == NO_STREAM => Ok(None),
            Err(error) => Err(self.link.answered(&error)),
        }
    }

    /// Creates the stream, which begins with the message `first`. Returns `None` if there is one already.
    pub(super) async fn create(&self, epoch: u64, first: u64) -> Result<Option<Info>, Failure> {
        let Settings {
            namespace,
            replicas,
            max_messages,
            max_bytes,
        } = &self.settings;
        let limit =
            |limit: Option<u64>| limit.map_or(-1, |limit| limit.try_into().unwrap_or(i64::MAX));
        let stream = json!({
            "name": namespace,
            "subjects": [format!("{}{epoch:012x}.*", self.prefix())],
            "retention": "limits",
            "discard": "old",
            "storage": "file",
            "num_replicas": replicas,
            "max_msgs": limit(Some(*max_messages)),
            "max_bytes": limit(*max_bytes),
            "duplicate_window": REMEMBERED,
            "deny_delete": true,
            "deny_purge": true,
            "first_seq": first,
        });
        let created = self
            .link
            .ask(format!("STREAM.CREATE.{namespace}"), Some(&stream))
            .await?;
        match created {
            Ok(answer) => self.read(answer).map(Some),
            Err(error) if error.err_code == NAME_IN_USE => Ok(None),
            Err(error) => Err(self.link.answered(&error)),
        }
    }

    pub(super) async fn delete(&self) -> Result<(), Failure> {
        let request = format!("STREAM.DELETE.{}", self.settings.namespace);
        match self.link.ask::<IgnoredAny>(request, NOTHING).await? {
            Err(error) if error.err_code != NO_STREAM => Err(self.link.answered(&error)),
            _ => Ok(()),
        }
    }

    /// Returns a message from the stream's leader, if it is there.
    pub(super) async fn message(&self, sequence: u64) -> Result<Option<Stored>, Failure> {
        let request = format!("STREAM.MSG.GET.{}", self.settings.namespace);
        let body = json!({ "seq": sequence });
        match self.link.ask::<MessageAnswer>(request, Some(&body)).await? {
            Ok(answer) => Ok(Stored::read(&answer.message)),
            Err(error) if matches!(error.err_code, NO_MESSAGE | NO_STREAM) => Ok(None),
            Err(error) => Err(self.link.answered(&error)),
        }
    }

    fn read(&self, answer: InfoAnswer) -> Result<Info, Failure> {
        let (state, epoch) = (answer.state, self.epoch(&answer.config)?);
        if state.last_seq > MAX_MESSAGE {
            return Err(self.foreign("its sequences are too high"));
        }
        let missing = || self.link.lost("the server's time is missing");
        let time = time::parse(&answer.ts).ok_or_else(missing)?;
        Ok(Info {
            epoch,
            last: state.last_seq,
            first: (state.messages > 0).then_some(state.first_seq),
            config: answer.config,
            is_clustered: answer.cluster.is_some(),
            time,
        })
    }

    /// The epoch of a stream that this engine has created, or that follows the same rules.
    fn epoch(&self, config: &Config) -> Result<u64, Failure> {
        let epoch = match &config.subjects[..] {
            [subject] => self.parts_of(subject),
            _ => None,
        };
        let epoch = epoch.and_then(|(epoch, rest)| (rest == "*").then_some(epoch));
        let epoch = epoch.ok_or_else(|| self.foreign("its subjects are not those of a log"))?;
        match config.fault() {
            Some(fault) => Err(self.foreign(fault)),
            None => Ok(epoch),
        }
    }

    /// The epoch of a subject, and what follows it.
    fn parts_of<'a>(&self, subject: &'a str) -> Option<(u64, &'a str)> {
        let parts = subject.strip_prefix(FIRST)?;
        let parts = parts.strip_prefix(self.settings.namespace.as_str())?;
        let (epoch, rest) = parts.strip_prefix('.')?.split_once('.')?;
        let number = u64::from_str_radix(epoch, 16).ok()?;
        (epoch.len() == 12).then_some((number, rest))
    }

    /// Whether a message is in the stream of the last attach, and not in one that has replaced it.
    pub(super) fn is_current(&self, subject: &str) -> bool {
        let attached = self.attached.load(Relaxed);
        let epoch = self.parts_of(subject);
        attached == 0 || epoch.is_none_or(|(epoch, _)| epoch == attached)
    }

    fn foreign(&self, fault: &str) -> Failure {
        let Settings { namespace, .. } = &self.settings;
        Failure::refused(format!(
            "the stream {namespace:?} at {} cannot hold the log: {fault}; delete it, or choose another namespace",
            self.link.name
        ))
    }
}

impl Config {
    /// A setting with which entries could be missing in the middle of the log, or appear twice.
    fn fault(&self) -> Option<&'static str> {
        let is_bound = self.mirror.is_some() || !self.sources.is_empty();
        let rules = [
            (self.retention == "limits", "its retention is not `limits`"),
            (self.discard == "old", "it discards new messages"),
            (
                self.max_msgs_per_subject <= 0,
                "it has a limit for each subject",
            ),
            (
                self.max_msg_size <= 0,
                "it has a limit for the size of a message",
            ),
            (!self.allow_msg_ttl, "its messages may expire one by one"),
            (!self.allow_rollup_hdrs, "it allows rollups"),
            (!self.no_ack, "it does not acknowledge"),
            (!self.sealed, "it is sealed"),
            (!is_bound, "it copies other streams"),
            (self.subject_transform.is_none(), "it transforms subjects"),
            (
                self.duplicate_window >= LEAST_REMEMBERED,
                "its duplicate window is below 120 s",
            ),
        ];
        let broken = rules.into_iter().find(|(is_kept, _)| !is_kept);
        broken.map(|(_, fault)| fault)
    }
}

impl Info {
    /// The state of the log, without a mark: a follower reads all entries, which have marks.
    pub(super) fn attached(&self, room: usize) -> Attached {
        let attached = Attached::new(self.epoch, last_of(self.last), Bytes::new(), self.time);
        let attached = attached.max_draft(max_draft(room));
        match self.first {
            Some(first) => attached.first(begin_of(first)),
            None => attached,
        }
    }
}

impl Stored {
    fn read(answer: &StoredAnswer) -> Option<Self> {
        let headers = String::from_utf8(STANDARD.decode(&answer.hdrs).ok()?).ok()?;
        let header = |name: &'static str| {
            let mut fields = headers.lines().filter_map(|line| line.split_once(": "));
            fields
                .find(|(field, _)| *field == name)
                .map(|(_, value)| value)
        };
        Some(Self {
            label: Label::read(header),
            at: time::parse(&answer.time)?,
        })
    }

    pub(super) fn mark(&self) -> Option<Bytes> {
        self.label.map(|label| label.mark(self.at))
    }
}
