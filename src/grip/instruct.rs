//! Instructions to the proxy, which travel as response headers.

use std::fmt::Write as _;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::header::{
    GRIP_CHANNEL, GRIP_HOLD, GRIP_KEEP_ALIVE, GRIP_LINK, GRIP_SET_META, GRIP_STATUS, GRIP_TIMEOUT,
};

/// How the proxy holds the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Hold {
    /// As a stream: the proxy appends every message to the response.
    Stream,
    /// For one late response (long polling): the first message is the response.
    Response,
}

/// Instructions to the proxy, as [response headers](https://pushpin.org/docs/protocols/grip/).
///
/// [`to_headers`](Self::to_headers) checks names and ids: GRIP cannot quote them, so that a `,` in a channel's
/// name would begin a second channel.
///
/// # Examples
///
/// ```
/// use axum_eventstream::grip::{GRIP_CHANNEL, GRIP_HOLD, Hold, Instruct};
/// use std::time::Duration;
///
/// let headers = Instruct::new()
///     .hold(Hold::Stream)
///     .channel("events-room-1")
///     .keep_alive("event: keep-alive\ndata: \n\n", Duration::from_secs(20))
///     .to_headers()?;
/// assert_eq!(headers[GRIP_HOLD], "stream");
/// assert_eq!(headers[GRIP_CHANNEL], "events-room-1");
/// assert!(Instruct::new().channel("room, secret").to_headers().is_err());
/// # Ok::<_, axum_eventstream::grip::InvalidInstruct>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Instruct {
    hold: Option<Hold>,
    channels: Vec<(String, Option<String>)>,
    keep_alive: Option<String>,
    timeout: Option<Duration>,
    links: Vec<Link>,
    status: Option<StatusCode>,
    meta: Vec<(String, String)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Link {
    uri: String,
    rel: &'static str,
    timeout: Option<Duration>,
}

/// An instruction that GRIP cannot express.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidInstruct {
    /// A channel is empty, or has a control character, `,` or `;`.
    #[error("channel {0:?} is empty or has a control character, `,` or `;`")]
    Channel(String),
    /// A previous id is empty, or has a control character, `,` or `;`.
    #[error("prev-id {0:?} is empty or has a control character, `,` or `;`")]
    PrevId(String),
    /// A link is empty, or has a character other than visible ASCII without `,`, `;`, `"`, `<` and `>`.
    #[error("link {0:?} is empty or has characters that must be percent-encoded here")]
    Link(String),
    /// The name of a value is not a token, or the value has a control character.
    #[error("meta {0:?} is not a token, or its value has a control character")]
    Meta(String),
}

impl Instruct {
    /// Creates an empty set of instructions.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Holds the client.
    #[must_use]
    pub fn hold(mut self, hold: Hold) -> Self {
        self.hold = Some(hold);
        self
    }

    /// Adds a channel.
    #[must_use]
    pub fn channel(mut self, name: impl AsRef<str>) -> Self {
        self.channels.push((name.as_ref().to_owned(), None));
        self
    }

    /// Adds a channel whose next message must follow the message `prev_id`.
    ///
    /// Otherwise the proxy requests the [next link](Self::next_link), which a hold with a `prev_id` must have.
    #[must_use]
    pub fn channel_after(mut self, name: impl AsRef<str>, prev_id: impl Into<String>) -> Self {
        let channel = (name.as_ref().to_owned(), Some(prev_id.into()));
        self.channels.push(channel);
        self
    }

    /// Sets the data that the proxy writes to a stream that was idle for the timeout.
    ///
    /// The timeout is rounded up to whole seconds, at least one. Pushpin may write up to a second early.
    #[must_use]
    pub fn keep_alive(mut self, data: impl AsRef<[u8]>, timeout: Duration) -> Self {
        let (data, format) = match c_string(data.as_ref()) {
            Some(text) => (text, "cstring"),
            None => (BASE64_STANDARD.encode(data), "base64"),
        };
        let timeout = seconds(timeout);
        self.keep_alive = Some(format!("{data}; format={format}; timeout={timeout}"));
        self
    }

    /// Sets how long a [`Hold::Response`] lasts, rounded up to whole seconds. Pushpin's minimum is 5 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sets the URI from which the proxy continues the stream. It may be relative to the request.
    ///
    /// The proxy requests it after a gap in the messages, after a response without a hold, and after the stream
    /// was idle for the timeout, rounded up to whole seconds.
    #[must_use]
    pub fn next_link(mut self, uri: impl Into<String>, timeout: Option<Duration>) -> Self {
        let (uri, rel) = (uri.into(), "next");
        self.links.push(Link { uri, rel, timeout });
        self
    }

