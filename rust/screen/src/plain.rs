//! Rows as sentences, for those who listen to them: each value with its title.

use std::sync::Arc;

use precise_top_core::TaskTable;

use crate::command::Names;
use crate::rows::TableRow;
use crate::settings::ViewSettings;
use crate::table::{CellFormat, TextColumn, TextTable};
use crate::text::UNKNOWN;
use crate::waits::{self, WaitForm};

/// The chosen rows, one line each: the last column first, then the others by their titles. What
/// is unknown is left out, and so are bars; waits are in words.
pub fn plain_lines(
    table: &TextTable,
    rows: &dyn TaskTable,
    settings: &ViewSettings,
    names: &dyn Names,
) -> Vec<String> {
    let columns = table.columns().iter().filter_map(|column| without_bars(column));
    let columns: Vec<Arc<TextColumn>> = columns.map(Arc::new).collect();
    let single = columns.iter().map(|column| table.with_columns(vec![Arc::clone(column)]));
    let single: Vec<TextTable> = single.collect();
    let chosen = rows.select(&settings.query()).into_iter();
    let line = |row: u32| {
        let row =
            TableRow { table: rows, row: row as usize, ran: true, branch: None, samples: None };
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
        format!("{name}: {}", parts.collect::<Vec<_>>().join(", "))
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
