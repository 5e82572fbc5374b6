//! Lines of a screen: text fitted to the width of a terminal, and its styles.

use std::sync::Arc;

use crate::row_key::RowKey;
use crate::text::{self, Side};

/// What a part of a line means; a theme gives it its look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Normal text.
    Plain,
    /// Important text.
    Bold,
    /// Text with foreground and background exchanged: the selected row.
    Reverse,
    /// What can be overlooked: zeros, arguments.
    Dim,
    /// The headings of columns.
    Heading,
    /// The heading of the sorted column.
    Sorted,
    /// A good value.
    Good,
    /// A value to notice.
    Warn,
    /// A value to act on.
    Bad,
    /// A task that is new in the interval.
    New,
    /// A task that died in the interval.
    Dead,
    /// A key in the key bar.
    Key,
    /// A word in the key bar.
    Word,
    /// User time in a bar.
    User,
    /// System time in a bar.
    System,
    /// Other time in a bar.
    Other,
}

impl Style {
    /// All styles with their names.
    pub const ALL: [(Style, &'static str); 16] = [
        (Style::Plain, "plain"),
        (Style::Bold, "bold"),
        (Style::Reverse, "reverse"),
        (Style::Dim, "dim"),
        (Style::Heading, "heading"),
        (Style::Sorted, "sorted"),
        (Style::Good, "good"),
        (Style::Warn, "warn"),
        (Style::Bad, "bad"),
        (Style::New, "new"),
        (Style::Dead, "dead"),
        (Style::Key, "key"),
        (Style::Word, "word"),
        (Style::User, "user"),
        (Style::System, "system"),
        (Style::Other, "other"),
    ];

    /// The name of the style.
    pub const fn name(self) -> &'static str {
        Style::ALL[self as usize].1
    }

    /// The style with this name.
    pub fn from_name(name: &str) -> Option<Style> {
        Style::ALL.into_iter().find_map(|(style, known)| (known == name).then_some(style))
    }
}

/// A part of a line with a style of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first byte of the part.
    pub begin: usize,
    /// The byte after it.
    pub end: usize,
    /// Its style.
    pub style: Style,
}

/// One line of a screen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScreenLine {
    /// The text.
    pub text: String,
    /// The style of what is in no span.
    pub style: Style,
    /// Parts with other styles, from left to right, none over another.
    pub spans: Vec<Span>,
}

impl Default for ScreenLine {
    fn default() -> ScreenLine {
        ScreenLine::plain(String::new())
    }
}

impl ScreenLine {
    /// A line of normal text.
    pub fn plain(text: impl Into<String>) -> ScreenLine {
        ScreenLine { text: text.into(), style: Style::Plain, spans: Vec::new() }
    }

    /// A line whose text is cut or padded to `cells` terminal cells.
    pub fn fitted(text: impl Into<String>, cells: usize, style: Style) -> ScreenLine {
        let mut line = ScreenLine { style, ..ScreenLine::plain(text) };
        line.fit(cells);
        line
    }

    /// Appends text with a style of its own.
    pub fn push(&mut self, text: &str, style: Style) {
        let begin = self.text.len();
        self.text.push_str(text);
        self.mark(begin, style);
    }

    /// Appends another line, which begins at cell `at`, or two cells behind this one.
    pub(crate) fn append(&mut self, other: &ScreenLine, at: usize) {
        let blanks = at.saturating_sub(text::width(&self.text)).max(2);
        self.text.extend(std::iter::repeat_n(' ', blanks));
        let by = self.text.len();
        self.text.push_str(&other.text);
        let spans = other.spans.iter();
        self.spans.extend(spans.map(|span| Span {
            begin: span.begin + by,
            end: span.end + by,
            ..*span
        }));
    }

    /// Gives the text from byte `begin` on a style.
    pub fn mark(&mut self, begin: usize, style: Style) {
        let end = self.text.len();
        if begin < end && style != self.style {
            self.spans.push(Span { begin, end, style });
        }
    }

    /// Cuts or pads the text to `cells` terminal cells.
    pub fn fit(&mut self, cells: usize) {
        self.fit_from(0, cells, Side::Left);
    }

