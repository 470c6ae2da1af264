//! White space at the ends of channel names and event ids.

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
