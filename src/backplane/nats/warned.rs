//! Warnings about settings of a stream that lose entries.

use super::stream::{Config, Info, Stream};
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
        let name = &stream.settings.namespace;
        for warning in warnings(&info.config, info.is_clustered, name) {
            trace::event!(warn, server = stream.link.name, stream = name, "{warning}");
            let _ = warning;
        }
    }
}

fn warnings(config: &Config, is_clustered: bool, name: &str) -> Vec<String> {
    let mut warnings = Vec::new();
    if config.storage == "memory" {
        let text = "the stream is in memory: a restart of the server loses it";
        warnings.push(text.to_owned());
    }
    if is_clustered && config.num_replicas < 2 {
        warnings.push(format!(
            "the stream has one replica in a cluster, and the loss of its server loses it: \
             `nats stream edit {name} --replicas 3`"
        ));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_names_the_command_that_helps() {
        for (storage, replicas, is_clustered, expected) in [
            ("file", 1, false, &[][..]),
            ("file", 3, true, &[]),
            ("memory", 1, false, &["in memory"]),
            ("file", 1, true, &["nats stream edit chat --replicas 3"]),
            ("memory", 1, true, &["in memory", "one replica"]),
        ] {
            let config = serde_json::json!({ "storage": storage, "num_replicas": replicas });
            let config = serde_json::from_value(config).unwrap();
            let warnings = warnings(&config, is_clustered, "chat");
            assert_eq!(warnings.len(), expected.len(), "{warnings:?}");
            for (warning, expected) in warnings.iter().zip(expected) {
                assert!(warning.contains(expected), "{warning}");
            }
        }
    }
}
