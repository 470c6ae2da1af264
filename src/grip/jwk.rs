//! Keys as JWK.
//!
//! This module parses the members, and RustCrypto's types check the numbers. `elliptic-curve`'s `JwkEcKey`
//! refuses unknown members such as `kid` and `alg`, which most published keys have, and the rsa crate parses
//! no JWK.

use p256::elliptic_curve::sec1::FromEncodedPoint as _;
use rsa::BigUint;
use serde_json::{Map, Value};

use super::key::{InvalidKey, decode_base64};
use super::key_parts::KeyParts;

/// Parses a [JWK](https://www.rfc-editor.org/rfc/rfc7518#section-6); one with `d` is a private key.
pub(crate) fn parse(jwk: &Map<String, Value>) -> Result<KeyParts, InvalidKey> {
    match jwk.get("kty").and_then(Value::as_str) {
        Some("oct") => secret(jwk),
        Some("EC") => p256(jwk),
        Some("RSA") => rsa(jwk),
        _ => Err(InvalidKey::Jwk("`kty` is another type")),
    }
}

fn secret(jwk: &Map<String, Value>) -> Result<KeyParts, InvalidKey> {
    let secret = member(jwk, "k", "`k` must be base64url text")?;
    if secret.is_empty() {
        return Err(InvalidKey::Empty);
    }
    Ok(KeyParts::Secret(secret))
}

fn p256(jwk: &Map<String, Value>) -> Result<KeyParts, InvalidKey> {
    if jwk.get("crv").and_then(Value::as_str) != Some("P-256") {
        return Err(InvalidKey::Jwk("`crv` is another curve"));
    }
    let coordinate = |name| {
        let bytes = member(jwk, name, "`x`, `y` and `d` must be base64url text")?;
        <[u8; 32]>::try_from(bytes)
            .map_err(|_| InvalidKey::Jwk("`x`, `y` and `d` must be 32 bytes long"))
    };
    if jwk.contains_key("d") {
        let key = p256::SecretKey::from_slice(&coordinate("d")?);
        return key.map(KeyParts::EcPrivate).map_err(|_| InvalidKey::Family);
    }
    let (x, y) = (coordinate("x")?.into(), coordinate("y")?.into());
    let point = p256::EncodedPoint::from_affine_coordinates(&x, &y, false);
    let key = Option::from(p256::PublicKey::from_encoded_point(&point));
    key.map(KeyParts::EcPublic).ok_or(InvalidKey::Family)
}

fn rsa(jwk: &Map<String, Value>) -> Result<KeyParts, InvalidKey> {
    const RULE: &str = "an RSA key needs `n` and `e`, and a private one `d` to `qi`";
    let number = |name| member(jwk, name, RULE).map(|bytes| BigUint::from_bytes_be(&bytes));
    let (n, e) = (number("n")?, number("e")?);
    if !jwk.contains_key("d") {
        return KeyParts::rsa_public(n, e);
    }
    // Only their presence is checked: they follow from the other numbers.
    for name in ["dp", "dq", "qi"] {
        number(name)?;
    }
    KeyParts::rsa_private(n, e, number("d")?, [number("p")?, number("q")?])
}

