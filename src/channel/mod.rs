//! Channel names. Publishing and subscribing share one rule, in both deliveries.

mod channels;
mod invalid_template;
mod names;
mod template;

use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

use crate::{
    Error, ErrorKind,
    text::{MAX_LEN, Rule, excerpt, has_outer_white_space},
};

pub(crate) use channels::{Channels, ChannelsError};
pub use invalid_template::InvalidTemplate;
pub(crate) use names::Names;
pub(crate) use template::ChannelTemplate;

/// The name of a channel.
///
/// A name is 1 to 255 bytes of UTF-8. It contains no control characters, `,` or `;`, which GRIP has no way to
/// quote. It neither begins nor ends with white space (Unicode white space and U+FEFF). Nothing is trimmed: the
/// text that an application has checked is the channel that is subscribed. A clone shares the text.
///
/// # Examples
///
/// ```
/// use axum_eventstream::Channel;
///
/// let channel = Channel::new("room-1")?;
/// assert_eq!(channel.as_str(), "room-1");
/// assert!(Channel::new("a, secret").is_err());
/// assert!(Channel::new(" secret").is_err());
/// # Ok::<(), axum_eventstream::InvalidChannel>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Channel(Arc<str>);

impl Channel {
    /// Validates a name.
    ///
    /// # Errors
    ///
    /// [`InvalidChannel`] if the name is empty, longer than 255 bytes, contains a control character, `,` or
    /// `;`, or begins or ends with white space.
    pub fn new(name: impl AsRef<str>) -> Result<Self, InvalidChannel> {
        let name = name.as_ref();
        match broken_rule(name) {
            None => Ok(Self(name.into())),
            Some(rule) => Err(InvalidChannel {
                name: excerpt(name),
                rule,
            }),
        }
    }

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn broken_rule(name: &str) -> Option<Rule> {
    match name.len() {
        0 => Some(Rule::Empty),
        1..=MAX_LEN => name
            .chars()
            .find(|&c| c.is_control() || matches!(c, ',' | ';'))
            .map(Rule::Character)
            .or(has_outer_white_space(name).then_some(Rule::OuterWhiteSpace)),
        len => Some(Rule::TooLong(len)),
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl AsRef<str> for Channel {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl Borrow<str> for Channel {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl FromStr for Channel {
    type Err = InvalidChannel;

    fn from_str(name: &str) -> Result<Self, InvalidChannel> {
        Self::new(name)
    }
}

impl TryFrom<&str> for Channel {
    type Error = InvalidChannel;

    fn try_from(name: &str) -> Result<Self, InvalidChannel> {
        Self::new(name)
    }
}

impl TryFrom<String> for Channel {
    type Error = InvalidChannel;

    fn try_from(name: String) -> Result<Self, InvalidChannel> {
        Self::new(name)
    }
}

/// The error of an invalid name. The message shows the start of the name and the rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid channel name {name}: {rule}")]
pub struct InvalidChannel {
    name: Box<str>,
    rule: Rule,
}

impl From<InvalidChannel> for Error {
    fn from(error: InvalidChannel) -> Self {
        Self::transparent(ErrorKind::InvalidChannel, error)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn refusal(name: &str) -> String {
        Channel::new(name).unwrap_err().to_string()
    }

    #[test]
    fn a_valid_name_is_kept_unchanged() {
        let longest = "é".repeat(127) + "x";
        let names = [
            "test",
            "a b",
            "a\u{3000}\u{feff}b",
            "日本/{x}:<y>\"='",
            &longest,
        ];
        for name in names {
            assert_eq!(Channel::new(name).unwrap().as_str(), name);
            assert_eq!(name.parse::<Channel>().unwrap().as_ref(), name);
            assert_eq!(Channel::try_from(name).unwrap().to_string(), name);
            assert_eq!(Channel::try_from(name.to_owned()).unwrap().as_str(), name);
        }
    }

    #[test]
    fn an_invalid_name_is_refused_with_name_and_rule() {
        let cases = [
            ("", "it is empty"),
            ("\u{3000}a", "it begins or ends with white space"),
            ("a\u{feff}", "it begins or ends with white space"),
            (" ", "it begins or ends with white space"),
            ("\ta", r"'\t' is not allowed"),
            ("a, secret", "',' is not allowed"),
            ("a;b", "';' is not allowed"),
            ("a\r\nb", r"'\r' is not allowed"),
            ("a\0b", r"'\0' is not allowed"),
            ("\u{7f}", r"'\u{7f}' is not allowed"),
            ("a\u{9c}b", r"'\u{9c}' is not allowed"),
        ];
        for (name, rule) in cases {
            let message = format!("invalid channel name {name:?}: {rule}");
            assert_eq!(refusal(name), message);
            assert!(name.parse::<Channel>().is_err() && Channel::try_from(name).is_err());
            assert!(Channel::try_from(name.to_owned()).is_err());
        }
    }

    #[test]
    fn the_length_limit_counts_bytes() {
        assert!(Channel::new("x".repeat(255)).is_ok());
        let shown = "é".repeat(64);
        assert_eq!(
            refusal(&"é".repeat(128)),
            format!("invalid channel name \"{shown}\"…: it has 256 bytes, at most 255 are allowed")
        );
    }

    #[test]
    fn a_channel_is_found_by_its_name() {
        let channels = HashSet::from([Channel::new("a").unwrap()]);
        assert!(channels.contains("a"));
        assert_eq!(format!("{channels:?}"), r#"{"a"}"#);
    }

    #[test]
    fn an_invalid_channel_is_an_error_of_that_kind() {
        let error = Error::from(Channel::new("a,b").unwrap_err());
        assert_eq!(error.kind(), ErrorKind::InvalidChannel);
        assert_eq!(error.to_string(), refusal("a,b"));
    }
}
