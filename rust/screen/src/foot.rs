//! Lines below the rows: sums and keys.

use crate::line::{ScreenLine, Style};
use crate::settings::ViewSettings;
use crate::text;
use crate::view::ViewData;

/// The sums, and which rows are on the screen.
pub(crate) fn sums(data: &ViewData<'_>, cells: usize, room: usize) -> ScreenLine {
    let sums = format!(" {}", data.table.sums_line(&data.sums));
    let spare = sums.len() - sums.trim_start().len();
    let mut line = ScreenLine { style: Style::Bold, ..ScreenLine::default() };
    let shown = data.shown.len().min(room);
    if shown < data.rows {
        let last = data.top.saturating_add(shown);
        text::push(&mut line.text, format_args!(" {}-{last} of {}", data.top + 1, data.rows));
    }
    // Whole or not at all: a number that is cut would be another one.
    if line.text.len() >= spare {
        line.text.clear();
    }
    let used = line.text.len();
    line.text.push_str(&sums[used..]);
    line.fit(cells);
    line
}

/// The keys that fit.
pub(crate) fn keys(settings: &ViewSettings, cells: usize) -> ScreenLine {
    let mut line = ScreenLine::default();
    for (key, word) in &settings.key_bar {
        if text::width(&line.text) + text::width(key) + text::width(word) > cells {
            break;
        }
        line.push(key, Style::Key);
        line.push(word, Style::Word);
        line.text.push(' ');
    }
    line.fit(cells);
    line
}
