//! Verification of the token with which a proxy signs its requests.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::config::GripConfig;
use super::jws::VerifyingKey;
use super::key::Key;
use crate::Error;

/// No proxy sends a longer token. Bounds the work that an unsigned request can cause.
const MAX_TOKEN: usize = 8192;

/// Checks the JWT in [`Grip-Sig`](super::GRIP_SIG) against one key.
///
/// 1. The key alone decides the algorithm: HS256, HS384 or HS512 for secrets, ES256 for P-256 keys,
///    RS256 for RSA keys. A token with another one, or with `none`, is refused.
/// 2. A token is valid from its `nbf` until before its `exp`, in whole seconds, without leeway. Both are
///    optional and must be numbers.
/// 3. Its `iss` must be the configured issuer, if there is one.
/// 4. Tokens with `crit`, and tokens over 8 KiB, are refused.
///
/// A private key verifies by its public half.
///
/// # Examples
///
/// ```
/// use axum_eventstream::grip::{FASTLY_FANOUT_PUBLIC_KEY, Verifier};
/// use std::time::SystemTime;
///
/// let verifier = Verifier::new(&FASTLY_FANOUT_PUBLIC_KEY.into())?.issuer("fastly:SERVICE");
/// assert!(verifier.verify("not a token", SystemTime::now()).is_err());
/// # Ok::<_, axum_eventstream::Error>(())
/// ```
#[derive(Clone)]
pub struct Verifier {
    key: VerifyingKey,
    issuer: Option<String>,
}

/// The reason why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidSignature {
    /// The token is longer than 8 KiB.
    #[error("the token is longer than {MAX_TOKEN} bytes")]
    TooLong,
    /// The token is not a JWT whose header and payload are JSON objects.
    #[error("the token is not a JWT")]
    Malformed,
    /// The token names an algorithm that does not belong to the key, or requires extensions.
    #[error("the token's algorithm or extensions are not allowed with this key")]
    Algorithm,
    /// The token was signed with another key, or changed afterwards.
    #[error("the signature does not match")]
    Mismatch,
    /// The `exp` of the token has passed.
    #[error("the token has expired")]
    Expired,
    /// The `nbf` of the token lies in the future.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// The `iss` of the token is not the expected one.
    #[error("the token has another issuer")]
    Issuer,
}

impl Verifier {
    /// Creates a verifier that accepts any issuer.
    ///
    /// # Errors
    ///
    /// Fails if the key is unusable. The error names the reason and does not show the key.
    pub fn new(key: &Key) -> Result<Self, Error> {
        let key = VerifyingKey::new(key)
            .map_err(|error| Error::config(format!("the verification key {error}")))?;
        Ok(Self { key, issuer: None })
    }

    /// Returns the verifier of this proxy's requests, if its configuration has a key for it.
    ///
    /// The error names the setting.
    pub(crate) fn of(config: &GripConfig) -> Result<Option<Self>, String> {
        let issuer = config.verify_iss.clone();
        if let Some(key) = &config.verify_key {
            let key = VerifyingKey::new(key).map_err(|error| format!("`verify_key` {error}"))?;
            return Ok(Some(Self { key, issuer }));
        }
        if let (Some(_), Some(key)) = (&config.control_iss, &config.key) {
            let key = VerifyingKey::new(key).map_err(|error| format!("`key` {error}"))?;
            if key.is_secret() {
                return Ok(Some(Self { key, issuer }));
            }
        }
        match issuer {
            Some(_) => {
                Err("`verify_iss` needs a `verify_key`: without one nothing is checked".into())
            }
            None => Ok(None),
        }
    }

