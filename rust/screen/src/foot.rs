//! What stands below the rows: how they are shown, and the books.

use precise_top_core::Balance;

use crate::screen::{Choice, View};

/// The identity of an interval in per cent of one CPU: all that was found, and what is left
/// of the CPUs with what may be left; ! marks more than that.
pub(crate) fn books(books: &Balance, interval_ns: u64) -> String {
    let share = |ns: f64| ns * 100.0 / interval_ns as f64;
    let tasks = share(books.tasks_ns as f64 + books.rowless_ns as f64);
    let irq = share(books.irq_ns as f64);
    let steal = share(books.steal_ns as f64);
    let idle = share(books.idle_ns as f64);
    let found = tasks + irq + steal + idle;
    // -0.000 would look like something.
    let residual = (share(books.residual_ns as f64) * 1000.0).round() / 1000.0 + 0.0;
    let bound = share(books.bound_ns() as f64);
    let open = if books.is_closed() { "" } else { "!" };
    format!(
        "tasks {tasks:.2} irq {irq:.2} steal {steal:.2} idle {idle:.2} = {found:.3}%  \
         residual {residual:+.3} ±{bound:.3}%{open}"
    )
}

/// The 2010 tool's status cell: scrolling, sort order, mode.
pub(crate) fn status(view: &View<'_>, choice: &Choice, room: usize) -> String {
    let scroll = match (choice.top > 0, choice.top.saturating_add(room) < view.rows) {
        (true, true) => '|',
        (true, false) => '^',
        (false, true) => 'V',
        (false, false) => '=',
    };
    let order = if choice.descending { 'V' } else { '^' };
    let mode = match (choice.paused, choice.selecting) {
        (true, _) => 'P',
        (false, true) => 'S',
        (false, false) => 'N',
    };
    format!("{scroll}:{order}:{mode}")
}
