//! Certificates of servers.

use std::{fs, path::Path};

/// Where rustls and OpenSSL search for certificates.
pub(crate) const TRUSTED: &str = "SSL_CERT_FILE";

/// Writes a certificate and its key to files with this name.
pub(crate) fn write(path: &Path) {
    let generated = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(path.with_extension("pem"), generated.cert.pem()).unwrap();
    let key = generated.signing_key.serialize_pem();
    fs::write(path.with_extension("key"), key).unwrap();
}
