//! Signing and verifying with one crypto backend of jsonwebtoken.
//!
//! `jsonwebtoken::{encode, decode}` panic if another dependency enables a second backend. The factories of
//! one backend do not.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::crypto::rust_crypto::DEFAULT_PROVIDER as BACKEND;
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, EncodingKey};
use p256::pkcs8::EncodePrivateKey as _;
use rsa::pkcs1::EncodeRsaPrivateKey as _;
use rsa::traits::PublicKeyParts;

use super::key::{InvalidKey, Key, Material};
use super::key_parts::KeyParts;
use super::{jwk, pem};

fn parse(key: &Key) -> Result<KeyParts, InvalidKey> {
    match key.material()? {
        Material::Secret(secret) => Ok(KeyParts::Secret(secret)),
        Material::Pem(text) => pem::parse(&text),
        Material::Jwk(members) => jwk::parse(&members),
    }
}

/// Checks signatures with the algorithms of its key; a token cannot choose another.
#[derive(Clone)]
pub(crate) struct VerifyingKey {
    key: DecodingKey,
    algorithms: &'static [(&'static str, Algorithm)],
}

impl VerifyingKey {
    /// A private key verifies by its public half.
    pub(crate) fn new(key: &Key) -> Result<Self, InvalidKey> {
        Ok(match parse(key)? {
            KeyParts::Secret(secret) => Self::secret(&secret),
            KeyParts::EcPublic(key) => Self::ec(&key),
            KeyParts::EcPrivate(key) => Self::ec(&key.public_key()),
            KeyParts::RsaPublic(key) => Self::rsa(&key),
            KeyParts::RsaPrivate(key) => Self::rsa(&*key),
        })
    }

    fn secret(bytes: &[u8]) -> Self {
        use Algorithm::{HS256, HS384, HS512};
        Self {
            key: DecodingKey::from_secret(bytes),
            algorithms: &[("HS256", HS256), ("HS384", HS384), ("HS512", HS512)],
        }
    }

    fn ec(key: &p256::PublicKey) -> Self {
        Self {
            key: DecodingKey::from_ec_der(&key.to_sec1_bytes()),
            algorithms: &[("ES256", Algorithm::ES256)],
        }
    }

    fn rsa(key: &impl PublicKeyParts) -> Self {
        let (n, e) = (key.n().to_bytes_be(), key.e().to_bytes_be());
        Self {
            key: DecodingKey::from_rsa_raw_components(&n, &e),
            algorithms: &[("RS256", Algorithm::RS256)],
        }
    }

    /// Whether the same key also signs.
    pub(crate) fn is_secret(&self) -> bool {
        self.key.family() == AlgorithmFamily::Hmac
    }

    /// Whether the algorithm `name` belongs to this key.
    pub(crate) fn algorithm(&self, name: &str) -> Option<Algorithm> {
        let found = self.algorithms.iter().find(|(known, _)| *known == name);
        found.map(|(_, algorithm)| *algorithm)
    }

    pub(crate) fn verify(&self, algorithm: Algorithm, message: &str, signature: &str) -> bool {
        let Ok(signature) = BASE64_URL_SAFE_NO_PAD.decode(signature) else {
            return false;
        };
        (BACKEND.verifier_factory)(&algorithm, &self.key)
            .is_ok_and(|verifier| verifier.verify(message.as_bytes(), &signature).is_ok())
    }
}

/// Signs with the one algorithm of its key: HS256, ES256 or RS256.
#[derive(Clone)]
pub(crate) struct SigningKey {
    key: EncodingKey,
    name: &'static str,
    algorithm: Algorithm,
}

impl SigningKey {
    pub(crate) fn new(key: &Key) -> Result<Self, InvalidKey> {
        let (key, name, algorithm) = match parse(key)? {
            KeyParts::Secret(secret) => {
                (EncodingKey::from_secret(&secret), "HS256", Algorithm::HS256)
            }
            KeyParts::EcPrivate(key) => {
                let der = key.to_pkcs8_der().map_err(|_| InvalidKey::Family)?;
                let key = EncodingKey::from_ec_der(der.as_bytes());
                (key, "ES256", Algorithm::ES256)
            }
            KeyParts::RsaPrivate(key) => {
                let der = key.to_pkcs1_der().map_err(|_| InvalidKey::Family)?;
                let key = EncodingKey::from_rsa_der(der.as_bytes());
                (key, "RS256", Algorithm::RS256)
            }
            KeyParts::EcPublic(_) | KeyParts::RsaPublic(_) => return Err(InvalidKey::NotPrivate),
        };
        Ok(Self {
            key,
            name,
            algorithm,
        })
    }

