//! The digest of everything that the response to a link depends on.

use super::{PUSHPIN_CHANNELS, Purpose, Terms};
use crate::Channel;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use percent_encoding::percent_decode_str;
use sha2::{Digest as _, Sha256};

/// Length of the truncated SHA-256: 16 bytes keep links short, and resist second preimages.
const BYTES: usize = 16;

/// The truncated SHA-256 of everything that the response to a link depends on, as base64url.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Digest {
    text: String,
    bits: u64,
}

/// The route of a link.
#[derive(Clone, Copy, Debug)]
pub(super) enum Route<'a> {
    /// The path of a stream, as the origin receives it.
    Stream(&'a str),
    /// The path of all links.
    Links(&'a str),
}

impl Digest {
    /// The digest for [`canonical`] `channels` with this prefix at the proxies.
    pub(super) fn new(
        route: Route<'_>,
        purpose: &Purpose,
        prefix: &str,
        channels: &[impl AsRef<str>],
        terms: &Terms,
    ) -> Self {
        let mut fields = Fields(Sha256::new());
        fields.terms(terms);
        fields.route(route);
        fields.purpose(purpose);
        fields.field(prefix.as_bytes());
        fields.list(
            channels
                .iter()
                .map(|channel| channel.as_ref().as_bytes().to_vec()),
        );
        Self::from(&fields.0.finalize()[..BYTES])
    }

    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// Uniformly distributed bits, equal for equal digests.
    pub(super) fn bits(&self) -> u64 {
        self.bits
    }
}

impl From<&[u8]> for Digest {
    fn from(bytes: &[u8]) -> Self {
        Self {
            text: BASE64_URL_SAFE_NO_PAD.encode(bytes),
            bits: bytes
                .iter()
                .take(8)
                .fold(0, |bits, byte| bits << 8 | u64::from(*byte)),
        }
    }
}

/// Writes each field with its length, so that no two inputs have the same encoding.
struct Fields(Sha256);

impl Fields {
    fn terms(&mut self, terms: &Terms) {
        let Terms {
            closed,
            expires,
            has_snapshot,
        } = terms;
        self.field(&closed.to_be_bytes());
        self.field(&expires.to_be_bytes());
        self.field(&[u8::from(*has_snapshot)]);
    }

    fn route(&mut self, route: Route<'_>) {
        let (kind, path) = match route {
            Route::Stream(path) => ("stream", path),
            Route::Links(path) => ("links", path),
        };
        self.field(kind.as_bytes());
        // Segments are decoded, since a proxy may escape a path in another way than the client did. Leading
        // slashes count as one, as in the link.
        let segments = path.trim_start_matches('/').split('/');
        self.list(segments.map(|segment| percent_decode_str(segment).collect()));
    }

    fn purpose(&mut self, purpose: &Purpose) {
        match purpose {
            Purpose::Resume => self.field(b"resume"),
            Purpose::Gone => self.field(b"gone"),
            Purpose::Page(page) => {
                self.field(b"page");
                self.field(page.to_string().as_bytes());
            }
        }
    }

    fn list(&mut self, items: impl Iterator<Item = Vec<u8>>) {
        let items: Vec<_> = items.collect();
        self.0.update((items.len() as u64).to_be_bytes());
        items.iter().for_each(|item| self.field(item));
    }

    fn field(&mut self, field: &[u8]) {
        self.0.update((field.len() as u64).to_be_bytes());
        self.0.update(field);
    }
}

/// The channels in the order of links, which does not depend on the handler's order. The first
/// [`PUSHPIN_CHANNELS`] stay the first, since a proxy may hold no others.
pub(crate) fn canonical(channels: &[Channel]) -> Vec<Channel> {
    let mut channels = channels.to_vec();
    let end = channels.len().min(PUSHPIN_CHANNELS);
    let (first, more) = channels.split_at_mut(end);
    for part in [first, more] {
        part.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
    }
    channels
}

#[cfg(test)]
mod tests {
    use super::{super::Page, *};
    use proptest::{collection::vec, prelude::*};

    /// All inputs of a digest.
    #[derive(Debug, PartialEq)]
    struct Input {
        is_link_path: bool,
        segments: Vec<String>,
        purpose: Purpose,
        prefix: String,
        channels: Vec<String>,
        terms: Terms,
    }

    impl Input {
        fn digest(&self) -> Digest {
            let path = format!("/{}", self.segments.join("/"));
            let route = match self.is_link_path {
                true => Route::Links(&path),
                false => Route::Stream(&path),
            };
            let Self {
                purpose,
                prefix,
                channels,
                terms,
                ..
            } = self;
            Digest::new(route, purpose, prefix, channels, terms)
        }
    }

    /// Few values, so that two inputs often differ in one field only.
    fn input() -> impl Strategy<Value = Input> {
        let name = "[ab]{1,2}";
        (
            any::<bool>(),
            vec(name, 1..3),
            0..4_u8,
            vec(0..3_u64, 1..3),
            "[ab]{0,2}",
            vec(name, 1..4),
            (0..2_u64, 0..2_u64, any::<bool>()),
        )
            .prop_map(
                |(is_link_path, segments, kind, page, prefix, channels, terms)| Input {
                    is_link_path,
                    segments,
                    purpose: match kind {
                        0 => Purpose::Gone,
                        1 => Purpose::Resume,
                        _ => Purpose::Page(Page::new(7, page)),
                    },
                    prefix,
                    channels,
                    terms: Terms {
                        closed: terms.0,
                        expires: terms.1,
                        has_snapshot: terms.2,
                    },
                },
            )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn links_with_different_responses_have_different_digests(one in input(), other in input()) {
            prop_assert_eq!(one == other, one.digest() == other.digest());
            prop_assert_eq!(one == other, one.digest().as_str() == other.digest().as_str());
        }

        #[test]
        fn the_order_of_channels_does_not_change_the_digest(
            mut names in proptest::collection::btree_set("[a-z]{1,8}", 1..40).prop_map(Vec::from_iter),
            seed: u64,
        ) {
            let channels = |names: &[String]| {
                let channels: Vec<_> = names.iter().map(|name| Channel::new(name).unwrap()).collect();
                canonical(&channels)
            };
            let expected = channels(&names);
            let first = names.len().min(PUSHPIN_CHANNELS);
            let mut random = fastrand::Rng::with_seed(seed);
            let (start, rest) = names.split_at_mut(first);
            random.shuffle(start);
            random.shuffle(rest);
            prop_assert_eq!(channels(&names), expected);
        }
    }

    #[test]
    fn the_escaping_of_a_path_does_not_change_the_digest() {
        let digest = |path| {
            let (route, terms) = (Route::Stream(path), Terms::default());
            Digest::new(route, &Purpose::Resume, "", &["a"], &terms)
        };
        assert_eq!(digest("/a%2Cb/%7e"), digest("/a,b/~"));
        assert_eq!(digest("//a"), digest("/a"));
        assert_ne!(digest("/a%2Fb"), digest("/a/b"));
        assert_ne!(digest("/a%252Cb"), digest("/a%2Cb"));
        assert_ne!(digest("/a/"), digest("/a"));
        assert_eq!(digest("/a").as_str().len(), 22);
    }
}
