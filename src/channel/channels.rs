//! The channels of one subscription.

use std::{collections::HashSet, ops::Deref, slice};

use super::{Channel, InvalidChannel};
use crate::{Error, ErrorKind};

/// The channels of one subscription: at least one, unique, in the order they were first named.
#[derive(Clone, Debug)]
pub(crate) struct Channels(Vec<Channel>);

impl Channels {
    /// Collects names. Empty names and duplicates are dropped.
    ///
    /// Fails at the name after the `limit`th one, without reading further names.
    pub(crate) fn collect<I>(names: I, limit: usize) -> Result<Self, ChannelsError>
    where
        I: IntoIterator<Item: AsRef<str>>,
    {
        let mut channels = Vec::new();
        let mut seen = HashSet::new();
        for name in names {
            let name = name.as_ref();
            let is_last = |last: &Channel| last.as_str() == name;
            if name.is_empty() || channels.last().is_some_and(is_last) || seen.contains(name) {
                continue;
            }
            if channels.len() == limit {
                return Err(ChannelsError::TooMany { limit });
            }
            let channel = Channel::new(name)?;
            // The last channel is compared directly, so that a single name is not hashed.
            seen.extend(channels.last().cloned());
            channels.push(channel);
        }
        match channels.is_empty() {
            true => Err(ChannelsError::None),
            false => Ok(Self(channels)),
        }
    }
}

impl Deref for Channels {
    type Target = [Channel];

    fn deref(&self) -> &[Channel] {
        &self.0
    }
}

impl<'a> IntoIterator for &'a Channels {
    type Item = &'a Channel;
    type IntoIter = slice::Iter<'a, Channel>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// The error of [`Channels::collect`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ChannelsError {
    #[error("no channel is named: name one at least")]
    None,
    #[error(transparent)]
    Invalid(#[from] InvalidChannel),
    #[error("more than {limit} channels: name fewer, or raise `Limits::channels_per_subscription`")]
    TooMany { limit: usize },
}

impl From<ChannelsError> for Error {
    fn from(error: ChannelsError) -> Self {
        match error {
            ChannelsError::Invalid(error) => error.into(),
            ChannelsError::None => Self::transparent(ErrorKind::InvalidChannel, error),
            ChannelsError::TooMany { .. } => Self::transparent(ErrorKind::LimitReached, error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(channels: &Channels) -> Vec<&str> {
        channels.into_iter().map(Channel::as_str).collect()
    }

    #[test]
    fn empty_and_repeated_names_are_dropped_in_order() {
        let channels = Channels::collect(["b", "", "a", "", "b", "a"], 2).unwrap();
        assert_eq!(names(&channels), ["b", "a"]);
        assert_eq!(channels.len(), 2);
    }

    #[test]
    fn an_empty_list_of_names_is_refused() {
        for names in [&[][..], &[""], &["", ""]] {
            let error = Channels::collect(names, 9).unwrap_err();
            assert_eq!(error.to_string(), "no channel is named: name one at least");
            assert_eq!(Error::from(error).kind(), ErrorKind::InvalidChannel);
        }
    }

    #[test]
    fn an_invalid_name_refuses_the_whole_list() {
        for invalid in ["b;", " a", "a ", " ", "\u{feff}"] {
            let refusal = Channel::new(invalid).unwrap_err().to_string();
            let error = Channels::collect(["a", invalid], 9).unwrap_err();
            assert_eq!(error.to_string(), refusal);
            assert_eq!(Error::from(error).to_string(), refusal);
        }
    }

    #[test]
    fn a_list_over_the_limit_is_refused_without_reading_on() {
        let mut read = 0;
        let endless = (0..).map(|n| n.to_string()).inspect(|_| read += 1);
        let error = Channels::collect(endless, 3).unwrap_err();
        assert_eq!(error, ChannelsError::TooMany { limit: 3 });
        assert_eq!(
            error.to_string(),
            "more than 3 channels: name fewer, or raise `Limits::channels_per_subscription`"
        );
        assert_eq!(read, 4);
        assert_eq!(Error::from(error).kind(), ErrorKind::LimitReached);
    }
}