    /// Returns the compact token with these claims, which are a JSON object.
    pub(crate) fn token(&self, claims: &str) -> Option<String> {
        let header = BASE64_URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"{}"}}"#, self.name));
        let message = format!("{header}.{}", BASE64_URL_SAFE_NO_PAD.encode(claims));
        let signature = self.sign(&message)?;
        Some(format!("{message}.{signature}"))
    }

    fn sign(&self, message: &str) -> Option<String> {
        let signer = (BACKEND.signer_factory)(&self.algorithm, &self.key).ok()?;
        let signature = signer.try_sign(message.as_bytes()).ok()?;
        Some(BASE64_URL_SAFE_NO_PAD.encode(signature))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grip::test_keys::*;

    fn without_private_part(jwk: &str) -> String {
        let mut jwk: serde_json::Map<_, _> = serde_json::from_str(jwk).unwrap();
        jwk.remove("d");
        serde_json::to_string(&jwk).unwrap()
    }

    fn split(token: &str) -> (&str, &str) {
        token.rsplit_once('.').unwrap()
    }

    #[test]
    fn every_kind_of_private_key_is_verified_by_every_form_of_its_public_half() {
        let secret = r#"{"kty":"oct","k":"Y2hhbmdlbWU"}"#.to_owned();
        let ec_public = without_private_part(EC_JWK);
        let rsa_public = without_private_part(RSA_JWK);
        let table = [
            (
                "HS256",
                vec!["changeme", &secret],
                vec!["changeme", &secret, "base64:Y2hhbmdlbWU="],
            ),
            (
                "ES256",
                vec![EC_PRIVATE, EC_JWK],
                vec![EC_PUBLIC, EC_PRIVATE, EC_JWK, &ec_public],
            ),
            (
                "RS256",
                vec![RSA_PRIVATE, RSA_JWK],
                vec![RSA_PUBLIC, RSA_PRIVATE, RSA_JWK, &rsa_public],
            ),
        ];
        for (name, private, public) in table {
            for private in private {
                let signing = SigningKey::new(&private.into()).unwrap();
                let token = signing.token("{}").unwrap();
                let (message, signature) = split(&token);
                for public in &public {
                    let verifying = VerifyingKey::new(&(*public).into()).unwrap();
                    let algorithm = verifying.algorithm(name).unwrap();
                    assert!(verifying.verify(algorithm, message, signature), "{name}");
                    assert!(!verifying.verify(algorithm, "other", signature), "{name}");
                    assert!(!verifying.verify(algorithm, message, ""), "{name}");
                }
            }
        }
    }

    #[test]
    fn algorithms_belong_to_keys() {
        let every = [
            "HS256", "HS384", "HS512", "ES256", "ES384", "RS256", "RS512", "PS256", "EdDSA",
            "none", "",
        ];
        let table = [
            ("changeme", &["HS256", "HS384", "HS512"][..]),
            (EC_PUBLIC, &["ES256"]),
            (RSA_PUBLIC, &["RS256"]),
        ];
        for (key, expected) in table {
            let key = VerifyingKey::new(&key.into()).unwrap();
            let mut allowed = every.to_vec();
            allowed.retain(|name| key.algorithm(name).is_some());
            assert_eq!(allowed, expected);
        }
    }

    #[test]
    fn unusable_keys_are_refused_with_the_reason() {
        let off_curve = r#"{"kty":"EC","crv":"P-256","x":"7gwJqaU6N8TP88--twjkwoB36f-pT3QsmI46nPhjO7M","y":"CKo5A1ebyFcnmVV8SE5On-8G81JyBjSvcrx4VLetWCg"}"#;
        let short_rsa = r#"{"kty":"RSA","n":"AQ","e":"AQAB"}"#;
        let zero_rsa = r#"{"kty":"RSA","n":"","e":""}"#;
        let zero_d =
            r#"{"kty":"EC","crv":"P-256","d":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}"#;
        let table = [
            (P384_PUBLIC, InvalidKey::Family),
            (ED25519_PUBLIC, InvalidKey::Family),
            (RSA_1024_PUBLIC, InvalidKey::RsaBits(1024)),
            ("-----BEGIN CERTIFICATE-----", InvalidKey::Pem),
            ("-----BEGIN PUBLIC KEY-----", InvalidKey::Pem),
            (
                "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
                InvalidKey::Family,
            ),
            (
                "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----",
                InvalidKey::Family,
            ),
            (short_rsa, InvalidKey::Family),
            (zero_rsa, InvalidKey::Family),
            (zero_d, InvalidKey::Family),
            (off_curve, InvalidKey::Family),
        ];
        for (key, expected) in table {
            let refused = VerifyingKey::new(&key.into()).err();
            assert_eq!(refused, Some(expected), "{key}");
            assert!(SigningKey::new(&key.into()).is_err(), "{key}");
        }
        for public in [EC_PUBLIC, RSA_PUBLIC] {
            let refused = SigningKey::new(&public.into()).err();
            assert_eq!(refused, Some(InvalidKey::NotPrivate));
        }
    }

    /// `2^1279 - 1` and `2^2203 - 1` are prime.
    #[test]
    fn an_rsa_key_with_a_small_prime_signs() {
        use rsa::pkcs8::EncodePrivateKey as _;
        let number = |bits: usize| (rsa::BigUint::from(1u8) << bits) - rsa::BigUint::from(1u8);
        let (p, q) = (number(1279), number(2203));
        let key = rsa::RsaPrivateKey::from_p_q(p, q, 65_537u32.into()).unwrap();
        let der = base64::prelude::BASE64_STANDARD.encode(key.to_pkcs8_der().unwrap().as_bytes());
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{der}\n-----END PRIVATE KEY-----");
        let key = Key::from(pem);
        let token = SigningKey::new(&key).unwrap().token("{}").unwrap();
        let (message, signature) = split(&token);
        let verifying = VerifyingKey::new(&key).unwrap();
        assert!(verifying.verify(Algorithm::RS256, message, signature));
    }

    #[test]
    fn deeply_nested_der_is_refused() {
        let mut der = Vec::new();
        while der.len() < 60_000 {
            let length = (der.len() as u16).to_be_bytes();
            der.splice(0..0, [0x30, 0x82, length[0], length[1]]);
        }
        let text = base64::prelude::BASE64_STANDARD.encode(der);
        for label in ["PUBLIC KEY", "PRIVATE KEY"] {
            let pem = format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----");
            let refused = VerifyingKey::new(&pem.into()).err();
            assert_eq!(refused, Some(InvalidKey::Family));
        }
    }
}
