//! The user's settings of the view.

use precise_top_core::{Filter, Metric, Query};

use crate::row_key::RowKey;
use crate::tabs::Tabs;

/// What rows are shown under.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TreeOf {
    /// What started them.
    #[default]
    Tasks,
    /// Their cgroups.
    Cgroups,
    /// Their names, the dead alone.
    Dead,
}

/// A tree that rows are shown as.
#[derive(Clone, Debug, Default)]
pub struct TreeSettings {
    /// What it is of.
    pub of: TreeOf,
    /// Rows of this level and deeper ones are collapsed; None for no row.
    pub level: Option<usize>,
    /// The rows that are collapsed where their level is not, and the other way round.
    pub toggled: Vec<RowKey>,
}

/// What is above the table beside the lines of the machine, its CPUs, tasks and source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meter {
    /// Bars of single CPUs.
    Cpus,
    /// Memory.
    Memory,
    /// Swap.
    Swap,
    /// What tasks wait for.
    Waits,
    /// Pressure stall information.
    Pressure,
    /// Disks.
    Disks,
    /// Network interfaces.
    Networks,
    /// What the CPUs used before.
    Sparks,
}

impl Meter {
    /// All meters with their names.
    pub const ALL: [(&'static str, Meter); 8] = [
        ("cpus", Meter::Cpus),
        ("memory", Meter::Memory),
        ("swap", Meter::Swap),
        ("waits", Meter::Waits),
        ("pressure", Meter::Pressure),
        ("disks", Meter::Disks),
        ("networks", Meter::Networks),
        ("sparks", Meter::Sparks),
    ];

    /// The meter with this name.
    pub fn from_name(name: &str) -> Option<Meter> {
        Meter::ALL.into_iter().find_map(|(known, meter)| (known == name).then_some(meter))
    }
}

/// The settings of a view.
#[derive(Clone, Debug)]
pub struct ViewSettings {
    /// The metric that rows are sorted by.
    pub sort: Metric,
    /// Whether the largest value comes first.
    pub descending: bool,
    /// The filter that a row must pass.
    pub filter: Filter,
    /// The name of the user that the filter keeps.
    pub user: String,
    /// Largest number of rows.
    pub limit: Option<usize>,
    /// Number of rows that are scrolled out above the screen.
    pub top: usize,
    /// The tree that rows are shown as; None for a list.
    pub tree: Option<TreeSettings>,
    /// The name of the key that rows are grouped by; empty without groups.
    pub group_by: String,
    /// The task or group to show in reverse, wherever it stands. It comes before `selected`.
    pub selected_key: Option<RowKey>,
    /// The row to show in reverse, counted from the first row of all; it is the fallback where
    /// no key is known yet. [`ScreenLines`](crate::ScreenLines) returns the key of the row.
    pub selected: Option<usize>,
    /// Whether the list scrolls so that the selected row is on the screen.
    pub follow: bool,
    /// Rows with a mark.
    pub tagged: Vec<RowKey>,
    /// Cells of the command lines that are scrolled off on the left.
    pub scroll: usize,
    /// Whether the view is paused.
    pub paused: bool,
    /// A word at the top that the user must not overlook; empty for none.
    pub badge: String,
    /// Whether all text is ASCII.
    pub ascii: bool,
    /// Date and position of a replayed frame; empty in the live view.
    pub replay: String,
    /// How old the interval is, in seconds, if later ones are known.
    pub age_s: Option<f64>,
    /// How old the oldest interval is that was kept without loss, in seconds.
    pub exact_s: Option<f64>,
    /// Why CPU time may be missing, in words; empty without a reason.
    pub lacks: String,
    /// Meters that are left out.
    pub hidden: Vec<Meter>,
    /// The disks and network interfaces that count; all where empty.
    pub disks: Vec<String>,
    /// See `disks`.
    pub networks: Vec<String>,
    /// The views that one can go to.
    pub tabs: Tabs,
    /// Keys and what they do, for the last line.
    pub key_bar: Vec<(String, String)>,
    /// Replaces the last line while the user types.
    pub prompt: Option<String>,
    /// Replaces the last line if it is not empty and there is no prompt.
    pub notice: String,
}

impl ViewSettings {
    /// Whether a meter is shown.
    pub fn shows(&self, meter: Meter) -> bool {
        !self.hidden.contains(&meter)
    }

    /// The mark of a paused view.
    pub(crate) fn paused_mark(&self) -> &'static str {
        if self.ascii { "PAUSED" } else { "⏸" }
    }

    /// The query for the rows from the top of the screen on.
    pub fn query(&self) -> Query {
        Query {
            sort: Some(self.sort),
            descending: self.descending,
            filter: self.filter.clone(),
            offset: self.top,
            limit: self.limit.map(|limit| limit.saturating_sub(self.top)),
        }
    }
}
