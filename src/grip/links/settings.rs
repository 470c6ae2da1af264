//! The settings of links for missed events, and their checks.

use super::plain;
use crate::{
    Error,
    grip::{Key, SigningKey},
    text::excerpt,
};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DEFAULT_POLL: Duration = Duration::from_secs(120);

#[derive(Clone, Debug)]
pub(crate) struct LinkSettings {
    /// Prefix of a request's path, for proxies that rewrite paths.
    pub(crate) prefix: String,
    /// The path of all links, instead of the request's path.
    pub(crate) path: Option<String>,
    pub(crate) key: Option<Key>,
    pub(crate) valid_for: Duration,
    /// The shortest time without an event after which the proxy polls, if it is set.
    pub(crate) poll: Option<Duration>,
}

impl Default for LinkSettings {
    fn default() -> Self {
        Self {
            prefix: String::new(),
            path: None,
            key: None,
            valid_for: Duration::from_secs(86_400),
            poll: None,
        }
    }
}

impl LinkSettings {
    /// The key of links: the one that is set, otherwise one derived from `secret`, otherwise a random one.
    pub(super) fn take_key(&mut self, secret: Option<&Key>) -> Result<Key, Error> {
        let key = self.key.take().or_else(|| derived(secret));
        key.map_or_else(random, Ok)
    }

    /// Whether every instance of the application has the same key.
    pub(crate) fn has_common_key(&self, secret: Option<&Key>) -> bool {
        self.key.is_some() || derived(secret).is_some()
    }

    /// When a link that is made `now` expires, as a Unix time. It is rounded up to a quarter of the validity,
    /// so that links are equal for that long.
    pub(super) fn expiry(&self, now: SystemTime) -> u64 {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let valid_for = self.valid_for.as_secs();
        let grid = (valid_for / 4).max(1);
        // Truncating `now` to seconds would shorten the validity.
        let earliest = now.as_secs() + 1 + valid_for;
        earliest.next_multiple_of(grid)
    }

    pub(super) fn shortest_poll(&self) -> Duration {
        self.poll.unwrap_or(DEFAULT_POLL).min(self.longest_poll())
    }

    /// A stream ends when the proxy follows its expired link, so polls come earlier. GRIP counts whole seconds.
    pub(super) fn longest_poll(&self) -> Duration {
        let half = self.valid_for.as_secs() / 2;
        Duration::from_secs(half.max(1))
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        if !self.prefix.is_empty() {
            check_path("grip_link_prefix", &self.prefix)?;
        }
        if let Some(path) = &self.path {
            check_path("grip_link_path", path)?;
        }
        for (name, time) in [
            ("grip_link_valid_for", self.valid_for),
            ("grip_poll", self.poll.unwrap_or(DEFAULT_POLL)),
        ] {
            if time < Duration::from_secs(1) || time > Duration::from_secs(366 * 86_400) {
                return Err(Error::config(format!(
                    "`{name}` is {time:?}; it must be between a second and a year"
                )));
            }
        }
        match self.poll.filter(|poll| *poll > self.longest_poll()) {
            Some(poll) => Err(Error::config(format!(
                "`grip_poll` is {poll:?}; it must be at most half of `grip_link_valid_for`, which is {:?}",
                self.valid_for
            ))),
            None => Ok(()),
        }
    }
}

fn check_path(name: &str, path: &str) -> Result<(), Error> {
    let rule = if path.contains(['{', '}']) {
        "the path before a parameter of the route, such as \"/missed\" for the route \"/missed/{link}\""
    } else if !path.starts_with('/') || plain(path) != path || path.contains(['?', '#']) {
        "a path: a slash, then what needs no escaping in a URL"
    } else {
        return Ok(());
    };
    let path = excerpt(path);
    Err(Error::config(format!(
        "`{name}` is {path}; it must be {rule}"
    )))
}

/// A key that every instance with the same secret derives, and that does not reveal the secret.
fn derived(secret: Option<&Key>) -> Option<Key> {
    let secret = SigningKey::new(&Key::from(secret?.as_text()?)).ok()?;
    let token = secret.token(r#"{"sub":"axum-eventstream next link"}"#)?;
    Some(Key::from(token))
}

fn random() -> Result<Key, Error> {
    let mut bytes = [0; 32];
    let failed = |error| Error::config(format!("no random key for next links: {error}"));
    getrandom::fill(&mut bytes).map_err(failed)?;
    Ok(Key::from(&bytes[..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_link_is_valid_for_the_time_set_and_a_quarter_more_at_most(
            now in 0_u64..1 << 40,
            valid_for in 1_u64..=366 * 86_400,
        ) {
            let settings = LinkSettings {
                valid_for: Duration::from_secs(valid_for),
                ..LinkSettings::default()
            };
            let exp = settings.expiry(UNIX_EPOCH + Duration::from_secs(now));
            prop_assert!(exp > now + valid_for);
            prop_assert!(exp <= now + valid_for + 1 + (valid_for / 4).max(1));
        }
    }

    #[test]
    fn links_of_the_same_quarter_expire_together() {
        let settings = LinkSettings::default();
        let expiry = |second| settings.expiry(UNIX_EPOCH + Duration::from_secs(second));
        let quarter = 86_400 / 4;
        assert_eq!(expiry(0), 5 * quarter);
        assert_eq!(expiry(quarter - 1), 5 * quarter);
        assert_eq!(expiry(quarter), 6 * quarter);
    }

    /// The error of a path of links, and of a prefix.
    fn refused(path: Option<&str>, prefix: &str) -> String {
        let settings = LinkSettings {
            path: path.map(str::to_owned),
            prefix: prefix.to_owned(),
            ..LinkSettings::default()
        };
        settings.check().unwrap_err().to_string()
    }

    #[test]
    fn a_path_with_a_query_or_a_fragment_is_refused() {
        for path in ["", "missed", "/a?b", "/a#b", "/é", "/a,b", "/a b"] {
            let error = refused(Some(path), "");
            assert!(error.starts_with("`grip_link_path` is "), "{error}");
        }
    }

    #[test]
    fn the_parameter_of_the_route_is_not_part_of_a_path() {
        let template = "/missed/{link}";
        for (error, name) in [
            (refused(Some(template), ""), "grip_link_path"),
            (refused(None, template), "grip_link_prefix"),
        ] {
            let start = format!("`{name}` is \"/missed/{{link}}\"; it must be the path before");
            assert!(error.starts_with(&start), "{error}");
        }
    }

    #[test]
    fn a_poll_interval_longer_than_half_of_the_validity_is_refused() {
        let settings = |poll: Option<u64>, valid_for| LinkSettings {
            poll: poll.map(Duration::from_secs),
            valid_for: Duration::from_secs(valid_for),
            ..LinkSettings::default()
        };
        for (poll, valid_for, shortest) in [
            (None, 86_400, 120),
            (None, 60, 30),
            (None, 1, 1),
            (Some(30), 60, 30),
        ] {
            let settings = settings(poll, valid_for);
            assert!(settings.check().is_ok());
            assert_eq!(settings.shortest_poll(), Duration::from_secs(shortest));
        }
        let error = settings(Some(31), 60).check().unwrap_err().to_string();
        assert_eq!(
            error,
            "`grip_poll` is 31s; it must be at most half of `grip_link_valid_for`, which is 60s"
        );
    }
}
