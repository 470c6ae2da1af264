//! Entries of the stream.

use super::value;
use crate::backplane::{Content, Entry, Publication};
use bytes::Bytes;
use redis::Value;
use std::{
    fmt, str,
    time::{Duration, UNIX_EPOCH},
};

/// The id of an entry. The engine's entries have the suffix 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Id {
    pub(super) sequence: u64,
    pub(super) suffix: u64,
}

impl Id {
    fn parse(text: &str) -> Option<Self> {
        let (sequence, suffix) = text.split_once('-')?;
        Some(Self {
            sequence: sequence.parse().ok()?,
            suffix: suffix.parse().ok()?,
        })
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.sequence, self.suffix)
    }
}

/// Parses the answer to XREAD of one stream.
pub(super) fn parse(answer: Value) -> Option<Vec<(Id, Entry)>> {
    if answer == Value::Nil {
        return Some(Vec::new());
    }
    let [stream] = value::list(answer)?.try_into().ok()?;
    let [_key, entries] = value::list(stream)?.try_into().ok()?;
    value::list(entries)?.into_iter().map(parse_entry).collect()
}

fn parse_entry(entry: Value) -> Option<(Id, Entry)> {
    let [id, fields] = value::list(entry)?.try_into().ok()?;
    let id = Id::parse(&value::text(id)?)?;
    let fields: Option<Vec<_>> = value::list(fields)?.into_iter().map(value::bytes).collect();
    let content = Some(fields?).filter(|_| id.suffix == 0).and_then(content);
    // Without a mark, attach compares nothing: the first field of a foreign entry names no term.
    let (mark, content) = content.unwrap_or((Bytes::new(), Content::Foreign));
    let entry = Entry {
        sequence: id.sequence,
        mark,
        content,
    };
    Some((id, entry))
}

/// Parses the fields as the scripts write them, and returns the first one's value as the mark.
fn content(fields: Vec<Vec<u8>>) -> Option<(Bytes, Content)> {
    if fields.len() == 2 && fields[0] == b"e" {
        let [_, epoch] = fields.try_into().ok()?;
        return Some((epoch.into(), Content::NewEpoch));
    }
    let [o, mark, c, channel, d, payload, t, at] = fields.try_into().ok()?;
    if [o, c, d, t] != [b"o", b"c", b"d", b"t"] {
        return None;
    }
    let mut parts = str::from_utf8(&mark).ok()?.split(':');
    let publication = Publication {
        origin: parts.next()?.parse().ok()?,
        number: parts.next()?.parse().ok()?,
        channel: String::from_utf8(channel).ok()?,
        payload: payload.into(),
        at: UNIX_EPOCH.checked_add(Duration::from_millis(
            str::from_utf8(&at).ok()?.parse().ok()?,
        ))?,
    };
    Some((mark.into(), Content::Published(publication)))
}
