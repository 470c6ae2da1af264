//! The settings of proxies, and their checks.

use super::{
    GripConfig, Key, Publisher,
    links::{LinkSettings, Links},
    prefix::Prefix,
    proxies::GripProxies,
};
use crate::{Error, proxies::Proxies};
use std::sync::atomic::AtomicBool;

/// Proxies for [`EventStreamBuilder::grip`](crate::EventStreamBuilder::grip). They are the text of a `GRIP_URL` (also several, separated by
/// white space), a [`GripConfig`], an array, a slice or a `Vec` of these, or a [`Publisher`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not name GRIP proxies",
    label = "expected the text of a GRIP_URL, or several",
    note = "proxies are text, a `GripConfig`, an array, a slice or a `Vec` of these, or a `grip::Publisher`"
)]
pub trait IntoProxies {
    #[doc(hidden)]
    fn add_to(self, source: &mut ProxySource);
}

/// The argument of [`EventStreamBuilder::grip`](crate::EventStreamBuilder::grip).
#[derive(Debug, Default)]
pub struct ProxySource {
    configs: Vec<GripConfig>,
    publishers: Vec<Publisher>,
    error: Option<Error>,
}

impl IntoProxies for &str {
    fn add_to(self, source: &mut ProxySource) {
        match GripConfig::parse_list(self) {
            Ok(configs) => source.configs.extend(configs),
            Err(error) => _ = source.error.get_or_insert(error),
        }
    }
}

impl IntoProxies for String {
    fn add_to(self, source: &mut ProxySource) {
        self.as_str().add_to(source);
    }
}

impl IntoProxies for &String {
    fn add_to(self, source: &mut ProxySource) {
        self.as_str().add_to(source);
    }
}

impl IntoProxies for GripConfig {
    fn add_to(self, source: &mut ProxySource) {
        source.configs.push(self);
    }
}

impl IntoProxies for Publisher {
    fn add_to(self, source: &mut ProxySource) {
        source.publishers.push(self);
    }
}

impl<T: IntoProxies> IntoProxies for Vec<T> {
    fn add_to(self, source: &mut ProxySource) {
        self.into_iter().for_each(|one| one.add_to(source));
    }
}

impl<T: IntoProxies, const N: usize> IntoProxies for [T; N] {
    fn add_to(self, source: &mut ProxySource) {
        self.into_iter().for_each(|one| one.add_to(source));
    }
}

impl<T: IntoProxies + Clone> IntoProxies for &[T] {
    fn add_to(self, source: &mut ProxySource) {
        self.iter().for_each(|one| one.clone().add_to(source));
    }
}

#[derive(Debug)]
pub(crate) struct ProxiesBuilder {
    /// `None` until a setter or the environment names proxies.
    source: Option<ProxySource>,
    pub(crate) prefix: String,
    pub(crate) required: bool,
    pub(crate) links: LinkSettings,
}

impl Default for ProxiesBuilder {
    fn default() -> Self {
        Self {
            source: None,
            prefix: Prefix::DEFAULT.to_owned(),
            required: false,
            links: LinkSettings::default(),
        }
    }
}

impl ProxiesBuilder {
    pub(crate) fn is_empty(&self) -> bool {
        self.source.is_none()
    }

    /// Returns `None` without proxies. `is_shared`: several instances answer the links of each other.
    pub(crate) fn build(
        self,
        history: bool,
        is_shared: bool,
    ) -> Result<Option<Box<dyn Proxies>>, Error> {
        let Self {
            source,
            prefix,
            required,
            links,
        } = self;
        let prefix = Prefix::new(prefix)?;
        let secret = source.as_ref().and_then(ProxySource::secret);
        if source.is_some() && history && is_shared && !links.has_common_key(secret.as_ref()) {
            return Err(Error::config(
                "with a backplane and proxies, every instance must sign links with the same key: set `grip_link_key`, or a secret `key` or `verify_key` of a proxy",
            ));
        }
        let links = Links::new(links, prefix.as_str(), secret.as_ref())?;
        match source {
            Some(source) => Ok(Some(Box::new(GripProxies {
                publisher: source.build()?,
                prefix,
                required,
                links: history.then_some(links),
                has_refused: AtomicBool::new(false),
                has_warned: AtomicBool::new(false),
            }))),
            None if required => Err(Error::config(
                "`require_grip_proxy` is set, but there is no proxy: set one with `grip`",
            )),
            None => Ok(None),
        }
    }

    /// Adds proxies.
    pub(crate) fn add(&mut self, proxies: impl IntoProxies) {
        proxies.add_to(self.source.get_or_insert_default());
    }

    /// Adds the proxies that the environment names, if any.
    pub(crate) fn env(
        &mut self,
        variable: impl Fn(&str) -> Result<Option<String>, Error>,
    ) -> Result<(), Error> {
        let Some(urls) = variable("GRIP_URL")?.filter(|urls| !urls.trim().is_empty()) else {
            return Ok(());
        };
        let in_variable = |name, error| Error::config(format!("{name}: {error}"));
        let mut configs =
            GripConfig::parse_list(&urls).map_err(|error| in_variable("GRIP_URL", error))?;
        if let Some(key) = variable("GRIP_VERIFY_KEY")? {
            if key.trim().is_empty() {
                return Err(Error::config(
                    "GRIP_VERIFY_KEY is empty: set a key, or unset it to take any signature",
                ));
            }
            let key = Key::from(key);
            let without = configs
                .iter_mut()
                .filter(|config| config.verify_key.is_none());
            without.for_each(|config| config.verify_key = Some(key.clone()));
        }
        self.add(configs);
        Ok(())
    }
}

impl ProxySource {
    /// A secret that all instances of the application share, if there is one.
    fn secret(&self) -> Option<Key> {
        // A key that only verifies signatures may be public.
        let checks = |config: &GripConfig| config.verify_key.clone().filter(Key::is_shared_secret);
        let knows = |config: &GripConfig| config.key.clone().or_else(|| checks(config));
        self.configs.iter().find_map(knows)
    }

    fn build(self) -> Result<Publisher, Error> {
        let Self {
            configs,
            mut publishers,
            error,
        } = self;
        if let Some(error) = error {
            return Err(error);
        }
        if !configs.is_empty() {
            publishers.push(Publisher::new(configs)?);
        }
        let publisher = Publisher::joined(&publishers);
        if publisher.stats().is_empty() {
            return Err(Error::config(
                "`grip` names no proxy: give a control URI, or leave it out for direct delivery",
            ));
        }
        Ok(publisher)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_have_a_secret_in_common_but_no_public_key() {
        let public = include_str!("../../tests/keys/ec-public.pem");
        let secret = |key: Option<&str>, verify_key: Option<&str>| {
            let mut source = ProxySource::default();
            source.configs.push(GripConfig {
                key: key.map(Key::from),
                verify_key: verify_key.map(Key::from),
                ..GripConfig::new("http://localhost:5561")
            });
            source
                .secret()
                .as_ref()
                .and_then(Key::as_text)
                .map(str::to_owned)
        };
        for (key, verify_key, expected) in [
            (None, None, None),
            (Some("a"), None, Some("a")),
            (Some("a"), Some("b"), Some("a")),
            (None, Some("b"), Some("b")),
            (None, Some("base64:Yg=="), Some("base64:Yg==")),
            (None, Some(public), None),
        ] {
            assert_eq!(secret(key, verify_key).as_deref(), expected);
        }
    }
}
