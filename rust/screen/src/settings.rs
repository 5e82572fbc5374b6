//! The user's settings of the view.

use precise_top_core::{Filter, Metric, Query};

/// The settings of a view.
#[derive(Clone, Debug)]
pub struct ViewSettings {
    /// The metric that rows are sorted by.
    pub sort: Metric,
    /// Whether the largest value comes first.
    pub descending: bool,
    /// The filter that a row must pass.
    pub filter: Filter,
    /// Largest number of rows.
    pub limit: Option<usize>,
    /// Number of rows that are scrolled out above the screen.
    pub top: usize,
    /// The name of the key that rows are grouped by; empty without groups.
    pub group_by: String,
    /// The row to show in reverse, counted from the first row of all.
    pub selected: Option<usize>,
    /// Whether the selection mode is on.
    pub selecting: bool,
    /// Whether the view is paused.
    pub paused: bool,
    /// Replaces the last line while the user types.
    pub prompt: Option<String>,
    /// Replaces the last line if it is not empty and there is no prompt.
    pub notice: String,
}

impl ViewSettings {
    /// The query for the rows from the top of the screen on.
    pub(crate) fn query(&self) -> Query {
        Query {
            sort: Some(self.sort),
            descending: self.descending,
            filter: self.filter.clone(),
            offset: self.top,
            limit: self.limit.map(|limit| limit.saturating_sub(self.top)),
        }
    }
}
