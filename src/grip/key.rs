//! Keys in a configuration: text, bytes or a JWK object.

use std::fmt;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use serde::de::{Deserialize, Deserializer, Error as _};
use serde_json::{Map, Value};

/// A key to sign with or to verify with: a secret, a PEM or a JWK.
///
/// Text is read by these rules, in this order:
///
/// 1. `base64:` before standard or URL-safe base64 stands for the decoded bytes. Padding is optional,
///    and a blank counts as `+`, which decoding a URL turns into a blank.
/// 2. Text or bytes with `-----BEGIN ` are a PEM. Its first block is the key: `PUBLIC KEY` (SPKI) or
///    `PRIVATE KEY` (PKCS#8).
/// 3. Text or bytes with `"kty"` are a JWK: a JSON object of the type `oct`, `EC` (P-256) or `RSA`.
/// 4. Anything else is a secret, byte for byte.
///
/// Sign with a secret or an EC key: the time that the rsa crate takes to sign depends on the key
/// ([RUSTSEC-2023-0071](https://rustsec.org/advisories/RUSTSEC-2023-0071)). Verifying is unaffected.
///
/// A key is checked when a [`Verifier`](super::Verifier), a [`Publisher`](super::Publisher) or an
/// [`EventStream`](crate::EventStream) is built with it. `Debug` never shows it.
///
/// # Examples
///
/// ```
/// use axum_eventstream::grip::Key;
///
/// assert_eq!(format!("{:?}", Key::from("changeme")), "Key([redacted])");
/// ```
#[derive(Clone)]
pub struct Key(Repr);

#[derive(Clone)]
enum Repr {
    Text(String),
    Bytes(Vec<u8>),
    Jwk(Map<String, Value>),
}

/// A [`Key`] by its kind, not checked yet.
pub(crate) enum Material {
    Secret(Vec<u8>),
    Pem(String),
    Jwk(Map<String, Value>),
}

/// The reason why a key cannot be used. It never shows the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidKey {
    #[error("is empty")]
    Empty,
    #[error("is not valid base64 after `base64:`")]
    Base64,
    #[error("is not a complete PEM with a `PUBLIC KEY` (SPKI) or a `PRIVATE KEY` (PKCS#8)")]
    Pem,
    #[error("is not a JWK of the type `oct`, `EC` with P-256, or `RSA`: {0}")]
    Jwk(&'static str),
    #[error("is not a valid P-256 or RSA key")]
    Family,
    #[error("is an RSA key of {0} bits, but 2048 to 4096 are needed")]
    RsaBits(usize),
    #[error("is a public key, which cannot sign: the private one is needed")]
    NotPrivate,
}

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

impl Key {
    /// The original text of the key, if it is text.
    pub(crate) fn as_text(&self) -> Option<&str> {
        match &self.0 {
            Repr::Text(text) => Some(text),
            Repr::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
            Repr::Jwk(_) => None,
        }
    }

    /// Whether the key is a secret, which both verifies and signs.
    pub(crate) fn is_shared_secret(&self) -> bool {
        matches!(self.material(), Ok(Material::Secret(_)))
    }

    pub(crate) fn material(&self) -> Result<Material, InvalidKey> {
        match &self.0 {
            Repr::Jwk(jwk) => Ok(Material::Jwk(jwk.clone())),
            Repr::Bytes(bytes) => Material::from_bytes(bytes),
            Repr::Text(text) => match text.strip_prefix("base64:") {
                Some(encoded) => Material::from_bytes(&decode_base64(encoded)?),
                None => Material::from_bytes(text.as_bytes()),
            },
        }
    }
}

impl Material {
    fn from_bytes(bytes: &[u8]) -> Result<Self, InvalidKey> {
        // A PEM or JWK with text around it, or a damaged one, must not become a secret: it may be public.
        let text = String::from_utf8_lossy(bytes);
        if text.contains("-----BEGIN ") {
            return Ok(Self::Pem(text.into_owned()));
        }
        if text.contains("\"kty\"") {
            let jwk = serde_json::from_str(text.trim());
            return jwk
                .map(Self::Jwk)
                .map_err(|_| InvalidKey::Jwk("not a JSON object"));
        }
        if bytes.is_empty() {
            return Err(InvalidKey::Empty);
        }
        Ok(Self::Secret(bytes.to_vec()))
    }
}

pub(crate) fn decode_base64(text: &str) -> Result<Vec<u8>, InvalidKey> {
    let standard: String = text
        .chars()
        .map(|c| match c {
            ' ' | '-' => '+',
            '_' => '/',
            c => c,
        })
        .collect();
    BASE64.decode(standard).map_err(|_| InvalidKey::Base64)
}

impl From<&str> for Key {
    fn from(text: &str) -> Self {
        Self(Repr::Text(text.to_owned()))
    }
}

impl From<String> for Key {
    fn from(text: String) -> Self {
        Self(Repr::Text(text))
    }
}

impl From<&[u8]> for Key {
    fn from(bytes: &[u8]) -> Self {
        Self(Repr::Bytes(bytes.to_vec()))
    }
}