fn member(jwk: &Map<String, Value>, name: &str, rule: &'static str) -> Result<Vec<u8>, InvalidKey> {
    let text = jwk
        .get(name)
        .and_then(Value::as_str)
        .ok_or(InvalidKey::Jwk(rule))?;
    decode_base64(text).map_err(|_| InvalidKey::Jwk(rule))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grip::test_keys::{EC_JWK as EC, EC_PRIVATE, RSA_JWK as RSA, RSA_PRIVATE};

    fn members(text: &str) -> Map<String, Value> {
        serde_json::from_str(text).unwrap()
    }

    fn without(text: &str, name: &str) -> Map<String, Value> {
        let mut jwk = members(text);
        assert!(jwk.remove(name).is_some(), "{name}");
        jwk
    }

    fn with(text: &str, name: &str, value: &str) -> Map<String, Value> {
        let mut jwk = members(text);
        jwk.insert(name.to_owned(), value.into());
        jwk
    }

    #[test]
    fn a_wrong_member_is_named() {
        let text = "`x`, `y` and `d` must be base64url text";
        let length = "`x`, `y` and `d` must be 32 bytes long";
        let x = r#""x":"CKo5A1ebyFcnmVV8SE5On-8G81JyBjSvcrx4VLetWCg""#;
        let table = [
            ("", "`kty` is another type"),
            (r#""kty":"OKP""#, "`kty` is another type"),
            (r#""kty":"oct""#, "`k` must be base64url text"),
            (r#""kty":"oct","k":"!""#, "`k` must be base64url text"),
            (r#""kty":"EC","crv":"P-384""#, "`crv` is another curve"),
            (&format!(r#""kty":"EC","crv":"P-256",{x}"#), text),
            (&format!(r#""kty":"EC","crv":"P-256",{x},"y":"AQ""#), length),
            (r#""kty":"EC","crv":"P-256","d":"AQ""#, length),
        ];
        for (fields, expected) in table {
            let refused = parse(&members(&format!("{{{fields}}}")));
            assert_eq!(refused.err(), Some(InvalidKey::Jwk(expected)), "{fields}");
        }
        let empty = parse(&members(r#"{"kty":"oct","k":""}"#));
        assert_eq!(empty.err(), Some(InvalidKey::Empty));
    }

    #[test]
    fn an_rsa_key_needs_all_of_its_members() {
        let rule = "an RSA key needs `n` and `e`, and a private one `d` to `qi`";
        for name in ["n", "e", "p", "q", "dp", "dq", "qi"] {
            for jwk in [without(RSA, name), with(RSA, name, "!")] {
                assert_eq!(parse(&jwk).err(), Some(InvalidKey::Jwk(rule)), "{name}");
            }
        }
        let refused = parse(&with(RSA, "d", "!"));
        assert_eq!(refused.err(), Some(InvalidKey::Jwk(rule)));
        assert!(matches!(
            parse(&without(RSA, "d")),
            Ok(KeyParts::RsaPublic(_))
        ));
    }

    #[test]
    fn numbers_that_are_not_a_key_are_refused() {
        let zero = "A".repeat(43);
        let order = "_____wAAAAD__________7zm-q2nF56E87nKwvxjJVE";
        let public = without(EC, "d");
        let mirrored = Map::from_iter([
            ("kty".into(), "EC".into()),
            ("crv".into(), "P-256".into()),
            ("x".into(), public["y"].clone()),
            ("y".into(), public["x"].clone()),
        ]);
        let number = |name: &str| members(RSA)[name].as_str().unwrap().to_owned();
        let table = [
            with(EC, "d", &zero),
            with(EC, "d", order),
            mirrored,
            with(RSA, "d", "AQAB"),
            with(RSA, "p", &number("q")),
            with(RSA, "p", "AQ"),
            with(RSA, "p", ""),
            with(RSA, "n", ""),
            with(RSA, "e", "Ag"),
        ];
        for jwk in table {
            assert_eq!(parse(&jwk).err(), Some(InvalidKey::Family));
        }
    }

    #[test]
    fn other_members_and_leading_zeros_do_not_count() {
        for text in [EC, RSA] {
            let key = parse(&members(text));
            assert!(key.is_ok());
            assert_eq!(parse(&with(text, "kid", "1")), key);
        }
        let n = decode_base64(members(RSA)["n"].as_str().unwrap()).unwrap();
        use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
        let padded = BASE64_URL_SAFE_NO_PAD.encode([&[0], &n[..]].concat());
        assert_eq!(parse(&with(RSA, "n", &padded)), parse(&members(RSA)));
    }

    #[test]
    fn a_jwk_and_a_pem_of_one_key_are_equal() {
        for (jwk, pem) in [(EC, EC_PRIVATE), (RSA, RSA_PRIVATE)] {
            assert_eq!(parse(&members(jwk)), crate::grip::pem::parse(pem));
        }
    }
}
