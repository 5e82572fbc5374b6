//! The texts of a column, each with a code.

use indexmap::IndexSet;

/// Texts in the order of their first use. A text's code is its index.
///
/// Bytes that are not UTF-8 become U+FFFD before a text gets its code: consumers of Arrow
/// dictionaries expect that no two entries are equal.
#[derive(Default)]
pub struct Dictionary {
    texts: IndexSet<String>,
}

impl Dictionary {
    /// The code of a text; a new text gets the next code.
    pub fn code(&mut self, text: &[u8]) -> i32 {
        let text = String::from_utf8_lossy(text);
        let index = self.texts.get_index_of(&*text);
        index.unwrap_or_else(|| self.texts.insert_full(text.into_owned()).0) as i32
    }

    /// Whether `code` is the code of `text`, which is UTF-8.
    pub(super) fn has(&self, code: i32, text: &[u8]) -> bool {
        self.texts.get_index(code as usize).is_some_and(|known| known.as_bytes() == text)
    }

    /// The texts in the order of their codes.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.texts.iter().map(String::as_str)
    }

    /// The texts in the order of their codes.
    pub fn into_strings(self) -> Vec<String> {
        self.texts.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Dictionary;

    #[test]
    fn texts_that_decode_alike_have_one_code() {
        let mut dictionary = Dictionary::default();
        let codes = [&b"a"[..], b"\xff", b"\xfe", "\u{fffd}".as_bytes(), b"a\xff", b"a"];
        assert_eq!(codes.map(|text| dictionary.code(text)), [0, 1, 1, 1, 2, 0]);
        assert!(dictionary.has(0, b"a"));
        assert!(!dictionary.has(1, b"\xff"), "found by its code only");
        assert_eq!(dictionary.into_strings(), ["a", "\u{fffd}", "a\u{fffd}"]);
    }
}
