//! Rows as sentences, for those who listen to them: each value with its title.

use crate::command::Names;
use crate::rows::{TableRow, ViewRows};
use crate::settings::ViewSettings;
use crate::table::{CellFormat, TextColumn, TextTable};
use crate::text::UNKNOWN;
use crate::waits::{self, WaitForm};
use std::sync::Arc;

/// The chosen rows, one line each: the last column first, then the others by their titles. What
/// is unknown is left out, and so are bars; waits are in words.
pub fn plain_lines(
    table: &TextTable,
    rows: ViewRows<'_>,
    settings: &ViewSettings,
    names: &dyn Names,
) -> Vec<String> {
    let columns = table.columns().iter().filter_map(|column| without_bars(column));
    let columns: Vec<Arc<TextColumn>> = columns.map(Arc::new).collect();
    let single = columns.iter().map(|column| table.with_columns(vec![Arc::clone(column)]));
    let single: Vec<TextTable> = single.collect();
    let chosen = rows.chosen(&settings.query()).into_iter();
    let line = |row: TableRow<'_>| {
        // The branches of a tree are drawn, so they are said in words.
        let level = row.branch.map(|branch| format!("level {}", branch.depth));
        let row = TableRow { ran: true, branch: None, ..row };
        let texts = single.iter().map(|column| column.row(names, row));
        let mut texts: Vec<String> = texts.map(|text| text.trim().to_owned()).collect();
        let name = texts.pop().unwrap_or_default();
        let known = columns.iter().zip(texts).filter(|(_, text)| text != UNKNOWN);
        let parts = known.map(|(column, text)| {
            let unit = if column.unit == "(%)" { " %" } else { "" };
            match column.format {
                CellFormat::Wait(form) => {
                    format!("{} {}", column.title, waits::spoken(&text, form))
                }
                _ => format!("{} {text}{unit}", column.title),
            }
        });
        let parts: Vec<String> = level.into_iter().chain(parts).collect();
        format!("{name}: {}", parts.join(", "))
    };
    chosen.map(line).collect()
}

/// The column as it can be heard: the share that a bar shows is a number.
fn without_bars(column: &TextColumn) -> Option<TextColumn> {
    let format = match column.format {
        CellFormat::Spark => return None,
        CellFormat::Wait(WaitForm::Letter) => CellFormat::Wait(WaitForm::Percent),
        other => other,
    };
    Some(TextColumn { format, ..column.clone() })
}
