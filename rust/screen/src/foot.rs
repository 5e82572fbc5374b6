//! Lines below the rows: status and balance.

use precise_top_core::Balance;

use crate::settings::ViewSettings;
use crate::view::ViewData;

/// The balance of an interval in per cent of one CPU: the parts, their sum, and the residual
/// with its bound; ! marks a residual above the bound.
pub(crate) fn balance(balance: &Balance, interval_ns: u64) -> String {
    let share = |ns: f64| ns * 100.0 / interval_ns as f64;
    let tasks = share(balance.tasks_ns as f64 + balance.rowless_ns as f64);
    let irq = share(balance.irq_ns as f64);
    let steal = share(balance.steal_ns as f64);
    let idle = share(balance.idle_ns as f64);
    let found = tasks + irq + steal + idle;
    // Adding 0.0 avoids -0.000.
    let residual = (share(balance.residual_ns as f64) * 1000.0).round() / 1000.0 + 0.0;
    let bound = share(balance.bound_ns() as f64);
    let open = if balance.is_closed() { "" } else { "!" };
    format!(
        "tasks {tasks:.2} irq {irq:.2} steal {steal:.2} idle {idle:.2} = {found:.3}%  \
         residual {residual:+.3} ±{bound:.3}%{open}"
    )
}

/// The status cell: scrolling, sort order, mode. The 2010 tool has the same.
pub(crate) fn status(data: &ViewData<'_>, settings: &ViewSettings, room: usize) -> String {
    let scroll = match (settings.top > 0, settings.top.saturating_add(room) < data.rows) {
        (true, true) => '|',
        (true, false) => '^',
        (false, true) => 'V',
        (false, false) => '=',
    };
    let order = if settings.descending { 'V' } else { '^' };
    let mode = match (settings.paused, settings.selecting) {
        (true, _) => 'P',
        (false, true) => 'S',
        (false, false) => 'N',
    };
    format!("{scroll}:{order}:{mode}")
}
