//! A parsed key. Secrets, PEMs and JWKs all become one.

use rsa::{BigUint, Pkcs1v15Sign, RsaPrivateKey, RsaPublicKey};

use super::key::InvalidKey;

/// A key that verifies; a secret and a private key also sign.
///
/// The constructors check that an RSA key has 2048 to 4096 bits.
#[cfg_attr(test, derive(Debug, PartialEq))]
pub(crate) enum KeyParts {
    Secret(Vec<u8>),
    EcPublic(p256::PublicKey),
    EcPrivate(p256::SecretKey),
    RsaPublic(RsaPublicKey),
    RsaPrivate(Box<RsaPrivateKey>),
}

impl KeyParts {
    pub(crate) fn rsa_public(n: BigUint, e: BigUint) -> Result<Self, InvalidKey> {
        // The rsa crate's own limit would hide the size from the error.
        let key = RsaPublicKey::new_with_max_size(n, e, usize::MAX);
        let key = key.map_err(|_| InvalidKey::Family)?;
        check_size(&key)?;
        Ok(Self::RsaPublic(key))
    }

    pub(crate) fn rsa_private(
        n: BigUint,
        e: BigUint,
        d: BigUint,
        primes: [BigUint; 2],
    ) -> Result<Self, InvalidKey> {
        let primes = larger_first(primes);
        let key = RsaPrivateKey::from_components(n, e, d, primes.into());
        let key = key.map_err(|_| InvalidKey::Family)?;
        check_size(&key)?;
        // Only a signature reveals a composite prime, and jsonwebtoken panics when signing fails.
        let signature = key.sign(Pkcs1v15Sign::new_unprefixed(), &[]);
        signature.map_err(|_| InvalidKey::Family)?;
        Ok(Self::RsaPrivate(key.into()))
    }
}

/// Orders the primes so that the rsa crate signs in bounded time.
///
/// It adds the first prime to a negative number, as large as the second prime, until the sum is positive.
fn larger_first(mut primes: [BigUint; 2]) -> [BigUint; 2] {
    primes.sort_unstable_by(|p, q| q.cmp(p));
    primes
}

fn check_size(key: &impl rsa::traits::PublicKeyParts) -> Result<(), InvalidKey> {
    match key.n().bits() {
        2048..=4096 => Ok(()),
        bits => Err(InvalidKey::RsaBits(bits)),
    }
}

#[cfg(test)]
mod tests {
    use rsa::traits::{PrivateKeyParts as _, PublicKeyParts as _};

    use super::*;

    /// `2^bits - 1`: a prime for 521, 607, 1279, 2203 and 2281.
    fn mersenne(bits: usize) -> BigUint {
        (BigUint::from(1u8) << bits) - BigUint::from(1u8)
    }

    fn e() -> BigUint {
        BigUint::from(65_537u32)
    }

    #[test]
    fn an_rsa_public_key_has_2048_to_4096_bits() {
        for bits in [2048, 4096] {
            assert!(KeyParts::rsa_public(mersenne(bits), e()).is_ok(), "{bits}");
        }
        for bits in [1024, 2047, 4097, 8192] {
            let refused = KeyParts::rsa_public(mersenne(bits), e());
            assert_eq!(refused.err(), Some(InvalidKey::RsaBits(bits)));
        }
        for (n, e) in [
            (mersenne(2048), BigUint::from(1u8)),
            (mersenne(2048), BigUint::from(65_536u32)),
            (mersenne(2048) - BigUint::from(1u8), e()),
        ] {
            assert_eq!(KeyParts::rsa_public(n, e).err(), Some(InvalidKey::Family));
        }
    }

    #[test]
    fn an_rsa_private_key_has_2048_to_4096_bits() {
        let table = [
            (521, 607, Err(InvalidKey::RsaBits(1128))),
            (1279, 2203, Ok(())),
            (2203, 2281, Err(InvalidKey::RsaBits(4484))),
        ];
        for (p, q, expected) in table {
            let key = RsaPrivateKey::from_p_q(mersenne(p), mersenne(q), e()).unwrap();
            let parts = |primes| {
                let (n, d) = (key.n().clone(), key.d().clone());
                KeyParts::rsa_private(n, e(), d, primes)
            };
            let checked = parts([mersenne(p), mersenne(q)]);
            assert_eq!(checked.map(drop), expected);
            let twice = parts([mersenne(p), mersenne(p)]);
            assert_eq!(twice.err(), Some(InvalidKey::Family));
        }
    }

    #[test]
    fn a_composite_prime_is_refused() {
        let (p, composite) = (mersenne(1279), mersenne(1031));
        let key = RsaPrivateKey::from_p_q(p.clone(), composite.clone(), e()).unwrap();
        let (n, d) = (key.n().clone(), key.d().clone());
        let refused = KeyParts::rsa_private(n, e(), d, [p, composite]);
        assert_eq!(refused.err(), Some(InvalidKey::Family));
    }

    #[test]
    fn the_larger_prime_comes_first() {
        let (small, large) = (mersenne(1279), mersenne(2203));
        let expected = [large.clone(), small.clone()];
        assert_eq!(larger_first([small.clone(), large.clone()]), expected);
        assert_eq!(larger_first([large, small]), expected);
    }
}
