//! One key pair of each family, in each format, for tests.

pub(crate) const EC_PRIVATE: &str = include_str!("../../tests/keys/ec-private.pem");
pub(crate) const EC_PUBLIC: &str = include_str!("../../tests/keys/ec-public.pem");
pub(crate) const EC_JWK: &str = include_str!("../../tests/keys/ec-private.jwk");
pub(crate) const RSA_PRIVATE: &str = include_str!("../../tests/keys/rsa-private.pem");
pub(crate) const RSA_PUBLIC: &str = include_str!("../../tests/keys/rsa-public.pem");
pub(crate) const RSA_JWK: &str = include_str!("../../tests/keys/rsa-private.jwk");
