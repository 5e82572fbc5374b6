//! What tasks wait for, in a cell a row and in a line for the machine.

use precise_top_core::table::waits::{self, WAITS};
use precise_top_core::{Cell, FieldStatus, Interval, Metric, TaskTable};

use crate::line::{ScreenLine, Style};
use crate::rows::TableRow;
use crate::spark;
use crate::text::{self, UNKNOWN};

/// The letters of each kind.
const NAMES: [&str; 8] = ["cpu", "blk", "swp", "rcl", "thr", "cmp", "wpc", "irq"];
/// The same in words.
const WORDS: [&str; 8] = [
    "CPU",
    "storage",
    "swap",
    "memory reclaim",
    "thrashing",
    "memory compaction",
    "copy of a page",
    "interrupts",
];
/// What a cell shows where there is no wait.
const NONE: char = '·';
/// From which share of the interval on a wait is shown.
const LEAST_PCT: f64 = 0.005;
/// Cells of the largest bar in the line of the machine, which is of one CPU.
const BAR: usize = 4;

/// What a cell says of the largest wait of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitForm {
    /// A bar of the share of the interval, and the letters.
    Letter,
    /// The share of the interval, in per cent.
    Percent,
    /// The time, in ms.
    Milliseconds,
    /// The longest single wait since the task's start.
    Longest,
    /// When that one ended.
    When,
}

/// Appends what a row waits for. Local time is `offset_s` seconds ahead of UTC.
pub(crate) fn push(line: &mut ScreenLine, row: TableRow<'_>, form: WaitForm, offset_s: i64) {
    let found = match form {
        WaitForm::Longest | WaitForm::When => waits::longest(row.table, row.row),
        _ => waits::largest(row.table, row.row),
    };
    let Some((kind, ns)) = found else { return line.text.push_str(UNKNOWN) };
    let share = match row.table.cell(row.row, Metric::WaitPct) {
        Some(Cell::Float(share)) => share,
        _ => 0.0,
    };
    let is_none = match form {
        WaitForm::Letter | WaitForm::Percent | WaitForm::Milliseconds => share < LEAST_PCT,
        WaitForm::Longest | WaitForm::When => ns == 0,
    };
    if is_none {
        return line.text.push(NONE);
    }
    let name = NAMES[kind];
    match form {
        WaitForm::Letter => {
            line.text.push(spark::bar(share / 100.0));
            line.text.push_str(name);
        }
        WaitForm::Percent => {
            text::push(&mut line.text, format_args!("{name} "));
            text::push_percent(&mut line.text, share);
        }
        WaitForm::Milliseconds => {
            text::push(&mut line.text, format_args!("{name} {:.1}", ns as f64 / 1e6));
        }
        WaitForm::Longest => {
            text::push(&mut line.text, format_args!("{name} "));
            text::push_elapsed(&mut line.text, ns as f64 / 1e9);
        }
        WaitForm::When => match waits::longest_at(row.table, row.row, kind) {
            None => text::push(&mut line.text, format_args!("{name} {UNKNOWN}")),
            Some(at_ns) => {
                text::push(&mut line.text, format_args!("{name} "));
                let local_s = (at_ns / 1_000_000_000) as i64;
                text::push_time_of_day(&mut line.text, local_s.saturating_add(offset_s));
            }
        },
    }
}

/// The text of a cell in words, such as "CPU 12.30 %".
pub(crate) fn spoken(text: &str, form: WaitForm) -> String {
    let unit = match form {
        WaitForm::Letter | WaitForm::Percent => " %",
        WaitForm::Milliseconds => " ms",
        WaitForm::Longest | WaitForm::When => "",
    };
    let Some((name, value)) = text.split_once(' ') else { return "none".to_owned() };
    let kind = NAMES.iter().position(|known| *known == name);
    format!("{} {}{unit}", kind.map_or(name, |kind| WORDS[kind]), value.trim_start())
}

/// What all tasks together waited for.
#[derive(Clone, Debug, Default)]
pub struct Waits {
    /// Of each kind the time in per cent of the interval, which may be more than 100; None where
    /// it is unknown.
    pub shares_pct: [Option<f64>; 8],
    /// Whether the kernel does not account delays at present.
    pub is_off: bool,
}

impl Waits {
    /// The waits of an interval's tasks; those that did not run have none.
    pub(crate) fn of(interval: &Interval) -> Waits {
        let share = |kind: usize| match interval.sum(Metric::Pct(WAITS[kind].total)) {
            Some(Cell::Float(share)) => Some(share),
            _ => None,
        };
        let is_filled = |kind: usize| interval.status(WAITS[kind].total) == FieldStatus::Filled;
        Waits {
            // Where no task ran, none waited.
            shares_pct: std::array::from_fn(|kind| {
                is_filled(kind).then(|| share(kind).unwrap_or(0.0))
            }),
            is_off: interval.status(WAITS[1].total) == FieldStatus::Off,
        }
    }

    /// Whether there is something to show.
    pub(crate) fn is_known(&self) -> bool {
        self.is_off || self.shares_pct.iter().any(Option::is_some)
    }

    /// The line of the machine.
    pub(crate) fn line(&self) -> ScreenLine {
        let mut line = ScreenLine::plain("WAIT");
        for (name, share) in NAMES.into_iter().zip(self.shares_pct) {
            let Some(share) = share else { continue };
            text::push(&mut line.text, format_args!(" {name} "));
            let style = match share {
                50.0.. => Style::Bad,
                10.0.. => Style::Warn,
                LEAST_PCT.. => Style::Plain,
                _ => Style::Dim,
            };
            let begin = line.text.len();
            text::push(&mut line.text, format_args!("{share:.0}%"));
            spark::push_meter(&mut line.text, share / 100.0, BAR);
            line.mark(begin, style);
        }
        if self.is_off {
            line.push("  other waits: sudo sysctl kernel.task_delayacct=1", Style::Warn);
        }
        line
    }
}
