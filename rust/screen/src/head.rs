//! Lines above the table: machine, CPUs, tasks, memory, source, filter.
//!
//! Design decisions
//!
//! * The line of all CPUs is the last that a low screen gives up.
//! * One lamp says whether CPU time is missing, and why in words. The terms of the balance
//!   are on a page of their own.

use precise_top_core::{CpuTimes, System};

use crate::line::{ScreenLine, Sparks, Style};
use crate::meters;
use crate::settings::{Meter, ViewSettings};
use crate::spark;
use crate::text::{self, UNKNOWN, push};
use crate::view::{Heights, ViewData};

/// The lines above the table that fit on the screen.
pub(crate) fn lines(
    data: &ViewData<'_>,
    settings: &ViewSettings,
    cells: usize,
    heights: Heights,
) -> (Vec<ScreenLine>, Option<Sparks>) {
    let facts = facts(data, settings, heights);
    let mut facts = facts.chunks(heights.across).map(|facts| beside(facts, cells));
    let mut lines = Vec::with_capacity(heights.facts + heights.bars + heights.filter);
    lines.extend(facts.next());
    let mut mean = ScreenLine::default();
    if lines.is_empty() {
        push_marks(&mut mean, settings);
    }
    let mut line = cpus(mean, data, settings);
    let sparks = push_sparks(&mut line, data, settings, cells);
    let sparks = sparks.map(|sparks| Sparks { line: lines.len(), ..sparks });
    lines.push(line);
    lines.extend(bars(&data.cpus, cells, heights));
    lines.extend(facts);
    if heights.filter > 0 {
        lines.push(filter(data, settings));
    }
    lines.iter_mut().for_each(|line| line.fit_words(cells));
    (lines, sparks)
}

/// The facts that there is room for but the times of all CPUs, from the top.
fn facts(data: &ViewData<'_>, settings: &ViewSettings, heights: Heights) -> Vec<ScreenLine> {
    let mut lines = Vec::with_capacity(heights.facts);
    let shows = |fact: usize| heights.facts > fact;
    if shows(1) {
        lines.push(machine(data, settings));
    }
    if shows(2) {
        lines.push(ScreenLine::plain(tasks(data, settings)));
    }
    let mut fact = 4;
    let mut shows_next = |is_known: bool| {
        fact += usize::from(is_known);
        is_known && heights.facts >= fact
    };
    if shows_next(data.shows_memory(settings))
        && let Some(system) = data.system
    {
        lines.push(meters::memory(&system, settings));
    }
    if shows(3) {
        lines.push(source(data, settings));
    }
    if shows_next(data.shows_waits(settings)) {
        lines.push(data.waits.line());
    }
    if shows_next(data.rates.is_known()) {
        lines.push(data.rates.line());
    }
    lines
}

/// Facts that share a line of `cells`, each with as much room.
fn beside(facts: &[ScreenLine], cells: usize) -> ScreenLine {
    let mut line = ScreenLine::default();
    for (number, fact) in facts.iter().enumerate() {
        match number {
            0 => line.clone_from(fact),
            _ => line.append(fact, number * cells / facts.len()),
        }
    }
    line
}

fn machine(data: &ViewData<'_>, settings: &ViewSettings) -> ScreenLine {
    let mut line = ScreenLine::plain(String::with_capacity(128));
    if !settings.replay.is_empty() {
        line.push("REPLAY", Style::Reverse);
        push(&mut line.text, format_args!(" {}  ", text::safe(&settings.replay)));
        if settings.paused {
            line.push("PAUSED", Style::Reverse);
            line.text.push(' ');
        }
    } else {
        push_lamp(&mut line, data.local_s, settings);
        line.text.push_str("  ");
    }
    if !settings.badge.is_empty() {
        line.push(&settings.badge, Style::Reverse);
        line.text.push_str("  ");
    }
    let text = &mut line.text;
    push(text, format_args!("{}  up ", text::safe(data.host)));
    text::push_elapsed(text, data.boottime_ns as f64 / 1e9);
    text.push_str("  load");
    match data.system {
        None => push(text, format_args!(" {UNKNOWN}")),
        Some(System { load_centi, .. }) => {
            for load in load_centi {
                push(text, format_args!(" {}.{:02}", load / 100, load % 100));
            }
        }
    }
    line
}

