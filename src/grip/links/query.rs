//! The query of a link: the token, and the parts that `Grip-Last` does not repeat.

use super::{MAX_CHANNELS, PUSHPIN_CHANNELS, Purpose, names};
use crate::{Channel, LastEventId};
use http::Uri;
use std::{fmt, str::FromStr};

pub(super) const TOKEN: &str = "grip-next";

/// For a hold, the channels after the first 20, which `Grip-Last` may not repeat. Otherwise all channels.
const CHANNELS: &str = "grip-channels";

const PAGE: &str = "grip-page";

const GONE: &str = "grip-gone";

/// Where the next page of a replay begins: one sequence number for all channels, or one for each of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    epoch: u64,
    sequences: Vec<u64>,
}

/// The query of a request that follows a link.
pub(crate) struct LinkQuery<'a> {
    pub(super) token: &'a str,
    channels: Option<&'a str>,
    page: Option<&'a str>,
    is_gone: bool,
}

/// The part of a link after the token.
pub(super) fn after_token(purpose: &Purpose, channels: &[Channel]) -> String {
    let more = channels.get(PUSHPIN_CHANNELS..).unwrap_or_default();
    match purpose {
        Purpose::Resume if more.is_empty() => String::new(),
        Purpose::Resume => format!("&{CHANNELS}={}", names::write(more)),
        Purpose::Page(page) => format!("&{CHANNELS}={}&{PAGE}={page}", names::write(channels)),
        Purpose::Gone => format!("&{CHANNELS}={}&{GONE}=1", names::write(channels)),
    }
}

impl<'a> LinkQuery<'a> {
    /// Returns `None` if there is no token.
    pub(crate) fn of(uri: &'a Uri) -> Option<Self> {
        let pairs = || {
            let pairs = uri.query().unwrap_or_default().split('&');
            pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        };
        let value = |name| {
            pairs()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| value)
        };
        Some(Self {
            token: value(TOKEN)?,
            channels: value(CHANNELS),
            page: value(PAGE),
            is_gone: value(GONE).is_some(),
        })
    }

    /// The content of the query, with the channels in `Grip-Last`. The digest does not authorize it yet.
    pub(super) fn followed(&self, last: &[&str]) -> Option<(Vec<String>, Purpose)> {
        let named = self.channels.map_or(Some(Vec::new()), names::read)?;
        let (channels, purpose) = match (self.page, self.is_gone) {
            (Some(page), _) => (named, Purpose::Page(page.parse().ok()?)),
            (None, true) => (named, Purpose::Gone),
            // More names than a link can have are not compared.
            (None, false) if named.len() + last.len() > 2 * MAX_CHANNELS => return None,
            (None, false) => (held(named, last), Purpose::Resume),
        };
        Some((channels, purpose))
    }
}

/// The canonical channels of a hold: the ones in `Grip-Last`, and `more`.
fn held(more: Vec<String>, last: &[&str]) -> Vec<String> {
    let is_more = |name: &&&str| more.iter().any(|other| other == **name);
    let mut held: Vec<_> = last
        .iter()
        .filter(|name| !is_more(name))
        .map(|name| (*name).to_owned())
        .collect();
    held.sort_unstable();
    held.dedup();
    held.extend(more);
    held
}

impl Page {
    /// `sequences` has one number, or one for each channel.
    pub(crate) fn new(epoch: u64, sequences: Vec<u64>) -> Self {
        Self { epoch, sequences }
    }

    /// The position on the channel with this index, if it is of this epoch.
    pub(crate) fn position(&self, epoch: u64, index: usize) -> Option<u64> {
        let sequence = match *self.sequences {
            [all] => Some(all),
            _ => self.sequences.get(index).copied(),
        };
        sequence.filter(|_| self.epoch == epoch)
    }
}

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, others) = self.sequences.split_first().unwrap_or((&0, &[]));
        write!(f, "{}", LastEventId::new(self.epoch, *first))?;
        others
            .iter()
            .try_for_each(|sequence| write!(f, ".{sequence}"))
    }
}

impl FromStr for Page {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut parts = text.split('.');
        let first = parts.next().unwrap_or_default();
        let first: LastEventId = first.parse().map_err(|_| ())?;
        let others = parts.map(|sequence| sequence.parse().map_err(|_| ()));
        let sequences: Result<_, ()> = [Ok(first.sequence())].into_iter().chain(others).collect();
        Ok(Self::new(first.epoch(), sequences?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    proptest! {
        #[test]
        fn the_positions_of_a_page_survive_a_round_trip(
            epoch in 0_u64..1 << 48,
            sequences in vec(any::<u64>(), 1..60),
        ) {
            let page = Page::new(epoch, sequences);
            prop_assert_eq!(page.to_string().parse(), Ok(page));
        }
    }

    #[test]
    fn one_number_counts_for_all_channels() {
        let page = Page::new(0xc0ffee, vec![42]);
        assert_eq!(page.to_string(), "000000c0ffee-42");
        assert_eq!(
            [0, 59].map(|index| page.position(0xc0ffee, index)),
            [Some(42); 2]
        );
        assert_eq!(page.position(0xc0ffef, 0), None);
        let page = Page::new(0xc0ffee, vec![42, 43]);
        assert_eq!(page.to_string(), "000000c0ffee-42.43");
        let sequences = [0, 1, 2].map(|index| page.position(0xc0ffee, index));
        assert_eq!(sequences, [Some(42), Some(43), None]);
    }

    #[test]
    fn a_query_without_a_token_is_not_a_link() {
        let query = |text: &str| LinkQuery::of(&text.parse().unwrap()).is_some();
        assert!(query("/a?x=1&grip-next=t"));
        assert!(query("/a?grip-next="));
        for uri in [
            "/a",
            "/a?",
            "/a?grip-nextx=t",
            "/grip-next=t",
            "/a?x=grip-next=t",
        ] {
            assert!(!query(uri), "{uri}");
        }
    }
}
