//! The `Authorization` of publish requests.

use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::HeaderValue;

use super::config::GripConfig;
use super::jws::SigningKey;
use crate::lock::lock;

/// Lifetime of a signed token in seconds, as in the other GRIP libraries.
const LIFETIME: u64 = 600;

/// A token is replaced this many seconds before it expires, so that it does not expire in transit.
const MARGIN: u64 = 60;

/// The credentials for one control endpoint.
pub(crate) enum Authorization {
    None,
    /// A literal bearer token, or Basic.
    Fixed(HeaderValue),
    Signed(Issuer),
}

/// Signs tokens, and caches the last one until shortly before it expires.
pub(crate) struct Issuer {
    name: String,
    key: SigningKey,
    last: Mutex<Option<(u64, HeaderValue)>>,
}

impl Authorization {
    /// A signed token for `control_iss` and `key`; otherwise the `key` as a bearer token, or Basic.
    pub(crate) fn new(config: &GripConfig) -> Result<Self, String> {
        match (&config.control_iss, &config.key, &config.user, &config.pass) {
            (Some(iss), Some(key), _, _) => {
                let key = SigningKey::new(key).map_err(|error| format!("`key` {error}"))?;
                Ok(Self::Signed(Issuer::new(iss, key)))
            }
            (Some(_), None, _, _) => Err("`control_iss` needs a `key` to sign with".into()),
            (None, Some(key), _, _) => {
                let token = key.as_text().filter(|token| !token.is_empty());
                let value = token.and_then(|token| sensitive(&format!("Bearer {token}")));
                value.map(Self::Fixed).ok_or_else(|| {
                    "`key` without `control_iss` is sent as a bearer token, and must be text that fits a header".into()
                })
            }
            (None, None, Some(user), Some(pass)) => basic(user, pass),
            (None, None, None, None) => Ok(Self::None),
            (None, None, Some(_), None) => Err("`user` needs a `pass`".into()),
            (None, None, None, Some(_)) => Err("`pass` needs a `user`".into()),
        }
    }

    /// Returns the value of the header at the time `now`.
    pub(crate) fn header(&self, now: SystemTime) -> Result<Option<HeaderValue>, SigningFailed> {
        match self {
            Self::None => Ok(None),
            Self::Fixed(value) => Ok(Some(value.clone())),
            Self::Signed(issuer) => {
                let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
                issuer.token(now).map(Some)
            }
        }
    }
}

/// The crypto backend could not sign.
#[derive(Debug)]
pub(crate) struct SigningFailed;

impl Issuer {
    fn new(name: &str, key: SigningKey) -> Self {
        let (name, last) = (name.to_owned(), Mutex::new(None));
        Self { name, key, last }
    }

    fn token(&self, now: u64) -> Result<HeaderValue, SigningFailed> {
        let mut last = lock(&self.last);
        match &*last {
            // The upper bound refuses a token from before the clock was set back.
            Some((end, value)) if (now + MARGIN..=now + LIFETIME).contains(end) => {
                Ok(value.clone())
            }
            _ => {
                let value = self.sign(now + LIFETIME).ok_or(SigningFailed)?;
                *last = Some((now + LIFETIME, value.clone()));
                Ok(value)
            }
        }
    }

    fn sign(&self, exp: u64) -> Option<HeaderValue> {
        let iss = serde_json::Value::from(self.name.as_str());
        let token = self.key.token(&format!(r#"{{"iss":{iss},"exp":{exp}}}"#))?;
        sensitive(&format!("Bearer {token}"))
    }
}

fn basic(user: &str, pass: &str) -> Result<Authorization, String> {
    if user.contains(':') {
        return Err("`user` must not contain a `:`".into());
    }
    let credentials = BASE64_STANDARD.encode(format!("{user}:{pass}"));
    let value = sensitive(&format!("Basic {credentials}"));
    Ok(value.map_or(Authorization::None, Authorization::Fixed))
}

fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;
    use std::time::Duration;

    use super::*;
    use crate::grip::{Key, Verifier};

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn config(fields: &str) -> GripConfig {
        let separator = if fields.is_empty() { "" } else { "," };
        let json = format!(r#"{{"control_uri":"http://h"{separator}{fields}}}"#);
        serde_json::from_str(&json).unwrap()
    }

    fn header(fields: &str) -> Option<String> {
        let authorization =
            Authorization::new(&config(fields)).unwrap_or_else(|error| panic!("{error}"));
        let value = authorization.header(at(0)).unwrap();
        assert!(value.as_ref().is_none_or(HeaderValue::is_sensitive));
        value.map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn fixed_credentials_are_sent_unchanged() {
        let table = [
            ("", None),
            (r#""key":"token""#, Some("Bearer token")),
            (r#""key":"base64:AQ""#, Some("Bearer base64:AQ")),
            (
                r#""key":"token","user":"u","pass":"p""#,
                Some("Bearer token"),
            ),
            (
                r#""user":"Aladdin","pass":"open sesame""#,
                Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="),
            ),
            (r#""user":"","pass":"""#, Some("Basic Og==")),
        ];
        for (json, expected) in table {
            assert_eq!(header(json).as_deref(), expected, "{json}");
        }
    }

    #[test]
    fn incomplete_credentials_are_errors() {
        let bearer = "`key` without `control_iss` is sent as a bearer token, and must be text that fits a header";
        let table = [
            (r#""user":"u""#, "`user` needs a `pass`"),
            (r#""pass":"p""#, "`pass` needs a `user`"),
            (
                r#""user":"a:b","pass":"p""#,
                "`user` must not contain a `:`",
            ),
            (
                r#""control_iss":"i""#,
                "`control_iss` needs a `key` to sign with",
            ),
            (r#""control_iss":"i","key":"""#, "`key` is empty"),
            (r#""key":"""#, bearer),
            (r#""key":"a\nb""#, bearer),
            (r#""key":{"kty":"oct","k":"AQ"}"#, bearer),
        ];
        for (json, expected) in table {
            let error = Authorization::new(&config(json)).err();
            assert_eq!(error.as_deref(), Some(expected), "{json}");
        }
        let mut binary = GripConfig::new("http://h");
        binary.key = Some(Key::from(vec![0xff]));
        assert_eq!(Authorization::new(&binary).err().as_deref(), Some(bearer));
    }

    #[test]
    fn a_signed_token_names_the_issuer_and_expires_in_ten_minutes() {
        let value = header(r#""control_iss":"re\"alm","key":"changeme""#).unwrap();
        let token = value.strip_prefix("Bearer ").unwrap();
        let parts = token.split('.');
        let mut parts = parts.map(|part| BASE64_URL_SAFE_NO_PAD.decode(part).unwrap());
        assert_eq!(parts.next().unwrap(), br#"{"alg":"HS256"}"#);
        assert_eq!(parts.next().unwrap(), br#"{"iss":"re\"alm","exp":600}"#);
        let verifier = Verifier::new(&"changeme".into()).unwrap().issuer("re\"alm");
        assert_eq!(verifier.verify(token, at(599)), Ok(()));
    }

    #[test]
    fn a_token_is_used_until_a_minute_before_its_end() {
        let authorization = Authorization::new(&config(r#""control_iss":"i","key":"k""#))
            .ok()
            .unwrap();
        let token = |seconds| authorization.header(at(seconds)).unwrap().unwrap();
        let first = token(1000);
        assert_eq!(token(1540), first);
        let second = token(1541);
        assert_ne!(second, first);
        assert_eq!(token(1600), second);
        // A clock that was set back makes a new token.
        assert_eq!(token(1000), first);
    }
}
