//! The tree of an interval, laid out once, and the order of its rows that was asked for last.
//!
//! Design decisions
//!
//! * A key must be answered at once, and a tree takes long: it has a copy of the records of all
//!   tasks, finds all parents, and sorts all rows. So what holds an interval holds its tree, and
//!   both end together: nothing has to be invalidated.
//! * Of one interval there is one tree, and of that one order: a user sees one at a time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use precise_top_core::{Arranged, Filter, Metric, TaskTree};

use crate::row_key::RowKey;
use crate::settings::{TreeOf, TreeSettings, ViewSettings};
use crate::tree::arranged;

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a tree is made of, besides the interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Made {
    /// What rows are shown under.
    pub of: TreeOf,
    /// The number of the snapshot whose unchanged tasks are among the rows; None without these.
    pub unchanged: Option<u64>,
    /// Whether a history has the values of the cgroups.
    pub is_kept: bool,
}

/// The tree of an interval that was shown last.
#[derive(Debug, Default)]
pub struct ShownTree(Mutex<Option<(Made, Arc<LaidOut>)>>);

impl ShownTree {
    /// The tree that is made so; `lay_out` makes it where it is not the last one.
    pub fn get<E>(
        &self,
        made: Made,
        lay_out: impl FnOnce() -> Result<TaskTree, E>,
    ) -> Result<Arc<LaidOut>, E> {
        let mut shown = locked(&self.0);
        if let Some((_, laid_out)) = shown.as_ref().filter(|(known, _)| *known == made) {
            return Ok(Arc::clone(laid_out));
        }
        // Two trees at once would need twice the memory.
        *shown = None;
        let laid_out = Arc::new(LaidOut::new(lay_out()?));
        *shown = Some((made, Arc::clone(&laid_out)));
        Ok(laid_out)
    }
}

/// A tree, and the order of its rows that was asked for last.
#[derive(Debug)]
pub struct LaidOut {
    tree: TaskTree,
    ordered: Mutex<Option<(Wanted, Arc<Arranged>)>>,
}

/// What decides which rows of a tree are shown, and in which order.
#[derive(Debug, PartialEq)]
struct Wanted {
    sort: Metric,
    descending: bool,
    filter: Filter,
    level: Option<usize>,
    toggled: Vec<RowKey>,
}

impl LaidOut {
    /// A tree of which no order is known.
    pub fn new(tree: TaskTree) -> LaidOut {
        LaidOut { tree, ordered: Mutex::default() }
    }

    /// The tree.
    pub fn tree(&self) -> &TaskTree {
        &self.tree
    }

    /// The rows of the tree, as the user chose to see them.
    pub fn arranged(&self, settings: &ViewSettings, chosen: &TreeSettings) -> Arc<Arranged> {
        let wanted = Wanted {
            sort: settings.sort,
            descending: settings.descending,
            filter: settings.filter.clone(),
            level: chosen.level,
            toggled: chosen.toggled.clone(),
        };
        let mut ordered = locked(&self.ordered);
        if let Some((_, order)) = ordered.as_ref().filter(|(known, _)| *known == wanted) {
            return Arc::clone(order);
        }
        let order = Arc::new(arranged(&self.tree, settings, chosen));
        // While texts are missing, the next screen has more rows.
        let conditions = wanted.filter.conditions.as_ref();
        let is_complete = conditions.is_none_or(|conditions| conditions.progress().is_none());
        *ordered = is_complete.then(|| (wanted, Arc::clone(&order)));
        order
    }
}