/// Whether the interval is the newest, else how old it is; and how far back what was kept is exact.
fn push_lamp(line: &mut ScreenLine, local_s: i64, settings: &ViewSettings) {
    if settings.paused {
        line.push(settings.paused_mark(), Style::Reverse);
    } else {
        line.push(if settings.ascii { "* LIVE" } else { "◉ LIVE" }, Style::Good);
    }
    line.text.push(' ');
    text::push_time_of_day(&mut line.text, local_s);
    if let Some(age_s) = settings.age_s {
        line.text.push(' ');
        push_age(line, age_s, settings);
    }
    if let Some(exact_s) = settings.exact_s {
        line.text.push_str(" exact ");
        push_age(line, exact_s, settings);
    }
}

fn push_age(line: &mut ScreenLine, age_s: f64, settings: &ViewSettings) {
    line.text.push(if settings.ascii { '-' } else { '−' });
    text::push_minutes(&mut line.text, age_s);
}

/// Appends what a screen without the line of the machine must not hide: that the interval is not
/// the newest, and that ptop keeps root.
fn push_marks(line: &mut ScreenLine, settings: &ViewSettings) {
    let mut mark = |text: &str| {
        if !text.is_empty() {
            line.push(text, Style::Reverse);
            line.text.push(' ');
        }
    };
    mark(if settings.replay.is_empty() { "" } else { "REPLAY" });
    mark(if settings.paused { settings.paused_mark() } else { "" });
    mark(&settings.badge);
    if let Some(age_s) = settings.age_s {
        push_age(line, age_s, settings);
        line.text.push(' ');
    }
}

fn source(data: &ViewData<'_>, settings: &ViewSettings) -> ScreenLine {
    let precision = data.source.precision(data.one_instant);
    let mut line = ScreenLine::default();
    // The words for the lamp, which the line of the CPUs has.
    match reason(data, settings) {
        None => line.push("CPU time complete", Style::Good),
        Some(reason) => line.push(&reason, Style::Bad),
    }
    push(
        &mut line.text,
        format_args!(
            "  {} ({precision})  {:.2} s",
            data.source.name(),
            data.interval_ns as f64 / 1e9
        ),
    );
    if data.interval_ns > 0 {
        let own = 100.0 * data.own_ns as f64 / data.interval_ns as f64;
        push(&mut line.text, format_args!("  own {own:.2}%"));
    }
    line
}

/// Why CPU time may be missing; None where all of it has been found.
fn reason(data: &ViewData<'_>, settings: &ViewSettings) -> Option<String> {
    let mut reasons = Vec::new();
    match &data.balance {
        None => reasons.push("CPU times unknown".to_owned()),
        Some(balance) if !balance.is_closed() => {
            let share = balance.residual_ns as f64 * 100.0 / data.interval_ns as f64;
            let what = if share > 0.0 { "not found" } else { "counted twice" };
            reasons.push(format!("{:.2}% of a CPU {what}", share.abs()));
        }
        Some(_) => {}
    }
    if !data.missing.is_empty() {
        reasons.push(format!("missing: {}", data.missing));
    }
    if !settings.lacks.is_empty() {
        reasons.push(text::safe(&settings.lacks).into_owned());
    }
    (!reasons.is_empty()).then(|| reasons.join("; "))
}

fn tasks(data: &ViewData<'_>, settings: &ViewSettings) -> String {
    let mut line = format!("tasks {}", data.tasks);
    if data.exited > 0 {
        push(&mut line, format_args!(" +{} died", data.exited));
    }
    // A narrow screen cuts the states, of which there may be many.
    if !settings.group_by.is_empty() {
        push(&mut line, format_args!(" ({} rows by {})", data.rows, settings.group_by));
    }
    for (number, (name, count)) in data.states.iter().enumerate() {
        let between = if number == 0 { ": " } else { " " };
        push(&mut line, format_args!("{between}{count} {name}"));
    }
    line
}

/// How many per cent of the texts that the filter goes by are known; None for all.
pub(crate) fn progress(settings: &ViewSettings) -> Option<u8> {
    settings.filter.conditions.as_ref()?.progress()
}

fn filter(data: &ViewData<'_>, settings: &ViewSettings) -> ScreenLine {
    let mut line = ScreenLine::default();
    line.push("filter", Style::Warn);
    if let Some(part) = &settings.filter.text {
        let part = String::from_utf8_lossy(part);
        push(&mut line.text, format_args!(" \"{}\"", text::safe(&part)));
    }
    if let Some(conditions) = &settings.filter.conditions {
        let part = conditions.condition().text();
        push(&mut line.text, format_args!(" {}", text::safe(part)));
    }
    if let Some(pids) = &settings.filter.pids {
        push(&mut line.text, format_args!(" of {} pids", pids.len()));
    }
    if settings.filter.user.is_some() {
        push(&mut line.text, format_args!(" of user {}", text::safe(&settings.user)));
    }
    if settings.filter.no_kernel_threads {
        line.text.push_str(" without kernel threads");
    }
    if settings.filter.no_dead {
        line.text.push_str(" without the dead");
    }
    push(&mut line.text, format_args!(": {} of {} rows", data.rows, data.unfiltered));
    if let Some(progress) = progress(settings) {
        push(&mut line.text, format_args!(", searching {progress} %"));
    }
    if let Some(share) = data.share_pct {
        push(&mut line.text, format_args!(", {share:.1}% of the tasks' CPU time"));
    }
    line
}

