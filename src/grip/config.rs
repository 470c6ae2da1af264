//! The configuration of one proxy, as a URL or as data.

use std::fmt;
use std::str::FromStr;

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::de::{Deserialize, Deserializer, Error as _};
use url::Url;

use super::key::Key;
use crate::Error;

/// The public key of Fastly Fanout, the same for all services (P-256).
pub const FASTLY_FANOUT_PUBLIC_KEY: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAECKo5A1ebyFcnmVV8SE5On+8G81Jy
BjSvcrx4VLetWCjuDAmppTo3xM/zz763COTCgHfp/6lPdCyYjjqc+GM7sw==
-----END PUBLIC KEY-----";

/// The control endpoint of one proxy, and the keys for publishing to it and for verifying its requests.
///
/// The fields have the names of the other GRIP libraries and deserialise from any format. Unknown
/// fields are errors, because a mistyped `verify_key` would leave requests unchecked. A `GRIP_URL` is
/// parsed by [`from_str`](GripConfig::from_str).
///
/// The `Authorization` of publish requests:
///
/// | set | sent |
/// | --- | --- |
/// | `control_iss` and `key` | a bearer JWT `{iss, exp}`, signed by `key`, for ten minutes |
/// | `key` alone | the key's text as a bearer token |
/// | `user` and `pass` | Basic |
/// | none of them | nothing |
///
/// # Examples
///
/// ```
/// use axum_eventstream::grip::GripConfig;
///
/// let config: GripConfig = "http://localhost:5561?iss=realm&key=changeme".parse()?;
/// assert_eq!(config.control_uri, "http://localhost:5561/");
/// assert_eq!(config.control_iss.as_deref(), Some("realm"));
/// # Ok::<_, axum_eventstream::Error>(())
/// ```
#[derive(Clone, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct GripConfig {
    /// The URI of the control endpoint, `http` or `https`, without user and password. Requests append
    /// `publish/` to its path.
    pub control_uri: String,
    /// The issuer in the tokens of publish requests.
    #[serde(default)]
    pub control_iss: Option<String>,
    /// The user of Basic authorization.
    #[serde(default)]
    pub user: Option<String>,
    /// The password of Basic authorization.
    #[serde(default, deserialize_with = "text")]
    pub pass: Option<String>,
    /// The key that authorises publishing. With `control_iss`, and without a `verify_key`, a secret also
    /// verifies the proxy's requests.
    #[serde(default)]
    pub key: Option<Key>,
    /// The issuer that the tokens of the proxy's requests must have.
    #[serde(default)]
    pub verify_iss: Option<String>,
    /// The key that verifies the proxy's requests.
    #[serde(default)]
    pub verify_key: Option<Key>,
}

impl GripConfig {
    /// Creates the configuration of a proxy that needs no authorization and whose requests are not verified.
    pub fn new(control_uri: impl Into<String>) -> Self {
        let control_uri = control_uri.into();
        Self {
            control_uri,
            ..Self::default()
        }
    }

    /// Creates the configuration of a Fastly Fanout service.
    ///
    /// Publish requests carry the API token, and requests must be signed by Fastly for this service. Needs
    /// the feature `rustls` or `native-tls`.
    #[must_use]
    pub fn fastly_fanout(service_id: &str, api_token: &str) -> Self {
        let service = utf8_percent_encode(service_id, NON_ALPHANUMERIC);
        Self {
            key: Some(api_token.into()),
            verify_iss: Some(format!("fastly:{service_id}")),
            verify_key: Some(FASTLY_FANOUT_PUBLIC_KEY.into()),
            ..Self::new(format!("https://api.fastly.com/service/{service}"))
        }
    }

    /// Parses several `GRIP_URL`s, separated by white space.
    ///
    /// # Errors
    ///
    /// Fails at the first one that is not a valid `GRIP_URL`.
    pub fn parse_list(text: &str) -> Result<Vec<Self>, Error> {
        text.split_whitespace().map(str::parse).collect()
    }
}

/// Parses one `GRIP_URL`.
///
/// User, password and the query parameters `iss` (`control_iss`), `key`, `verify-iss` and `verify-key` are
/// removed from the URL and percent-decoded. Other spellings of these parameters are errors. The rest is the
/// `control_uri`, without one `/` at the end of its path.
impl FromStr for GripConfig {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut url = parse_url(text).map_err(|rule| invalid(text, rule))?;
        let mut config = Self::default();
        if !url.username().is_empty() {
            config.user = Some(decode(url.username()));
        }
        config.pass = url.password().map(decode);
        config
            .take_parameters(&mut url)
            .map_err(|problem| invalid(text, problem))?;
        // Both fail only for URLs without a host, which `parse_url` refuses.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        if let Some(path) = url.path().strip_suffix('/').map(str::to_owned) {
            url.set_path(&path);
        }
        config.control_uri = url.into();
        Ok(config)
    }
}

