//! A token in `Grip-Sig`.

use super::lines;
use axum_eventstream::grip::Verifier;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, crypto::rust_crypto::DEFAULT_PROVIDER};
use serde_json::{Map, Value};
use std::{
    sync::LazyLock,
    time::{Duration, UNIX_EPOCH},
};

const SECRET: &str = "secret";
const NOW: u64 = 1_000_000;

static VERIFIERS: LazyLock<[Verifier; 3]> = LazyLock::new(|| {
    let keys = [
        SECRET,
        include_str!("../keys/ec-public.pem"),
        include_str!("../keys/rsa-public.pem"),
    ];
    keys.map(|key| Verifier::new(&key.into()).unwrap())
});

/// The input as a token, and as the content of a signed token.
pub fn check(input: &[u8]) {
    check_forged(input);
    check_signed(input);
}

/// A token without a valid signature.
fn check_forged(input: &[u8]) {
    let now = UNIX_EPOCH + Duration::from_secs(NOW);
    for verifier in &*VERIFIERS {
        assert!(verifier.verify(input, now).is_err());
    }
}

/// The first line of the input is the header, and the rest the payload, of a token with a valid signature.
fn check_signed(input: &[u8]) {
    let header = lines(input).next().unwrap_or_default();
    let payload = input.get(header.len() + 1..).unwrap_or_default();
    let token = sign(header, payload);
    let now = UNIX_EPOCH + Duration::from_secs(NOW);
    let [secret, others @ ..] = &*VERIFIERS;
    if secret.verify(&token, now).is_ok() {
        check_claims(payload);
        assert!(
            secret
                .clone()
                .issuer("another")
                .verify(&token, now)
                .is_err()
                || is_another(payload)
        );
    }
    for other in others {
        assert!(other.verify(&token, now).is_err());
    }
}

fn sign(header: &[u8], payload: &[u8]) -> String {
    let encode = |part: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(part);
    let message = format!("{}.{}", encode(header), encode(payload));
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let signer = (DEFAULT_PROVIDER.signer_factory)(&Algorithm::HS256, &key).unwrap();
    let signature = signer.try_sign(message.as_bytes()).unwrap();
    format!("{message}.{}", encode(&signature))
}

fn claims(payload: &[u8]) -> Map<String, Value> {
    serde_json::from_slice(payload).expect("only an object is accepted")
}

/// An accepted token has not expired, and its times are numbers.
fn check_claims(payload: &[u8]) {
    let claims = claims(payload);
    let number = |name| {
        claims
            .get(name)
            .map(|value: &Value| value.as_f64().unwrap())
    };
    assert!(number("exp").is_none_or(|exp| exp > NOW as f64));
    assert!(number("nbf").is_none_or(|nbf| nbf <= NOW as f64));
}

fn is_another(payload: &[u8]) -> bool {
    claims(payload).get("iss") == Some(&"another".into())
}
