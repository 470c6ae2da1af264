//! Keys as PEM: public ones in SPKI, private ones in PKCS#8.
//!
//! This module parses the text, and RustCrypto's crates parse the DER. `pem-rfc7468` refuses a key whose
//! lines are not 64 characters long, and a key in an environment variable has often lost its line breaks.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use p256::pkcs8::{PrivateKeyInfo, SubjectPublicKeyInfoRef};
use rsa::{BigUint, pkcs1};

use super::key::InvalidKey;
use super::key_parts::KeyParts;

/// Parses the first block of the text; text before and after it is skipped.
pub(crate) fn parse(text: &str) -> Result<KeyParts, InvalidKey> {
    let (label, der) = first_block(text).ok_or(InvalidKey::Pem)?;
    match label {
        "PUBLIC KEY" => public(&der),
        "PRIVATE KEY" => private(&der),
        _ => Err(InvalidKey::Pem),
    }
}

/// The label and the decoded content of the first block. White space in it is ignored.
fn first_block(text: &str) -> Option<(&str, Vec<u8>)> {
    let (_, block) = text.split_once("-----BEGIN ")?;
    let (label, rest) = block.split_once("-----")?;
    let (body, _) = rest.split_once(&format!("-----END {label}-----"))?;
    let base64: String = body.split_ascii_whitespace().collect();
    Some((label, BASE64_STANDARD.decode(base64).ok()?))
}

fn public(der: &[u8]) -> Result<KeyParts, InvalidKey> {
    let spki = SubjectPublicKeyInfoRef::try_from(der).map_err(|_| InvalidKey::Family)?;
    if spki.algorithm != pkcs1::ALGORITHM_ID {
        let key = p256::PublicKey::try_from(spki);
        return key.map(KeyParts::EcPublic).map_err(|_| InvalidKey::Family);
    }
    let bytes = spki.subject_public_key.as_bytes().unwrap_or_default();
    let key = pkcs1::RsaPublicKey::try_from(bytes).map_err(|_| InvalidKey::Family)?;
    KeyParts::rsa_public(number(&key.modulus), number(&key.public_exponent))
}

fn private(der: &[u8]) -> Result<KeyParts, InvalidKey> {
    let info = PrivateKeyInfo::try_from(der).map_err(|_| InvalidKey::Family)?;
    if info.algorithm != pkcs1::ALGORITHM_ID {
        let key = p256::SecretKey::try_from(info);
        return key.map(KeyParts::EcPrivate).map_err(|_| InvalidKey::Family);
    }
    let key = pkcs1::RsaPrivateKey::try_from(info.private_key).map_err(|_| InvalidKey::Family)?;
    KeyParts::rsa_private(
        number(&key.modulus),
        number(&key.public_exponent),
        number(&key.private_exponent),
        [number(&key.prime1), number(&key.prime2)],
    )
}

fn number(big_endian: &pkcs1::UintRef<'_>) -> BigUint {
    BigUint::from_bytes_be(big_endian.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grip::test_keys::{EC_PRIVATE, EC_PUBLIC, P384_PUBLIC, RSA_PRIVATE, RSA_PUBLIC};

    fn block(label: &str, der: &[u8]) -> String {
        let base64 = BASE64_STANDARD.encode(der);
        format!("-----BEGIN {label}-----\n{base64}\n-----END {label}-----")
    }

    #[test]
    fn white_space_of_a_block_and_text_around_it_do_not_count() {
        for pem in [EC_PRIVATE, EC_PUBLIC, RSA_PRIVATE, RSA_PUBLIC] {
            let key = parse(pem);
            assert!(key.is_ok(), "{pem}");
            let (label, der) = first_block(pem).unwrap();
            let table = [
                pem.trim().to_owned(),
                pem.replace('\n', "\r\n"),
                pem.replace('\n', "\r"),
                pem.replace('\n', " \n"),
                pem.replace('\n', " "),
                pem.replace('\n', ""),
                pem.replace('\n', "\n\n\t"),
                block(label, &der),
                format!("Key: 1\n{pem}"),
                format!("{pem}\nend of the key"),
                format!("{pem}{P384_PUBLIC}"),
            ];
            for text in table {
                assert_eq!(parse(&text), key, "{text:?}");
            }
        }
    }

    #[test]
    fn an_incomplete_block_is_refused() {
        let table = [
            "",
            "-----BEGIN ",
            "-----BEGIN PUBLIC KEY",
            "-----BEGIN PUBLIC KEY-----",
            "-----BEGIN PUBLIC KEY-----\n-----END PRIVATE KEY-----",
            "-----BEGIN PUBLIC KEY-----\nAAA\n-----END PUBLIC KEY-----",
            "-----BEGIN PUBLIC KEY-----\nA-AA\n-----END PUBLIC KEY-----",
            "-----BEGIN PUBLIC KEY-----\\nAAAA\\n-----END PUBLIC KEY-----",
            "-----BEGIN  PUBLIC KEY-----\nAAAA\n-----END  PUBLIC KEY-----",
        ];
        for text in table {
            assert_eq!(parse(text), Err(InvalidKey::Pem), "{text:?}");
        }
        for label in ["EC PRIVATE KEY", "RSA PRIVATE KEY", "ENCRYPTED PRIVATE KEY"] {
            let (_, der) = first_block(EC_PRIVATE).unwrap();
            assert_eq!(parse(&block(label, &der)), Err(InvalidKey::Pem), "{label}");
        }
    }

    #[test]
    fn a_block_of_another_kind_than_its_label_is_refused() {
        for (pem, other) in [
            (EC_PRIVATE, "PUBLIC KEY"),
            (EC_PUBLIC, "PRIVATE KEY"),
            (RSA_PRIVATE, "PUBLIC KEY"),
            (RSA_PUBLIC, "PRIVATE KEY"),
        ] {
            let (_, der) = first_block(pem).unwrap();
            assert_eq!(parse(&block(other, &der)), Err(InvalidKey::Family));
        }
    }

    #[test]
    fn every_cut_and_every_extension_of_a_key_is_refused() {
        for pem in [EC_PRIVATE, EC_PUBLIC, RSA_PRIVATE, RSA_PUBLIC] {
            let (label, der) = first_block(pem).unwrap();
            for cut in 0..der.len() {
                let refused = parse(&block(label, &der[..cut]));
                assert_eq!(refused, Err(InvalidKey::Family), "{label} {cut}");
            }
            let longer = [&der[..], &[0]].concat();
            assert_eq!(parse(&block(label, &longer)), Err(InvalidKey::Family));
        }
    }

    #[test]
    fn an_rsa_key_with_other_parameters_than_null_is_refused() {
        for pem in [RSA_PRIVATE, RSA_PUBLIC] {
            let (label, mut der) = first_block(pem).unwrap();
            let null = der.windows(2).position(|bytes| bytes == [5, 0]).unwrap();
            der[null] = 4;
            assert_eq!(parse(&block(label, &der)), Err(InvalidKey::Family));
        }
    }

    #[test]
    fn an_rsa_key_of_the_wrong_size_is_named() {
        use rsa::pkcs8::EncodePublicKey as _;
        let n = (BigUint::from(1u8) << 8192) - BigUint::from(1u8);
        let key = rsa::RsaPublicKey::new_with_max_size(n, BigUint::from(3u8), 8192).unwrap();
        let der = key.to_public_key_der().unwrap();
        let refused = parse(&block("PUBLIC KEY", der.as_bytes()));
        assert_eq!(refused, Err(InvalidKey::RsaBits(8192)));
    }
}
