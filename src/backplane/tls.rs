//! The crypto provider of rustls.

use rustls::crypto::{CryptoProvider, aws_lc_rs};

/// Makes aws-lc-rs the provider of a process that has chosen no other.
///
/// The clients of engines take the process's provider, and panic without one.
pub(super) fn choose_provider() {
    if CryptoProvider::get_default().is_none() {
        // Another thread may have chosen one in between.
        let _ = aws_lc_rs::default_provider().install_default();
    }
}