/// Least and most intervals before this one that are shown.
const LEAST_SPARKS: usize = 6;
const MOST_SPARKS: usize = 60;

/// Shares of a CPU's time in per cent: user, system, iowait, interrupts, steal.
type Shares = [f64; 5];

fn shares(times: &CpuTimes) -> Shares {
    let [user, nice, system, _, iowait, irq, softirq, steal] = times.shares_pct();
    [user + nice, system, iowait, irq + softirq, steal]
}

/// Appends the mean of all CPUs, and the lamp.
fn cpus(mut line: ScreenLine, data: &ViewData<'_>, settings: &ViewSettings) -> ScreenLine {
    let mut mean = [0.0; 5];
    for times in &*data.cpus {
        for (sum, share) in mean.iter_mut().zip(shares(times)) {
            *sum += share / data.cpus.len() as f64;
        }
    }
    let [user, system, iowait, irq, steal] = mean;
    if reason(data, settings).is_none() {
        line.push("✓", Style::Good);
    } else {
        line.push("!", Style::Bad);
    }
    let number = data.cpus.len();
    let name = if number == 1 { "CPU" } else { "CPUs" };
    let used = user + system + irq + steal;
    push(
        &mut line.text,
        format_args!(
            " {number} {name} {used:.1}% used: user {user:.1} sys {system:.1} irq {irq:.1} \
             steal {steal:.1}  iowait {iowait:.1}"
        ),
    );
    line
}

/// Appends what the CPUs used before, and returns where that is.
fn push_sparks(
    line: &mut ScreenLine,
    data: &ViewData<'_>,
    settings: &ViewSettings,
    cells: usize,
) -> Option<Sparks> {
    let first = text::width(&line.text) + 2;
    let room = cells.saturating_sub(first);
    let shows_sparks = room >= LEAST_SPARKS && settings.shows(Meter::Sparks);
    let samples = data.samples.filter(|_| shows_sparks)?;
    line.text.push_str("  ");
    let begin = line.text.len();
    let number = room.min(MOST_SPARKS);
    spark::push_values(&mut line.text, samples.cpus(number).map(|(_, share)| share), 1.0);
    line.mark(begin, Style::User);
    Some(Sparks {
        line: 0,
        first,
        ends_ns: samples.cpus(number).map(|(end_ns, _)| end_ns).collect(),
    })
}

/// The bars of single CPUs.
fn bars(cpus: &[CpuTimes], cells: usize, heights: Heights) -> Vec<ScreenLine> {
    let Heights { bars, columns, .. } = heights;
    (0..bars)
        .map(|row| {
            let mut line = ScreenLine::default();
            // Down the columns, as one reads them.
            for times in cpus.iter().skip(row).step_by(bars) {
                push_bar(&mut line, times, cells / columns);
            }
            line
        })
        .collect()
}

/// Letters and styles of the parts of a bar: readable without colour too.
const PARTS: [(char, Style); 5] = [
    ('u', Style::User),
    ('s', Style::System),
    ('w', Style::Other),
    ('i', Style::Other),
    ('t', Style::Other),
];

/// Appends a CPU's number, its bar and the share of its time that is used, in `width` cells.
fn push_bar(line: &mut ScreenLine, times: &CpuTimes, width: usize) {
    let begin = line.text.len();
    let shares = shares(times);
    let [user, system, iowait, irq, steal] = shares;
    push(&mut line.text, format_args!("{:>3}[", times.cpu));
    let used = format!("{:.1}%] ", user + system + irq + steal);
    let room = width.saturating_sub(line.text.len() - begin + used.len());
    let (mut drawn, mut total) = (0, iowait * 0.0);
    for ((letter, style), share) in PARTS.into_iter().zip(shares) {
        total += share;
        let upto = room.min((total * room as f64 / 100.0).round() as usize);
        let start = line.text.len();
        line.text.extend(std::iter::repeat_n(letter, upto - drawn));
        line.mark(start, style);
        drawn = upto;
    }
    line.text.extend(std::iter::repeat_n(' ', room - drawn));
    line.text.push_str(&used);
}
