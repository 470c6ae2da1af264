//! Warnings about settings of a stream that lose entries.

use super::stream::{Info, Stream};
use crate::trace;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Whether the warnings were logged already.
#[derive(Default)]
pub(super) struct Warned(AtomicBool);

impl Warned {
    pub(super) fn review(&self, stream: &Stream, info: &Info) {
        if self.0.swap(true, Relaxed) {
            return;
        }
        for warning in warnings(info) {
            trace::event!(
                warn,
                server = stream.link.name,
                stream = stream.settings.namespace,
                "{warning}"
            );
            let _ = (stream, warning);
        }
    }
}

fn warnings(info: &Info) -> impl Iterator<Item = &'static str> {
    let is_in_memory = info.config.storage == "memory";
    let is_single = info.is_clustered && info.config.num_replicas < 2;
    let warnings = [
        (
            is_in_memory,
            "the stream is in memory: a restart of the server loses it",
        ),
        (
            is_single,
            "the stream has one replica in a cluster: set 3, or the loss of its server loses it",
        ),
    ];
    warnings
        .into_iter()
        .filter(|(is_true, _)| *is_true)
        .map(|(_, warning)| warning)
}
