//! A whole screen: header, table and footer.

use precise_top_core::Interval;

use crate::command::Names;
use crate::foot;
use crate::head;
use crate::line::{ScreenLine, ScreenLines, Style};
use crate::row_key::Fate;
use crate::rows::ViewRows;
use crate::selection::{Place, Remembered};
use crate::settings::{TreeOf, ViewSettings};
use crate::table::TextTable;
use crate::text;
use crate::view::{Heights, ShownRow, ViewData};

/// All lines of a screen of `size` (columns, lines) for an interval, each cut or padded to
/// the width. Local time is `offset_s` seconds ahead of UTC. `selected` is the selected row of
/// the screen before, and becomes that of this one.
#[allow(clippy::too_many_arguments, reason = "each of another owner and lifetime")]
pub fn draw(
    interval: &Interval,
    rows: ViewRows<'_>,
    table: &TextTable,
    settings: &ViewSettings,
    names: &dyn Names,
    size: (usize, usize),
    offset_s: i64,
    selected: &mut Option<Remembered>,
) -> ScreenLines {
    let data = ViewData::new(interval, rows, table, settings, names, size, offset_s);
    lines(data, settings, size, selected)
}

/// The lines of a screen of `size` (columns, lines) from the values that it shows.
pub fn lines(
    mut data: ViewData<'_>,
    settings: &ViewSettings,
    size: (usize, usize),
    selected: &mut Option<Remembered>,
) -> ScreenLines {
    let (cells, height) = size;
    let heights = data.heights(size, settings);
    let sums = foot::sums(&data, cells, heights.tasks);
    let mut lines = Vec::with_capacity(height);
    let (head, sparks) = head::lines(&data, settings, cells, heights);
    lines.extend(head);
    let (tabs, tab_ends) = settings.tabs.line(cells);
    let tabs_line = (heights.tabs > 0).then_some(lines.len());
    lines.extend(tabs_line.map(|_| tabs));
    let mut headings = ScreenLine { style: Style::Heading, ..ScreenLine::plain(" ") };
    data.table.push_headings(&mut headings, settings);
    headings.fit(cells);
    let headings_line = lines.len();
    lines.push(headings);
    let mut shown = std::mem::take(&mut data.shown);
    let mut screen = ScreenLines {
        room: heights.tasks,
        rows: data.rows,
        top: data.top,
        searching: head::progress(settings).is_some(),
        headings_line,
        tabs_line,
        tab_ends,
        sparks,
        headings: data.table.headings(1),
        ..ScreenLines::of_texts([], (0, 0))
    };
    select(&mut screen, &mut shown, (data.selected, data.fate), settings, selected);
    shown.truncate(heights.tasks);
    screen.keys = shown.iter_mut().map(|row| row.key.take()).collect();
    if shown.is_empty() {
        let of_dead = settings.tree.as_ref().is_some_and(|tree| tree.of == TreeOf::Dead);
        let message = match data.tasks {
            _ if of_dead && settings.filter.is_empty() => "no task died in this interval",
            0 => "no tasks",
            _ => "no task matches",
        };
        lines.push(ScreenLine::fitted(message, cells, Style::Plain));
    }
    lines.extend(shown.into_iter().map(|mut row| {
        row.line.fit(cells);
        row.line
    }));
    end(lines, sums, settings, size, heights, screen)
}

/// Marks the selected row and remembers it, or puts the line of a task that is gone where it was.
fn select(
    screen: &mut ScreenLines,
    shown: &mut Vec<ShownRow>,
    (place, fate): (Place, Fate),
    settings: &ViewSettings,
    remembered: &mut Option<Remembered>,
) {
    screen.selected_key.clone_from(&settings.selected_key);
    if let Some(gone) =
        remembered.as_mut().filter(|gone| Some(&gone.key) == screen.selected_key.as_ref())
    {
        gone.meet(if place == Place::Gone { Fate::Died(None) } else { fate });
    }
    match place {
        Place::Nowhere => *remembered = None,
        Place::Hidden => {}
        Place::Row(row) => {
            screen.selected = Some(row);
            let Some(shown) = row.checked_sub(screen.top).and_then(|at| shown.get_mut(at)) else {
                return;
            };
            // The user's key stays the same as long as the task does.
            let key = screen.selected_key.take().or_else(|| shown.key.clone());
            screen.selected_key.clone_from(&key);
            screen.died = matches!(shown.fate, Fate::Died(_));
            *remembered = key.map(|key| Remembered {
                key,
                line: shown.line.clone(),
                name_at: shown.name_at,
                headings: screen.headings.clone(),
                row,
                fate: shown.fate,
            });
            shown.line.select();
        }
        Place::Gone => {
            screen.died = true;
            let Some(gone) = remembered.as_ref() else { return };
            if Some(&gone.key) != settings.selected_key.as_ref() {
                return;
            }
            let at = gone.row.saturating_sub(screen.top).min(shown.len()).min(screen.room - 1);
            screen.selected = Some(screen.top + at);
            let mut line = gone.line_under(&screen.headings);
            line.select();
            let (key, name_at) = (Some(gone.key.clone()), gone.name_at);
            shown.insert(at, ShownRow { line, name_at, key, fate: gone.fate });
        }
    }
}

/// Adds the lines below the rows.
fn end(
    mut lines: Vec<ScreenLine>,
    sums: ScreenLine,
    settings: &ViewSettings,
    (cells, height): (usize, usize),
    heights: Heights,
    screen: ScreenLines,
) -> ScreenLines {
    let blank = ScreenLine::fitted("", cells, Style::Plain);
    lines.resize(height.saturating_sub(heights.foot + 1).max(lines.len()), blank.clone());
    lines.push(sums);
    if heights.foot > 0 {
        lines.push(foot::keys(settings, cells));
    }
    lines.truncate(height);
    let message = settings.prompt.as_deref().unwrap_or(&settings.notice);
    if let Some(last) = lines.last_mut().filter(|_| !message.is_empty()) {
        *last = ScreenLine::fitted(text::safe(message), cells, Style::Bold);
    }
    lines.resize(height, blank);
    if settings.ascii {
        lines.iter_mut().for_each(ScreenLine::make_ascii);
    }
    ScreenLines { lines, ..screen }
}
