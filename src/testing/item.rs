//! The items that applications publish to a proxy.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use serde::Deserialize;

#[derive(Deserialize)]
pub(super) struct Publish {
    pub(super) items: Vec<serde_json::Value>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Item {
    pub(super) channel: String,
    pub(super) id: Option<String>,
    pub(super) prev_id: Option<String>,
    formats: Formats,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Formats {
    http_stream: Message,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Message {
    content: Option<String>,
    content_bin: Option<String>,
    action: Option<String>,
}

/// The effect of an item on a held stream.
pub(super) enum Action {
    Send(Bytes),
    /// The client has missed an item.
    Hint,
    Close,
}

impl Item {
    pub(super) fn action(&self) -> Action {
        let Message {
            content,
            content_bin,
            action,
        } = &self.formats.http_stream;
        match (action.as_deref(), content, content_bin) {
            (Some("hint"), ..) => Action::Hint,
            (Some("close"), ..) => Action::Close,
            (_, Some(text), _) => Action::Send(text.clone().into()),
            (_, None, Some(text)) => {
                Action::Send(BASE64_STANDARD.decode(text).unwrap_or_default().into())
            }
            (_, None, None) => Action::Send(Bytes::new()),
        }
    }
}
