//! Rows as sentences, for those who listen to them: each value with its title.

use precise_top_core::TaskTable;

use crate::command::Names;
use crate::rows::TableRow;
use crate::settings::ViewSettings;
use crate::table::TextTable;
use crate::text::UNKNOWN;

/// The chosen rows, one line each: the last column first, then the others by their titles. What
/// is unknown is left out.
pub fn plain_lines(
    table: &TextTable,
    rows: &dyn TaskTable,
    settings: &ViewSettings,
    names: &dyn Names,
) -> Vec<String> {
    let single = table.columns().iter().map(|column| TextTable::new(vec![column.clone()]));
    let single: Vec<TextTable> = single.collect();
    let chosen = rows.select(&settings.query()).into_iter();
    let line = |row: u32| {
        let row =
            TableRow { table: rows, row: row as usize, ran: true, branch: None, samples: None };
        let texts = single.iter().map(|column| column.row(names, row));
        let mut texts: Vec<String> = texts.map(|text| text.trim().to_owned()).collect();
        let name = texts.pop().unwrap_or_default();
        let known = table.columns().iter().zip(texts).filter(|(_, text)| text != UNKNOWN);
        let parts = known.map(|(column, text)| {
            let unit = if column.unit == "(%)" { " %" } else { "" };
            format!("{} {text}{unit}", column.title)
        });
        format!("{name}: {}", parts.collect::<Vec<_>>().join(", "))
    };
    chosen.map(line).collect()
}
