//! How many clients are connected.

use super::tally::Tally;
use std::sync::Arc;

/// Counts a connection until it is dropped.
pub(super) struct Connected {
    tally: Arc<Tally>,
    proxy: Option<usize>,
}

impl Connected {
    pub(super) fn new(tally: &Arc<Tally>, proxy: Option<usize>) -> Self {
        let tally = tally.clone();
        tally.count(|counts| {
            counts.connected += 1;
            if let Some(proxy) = proxy {
                counts.pushpins[proxy].connected += 1;
            }
        });
        Self { tally, proxy }
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.tally.count(|counts| {
            counts.connected -= 1;
            if let Some(proxy) = self.proxy {
                counts.pushpins[proxy].connected -= 1;
            }
        });
    }
}
