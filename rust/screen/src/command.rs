//! Command lines in a table.
//!
//! Design decisions
//!
//! * The directory of the program is left out: it fills narrow columns, and programs are told
//!   apart by their base names and arguments.

use std::sync::Arc;

use precise_top_core::{Cell, CgroupName, Metric, Record};

use crate::line::{ScreenLine, Style};
use crate::rows::TableRow;
use crate::text;
use crate::tree;

/// Names that records do not have.
pub trait Names {
    /// Appends the name of a user.
    fn user(&self, uid: u32, text: &mut String);

    /// The arguments of the process that a record is of, each ended by a NUL; None where they
    /// are unknown, empty for a kernel thread. `ran` is whether the task ran in the interval.
    fn arguments(&self, record: &Record<'_>, ran: bool) -> Option<Arc<[u8]>>;

    /// The path of the cgroup that a record's task is in; None where it is unknown.
    fn cgroup(&self, record: &Record<'_>) -> Option<Arc<[u8]>>;
}

/// No names are known.
impl Names for () {
    fn user(&self, uid: u32, text: &mut String) {
        text::push_integer(text, uid.into());
    }

    fn arguments(&self, _record: &Record<'_>, _ran: bool) -> Option<Arc<[u8]>> {
        None
    }

    fn cgroup(&self, _record: &Record<'_>) -> Option<Arc<[u8]>> {
        None
    }
}

/// Appends the path of the cgroup of a row, or a name in it: nothing where the path has none.
pub(crate) fn push_cgroup(
    text: &mut String,
    names: &dyn Names,
    row: TableRow<'_>,
    name: Option<CgroupName>,
) {
    let record = row.table.record(row.row);
    let path = record.and_then(|record| names.cgroup(&record));
    let shown = path.as_deref().map(|path| match name {
        Some(name) => name.of(path),
        None => path.into(),
    });
    match shown {
        Some(shown) => text.push_str(&text::safe(&String::from_utf8_lossy(&shown))),
        None => text.push_str(text::UNKNOWN),
    }
}

/// Appends the command line of a row, without its first `scroll` cells: the program's base
/// name bold, the arguments dim. A name other than the program's comes first. Where the command
/// line is unknown, the name stands alone. At most `cells` cells are shown. `has_name` is
/// whether another column has the name.
pub(crate) fn push_command(
    line: &mut ScreenLine,
    names: &dyn Names,
    row: TableRow<'_>,
    scroll: usize,
    cells: usize,
    has_name: bool,
) {
    let record = row.table.record(row.row).filter(|_| row.table.group_name(row.row).is_none());
    let arguments = record.and_then(|record| names.arguments(&record, row.ran));
    match arguments.as_deref() {
        Some(arguments) if !arguments.is_empty() => {
            let comm = record.filter(|_| !has_name).and_then(|record| record.ac_comm());
            let comm = comm.unwrap_or_default();
            // What is beyond the screen need not be made text; four bytes fill a cell or two.
            let most = scroll.saturating_add(cells).saturating_mul(4);
            push_arguments(line, comm, &arguments[..arguments.len().min(most)], scroll);
        }
        _ => match row.table.cell(row.row, Metric::Title) {
            Some(Cell::Text(name)) => {
                let name = String::from_utf8_lossy(name);
                push_from(line, &text::safe(&name), Style::Plain, &mut { scroll });
                if row.table.group_name(row.row).is_some()
                    && let Some(dead) = row.table.dead(row.row)
                {
                    text::push(&mut line.text, format_args!(" ×{} (", dead.tasks));
                    line.push(&tree::words(&dead), Style::Dead);
                    line.text.push(')');
                }
            }
            _ => line.text.push_str(text::UNKNOWN),
        },
    }
}

fn push_arguments(line: &mut ScreenLine, comm: &[u8], arguments: &[u8], mut scroll: usize) {
    let arguments = arguments.strip_suffix(b"\0").unwrap_or(arguments);
    let end = arguments.iter().position(|&byte| byte == 0).unwrap_or(arguments.len());
    let program = &arguments[..end];
    // A process that writes over its arguments puts text after the name.
    let name_end = program.iter().position(|&byte| byte == b' ').unwrap_or(program.len());
    let base = program[..name_end].iter().rposition(|&byte| byte == b'/').map_or(0, |at| at + 1);
    let name = &program[base..name_end];
    let mut style = Style::Bold;
    // A login shell has a dash before its name.
    if !name.strip_prefix(b"-").unwrap_or(name).starts_with(comm) && !name.starts_with(comm) {
        // A script, or a task that has named itself: filter and order go by that name.
        push_from(line, &text::safe(&String::from_utf8_lossy(comm)), Style::Bold, &mut scroll);
        push_from(line, " ", Style::Plain, &mut scroll);
        style = Style::Plain;
    }
    push_from(line, &text::safe(&String::from_utf8_lossy(name)), style, &mut scroll);
    let rest = &arguments[name_end..];
    if !rest.is_empty() {
        let rest: Vec<u8> = rest.iter().map(|&byte| if byte == 0 { b' ' } else { byte }).collect();
        push_from(line, &text::safe(&String::from_utf8_lossy(&rest)), Style::Dim, &mut scroll);
    }
}

/// Appends a text without the cells that are scrolled off, which are subtracted from `scroll`.
fn push_from(line: &mut ScreenLine, text: &str, style: Style, scroll: &mut usize) {
    let (bytes, cells) = text::cut(text, *scroll);
    *scroll -= cells;
    if bytes < text.len() {
        // Half of a wide character would remain.
        *scroll = 0;
    }
    line.push(&text[bytes..], style);
}