    /// Accepts tokens of this `iss` only.
    #[must_use]
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuer = Some(issuer.into());
        self
    }

    /// Checks a token, given as text or as a header value, at the time `now`.
    ///
    /// # Errors
    ///
    /// Returns the first rule that the token breaks.
    pub fn verify(&self, token: impl AsRef<[u8]>, now: SystemTime) -> Result<(), InvalidSignature> {
        self.claims(token, now).map(drop)
    }

    /// Returns the claims of a valid token.
    pub(crate) fn claims(
        &self,
        token: impl AsRef<[u8]>,
        now: SystemTime,
    ) -> Result<Map<String, Value>, InvalidSignature> {
        let token = token.as_ref();
        if token.len() > MAX_TOKEN {
            return Err(InvalidSignature::TooLong);
        }
        let payload = self.signed_payload(token)?;
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        check_times(&payload, now)?;
        self.check_issuer(&payload)?;
        Ok(payload)
    }

    fn signed_payload(&self, token: &[u8]) -> Result<Map<String, Value>, InvalidSignature> {
        let token = std::str::from_utf8(token).map_err(|_| InvalidSignature::Malformed)?;
        let (message, signature) = token.rsplit_once('.').ok_or(InvalidSignature::Malformed)?;
        let (header, payload) = message.split_once('.').ok_or(InvalidSignature::Malformed)?;
        let (header, payload) = (object(header)?, object(payload)?);
        let name = header
            .get("alg")
            .and_then(Value::as_str)
            .unwrap_or_default();
        match self.key.algorithm(name) {
            None => Err(InvalidSignature::Algorithm),
            Some(_) if header.contains_key("crit") => Err(InvalidSignature::Algorithm),
            Some(algorithm) if self.key.verify(algorithm, message, signature) => Ok(payload),
            Some(_) => Err(InvalidSignature::Mismatch),
        }
    }

    fn check_issuer(&self, payload: &Map<String, Value>) -> Result<(), InvalidSignature> {
        match &self.issuer {
            Some(expected) if payload.get("iss") != Some(&Value::from(expected.as_str())) => {
                Err(InvalidSignature::Issuer)
            }
            _ => Ok(()),
        }
    }
}

fn object(part: &str) -> Result<Map<String, Value>, InvalidSignature> {
    let json = BASE64_URL_SAFE_NO_PAD.decode(part);
    let json = json.map_err(|_| InvalidSignature::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| InvalidSignature::Malformed)
}

fn check_times(payload: &Map<String, Value>, now: u64) -> Result<(), InvalidSignature> {
    if number(payload, "exp")?.is_some_and(|exp| exp <= now as f64) {
        return Err(InvalidSignature::Expired);
    }
    if number(payload, "nbf")?.is_some_and(|nbf| nbf > now as f64) {
        return Err(InvalidSignature::NotYetValid);
    }
    Ok(())
}

