//! Parts of answers.

use redis::Value;
use std::str::FromStr;

pub(super) fn list(value: Value) -> Option<Vec<Value>> {
    match value {
        Value::Array(values) => Some(values),
        _ => None,
    }
}

pub(super) fn bytes(value: Value) -> Option<Vec<u8>> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        _ => None,
    }
}

pub(super) fn text(value: Value) -> Option<String> {
    String::from_utf8(bytes(value)?).ok()
}

/// A number in decimal digits, as scripts return those above 2^53 and keep their precision.
pub(super) fn number<T: FromStr>(value: Value) -> Option<T> {
    text(value)?.parse().ok()
}
