//! How an error message shows text that came from outside.

/// As many characters of a value as an error message shows.
const SHOWN: usize = 64;

/// The value in quotes, escaped as by `Debug`, cut after 64 characters: safe to log and bounded.
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
    fn a_value_is_quoted_escaped_and_cut() {
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
    fn a_huge_value_stays_small() {
        assert!(excerpt(&"\u{10ffff}".repeat(1_000_000)).len() < 1000);
    }
}