fn number(payload: &Map<String, Value>, claim: &str) -> Result<Option<f64>, InvalidSignature> {
    let value = payload.get(claim);
    let number = value.map(|value| value.as_f64().ok_or(InvalidSignature::Malformed));
    number.transpose()
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::grip::{
        jws::SigningKey,
        test_keys::{EC_PRIVATE, EC_PUBLIC, RSA_PRIVATE, RSA_PUBLIC},
    };
    use InvalidSignature::{Algorithm, Expired, Issuer, Malformed, Mismatch, NotYetValid, TooLong};

    const NOW: u64 = 1_000_000;

    fn signed(key: &str, claims: &str) -> String {
        SigningKey::new(&key.into()).unwrap().token(claims).unwrap()
    }

    /// An HS256 token with any header.
    fn with_header(key: &str, header: &str, claims: &str) -> String {
        use jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER;
        let key = jsonwebtoken::EncodingKey::from_secret(key.as_bytes());
        let name = header.split('"').find(|part| part.starts_with("HS"));
        let algorithm = name.unwrap_or("HS256").parse().unwrap();
        let signer = (DEFAULT_PROVIDER.signer_factory)(&algorithm, &key).unwrap();
        let encode = |part: &str| BASE64_URL_SAFE_NO_PAD.encode(part);
        let message = format!("{}.{}", encode(header), encode(claims));
        let signature = signer.try_sign(message.as_bytes()).unwrap();
        format!("{message}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }

    fn verify(key: &str, token: &str) -> Result<(), InvalidSignature> {
        verify_with(&Verifier::new(&key.into()).unwrap(), token)
    }

    fn verify_with(verifier: &Verifier, token: &str) -> Result<(), InvalidSignature> {
        verifier.verify(token, UNIX_EPOCH + Duration::from_secs(NOW))
    }

    #[test]
    fn tokens_of_the_key_are_accepted() {
        let keys = [
            ("s", "s"),
            (EC_PRIVATE, EC_PUBLIC),
            (RSA_PRIVATE, RSA_PUBLIC),
        ];
        for (private, public) in keys {
            assert_eq!(verify(public, &signed(private, r#"{"iss":"any"}"#)), Ok(()));
            assert!(verify(public, &signed("other", "{}")).is_err());
        }
        for alg in ["HS256", "HS384", "HS512"] {
            let header = format!(r#"{{"typ":"JWT","alg":"{alg}"}}"#);
            assert_eq!(verify("s", &with_header("s", &header, "{}")), Ok(()));
            assert_eq!(verify("t", &with_header("s", &header, "{}")), Err(Mismatch));
        }
    }

    #[test]
    fn the_key_decides_the_algorithm() {
        let none = BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
        let unsigned = format!("{none}.e30.");
        let named = format!("Key of the proxy:\n{EC_PUBLIC}");
        for public in [EC_PUBLIC, RSA_PUBLIC, &named] {
            let forged = with_header(public, r#"{"alg":"HS256"}"#, "{}");
            assert_eq!(verify(public, &forged), Err(Algorithm));
            let renamed = with_header(public, r#"{"alg":"ES256"}"#, "{}");
            assert!(verify(public, &renamed).is_err());
            assert_eq!(verify(public, &unsigned), Err(Algorithm));
        }
        assert_eq!(verify("s", &unsigned), Err(Algorithm));
        let other = signed(EC_PRIVATE, "{}");
        assert_eq!(verify(RSA_PUBLIC, &other), Err(Algorithm));
        for header in [
            r#"{}"#,
            r#"{"alg":7}"#,
            r#"{"alg":"hs256"}"#,
            r#"{"alg":"HS256","crit":["b64"]}"#,
        ] {
            let token = with_header("s", header, "{}");
            assert_eq!(verify("s", &token), Err(Algorithm), "{header}");
        }
    }

    #[test]
    fn times_and_types_of_claims_are_checked() {
        let table = [
            (r#"{}"#, Ok(())),
            (r#"{"exp":1000001}"#, Ok(())),
            (r#"{"exp":1000000.5}"#, Ok(())),
            (r#"{"exp":1000000}"#, Err(Expired)),
            (r#"{"exp":-1}"#, Err(Expired)),
            (r#"{"exp":1e300}"#, Ok(())),
            (r#"{"exp":1e400}"#, Err(Malformed)),
            (r#"{"exp":"1000001"}"#, Err(Malformed)),
            (r#"{"exp":null}"#, Err(Malformed)),
            (r#"{"nbf":1000000}"#, Ok(())),
            (r#"{"nbf":1000001}"#, Err(NotYetValid)),
            (r#"{"nbf":true}"#, Err(Malformed)),
            (r#"[]"#, Err(Malformed)),
            (r#""text""#, Err(Malformed)),
            (r#"{"exp":1000001}{"#, Err(Malformed)),
        ];
        for (claims, expected) in table {
            assert_eq!(verify("s", &signed("s", claims)), expected, "{claims}");
        }
    }

    #[test]
    fn a_configured_issuer_is_required() {
        let verifier = Verifier::new(&"s".into()).unwrap().issuer("realm");
        let table = [
            (r#"{"iss":"realm"}"#, Ok(())),
            (r#"{"iss":"other"}"#, Err(Issuer)),
            (r#"{"iss":["realm"]}"#, Err(Issuer)),
            (r#"{}"#, Err(Issuer)),
        ];
        for (claims, expected) in table {
            let verified = verify_with(&verifier, &signed("s", claims));
            assert_eq!(verified, expected, "{claims}");
        }
    }

    #[test]
    fn garbage_is_refused() {
        let good = signed("s", "{}");
        let deep = format!("{}.e30.AA", BASE64_URL_SAFE_NO_PAD.encode("[".repeat(5000)));
        let table = [
            ("", Malformed),
            (".", Malformed),
            ("..", Malformed),
            ("a.b.c", Malformed),
            ("é.é.é", Malformed),
            (&deep, Malformed),
            (&format!("{good}.x"), Malformed),
            (&format!(" {good}"), Malformed),
            (&format!("{good}="), Mismatch),
            (&format!("{good}A"), Mismatch),
            (&format!("{good}{}", "A".repeat(MAX_TOKEN)), TooLong),
        ];
        for (token, expected) in table {
            assert_eq!(verify("s", token), Err(expected), "{token}");
        }
        let verifier = Verifier::new(&"s".into()).unwrap();
        let binary = verifier.verify([0xff, b'.', b'.'], UNIX_EPOCH);
        assert_eq!(binary, Err(Malformed));
        let before_1970 = UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(verifier.verify(&good, before_1970), Ok(()));
    }

    #[test]
    fn a_token_with_a_changed_bit_or_a_missing_end_is_refused() {
        for (private, public) in [("s", "s"), (EC_PRIVATE, EC_PUBLIC)] {
            let token = signed(private, r#"{"iss":"realm"}"#).into_bytes();
            let verifier = Verifier::new(&public.into()).unwrap();
            for at in 0..token.len() {
                let mut changed = token.clone();
                changed[at] ^= 1;
                assert!(verifier.verify(&changed, UNIX_EPOCH).is_err(), "{at}");
                assert!(verifier.verify(&token[..at], UNIX_EPOCH).is_err(), "{at}");
            }
        }
    }

    #[test]
    fn a_verifier_follows_its_configuration() {
        let verifier = |query: &str| Verifier::of(&format!("http://h?{query}").parse().unwrap());
        let secret = signed("s", r#"{"iss":"realm"}"#);
        let table = [
            ("iss=other&key=s", Ok(())),
            ("iss=other&key=s&verify-iss=realm", Ok(())),
            ("iss=realm&key=s&verify-iss=other", Err(Issuer)),
            ("iss=realm&key=s&verify-key=t", Err(Mismatch)),
            ("key=t&verify-key=s", Ok(())),
        ];
        for (query, expected) in table {
            let verifier = verifier(query).unwrap().unwrap();
            assert_eq!(verify_with(&verifier, &secret), expected, "{query}");
        }
        assert!(verifier("").unwrap().is_none());
        assert!(verifier("key=s").unwrap().is_none());
        let mut asymmetric = GripConfig::new("http://h");
        asymmetric.control_iss = Some("i".into());
        asymmetric.key = Some(EC_PRIVATE.into());
        assert!(Verifier::of(&asymmetric).unwrap().is_none());
    }

    #[test]
    fn a_setting_that_cannot_work_is_named() {
        let table = [
            ("verify-key=", "`verify_key` is empty"),
            (
                "iss=i&key=base64:!",
                "`key` is not valid base64 after `base64:`",
            ),
            (
                "verify-iss=i",
                "`verify_iss` needs a `verify_key`: without one nothing is checked",
            ),
        ];
        for (query, expected) in table {
            let config = format!("http://h?{query}").parse().unwrap();
            assert_eq!(Verifier::of(&config).unwrap_err(), expected, "{query}");
        }
    }

    #[test]
    fn the_error_names_the_problem_and_not_the_key() {
        let error = Verifier::new(&"base64:hush!".into()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the verification key is not valid base64 after `base64:`"
        );
        let debug = format!("{:?}", Verifier::new(&"hush".into()).unwrap());
        assert_eq!(debug, "Verifier { issuer: None, .. }");
    }
}
