//! Lines of a screen: text fitted to the width of a terminal, and its style.

use crate::text::{self, Side};

/// The style of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Normal text.
    Plain,
    /// Bold text.
    Bold,
    /// Text with foreground and background exchanged.
    Reverse,
}

impl Style {
    /// All styles.
    pub const ALL: [Style; 3] = [Style::Plain, Style::Bold, Style::Reverse];

    /// The name of the style.
    pub const fn name(self) -> &'static str {
        match self {
            Style::Plain => "plain",
            Style::Bold => "bold",
            Style::Reverse => "reverse",
        }
    }

    /// The style with this name.
    pub fn from_name(name: &str) -> Option<Style> {
        Style::ALL.into_iter().find(|style| style.name() == name)
    }
}

/// One line of a screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScreenLine {
    /// The text.
    pub text: String,
    /// The style of the whole line.
    pub style: Style,
}

impl ScreenLine {
    /// A line whose text is cut or padded to `cells` terminal cells.
    pub fn fitted(text: impl Into<String>, cells: usize, style: Style) -> ScreenLine {
        let mut text = text.into();
        text::fit(&mut text, 0, cells, Side::Left);
        ScreenLine { text, style }
    }
}

/// All lines of a screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScreenLines {
    /// The lines from the top, as many as the screen has.
    pub lines: Vec<ScreenLine>,
    /// Number of task rows that fit on the screen; 0 if it shows no table.
    pub room: usize,
    /// Number of rows on, above and below the screen; 0 if it shows no table.
    pub rows: usize,
}

impl ScreenLines {
    /// A screen of `size` (columns, lines) that shows texts instead of a table.
    pub fn of_texts<'a>(
        texts: impl IntoIterator<Item = (&'a str, Style)>,
        (cells, height): (usize, usize),
    ) -> ScreenLines {
        let texts = texts.into_iter().chain(std::iter::repeat(("", Style::Plain)));
        let lines = texts.take(height).map(|(text, style)| ScreenLine::fitted(text, cells, style));
        ScreenLines { lines: lines.collect(), room: 0, rows: 0 }
    }
}
