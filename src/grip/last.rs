//! The header by which a proxy reports the last item of each channel.

use super::header::GRIP_LAST;
use http::HeaderMap;

/// Parses all lines of `Grip-Last: CHANNEL; last-id=ID, ...`. Entries of another form are ignored.
pub(crate) fn last_ids(headers: &HeaderMap) -> Vec<(String, String)> {
    let lines = headers.get_all(GRIP_LAST).into_iter();
    let lines = lines.filter_map(|line| std::str::from_utf8(line.as_bytes()).ok());
    lines
        .flat_map(|line| line.split(','))
        .filter_map(last_id)
        .collect()
}

fn last_id(item: &str) -> Option<(String, String)> {
    let (name, parameters) = item.split_once(';')?;
    let mut parameters = parameters.split(';').filter_map(|one| one.split_once('='));
    let (_, id) = parameters.find(|(name, _)| name.trim() == "last-id")?;
    Some((name.trim().to_owned(), id.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    type Case<'a> = (&'a [&'a [u8]], &'a [(&'a str, &'a str)]);

    #[test]
    fn every_entry_is_a_channel_with_its_last_id() {
        let cases: [Case<'_>; 6] = [
            (&[], &[]),
            (&[b"a; last-id=1"], &[("a", "1")]),
            (
                &[b"a; last-id=1, b c;x=y; last-id = 2 "],
                &[("a", "1"), ("b c", "2")],
            ),
            (
                &[b"a; last-id=1", b"b; last-id=2"],
                &[("a", "1"), ("b", "2")],
            ),
            (&["\u{e9}; last-id=1".as_bytes()], &[("\u{e9}", "1")]),
            (&[b"a", b";;,=,", b"a; other=1", b"\xff; last-id=1"], &[]),
        ];
        for (lines, expected) in cases {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(GRIP_LAST, HeaderValue::from_bytes(line).unwrap());
            }
            let ids = last_ids(&headers);
            let ids: Vec<_> = ids.iter().map(|(name, id)| (&**name, &**id)).collect();
            assert_eq!(ids, expected);
        }
    }
}
