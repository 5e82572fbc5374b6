//! Lines above the table: machine, CPUs, source, tasks, memory.

use precise_top_core::{CpuTimes, System};

use crate::settings::ViewSettings;
use crate::text::{self, UNKNOWN, push};
use crate::view::{Heights, ViewData};

/// Width of the bar of a CPU, in cells.
const BAR: std::ops::RangeInclusive<usize> = 8..=40;

/// The lines above the table that fit on the screen.
pub(crate) fn lines(
    data: &ViewData<'_>,
    settings: &ViewSettings,
    cells: usize,
    heights: Heights,
) -> Vec<String> {
    let mut lines = vec![machine(data)];
    if heights.cpus == data.cpus.len() {
        lines.extend(data.cpus.iter().map(|times| {
            let mut line = format!("cpu{:<3}", times.cpu);
            push_cpu(&mut line, shares(times), cells);
            line
        }));
    } else if heights.cpus > 0 {
        let mut line = format!("{} cpus", data.cpus.len());
        push_cpu(&mut line, mean(&data.cpus), cells);
        lines.push(line);
    }
    let facts = [source(data), tasks(data, settings)].into_iter();
    lines.extend(facts.chain(data.system.as_ref().map(memory)).take(heights.facts - 1));
    lines
}

fn machine(data: &ViewData<'_>) -> String {
    let mut line = String::with_capacity(128);
    text::push_time_of_day(&mut line, data.local_s);
    push(&mut line, format_args!("  {}  up ", text::safe(data.host)));
    text::push_elapsed(&mut line, data.boottime_ns as f64 / 1e9);
    line.push_str("  load");
    match data.system {
        None => push(&mut line, format_args!(" {UNKNOWN}")),
        Some(System { load_centi, .. }) => {
            for load in load_centi {
                push(&mut line, format_args!(" {}.{:02}", load / 100, load % 100));
            }
        }
    }
    line
}

fn source(data: &ViewData<'_>) -> String {
    let precision = data.source.precision(data.one_instant);
    let mut line = format!(
        "{} ({precision})  interval {:.2} s",
        data.source.name(),
        data.interval_ns as f64 / 1e9
    );
    if data.interval_ns > 0 {
        let own = 100.0 * data.own_ns as f64 / data.interval_ns as f64;
        push(&mut line, format_args!("  own {own:.2}%"));
    }
    line
}

fn tasks(data: &ViewData<'_>, settings: &ViewSettings) -> String {
    let mut line = format!("tasks {}", data.tasks);
    if data.exited > 0 {
        push(&mut line, format_args!(" +{} died", data.exited));
    }
    if data.rows != data.tasks {
        push(&mut line, format_args!(" shown {}", data.rows));
    }
    if !settings.group_by.is_empty() {
        push(&mut line, format_args!(" by {}", settings.group_by));
    }
    for (number, (name, count)) in data.states.iter().enumerate() {
        let between = if number == 0 { ": " } else { " " };
        push(&mut line, format_args!("{between}{count} {name}"));
    }
    if !data.missing.is_empty() {
        push(&mut line, format_args!("  missing: {}", data.missing));
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

/// Appends the shares of a CPU, and a bar if it fits.
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
