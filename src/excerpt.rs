//! Excerpts of untrusted text for error messages.

/// Maximum number of characters of an excerpt.
const SHOWN: usize = 64;

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
}