    /// Sets the URI to which the proxy posts when the client has disconnected. Pushpin supports it from 1.41 on.
    #[must_use]
    pub fn gone_link(mut self, uri: impl Into<String>) -> Self {
        let (uri, rel, timeout) = (uri.into(), "gone", None);
        self.links.push(Link { uri, rel, timeout });
        self
    }

    /// Sets the status that the client receives instead of the response's own.
    #[must_use]
    pub fn status(mut self, status: StatusCode) -> Self {
        self.status = Some(status);
        self
    }

    /// Adds a value for the proxy's filters.
    #[must_use]
    pub fn set_meta(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.meta.push((name.into(), value.into()));
        self
    }

    /// Returns the headers. Names travel as UTF-8 bytes.
    ///
    /// # Errors
    ///
    /// Fails at the first name, id, link or value that GRIP cannot express.
    pub fn to_headers(&self) -> Result<HeaderMap, InvalidInstruct> {
        let mut headers = HeaderMap::new();
        let mut add = |name: HeaderName, value: String| {
            // Cannot fail: every value was checked and has no control characters.
            if let Ok(value) = HeaderValue::from_maybe_shared(value.into_bytes()) {
                headers.insert(name, value);
            }
        };
        if let Some(hold) = self.hold {
            let hold = match hold {
                Hold::Stream => "stream",
                Hold::Response => "response",
            };
            add(GRIP_HOLD, hold.to_owned());
        }
        if !self.channels.is_empty() {
            add(GRIP_CHANNEL, self.channel_list()?);
        }
        if let Some(keep_alive) = &self.keep_alive {
            add(GRIP_KEEP_ALIVE, keep_alive.clone());
        }
        if let Some(timeout) = self.timeout {
            add(GRIP_TIMEOUT, seconds(timeout).to_string());
        }
        if !self.links.is_empty() {
            add(GRIP_LINK, join(&self.links, Link::to_text)?);
        }
        if let Some(status) = self.status {
            add(GRIP_STATUS, status.as_str().to_owned());
        }
        if !self.meta.is_empty() {
            add(GRIP_SET_META, join(&self.meta, meta_to_text)?);
        }
        Ok(headers)
    }

    fn channel_list(&self) -> Result<String, InvalidInstruct> {
        join(&self.channels, |(name, prev_id)| {
            if !is_plain(name) {
                return Err(InvalidInstruct::Channel(name.clone()));
            }
            match prev_id {
                None => Ok(name.clone()),
                Some(id) if is_plain(id) => Ok(format!("{name}; prev-id={id}")),
                Some(id) => Err(InvalidInstruct::PrevId(id.clone())),
            }
        })
    }
}

impl Link {
    fn to_text(&self) -> Result<String, InvalidInstruct> {
        let allowed = |byte: u8| byte.is_ascii_graphic() && !br#",;"<>"#.contains(&byte);
        if self.uri.is_empty() || !self.uri.bytes().all(allowed) {
            return Err(InvalidInstruct::Link(self.uri.clone()));
        }
        let mut text = format!("<{}>; rel={}", self.uri, self.rel);
        if let Some(timeout) = self.timeout {
            let _ = write!(text, "; timeout={}", seconds(timeout));
        }
        Ok(text)
    }
}

