//! Warnings about a server's settings that lose entries.

use super::{Warned, connection::Connection};
use crate::trace;
use std::sync::atomic::Ordering;

/// Warns of settings that lose entries, once. Nothing is known of a server that forbids CONFIG.
pub(super) async fn review(connection: &Connection, warned: &Warned) {
    if warned.of_settings.swap(true, Ordering::Relaxed) {
        return;
    }
    let Some(settings) = Settings::read(connection).await else {
        return;
    };
    for warning in settings.warnings() {
        trace::event!(warn, server = connection.name, "{warning}");
    }
}

struct Settings {
    max_memory: String,
    policy: String,
    append_only: String,
    save: String,
}

impl Settings {
    async fn read(connection: &Connection) -> Option<Self> {
        Some(Self {
            max_memory: setting(connection, "maxmemory").await?,
            policy: setting(connection, "maxmemory-policy").await?,
            append_only: setting(connection, "appendonly").await?,
            save: setting(connection, "save").await?,
        })
    }

    fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.max_memory != "0" && self.policy != "noeviction" {
            warnings.push(format!(
                "with maxmemory-policy {}, Redis deletes the log when memory is full: set noeviction",
                self.policy
            ));
        }
        if self.append_only != "yes" && self.save.is_empty() {
            warnings.push("Redis loses the log when it restarts: set appendonly yes".to_owned());
        }
        warnings
    }
}

async fn setting(connection: &Connection, name: &str) -> Option<String> {
    let mut command = redis::cmd("CONFIG");
    command.arg("GET").arg(name);
    let answer = connection.ask(&command).await.ok()?;
    let (_name, text): (String, _) = redis::from_redis_value(answer).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_settings_that_lose_entries_are_warned_of() {
        for (max_memory, policy, append_only, save, expected) in [
            ("0", "allkeys-lru", "yes", "", 0),
            ("100", "noeviction", "yes", "", 0),
            ("100", "volatile-ttl", "yes", "", 1),
            ("0", "noeviction", "no", "3600 1", 0),
            ("0", "noeviction", "no", "", 1),
            ("100", "allkeys-lru", "no", "", 2),
        ] {
            let settings = Settings {
                max_memory: max_memory.to_owned(),
                policy: policy.to_owned(),
                append_only: append_only.to_owned(),
                save: save.to_owned(),
            };
            assert_eq!(settings.warnings().len(), expected);
        }
    }
}
