//! Keys for tests: one key pair of each family, in each format, and keys that are refused.

pub(crate) const EC_PRIVATE: &str = include_str!("../../tests/keys/ec-private.pem");
pub(crate) const EC_PUBLIC: &str = include_str!("../../tests/keys/ec-public.pem");
pub(crate) const EC_JWK: &str = include_str!("../../tests/keys/ec-private.jwk");
pub(crate) const RSA_PRIVATE: &str = include_str!("../../tests/keys/rsa-private.pem");
pub(crate) const RSA_PUBLIC: &str = include_str!("../../tests/keys/rsa-public.pem");
pub(crate) const P384_PUBLIC: &str = include_str!("../../tests/keys/p384-public.pem");
pub(crate) const ED25519_PUBLIC: &str = include_str!("../../tests/keys/ed25519-public.pem");
pub(crate) const RSA_1024_PUBLIC: &str = include_str!("../../tests/keys/rsa-1024-public.pem");
pub(crate) const RSA_JWK: &str = include_str!("../../tests/keys/rsa-private.jwk");
