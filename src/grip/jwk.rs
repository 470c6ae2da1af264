//! JWK members to the DER that the crypto backend reads.

use serde_json::{Map, Value};

use super::der;
use super::jws::KeyParts;
use super::key::{InvalidKey, decode_base64};

/// Reads the [JWK](https://www.rfc-editor.org/rfc/rfc7518#section-6); one with `d` is a private key.
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
        let right = bytes.len() == 32;
        right
            .then_some(bytes)
            .ok_or(InvalidKey::Jwk("`x`, `y` and `d` must be 32 bytes long"))
    };
    if jwk.contains_key("d") {
        return Ok(KeyParts::EcPrivate(der::p256_private(&coordinate("d")?)));
    }
    Ok(KeyParts::EcPublic(
        [&[4][..], &coordinate("x")?, &coordinate("y")?].concat(),
    ))
}

fn rsa(jwk: &Map<String, Value>) -> Result<KeyParts, InvalidKey> {
    const RULE: &str = "an RSA key needs `n` and `e`, and a private one `d` to `qi`";
    let number = |name| member(jwk, name, RULE);
    let (n, e) = (number("n")?, number("e")?);
    if !jwk.contains_key("d") {
        return Ok(KeyParts::RsaPublic(der::rsa_public(&n, &e)));
    }
    let [d, p, q] = [number("d")?, number("p")?, number("q")?];
    let [dp, dq, qi] = [number("dp")?, number("dq")?, number("qi")?];
    let numbers = [&n, &e, &d, &p, &q, &dp, &dq, &qi].map(Vec::as_slice);
    Ok(KeyParts::RsaPrivate(der::rsa_private(numbers)))
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

    #[test]
    fn what_is_wrong_with_a_jwk_is_said() {
        let coordinate = "CKo5A1ebyFcnmVV8SE5On-8G81JyBjSvcrx4VLetWCg";
        let table = [
            ("{}".to_owned(), "`kty` is another type"),
            (r#"{"kty":"OKP"}"#.to_owned(), "`kty` is another type"),
            (r#"{"kty":"oct"}"#.to_owned(), "`k` must be base64url text"),
            (
                r#"{"kty":"oct","k":"!"}"#.to_owned(),
                "`k` must be base64url text",
            ),
            (
                r#"{"kty":"EC","crv":"P-384"}"#.to_owned(),
                "`crv` is another curve",
            ),
            (
                format!(r#"{{"kty":"EC","crv":"P-256","x":"{coordinate}"}}"#),
                "`x`, `y` and `d` must be base64url text",
            ),
            (
                format!(r#"{{"kty":"EC","crv":"P-256","x":"{coordinate}","y":"AQ"}}"#),
                "`x`, `y` and `d` must be 32 bytes long",
            ),
            (
                r#"{"kty":"RSA","n":"AQ","e":"AQAB","d":"AQ"}"#.to_owned(),
                "an RSA key needs `n` and `e`, and a private one `d` to `qi`",
            ),
        ];
        for (text, expected) in table {
            let jwk = serde_json::from_str(&text).unwrap();
            assert_eq!(parse(&jwk).err(), Some(InvalidKey::Jwk(expected)), "{text}");
        }
        let empty = serde_json::from_str(r#"{"kty":"oct","k":""}"#).unwrap();
        assert_eq!(parse(&empty).err(), Some(InvalidKey::Empty));
    }
}
