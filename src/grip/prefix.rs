//! The names of channels at the proxies.

use crate::{
    Channel, Error,
    text::{excerpt, is_white_space},
};

/// Precedes the name of a channel at the proxies. No other module applies it.
#[derive(Debug)]
pub(super) struct Prefix(String);

impl Prefix {
    pub(super) const DEFAULT: &str = "events-";

    /// A channel must stay a valid name for a proxy with the prefix in front.
    pub(super) fn new(prefix: String) -> Result<Self, Error> {
        let forbidden = |c: char| c.is_control() || c == ',' || c == ';';
        if prefix.contains(forbidden) || prefix.starts_with(is_white_space) {
            let prefix = excerpt(&prefix);
            return Err(Error::config(format!(
                "the GRIP prefix {prefix} begins with white space or has a control character, a comma or a semicolon, which GRIP cannot quote"
            )));
        }
        Ok(Self(prefix))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The name of a channel at the proxies.
    pub(super) fn name(&self, channel: &Channel) -> String {
        [&self.0, channel.as_str()].concat()
    }

    /// The channel with this name at the proxies, if the name has the prefix.
    pub(super) fn channel<'a>(&self, name: &'a str) -> Option<&'a str> {
        name.strip_prefix(&self.0)
    }
}