fn meta_to_text((name, value): &(String, String)) -> Result<String, InvalidInstruct> {
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if name.is_empty() || !name.bytes().all(token) || value.chars().any(char::is_control) {
        return Err(InvalidInstruct::Meta(name.clone()));
    }
    let value = value.replace('\\', r"\\").replace('"', r#"\""#);
    Ok(format!(r#"{name}="{value}""#))
}

fn join<T>(
    items: &[T],
    to_text: impl Fn(&T) -> Result<String, InvalidInstruct>,
) -> Result<String, InvalidInstruct> {
    let texts: Result<Vec<_>, _> = items.iter().map(to_text).collect();
    Ok(texts?.join(", "))
}

/// Whether GRIP, which cannot quote, parses `name` as one name.
fn is_plain(name: &str) -> bool {
    let special = |c: char| c.is_control() || c == ',' || c == ';';
    !name.is_empty() && !name.contains(special)
}

/// Escapes backslash, CR, LF and tab. `None` if a header cannot carry the other bytes.
fn c_string(data: &[u8]) -> Option<String> {
    let mut text = String::with_capacity(data.len() + 8);
    for &byte in data {
        match byte {
            b'\\' => text.push_str(r"\\"),
            b'\r' => text.push_str(r"\r"),
            b'\n' => text.push_str(r"\n"),
            b'\t' => text.push_str(r"\t"),
            b';' => return None,
            b' '..=b'~' => text.push(char::from(byte)),
            _ => return None,
        }
    }
    // Parsers trim blanks around a value.
    let cut = text.starts_with(' ') || text.ends_with(' ');
    (!cut).then_some(text)
}

fn seconds(duration: Duration) -> u64 {
    let up = u64::from(duration.subsec_nanos() > 0);
    duration.as_secs().saturating_add(up).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP_ALIVE: &str = "event: keep-alive\ndata: \n\n";

    fn lines(instruct: &Instruct) -> Vec<String> {
        let headers = instruct.to_headers().unwrap();
        let line = |(name, value): (_, &HeaderValue)| {
            format!("{name}: {}", str::from_utf8(value.as_bytes()).unwrap())
        };
        headers.iter().map(line).collect()
    }

    #[test]
    fn a_stream_is_held_with_the_bytes_of_django_eventstream() {
        let instruct = Instruct::new()
            .hold(Hold::Stream)
            .channel("events-a")
            .channel("events-café \"x\"=y")
            .keep_alive(KEEP_ALIVE, Duration::from_secs(20));
        assert_eq!(
            lines(&instruct),
            [
                "grip-hold: stream",
                "grip-channel: events-a, events-café \"x\"=y",
                r"grip-keep-alive: event: keep-alive\ndata: \n\n; format=cstring; timeout=20",
            ]
        );
        assert_eq!(lines(&Instruct::new()), [""; 0]);
    }

    #[test]
    fn every_other_instruction_has_its_header() {
        let instruct = Instruct::new()
            .hold(Hold::Response)
            .channel_after("a", "e-1")
            .channel("b")
            .timeout(Duration::from_millis(5001))
            .next_link("?next=1", Some(Duration::from_secs(60)))
            .next_link("/page", None)
            .gone_link("http://h/gone")
            .status(StatusCode::NOT_FOUND)
            .set_meta("user", r#"a"b\c, d"#)
            .set_meta("id_format", "");
        assert_eq!(
            lines(&instruct),
            [
                "grip-hold: response",
                "grip-channel: a; prev-id=e-1, b",
                "grip-timeout: 6",
                "grip-link: <?next=1>; rel=next; timeout=60, </page>; rel=next, <http://h/gone>; rel=gone",
                "grip-status: 404",
                r#"grip-set-meta: user="a\"b\\c, d", id_format="""#,
            ]
        );
    }

    #[test]
    fn a_value_cannot_inject_a_channel_a_parameter_or_a_line() {
        for name in [
            "",
            "a,b",
            "a;b",
            "a\r\nb: c",
            "a\0",
            "a\tb",
            "a\u{7f}",
            "a\u{85}b",
        ] {
            let channel = Instruct::new().channel(name).to_headers();
            assert_eq!(channel, Err(InvalidInstruct::Channel(name.to_owned())));
            let prev_id = Instruct::new().channel_after("a", name).to_headers();
            assert_eq!(prev_id, Err(InvalidInstruct::PrevId(name.to_owned())));
        }
        for uri in ["", "a,b", "a;b", "a>b", "<a", "a b", "a\nb", "é", "\""] {
            let invalid = Err(InvalidInstruct::Link(uri.to_owned()));
            assert_eq!(Instruct::new().next_link(uri, None).to_headers(), invalid);
            assert_eq!(Instruct::new().gone_link(uri).to_headers(), invalid);
        }
        for (name, value) in [("", "v"), ("a b", "v"), ("a=", "v"), ("a", "v\n")] {
            let meta = Instruct::new().set_meta(name, value).to_headers();
            assert_eq!(meta, Err(InvalidInstruct::Meta(name.to_owned())));
        }
    }

    #[test]
    fn any_keep_alive_data_can_be_sent() {
        let table: [(&[u8], &str); 9] = [
            (b"", "; format=cstring"),
            (b": \"x\", y", ": \"x\", y; format=cstring"),
            (b"a\\n\r\n\tb", r"a\\n\r\n\tb; format=cstring"),
            (b"a;b", "YTti; format=base64"),
            (b"a\0", "YQA=; format=base64"),
            (&[0xff], "/w==; format=base64"),
            ("é".as_bytes(), "w6k=; format=base64"),
            (b" a", "IGE=; format=base64"),
            (b"a ", "YSA=; format=base64"),
        ];
        for (data, expected) in table {
            let instruct = Instruct::new().keep_alive(data, Duration::from_secs(1));
            assert_eq!(
                lines(&instruct),
                [format!("grip-keep-alive: {expected}; timeout=1")]
            );
        }
    }

    #[test]
    fn timeouts_are_whole_seconds_and_never_zero() {
        let table = [
            (Duration::ZERO, 1),
            (Duration::from_millis(1), 1),
            (Duration::from_secs(1), 1),
            (Duration::from_millis(1001), 2),
            (Duration::MAX, u64::MAX),
        ];
        for (duration, expected) in table {
            assert_eq!(seconds(duration), expected);
        }
    }
}
