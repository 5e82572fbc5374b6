//! The texts of a column, each with a code.

use indexmap::IndexSet;

/// Texts in the order of their first use. A text's code is its index.
#[derive(Default)]
pub struct Dictionary {
    texts: IndexSet<Vec<u8>>,
}

impl Dictionary {
    /// The code of a text; a new text gets the next code.
    pub fn code(&mut self, text: &[u8]) -> i32 {
        let index = self.texts.get_index_of(text);
        index.unwrap_or_else(|| self.texts.insert_full(text.into()).0) as i32
    }

    /// Whether `code` is the code of `text`.
    pub(super) fn has(&self, code: i32, text: &[u8]) -> bool {
        self.texts.get_index(code as usize).is_some_and(|known| known == text)
    }

    /// The texts in the order of their codes.
    pub fn texts(&self) -> impl Iterator<Item = &[u8]> {
        self.texts.iter().map(Vec::as_slice)
    }

    /// The texts in the order of their codes. Bytes that are not UTF-8 become U+FFFD.
    pub fn into_strings(self) -> Vec<String> {
        self.texts.iter().map(|text| String::from_utf8_lossy(text).into_owned()).collect()
    }
}
