//! The few lines of DER that P-256 and RSA keys need. Flat: nesting cannot exhaust the stack.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::jws::KeyParts;
use super::key::InvalidKey;

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;

/// `AlgorithmIdentifier` of a P-256 key: `id-ecPublicKey`, `prime256v1`.
const P256: [u8; 19] = [
    0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d,
    0x03, 0x01, 0x07,
];

/// `AlgorithmIdentifier` of an RSA key: `rsaEncryption`, NULL.
const RSA: [u8; 13] = [
    0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
];

/// Reads a PEM with an SPKI public key or a PKCS#8 private key.
pub(crate) fn parse_pem(pem: &str) -> Result<KeyParts, InvalidKey> {
    if let Some(spki) = pem_body(pem, "PUBLIC KEY") {
        public(&spki?).ok_or(InvalidKey::Family)
    } else if let Some(pkcs8) = pem_body(pem, "PRIVATE KEY") {
        private(&pkcs8?).ok_or(InvalidKey::Family)
    } else {
        Err(InvalidKey::Pem)
    }
}

fn pem_body(pem: &str, label: &str) -> Option<Result<Vec<u8>, InvalidKey>> {
    let body = pem.strip_prefix(&format!("-----BEGIN {label}-----"))?;
    let base64: Option<String> = body
        .split_once(&format!("-----END {label}-----"))
        .map(|(body, _)| body.split_ascii_whitespace().collect());
    let der = base64.and_then(|base64| BASE64_STANDARD.decode(base64).ok());
    Some(der.ok_or(InvalidKey::Pem))
}

/// `SubjectPublicKeyInfo`, RFC 5280 section 4.1.
fn public(spki: &[u8]) -> Option<KeyParts> {
    let (info, _) = read(SEQUENCE, spki)?;
    let (algorithm, rest) = read(SEQUENCE, info)?;
    let (bits, _) = read(BIT_STRING, rest)?;
    let key = bits.strip_prefix(&[0])?.to_vec();
    match algorithm {
        algorithm if algorithm == P256 => Some(KeyParts::EcPublic(key)),
        algorithm if algorithm == RSA => Some(KeyParts::RsaPublic(key)),
        _ => None,
    }
}

/// `PrivateKeyInfo`, RFC 5208 section 5.
fn private(pkcs8: &[u8]) -> Option<KeyParts> {
    let (info, _) = read(SEQUENCE, pkcs8)?;
    let (_version, rest) = read(INTEGER, info)?;
    let (algorithm, rest) = read(SEQUENCE, rest)?;
    let (key, _) = read(OCTET_STRING, rest)?;
    match algorithm {
        algorithm if algorithm == P256 => Some(KeyParts::EcPrivate(pkcs8.to_vec())),
        algorithm if algorithm == RSA => Some(KeyParts::RsaPrivate(key.to_vec())),
        _ => None,
    }
}

/// The content of the element that `input` begins with, and what follows the element.
fn read(tag: u8, input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&short, rest) = input.strip_prefix(&[tag])?.split_first()?;
    let (length, rest) = match short {
        0..=0x7f => (usize::from(short), rest),
        0x81..=0x83 => {
            let (digits, rest) = rest.split_at_checked(usize::from(short & 0x7f))?;
            let length = digits
                .iter()
                .fold(0, |length, &digit| length << 8 | usize::from(digit));
            (length, rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

/// A PKCS#8 `PrivateKeyInfo` around an RFC 5915 `ECPrivateKey` without its optional public key.
pub(crate) fn p256_private(d: &[u8]) -> Vec<u8> {
    let key = write(SEQUENCE, &[integer(&[1]), write(OCTET_STRING, d)].concat());
    let parts = [
        integer(&[]),
        write(SEQUENCE, &P256),
        write(OCTET_STRING, &key),
    ];
    write(SEQUENCE, &parts.concat())
}

/// A PKCS#1 `RSAPublicKey`.
pub(crate) fn rsa_public(n: &[u8], e: &[u8]) -> Vec<u8> {
    write(SEQUENCE, &[integer(n), integer(e)].concat())
}

/// A PKCS#1 `RSAPrivateKey` of two primes, from `n` to `qi`.
pub(crate) fn rsa_private(numbers: [&[u8]; 8]) -> Vec<u8> {
    let numbers = numbers.map(integer).concat();
    write(SEQUENCE, &[integer(&[]), numbers].concat())
}

/// A non-negative INTEGER: no needless zeros, and one zero before a high bit.
fn integer(big_endian: &[u8]) -> Vec<u8> {
    let start = big_endian.iter().position(|&byte| byte != 0);
    let digits = start.map_or(&[][..], |start| &big_endian[start..]);
    let padded = digits.first().is_none_or(|&first| first >= 0x80);
    let sign = if padded { &[0][..] } else { &[] };
    write(INTEGER, &[sign, digits].concat())
}

fn write(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let digits = length.iter().skip_while(|&&digit| digit == 0).copied();
    let mut element = vec![tag];
    if content.len() >= 0x80 {
        element.push(0x80 | digits.clone().count() as u8);
    } else if content.is_empty() {
        element.push(0);
    }
    element.extend(digits);
    element.extend(content);
    element
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_minimal_and_never_negative() {
        let table: [(&[u8], &[u8]); 5] = [
            (&[], &[2, 1, 0]),
            (&[0, 0], &[2, 1, 0]),
            (&[0, 1], &[2, 1, 1]),
            (&[0x7f, 0], &[2, 2, 0x7f, 0]),
            (&[0x80], &[2, 2, 0, 0x80]),
        ];
        for (number, expected) in table {
            assert_eq!(integer(number), expected);
        }
    }

    #[test]
    fn what_is_written_is_read_back_whatever_its_length() {
        for length in [0, 1, 127, 128, 255, 256, 65_535, 65_536] {
            let content = vec![7; length];
            let element = [write(OCTET_STRING, &content), vec![1, 2]].concat();
            assert_eq!(
                read(OCTET_STRING, &element),
                Some((&content[..], &[1, 2][..]))
            );
        }
        assert_eq!(write(4, &[7; 128])[..4], [4, 0x81, 128, 7]);
        assert_eq!(write(4, &[]), [4, 0]);
    }

    #[test]
    fn damaged_elements_are_refused() {
        let table: [&[u8]; 7] = [
            &[],
            &[4],
            &[4, 1],
            &[5, 1, 7],
            &[4, 0x80, 7],
            &[4, 0x82, 1],
            &[4, 0x88, 255, 255, 255, 255, 255, 255, 255, 255],
        ];
        for element in table {
            assert_eq!(read(OCTET_STRING, element), None, "{element:?}");
        }
    }

    #[test]
    fn every_cut_of_a_key_is_refused() {
        let pem = include_str!("../../tests/keys/ec-public.pem");
        let spki = pem_body(pem.trim(), "PUBLIC KEY").unwrap().unwrap();
        assert!(matches!(public(&spki), Some(KeyParts::EcPublic(point)) if point.len() == 65));
        assert!((0..spki.len()).all(|cut| public(&spki[..cut]).is_none()));
        let pem = include_str!("../../tests/keys/rsa-private.pem");
        let pkcs8 = pem_body(pem.trim(), "PRIVATE KEY").unwrap().unwrap();
        assert!(matches!(private(&pkcs8), Some(KeyParts::RsaPrivate(_))));
        assert!((0..pkcs8.len()).all(|cut| private(&pkcs8[..cut]).is_none()));
    }
}
