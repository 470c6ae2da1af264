//! The crypto provider of rustls.

use super::url::Url;
use rustls::crypto::{CryptoProvider, aws_lc_rs};

/// Makes aws-lc-rs the provider of a process that has chosen no other, if TLS needs one.
///
/// The client of Redis takes the process's provider. Without one it panics if several are compiled in.
pub(super) fn choose_provider(url: &Url) {
    if url.is_tls && CryptoProvider::get_default().is_none() {
        // Another thread may have chosen one in between.
        let _ = aws_lc_rs::default_provider().install_default();
    }
}
