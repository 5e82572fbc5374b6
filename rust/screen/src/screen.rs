//! A whole screen: header, table and footer.

use precise_top_core::Interval;

use crate::foot;
use crate::head;
use crate::line::{ScreenLine, ScreenLines, Style};
use crate::settings::ViewSettings;
use crate::table::{TextTable, UserNames};
use crate::text;
use crate::view::{ViewData, ViewRows};

/// All lines of a screen of `size` (columns, lines) for an interval, each cut or padded to
/// the width. Local time is `offset_s` seconds ahead of UTC.
pub fn draw(
    interval: &Interval,
    rows: ViewRows<'_>,
    table: &TextTable,
    settings: &ViewSettings,
    users: UserNames<'_>,
    size: (usize, usize),
    offset_s: i64,
) -> ScreenLines {
    let data = ViewData::new(interval, rows, table, settings, users, size.1, offset_s);
    lines(data, table, settings, size)
}

/// The lines of a screen of `size` (columns, lines) from the values that it shows.
pub fn lines(
    data: ViewData<'_>,
    table: &TextTable,
    settings: &ViewSettings,
    (cells, height): (usize, usize),
) -> ScreenLines {
    let heights = data.heights(height);
    let mut lines = Vec::with_capacity(height);
    let plain = |text: String| ScreenLine::fitted(text, cells, Style::Plain);
    lines.extend(head::lines(&data, settings, cells, heights).into_iter().map(plain));
    lines.push(ScreenLine::fitted(table.titles(), cells, Style::Bold));
    lines.push(plain(table.units()));
    let (first, is_empty) = (lines.len(), data.texts.is_empty());
    let status = foot::status(&data, settings, heights.tasks);
    lines.extend(data.texts.into_iter().take(heights.tasks).map(plain));
    let selected = settings.selected.and_then(|row| row.checked_sub(settings.top));
    if let Some(line) = selected.and_then(|row| lines[first..].get_mut(row)) {
        line.style = Style::Reverse;
    }
    if is_empty {
        let message = if data.tasks > 0 { "no task matches" } else { "no tasks" };
        lines.push(plain(message.into()));
    }
    let blank = plain(String::new());
    lines.resize(height.saturating_sub(heights.foot + 1).max(lines.len()), blank.clone());
    lines.push(ScreenLine::fitted(table.sums_line(&data.sums, &status), cells, Style::Bold));
    if heights.foot > 0
        && let Some(balance) = &data.balance
    {
        // Next to the sums, as it proves that they are complete.
        lines.push(plain(foot::balance(balance, data.interval_ns)));
    }
    let message = settings.prompt.as_deref().unwrap_or(&settings.notice);
    if let Some(last) = lines.last_mut().filter(|_| !message.is_empty()) {
        *last = ScreenLine::fitted(text::safe(message), cells, Style::Bold);
    }
    lines.resize(height, blank);
    ScreenLines { lines, room: heights.tasks, rows: data.rows }
}
