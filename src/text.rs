//! Untrusted text: excerpts of it for error messages, the rules for names, and white space at its ends.

/// Maximum number of characters of an excerpt.
const SHOWN: usize = 64;

/// The maximum length of a channel's name, of an event's id, and of a key, in bytes.
pub(crate) const MAX_LEN: usize = 255;

/// The rule that a text breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Rule {
    #[error("it is empty")]
    Empty,
    #[error("it has {0} bytes, at most {MAX_LEN} are allowed")]
    TooLong(usize),
    #[error("{0:?} is not allowed")]
    Character(char),
    #[error("it begins or ends with white space")]
    OuterWhiteSpace,
    #[error("a client with it is refused when it reconnects")]
    Reserved,
}

/// Quotes the value, escapes it as `Debug` does, and truncates it after 64 characters: bounded and safe to log.
pub(crate) fn excerpt(value: &str) -> Box<str> {
    let mut shown = String::from('"');
    let mut characters = value.chars();
    shown.extend(characters.by_ref().take(SHOWN).flat_map(char::escape_debug));
    shown.push('"');
    if characters.next().is_some() {
        shown.push('…');
    }
    shown.into_boxed_str()
}

/// The characters with the Unicode property `White_Space`, and U+FEFF, which JavaScript's `trim` removes too.
pub(crate) fn is_white_space(c: char) -> bool {
    c.is_whitespace() || c == '\u{feff}'
}

/// Whether the text begins or ends with white space.
pub(crate) fn has_outer_white_space(text: &str) -> bool {
    text.starts_with(is_white_space) || text.ends_with(is_white_space)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_quoted_escaped_and_truncated() {
        let cases = [
            ("", r#""""#.to_owned()),
            ("plain é", r#""plain é""#.to_owned()),
            ("a\r\n\0\"", r#""a\r\n\0\"""#.to_owned()),
            ("\u{1b}[2J\u{202e}", r#""\u{1b}[2J\u{202e}""#.to_owned()),
            (&"x".repeat(64), format!("\"{}\"", "x".repeat(64))),
            (&"x".repeat(65), format!("\"{}\"…", "x".repeat(64))),
        ];
        for (value, shown) in cases {
            assert_eq!(*excerpt(value), *shown);
        }
    }

    #[test]
    fn the_excerpt_of_a_huge_value_is_small() {
        assert!(excerpt(&"\u{10ffff}".repeat(1_000_000)).len() < 1000);
    }

    #[test]
    fn white_space_inside_of_the_text_does_not_count() {
        let characters = " \t\n\u{b}\u{c}\r\u{85}\u{a0}\u{1680}\u{2000}\u{2028}\u{2029}\u{202f}\u{205f}\u{3000}\u{feff}";
        for c in characters.chars() {
            assert!(has_outer_white_space(&format!("{c}a")), "{c:?}");
            assert!(has_outer_white_space(&format!("a{c}")), "{c:?}");
            assert!(has_outer_white_space(&c.to_string()), "{c:?}");
            assert!(!has_outer_white_space(&format!("a{c}a")), "{c:?}");
        }
        for text in ["", "a", "\u{200b}a\u{200b}", "\u{2800}"] {
            assert!(!has_outer_white_space(text), "{text:?}");
        }
    }
}
