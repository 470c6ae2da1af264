//! Names of channels in the query of a link.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// Characters that are not escaped. [`SEPARATOR`] and [`PACKED`] are escaped.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/')
    .remove(b':')
    .remove(b'@');

/// Separates escaped names.
const SEPARATOR: char = '!';

/// Precedes names in base64url, which commas separate: no name contains one.
const PACKED: char = '*';

/// The names, escaped or in base64url, whichever is shorter.
pub(super) fn write(names: &[impl AsRef<str>]) -> String {
    let names: Vec<_> = names.iter().map(AsRef::as_ref).collect();
    let escaped = names
        .iter()
        .map(|name| utf8_percent_encode(name, ESCAPED).to_string());
    let escaped = escaped.collect::<Vec<_>>().join(&SEPARATOR.to_string());
    let packed = BASE64_URL_SAFE_NO_PAD.encode(names.join(","));
    match packed.len() + 1 < escaped.len() {
        true => format!("{PACKED}{packed}"),
        false => escaped,
    }
}

pub(super) fn read(text: &str) -> Option<Vec<String>> {
    match text.strip_prefix(PACKED) {
        Some(packed) => {
            let names = BASE64_URL_SAFE_NO_PAD.decode(packed).ok()?;
            let names = String::from_utf8(names).ok()?;
            Some(names.split(',').map(str::to_owned).collect())
        }
        None => text.split(SEPARATOR).map(unescaped).collect(),
    }
}

fn unescaped(name: &str) -> Option<String> {
    let name = percent_decode_str(name).decode_utf8().ok()?;
    Some(name.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grip::Instruct;
    use proptest::{collection::vec, prelude::*};

    #[test]
    fn names_have_the_shorter_encoding() {
        let cases: [(&[&str], &str); 5] = [
            (&["a"], "a"),
            (&["room-1.x/y:z@~_", "b"], "room-1.x/y:z@~_!b"),
            (
                &["a-name-with-little-to-escape!", "*b"],
                "a-name-with-little-to-escape%21!%2Ab",
            ),
            (&["日本", "京都"], "*5pel5pysLOS6rOmDvQ"),
            (&["é"], "*w6k"),
        ];
        for (names, text) in cases {
            assert_eq!(write(names), text);
            assert_eq!(read(text).unwrap(), names);
        }
    }

    #[test]
    fn invalid_encodings_are_refused() {
        for text in ["%ff", "a!%ff", "*!", "*_w", "*a"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn all_names_survive_a_round_trip_and_fit_into_a_link(names in vec("[^,;\\p{C}]{1,60}", 1..20)) {
            let text = write(&names);
            prop_assert_eq!(read(&text), Some(names));
            let link = format!("/a?b={text}");
            prop_assert!(Instruct::new().next_link(&link, None).to_headers().is_ok());
            prop_assert!(!text.contains(['&', '#']));
            prop_assert!(link.parse::<http::Uri>().is_ok());
        }
    }
}
