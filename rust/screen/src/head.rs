//! What stands above the table: the machine, the source, the CPUs, memory.

use precise_top_core::{CpuTimes, Flags, Interval, System};

use crate::screen::{Choice, Heights, View};
use crate::text::{self, UNKNOWN, push};

/// The widest bar of a CPU, in cells, and the narrowest.
const BAR: std::ops::RangeInclusive<usize> = 8..=40;

/// What a snapshot lacks, as far as it knows; empty where nothing.
pub fn missing(interval: &Interval) -> String {
    let (before, now) = (interval.prev().header(), interval.cur().header());
    let lost = now.exits_lost.saturating_sub(before.exits_lost);
    let mut parts = Vec::new();
    if now.missed > 0 {
        parts.push(format!("{} tasks that may not be read", now.missed));
    }
    if lost > 0 {
        parts.push(format!("{lost} that died"));
    }
    if now.flags.contains(Flags::TRUNCATED) {
        parts.push("tasks beyond the memory for them".into());
    }
    parts.join(", ")
}

/// The lines above the table, as far as there is room.
pub(crate) fn lines(
    view: &View<'_>,
    choice: &Choice,
    cells: usize,
    heights: Heights,
) -> Vec<String> {
    let mut lines = vec![machine(view)];
    if heights.cpus == view.cpus.len() {
        lines.extend(view.cpus.iter().map(|times| {
            let mut line = format!("cpu{:<3}", times.cpu);
            push_cpu(&mut line, shares(times), cells);
            line
        }));
    } else if heights.cpus > 0 {
        let mut line = format!("{} cpus", view.cpus.len());
        push_cpu(&mut line, mean(&view.cpus), cells);
        lines.push(line);
    }
    let facts = [source(view), tasks(view, choice)].into_iter();
    lines.extend(facts.chain(view.system.as_ref().map(memory)).take(heights.facts - 1));
    lines
}

fn machine(view: &View<'_>) -> String {
    let mut line = String::with_capacity(128);
    text::push_time_of_day(&mut line, view.local_s);
    push(&mut line, format_args!("  {}  up ", text::safe(view.host)));
    text::push_elapsed(&mut line, view.boottime_ns as f64 / 1e9);
    line.push_str("  load");
    match view.system {
        None => push(&mut line, format_args!(" {UNKNOWN}")),
        Some(System { load_centi, .. }) => {
            for load in load_centi {
                push(&mut line, format_args!(" {}.{:02}", load / 100, load % 100));
            }
        }
    }
    line
}

fn source(view: &View<'_>) -> String {
    let precision = view.source.precision(view.one_instant);
    let mut line = format!(
        "{} ({precision})  interval {:.2} s",
        view.source.name(),
        view.interval_ns as f64 / 1e9
    );
    if view.interval_ns > 0 {
        let own = 100.0 * view.own_ns as f64 / view.interval_ns as f64;
        push(&mut line, format_args!("  own {own:.2}%"));
    }
    line
}

fn tasks(view: &View<'_>, choice: &Choice) -> String {
    let mut line = format!("tasks {}", view.tasks);
    if view.exited > 0 {
        push(&mut line, format_args!(" +{} died", view.exited));
    }
    if view.rows != view.tasks {
        push(&mut line, format_args!(" shown {}", view.rows));
    }
    if !choice.fold.is_empty() {
        push(&mut line, format_args!(" by {}", choice.fold));
    }
    for (number, (name, count)) in view.states.iter().enumerate() {
        let between = if number == 0 { ": " } else { " " };
        push(&mut line, format_args!("{between}{count} {name}"));
    }
    if !view.missing.is_empty() {
        push(&mut line, format_args!("  missing: {}", view.missing));
    }
    line
}

fn memory(system: &System) -> String {
    let swapped_kb = system.swap_total_kb.saturating_sub(system.swap_free_kb);
    let mut line = String::with_capacity(128);
    for (name, kb) in [
        ("mem ", system.mem_total_kb),
        ("  available ", system.mem_available_kb),
        ("  free ", system.mem_free_kb),
        ("  cache ", system.cached_kb.saturating_add(system.buffers_kb)),
        ("  swap ", swapped_kb),
        ("/", system.swap_total_kb),
    ] {
        line.push_str(name);
        text::push_kibibytes(&mut line, kb as f64);
    }
    line
}

/// Shares of a CPU's time in per cent: user, system, iowait, interrupts, steal, idle.
type Shares = [f64; 6];

fn shares(times: &CpuTimes) -> Shares {
    let [user, nice, system, idle, iowait, irq, softirq, steal] = times.shares_pct();
    [user + nice, system, iowait, irq + softirq, steal, idle]
}

fn mean(cpus: &[CpuTimes]) -> Shares {
    let mut mean = [0.0; 6];
    for times in cpus {
        for (sum, share) in mean.iter_mut().zip(shares(times)) {
            *sum += share / cpus.len() as f64;
        }
    }
    mean
}

/// Appends a CPU's shares, and a bar of them where there is room.
fn push_cpu(line: &mut String, shares: Shares, cells: usize) {
    let [user, system, iowait, irq, steal, idle] = shares;
    push(
        line,
        format_args!(
            " us {user:6.2} sy {system:6.2} wa {iowait:6.2} irq {irq:6.2} st {steal:6.2} \
             id {idle:6.2}"
        ),
    );
    let room = cells.saturating_sub(line.len() + 3);
    if room < *BAR.start() {
        return;
    }
    let room = room.min(*BAR.end());
    line.push_str(" [");
    let (mut drawn, mut total) = (0, 0.0);
    for (letter, share) in ['u', 's', 'w', 'i', 't'].into_iter().zip(shares) {
        total += share;
        let upto = room.min((total * room as f64 / 100.0).round() as usize);
        line.extend(std::iter::repeat_n(letter, upto - drawn));
        drawn = upto;
    }
    line.extend(std::iter::repeat_n(' ', room - drawn));
    line.push(']');
}