    /// Cuts or pads the text, between words: a number is there whole or not at all.
    pub(crate) fn fit_words(&mut self, cells: usize) {
        if text::width(&self.text) > cells {
            let (end, _) = text::cut(&self.text, cells.saturating_sub(1));
            let end = self.text[..end].rfind(' ').map_or(0, |at| at + 1);
            self.text.truncate(end);
            self.text.push(text::CUT_MARK);
            self.spans.retain(|span| span.begin < end);
            self.spans.iter_mut().for_each(|span| span.end = span.end.min(end));
        }
        self.fit(cells);
    }

    /// Cuts or pads the text from byte `start` on. Padding on the left needs a part without
    /// spans.
    pub(crate) fn fit_from(&mut self, start: usize, cells: usize, side: Side) {
        let kept = start + text::fit(&mut self.text, start, cells, side);
        while let Some(last) = self.spans.last_mut().filter(|last| last.end > kept) {
            last.end = kept;
            if last.begin < last.end {
                break;
            }
            self.spans.pop();
        }
    }

    /// The parts of the line with their styles, from left to right.
    pub fn parts(&self) -> impl Iterator<Item = (&str, Style)> {
        let mut at = 0;
        let end = Span { begin: self.text.len(), end: self.text.len(), style: self.style };
        let spans = self.spans.iter().copied().chain([end]);
        let parts = spans.flat_map(move |span| {
            let before = (&self.text[at..span.begin], self.style);
            at = span.end;
            [before, (&self.text[span.begin..span.end], span.style)]
        });
        parts.filter(|(text, _)| !text.is_empty())
    }

    /// Inserts text at byte `at`, which begins no span's middle.
    pub(crate) fn insert(&mut self, at: usize, text: &str) {
        self.text.insert_str(at, text);
        for span in self.spans.iter_mut().filter(|span| span.begin >= at) {
            span.begin += text.len();
            span.end += text.len();
        }
    }

    /// The line as the selected one: the bar spans it, in one style.
    pub(crate) fn select(&mut self) {
        self.style = Style::Reverse;
        self.spans.clear();
    }

    /// Replaces all characters that are not ASCII, of the same width.
    pub(crate) fn make_ascii(&mut self) {
        if self.text.is_ascii() {
            return;
        }
        let mut ascii = ScreenLine { style: self.style, ..ScreenLine::default() };
        for (part, style) in self.parts() {
            let begin = ascii.text.len();
            part.chars().for_each(|character| text::push_ascii(&mut ascii.text, character));
            ascii.mark(begin, style);
        }
        *self = ascii;
    }
}

/// Where a screen shows what the CPUs used before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sparks {
    /// The line.
    pub line: usize,
    /// The cell of the first interval; one cell for each.
    pub first: usize,
    /// The ends of the intervals, in ns since 1970.
    pub ends_ns: Vec<u64>,
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
    /// Number of rows above the screen.
    pub top: usize,
    /// Keys of the rows on the screen.
    pub keys: Vec<Option<RowKey>>,
    /// Where the selected row is on the list, if it is there.
    pub selected: Option<usize>,
    /// The key of the selected row, or of the selected task that is gone.
    pub selected_key: Option<RowKey>,
    /// Whether the selected task is gone.
    pub died: bool,
    /// Whether the filter does not know all texts yet, or the sparklines all intervals before.
    pub searching: bool,
    /// The line of the headings; the rows follow it.
    pub headings_line: usize,
    /// The line of the views that one can go to, and the cell after the name of each.
    pub tabs_line: Option<usize>,
    /// See `tabs_line`.
    pub tab_ends: Vec<usize>,
    /// Where it shows what the CPUs used before.
    pub sparks: Option<Sparks>,
    /// The headings from left to right, each with the cell after its column.
    pub headings: Vec<(usize, Arc<str>)>,
}

impl ScreenLines {
    /// A screen of `size` (columns, lines) that shows texts instead of a table.
    pub fn of_texts<'a>(
        texts: impl IntoIterator<Item = (&'a str, Style)>,
        (cells, height): (usize, usize),
    ) -> ScreenLines {
        let texts = texts.into_iter().chain(std::iter::repeat(("", Style::Plain)));
        let lines = texts.take(height).map(|(text, style)| ScreenLine::fitted(text, cells, style));
        ScreenLines {
            lines: lines.collect(),
            room: 0,
            rows: 0,
            top: 0,
            keys: Vec::new(),
            selected: None,
            selected_key: None,
            died: false,
            searching: false,
            headings_line: 0,
            tabs_line: None,
            tab_ends: Vec::new(),
            sparks: None,
            headings: Vec::new(),
        }
    }
}
