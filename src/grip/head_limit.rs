//! The size limit of a response head that answers a proxy.

use crate::request::Rejection;
use http::HeaderMap;

/// Size of a response head that Pushpin accepts: its default `client_buffer_size`. For a longer head it answers
/// 502.
const LIMIT: usize = 8192;

/// Reserved for the status line, `date`, `content-length`, and the headers of middleware.
const RESERVE: usize = 512;

/// Digits that are reserved for a sequence number: as many as microseconds since 1970 have.
const DIGITS: usize = 16;

/// Refuses headers that a proxy would not accept, once they have grown by `missing` bytes.
pub(super) fn check(headers: &HeaderMap, missing: usize) -> Result<(), Rejection> {
    let bytes = len(headers) + missing + RESERVE;
    match bytes <= LIMIT {
        true => Ok(()),
        false => Err(Rejection::ProxyLimit(format!(
            "the channels make the response head {bytes} bytes long, and a proxy takes {LIMIT}: name fewer channels, or shorter ones"
        ))),
    }
}

fn len(headers: &HeaderMap) -> usize {
    let lines = headers.iter();
    lines
        .map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len())
        .sum()
}

/// Number of digits by which these sequence numbers may still grow. Without this reserve, a stream could be
/// held once and refused later.
pub(super) fn missing_digits(sequences: &[u64]) -> usize {
    let digits = |sequence: &u64| sequence.checked_ilog10().unwrap_or_default() as usize + 1;
    sequences
        .iter()
        .map(|sequence| DIGITS.saturating_sub(digits(sequence)))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn a_head_one_byte_over_the_limit_is_refused() {
        let mut headers = HeaderMap::new();
        let value = "x".repeat(LIMIT - RESERVE - "a: \r\n".len());
        headers.insert("a", HeaderValue::try_from(value).unwrap());
        assert!(check(&headers, 0).is_ok());
        let refused = check(&headers, 1).unwrap_err();
        assert_eq!(
            refused.body_text(),
            "the channels make the response head 8193 bytes long, and a proxy takes 8192: name fewer channels, or shorter ones\n"
        );
        assert_eq!(refused.status(), 400);
    }

    #[test]
    fn every_sequence_number_has_room_to_grow() {
        for (sequences, missing) in [
            (&[][..], 0),
            (&[0], 15),
            (&[9, 10], 15 + 14),
            (&[1_700_000_000_000_000, u64::MAX], 0),
        ] {
            assert_eq!(missing_digits(sequences), missing, "{sequences:?}");
        }
    }
}
