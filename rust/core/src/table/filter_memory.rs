//! What a filter found of tasks that have not run since.
//!
//! Design decisions
//!
//! * Most of ten thousand tasks sleep. The record of one that sleeps stays the same, and so does
//!   what the filter finds.
//! * A user types one letter after the other: what the shorter filter leaves out, the longer one
//!   leaves out as well.

use std::cell::RefCell;
use std::sync::Arc;

use super::filter::{Condition, Text};
use crate::identity::TaskKey;

/// What a filter found of tasks that have not run since.
#[derive(Debug, Default)]
pub struct FilterMemory {
    condition: Option<Arc<Condition>>,
    /// By the places of [`Unchanged`](crate::interval::Unchanged).
    found: Vec<Found>,
}

/// What is known of a task.
#[derive(Debug, Default)]
struct Found {
    task: TaskKey,
    /// The number of the snapshot that its record is of; 0 for nothing known.
    serial: u64,
    /// Whether it meets the condition; None where that is to be asked again.
    holds: Option<bool>,
    command: RefCell<Option<Text>>,
}

impl FilterMemory {
    /// Goes to the condition of the next frame, which has `places`.
    pub(super) fn begin(&mut self, condition: &Arc<Condition>, places: usize) {
        let before = self.condition.replace(Arc::clone(condition));
        if before.as_ref().is_none_or(|before| !Arc::ptr_eq(before, condition)) {
            let is_narrower = before.is_some_and(|before| condition.narrows(&before));
            for found in &mut self.found {
                found.holds = found.holds.filter(|holds| is_narrower && !holds);
            }
        }
        self.found.resize_with(places, Found::default);
    }

    /// Whether the task at a place meets the condition. `serial` is the number of the snapshot that
    /// its record is of; `ask` returns the answer, and whether it lasts as long as the record.
    pub(super) fn remembered(
        &mut self,
        (place, task, serial): (usize, &TaskKey, u64),
        ask: impl FnOnce(&RefCell<Option<Text>>) -> (bool, bool),
    ) -> bool {
        let found = &mut self.found[place];
        if (&found.task, found.serial) != (task, serial) {
            *found = Found { task: *task, serial, ..Found::default() };
        }
        found.holds.unwrap_or_else(|| {
            let (holds, lasts) = ask(&found.command);
            found.holds = lasts.then_some(holds);
            holds
        })
    }
}