impl GripConfig {
    fn take_parameters(&mut self, url: &mut Url) -> Result<(), String> {
        let mut kept = form_urlencoded::Serializer::new(String::new());
        let mut taken = false;
        for (name, value) in url.query_pairs() {
            let value = value.into_owned();
            // The first of several equal parameters is used.
            match &*name {
                "iss" => _ = self.control_iss.get_or_insert(value),
                "key" => _ = self.key.get_or_insert(value.into()),
                "verify-iss" => _ = self.verify_iss.get_or_insert(value),
                "verify-key" => _ = self.verify_key.get_or_insert(value.into()),
                name => {
                    check_parameter(name)?;
                    kept.append_pair(name, &value);
                    continue;
                }
            }
            taken = true;
        }
        let kept = kept.finish();
        if taken {
            url.set_query(Some(&*kept).filter(|kept| !kept.is_empty()));
        }
        Ok(())
    }
}

/// Refuses misspelt parameters: a mistyped `verify-key` would leave requests unchecked.
fn check_parameter(name: &str) -> Result<(), String> {
    let meant = match &*name.to_ascii_lowercase().replace('_', "-") {
        "verify-key" | "verifykey" => "verify-key",
        "verify-iss" | "verifyiss" => "verify-iss",
        "iss" | "control-iss" => "iss",
        "key" | "control-key" => "key",
        _ => return Ok(()),
    };
    Err(format!("the parameter `{name}` is written `{meant}` here"))
}

/// Parses a control URI. The error is the rule that it breaks.
pub(crate) fn parse_url(text: &str) -> Result<Url, &'static str> {
    let mut url =
        Url::parse(text.trim()).map_err(|_| "is not a URL such as `http://localhost:5561`")?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("begins with neither `http://` nor `https://`");
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err("has no host");
    }
    url.set_fragment(None);
    Ok(url)
}

/// The URI without the parts that may be secret: user, password and query.
pub(crate) fn public_uri(url: &Url) -> String {
    let mut url = url.clone();
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.into()
}

/// A configuration error that names the endpoint, unless its text may hold a secret.
pub(crate) fn invalid(uri: &str, problem: impl fmt::Display) -> Error {
    let name = shown(uri);
    Error::config(format!("GRIP control URI {name}: {problem}"))
}

fn shown(uri: &str) -> String {
    match Url::parse(uri.trim()) {
        Ok(url) if url.has_host() => format!("`{}`", public_uri(&url)),
        _ => "(not shown, it may hold a key)".to_owned(),
    }
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// Deserialises text. The error does not show the value.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    match Option::<serde_json::Value>::deserialize(deserializer)? {
        None => Ok(None),
        Some(serde_json::Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(D::Error::custom("a password is text")),
    }
}