impl From<Vec<u8>> for Key {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Repr::Bytes(bytes))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key([redacted])")
    }
}

/// From text, or from a JWK object.
impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) => Ok(Self(Repr::Text(text))),
            Value::Object(jwk) => Ok(Self(Repr::Jwk(jwk))),
            // serde's message would show the value.
            _ => Err(D::Error::custom("a key is text or a JWK object")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bytes of a secret, or the kind of another key.
    fn material(key: &Key) -> Vec<u8> {
        match key.material() {
            Ok(Material::Secret(secret)) => secret,
            Ok(Material::Pem(_)) => b"(PEM)".to_vec(),
            Ok(Material::Jwk(_)) => b"(JWK)".to_vec(),
            Err(error) => error.to_string().into(),
        }
    }

    fn secret(text: &str) -> Vec<u8> {
        material(&text.into())
    }

    #[test]
    fn text_is_a_secret_byte_for_byte() {
        for text in ["changeme", " padded ", "é", "{not json", "{}", "---"] {
            assert_eq!(secret(text), text.as_bytes());
        }
    }

    #[test]
    fn base64_is_decoded_in_every_spelling() {
        for text in [
            "-_-_AQ==", "-_-_AQ", "+/+/AQ==", "+/+/AQ", " / /AQ", " _-/AR",
        ] {
            let secret = secret(&format!("base64:{text}"));
            assert_eq!(secret, [0xfb, 0xff, 0xbf, 1], "{text}");
        }
    }

    #[test]
    fn bytes_follow_the_same_rules_without_base64() {
        for (bytes, expected) in [
            (&b"base64:AQ"[..], &b"base64:AQ"[..]),
            (b"\n-----BEGIN PUBLIC KEY-----", b"(PEM)"),
            (&[0xff, 0], &[0xff, 0]),
        ] {
            assert_eq!(material(&bytes.into()), expected);
        }
    }

    #[test]
    fn pem_and_jwk_are_recognised_in_text_and_behind_base64() {
        use base64::prelude::BASE64_STANDARD;
        for (text, kind) in [
            ("-----BEGIN PUBLIC KEY-----", b"(PEM)"),
            (" \n-----BEGIN CERTIFICATE-----", b"(PEM)"),
            (r#"{"kty":"oct"}"#, b"(JWK)"),
            ("\n{ \"kty\" : \"EC\" }", b"(JWK)"),
        ] {
            let encoded = format!("base64:{}", BASE64_STANDARD.encode(text));
            for text in [text, &encoded] {
                assert_eq!(secret(text), kind, "{text}");
            }
        }
    }

    #[test]
    fn a_pem_or_a_jwk_in_other_text_is_not_a_secret() {
        let pem = "-----BEGIN PUBLIC KEY-----";
        for text in [
            format!("Key of the proxy:\n{pem}"),
            format!("\u{feff}{pem}"),
            format!("key={pem}"),
        ] {
            assert_eq!(secret(&text), b"(PEM)", "{text}");
        }
        let latin_1 = Key::from([b"Schl\xfcssel\n", pem.as_bytes()].concat());
        assert_eq!(material(&latin_1), b"(PEM)");
        for text in [
            r#"[{"kty":"EC"}]"#,
            "\u{feff}{\"kty\":\"EC\"}",
            r#"key: {"kty":"EC"}"#,
        ] {
            let refused = Key::from(text).material().err();
            assert_eq!(refused, Some(InvalidKey::Jwk("not a JSON object")));
        }
    }

    #[test]
    fn an_unusable_key_is_refused() {
        let table = [
            ("", InvalidKey::Empty),
            ("base64:", InvalidKey::Empty),
            ("base64:!", InvalidKey::Base64),
            ("base64:A", InvalidKey::Base64),
            (
                r#"{"kty":"oct","k":"AQ""#,
                InvalidKey::Jwk("not a JSON object"),
            ),
        ];
        for (text, expected) in table {
            assert_eq!(Key::from(text).material().err(), Some(expected), "{text}");
        }
    }

    #[test]
    fn a_key_is_deserialised_from_text_and_from_a_jwk() {
        let text: Key = serde_json::from_str(r#""base64:AQ""#).unwrap();
        assert_eq!(material(&text), [1]);
        let jwk: Key = serde_json::from_str(r#"{"kty":"oct","k":"AQ"}"#).unwrap();
        assert!(matches!(jwk.material(), Ok(Material::Jwk(jwk)) if jwk["k"] == "AQ"));
        let error = serde_json::from_str::<Key>("1234").unwrap_err().to_string();
        assert!(error.contains("a key is text or a JWK object"), "{error}");
        assert!(!error.contains("1234"), "{error}");
    }

    #[test]
    fn debug_shows_no_key() {
        let jwk: Key = serde_json::from_str(r#"{"kty":"oct","k":"hush"}"#).unwrap();
        for key in [Key::from("hush"), Key::from(b"hush".as_slice()), jwk] {
            assert_eq!(format!("{key:?}"), "Key([redacted])");
        }
    }
}
