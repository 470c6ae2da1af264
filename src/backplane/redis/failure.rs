//! Failures of the server and of connections.

use crate::backplane::{Failure, FailureKind};
use redis::{FromRedisValue, RedisError, ServerError, Value};

/// Codes in answers, in the order in which they are searched. All others are [`FailureKind::Refused`].
const CODES: [(&str, FailureKind); 14] = [
    ("EPOCH", FailureKind::Stale),
    ("HOLD", FailureKind::Busy),
    ("READONLY", FailureKind::Unavailable),
    ("LOADING", FailureKind::Unavailable),
    ("MASTERDOWN", FailureKind::Unavailable),
    ("MISCONF", FailureKind::Unavailable),
    ("NOREPLICAS", FailureKind::Unavailable),
    ("CLUSTERDOWN", FailureKind::Unavailable),
    ("MOVED", FailureKind::Unavailable),
    ("ASK", FailureKind::Unavailable),
    ("TRYAGAIN", FailureKind::Unavailable),
    ("BUSY", FailureKind::Unavailable),
    ("UNBLOCKED", FailureKind::Unavailable),
    // "ERR max number of clients reached": a server has no code for it.
    ("clients", FailureKind::Unavailable),
];

/// How a server says that a user lacks a right. A script's answer has no code, and only Valkey names the command in it.
const FORBIDDEN: [&str; 3] = ["NOPERM", "can't run this command", "no permissions to run"];

/// Returns the failure of a command that the server has answered with an error. It did nothing.
pub(super) fn answered(address: &str, error: &ServerError) -> Failure {
    let text = text(error);
    let mut message = format!("{address} answered {text:?}");
    if FORBIDDEN.iter().any(|words| text.contains(words)) {
        message += ": the user lacks one of the rights that the documentation of `Redis` lists";
    }
    Failure::new(kind(&text), message)
}

/// Returns the failure of a command whose answer is missing.
pub(super) fn lost(address: &str, error: &RedisError) -> Failure {
    let message = format!("{address} did not answer: {error}");
    Failure::new(FailureKind::Lost, message)
}

/// Returns the failure of a connection before any command was sent.
pub(super) fn unreachable(address: &str, error: &RedisError) -> Failure {
    Failure::unavailable(format!("cannot connect to {address}: {error}"))
}

/// Returns the failure of a command whose answer has another form than Redis gives it.
pub(super) fn unexpected(address: &str) -> Failure {
    Failure::new(
        FailureKind::Lost,
        format!("{address} gave an unexpected answer"),
    )
}

/// Converts an answer. Numbers above 2^53 are in decimal digits, as scripts return them with all their precision.
pub(super) fn expected<T: FromRedisValue>(address: &str, answer: Value) -> Result<T, Failure> {
    redis::from_redis_value(answer).map_err(|_| unexpected(address))
}

fn text(error: &ServerError) -> String {
    match error.details() {
        Some(details) => format!("{} {details}", error.code()),
        None => error.code().to_owned(),
    }
}

/// Searches for codes anywhere: Redis 6.2 puts its own text around the error of a script.
fn kind(text: &str) -> FailureKind {
    let has = |code: &str| {
        text.split(|c: char| !c.is_ascii_alphanumeric())
            .any(|word| word == code)
    };
    let found = CODES.iter().find(|(code, _)| has(code));
    found.map_or(FailureKind::Refused, |(_, kind)| *kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_found_anywhere_in_an_answer() {
        for (text, expected) in [
            ("EPOCH 17", FailureKind::Stale),
            ("HOLD a term begins", FailureKind::Busy),
            (
                "ERR Error running script (call to f_1c): @user_script:6: @user_script: 6: -READONLY You can't write against a read only replica.",
                FailureKind::Unavailable,
            ),
            (
                "ERR max number of clients reached",
                FailureKind::Unavailable,
            ),
            (
                "BUSY Redis is busy running a script.",
                FailureKind::Unavailable,
            ),
            (
                "BUSYGROUP Consumer Group name already exists",
                FailureKind::Refused,
            ),
            (
                "OOM command not allowed when used memory > 'maxmemory'.",
                FailureKind::Refused,
            ),
            (
                "NOPERM this user has no permissions to run the 'hmget' command",
                FailureKind::Refused,
            ),
            (
                "WRONGTYPE Operation against a key holding the wrong kind of value",
                FailureKind::Refused,
            ),
            (
                "ERR The ID specified in XADD is equal or smaller than the target stream top item",
                FailureKind::Refused,
            ),
        ] {
            assert_eq!(kind(text), expected, "{text}");
        }
    }
}