impl fmt::Debug for GripConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = |secret: bool| secret.then_some("[redacted]");
        f.debug_struct("GripConfig")
            .field("control_uri", &shown(&self.control_uri))
            .field("control_iss", &self.control_iss)
            .field("user", &hidden(self.user.is_some()))
            .field("pass", &hidden(self.pass.is_some()))
            .field("key", &self.key)
            .field("verify_iss", &self.verify_iss)
            .field("verify_key", &self.verify_key)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> GripConfig {
        text.parse().expect(text)
    }

    #[test]
    fn a_url_is_split_into_fields() {
        let config = parse(
            "http://us%40er:p%3Ass@host:5561/base/?iss=realm&a=1&key=s%26t&verify-iss=v&b=x+y&verify-key=base64:A+/_#frag",
        );
        assert_eq!(config.control_uri, "http://host:5561/base?a=1&b=x+y");
        assert_eq!(config.control_iss.as_deref(), Some("realm"));
        assert_eq!(config.user.as_deref(), Some("us@er"));
        assert_eq!(config.pass.as_deref(), Some("p:ss"));
        assert_eq!(config.key.as_ref().unwrap().as_text(), Some("s&t"));
        assert_eq!(config.verify_iss.as_deref(), Some("v"));
        let verify_key = config.verify_key.unwrap();
        assert!(matches!(
            verify_key.material(),
            Ok(super::super::key::Material::Secret(secret)) if secret == [0x03, 0xef, 0xff]
        ));
    }

    #[test]
    fn other_parts_of_a_url_are_kept() {
        let table = [
            ("http://localhost:5561", "http://localhost:5561/"),
            ("http://localhost:5561/", "http://localhost:5561/"),
            ("http://h/a//", "http://h/a/"),
            ("http://h/a/?x=%2F", "http://h/a?x=%2F"),
            ("http://h/?x&y=a%20b", "http://h/?x&y=a%20b"),
            ("http://h/?key=k", "http://h/"),
            (" https://h/%7Ea ", "https://h/%7Ea"),
            ("http://[::1]:80/x?iss=1&iss=2", "http://[::1]/x"),
        ];
        for (text, expected) in table {
            assert_eq!(parse(text).control_uri, expected);
        }
        assert_eq!(
            parse("http://h?iss=1&iss=2").control_iss.as_deref(),
            Some("1")
        );
    }

    #[test]
    fn the_error_of_an_invalid_url_shows_no_secret() {
        let hidden = "(not shown, it may hold a key)";
        let no_url = "is not a URL such as `http://localhost:5561`";
        let scheme = "begins with neither `http://` nor `https://`";
        let table = [
            ("hush", hidden, no_url),
            ("", hidden, no_url),
            ("http://", hidden, no_url),
            ("http://u:hush@h:port?key=hush", hidden, no_url),
            ("localhost:5561?key=hush", hidden, scheme),
            ("ftp://u:hush@h/x?key=hush", "`ftp://h/x`", scheme),
        ];
        for (text, shown, rule) in table {
            let error = text.parse::<GripConfig>().unwrap_err();
            let expected = format!("GRIP control URI {shown}: {rule}");
            assert_eq!(error.to_string(), expected, "{text}");
            assert_eq!(error.kind(), crate::ErrorKind::InvalidConfig);
        }
    }

    #[test]
    fn a_misspelt_parameter_is_refused() {
        for (name, meant) in [
            ("verify_key", "verify-key"),
            ("Verify-Key", "verify-key"),
            ("verify_iss", "verify-iss"),
            ("control_iss", "iss"),
            ("control_key", "key"),
            ("KEY", "key"),
        ] {
            let text = format!("http://h/x?{name}=hush");
            let error = text.parse::<GripConfig>().unwrap_err();
            let expected = format!(
                "GRIP control URI `http://h/x`: the parameter `{name}` is written `{meant}` here"
            );
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn a_list_is_separated_by_white_space() {
        let list = GripConfig::parse_list(" http://a\n\thttp://b?iss=x  ").unwrap();
        let uris = list.iter().map(|config| &*config.control_uri);
        assert_eq!(uris.collect::<Vec<_>>(), ["http://a/", "http://b/"]);
        assert!(GripConfig::parse_list("").unwrap().is_empty());
        assert!(GripConfig::parse_list("http://a b").is_err());
    }

    #[test]
    fn data_has_the_original_field_names() {
        let config: GripConfig = serde_json::from_str(
            r#"{"control_uri":"http://h/?key=kept","control_iss":"i","user":"u","pass":"p","key":{"kty":"oct","k":"AQ"},
                "verify_iss":null,"verify_key":"base64:AQ"}"#,
        )
        .unwrap();
        assert_eq!(config.control_uri, "http://h/?key=kept");
        assert_eq!(config.pass.as_deref(), Some("p"));
        assert_eq!(config.verify_iss, None);
        for (data, rule) in [
            ("{}", "control_uri"),
            (
                r#"{"control_uri":"","verify-key":"1234"}"#,
                "unknown field `verify-key`",
            ),
            (r#"{"control_uri":"","pass":1234}"#, "a password is text"),
        ] {
            let error = serde_json::from_str::<GripConfig>(data).unwrap_err();
            let error = error.to_string();
            assert!(error.contains(rule) && !error.contains("1234"), "{error}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let mut config = parse("http://hush:hush@h/x?key=hush&verify-key=hush&token=hush");
        config.control_iss = Some("realm".into());
        assert_eq!(
            format!("{config:?}"),
            r#"GripConfig { control_uri: "`http://h/x`", control_iss: Some("realm"), user: Some("[redacted]"), "#.to_owned()
                + r#"pass: Some("[redacted]"), key: Some(Key([redacted])), verify_iss: None, verify_key: Some(Key([redacted])) }"#
        );
        assert!(!format!("{:?}", GripConfig::new("http://hush@")).contains("hush"));
    }

    #[test]
    fn fastly_needs_a_service_and_a_token() {
        let config = GripConfig::fastly_fanout("SU1Z0isxPaozGVKXdv0eY", "token");
        assert_eq!(
            config.control_uri,
            "https://api.fastly.com/service/SU1Z0isxPaozGVKXdv0eY"
        );
        assert_eq!(config.key.unwrap().as_text(), Some("token"));
        assert_eq!(
            config.verify_iss.as_deref(),
            Some("fastly:SU1Z0isxPaozGVKXdv0eY")
        );
        let verify_key = config.verify_key.unwrap();
        assert!(crate::grip::Verifier::new(&verify_key).is_ok());
        let odd = GripConfig::fastly_fanout("../x?", "token");
        assert_eq!(
            odd.control_uri,
            "https://api.fastly.com/service/%2E%2E%2Fx%3F"
        );
    }

    /// Fastly publishes the key as this JWK.
    #[test]
    fn the_fastly_key_is_the_published_one() {
        let jwk = r#"{"kty":"EC","crv":"P-256","x":"CKo5A1ebyFcnmVV8SE5On-8G81JyBjSvcrx4VLetWCg","y":"7gwJqaU6N8TP88--twjkwoB36f-pT3QsmI46nPhjO7M"}"#;
        let jwk = serde_json::from_str(jwk).unwrap();
        let pem = crate::grip::pem::parse(FASTLY_FANOUT_PUBLIC_KEY);
        assert_eq!(pem, crate::grip::jwk::parse(&jwk));
    }
}
