//! The term at the last attach, which the reader compares.
//!
//! A connection stays open when its server becomes a replica and takes over the data of another master. An entry that
//! follows by its sequence can then belong to another history. All data that an instance has attached to since has
//! another term.

use crate::lock::lock;
use bytes::Bytes;
use std::sync::{Arc, Mutex};

/// Shared by both halves of a connection. Empty before the first attach.
#[derive(Clone, Debug, Default)]
pub(super) struct Term(Arc<Mutex<Bytes>>);

impl Term {
    pub(super) fn set(&self, term: Bytes) {
        *lock(&self.0) = term;
    }

    /// Whether the log has this term, as far as is known.
    pub(super) fn is(&self, term: &[u8]) -> bool {
        let known = lock(&self.0);
        known.is_empty() || *known == term
    }
}
