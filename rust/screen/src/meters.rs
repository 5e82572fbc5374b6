//! What the machine did in an interval: pressure, disks and networks, in a line.

use precise_top_core::machine::{Machine, Pressure};
use precise_top_core::{Interval, System};

use crate::line::{ScreenLine, Style};
use crate::settings::{Meter, ViewSettings};
use crate::spark;
use crate::text;

/// Cells of a bar of memory.
const BAR: usize = 8;
/// From which share of time on a pressure warns, and from which it alarms.
const PRESSED: (f64, f64) = (10.0, 40.0);

/// Rates of the machine in an interval; None is unknown.
#[derive(Clone, Debug, Default)]
pub struct MachineRates {
    /// Share of time in which some task waited for CPU, I/O and memory, in per cent.
    pub pressures_pct: [Option<f64>; 3],
    /// Bytes a second that disks read and wrote, and the mean share of time in which they were
    /// busy, in per cent.
    pub disks: Option<(f64, f64, f64)>,
    /// Bytes a second that came in and went out.
    pub networks: Option<(f64, f64)>,
}

impl MachineRates {
    /// The rates of an interval, of the meters that both snapshots have and that are shown.
    pub(crate) fn of(interval: &Interval, settings: &ViewSettings) -> MachineRates {
        let (before, now) = (&interval.prev().header().machine, &interval.cur().header().machine);
        let seconds = interval.interval_ns() as f64 / 1e9;
        let pressure = |of: fn(&Machine) -> Option<Pressure>| {
            let now = of(now).filter(|_| settings.shows(Meter::Pressure))?;
            now.some.share_pct(&of(before)?.some, interval.interval_ns())
        };
        let mut rates = MachineRates {
            pressures_pct: [
                pressure(|machine| machine.cpu_pressure),
                pressure(|machine| machine.io_pressure),
                pressure(|machine| machine.memory_pressure),
            ],
            ..MachineRates::default()
        };
        if seconds <= 0.0 {
            return rates;
        }
        let per_s = |count: u64| count as f64 / seconds;
        let is_of = |wanted: &[String], name: &str| {
            wanted.is_empty() || wanted.iter().any(|wanted| wanted == name)
        };
        let is_shown = |name: &str| is_of(&settings.disks, name);
        if settings.shows(Meter::Disks)
            && let Some((counts, before)) = now.sum_disks(is_shown).zip(before.sum_disks(is_shown))
        {
            let counts = counts.since(&before);
            let disks = now.disks.iter().flatten().filter(|disk| is_shown(&disk.name)).count();
            let busy = (per_s(counts.busy_ms) / 10.0 / disks.max(1) as f64).min(100.0);
            rates.disks = Some((per_s(counts.read_bytes), per_s(counts.written_bytes), busy));
        }
        let is_shown = |name: &str| is_of(&settings.networks, name);
        if settings.shows(Meter::Networks)
            && let Some((counts, before)) =
                now.sum_networks(is_shown).zip(before.sum_networks(is_shown))
        {
            let counts = counts.since(&before);
            rates.networks = Some((per_s(counts.received_bytes), per_s(counts.sent_bytes)));
        }
        rates
    }

    /// Whether there is something to show.
    pub(crate) fn is_known(&self) -> bool {
        let is_pressed = self.pressures_pct.iter().any(Option::is_some);
        is_pressed || self.disks.is_some() || self.networks.is_some()
    }

    /// The line of these rates.
    pub(crate) fn line(&self) -> ScreenLine {
        let mut line = ScreenLine::default();
        if self.pressures_pct.iter().any(Option::is_some) {
            line.text.push_str("PSI");
        }
        for (name, share) in ["cpu", "io", "mem"].into_iter().zip(self.pressures_pct) {
            let Some(share) = share else { continue };
            text::push(&mut line.text, format_args!(" {name} "));
            let style = match share {
                _ if share >= PRESSED.1 => Style::Bad,
                _ if share >= PRESSED.0 => Style::Warn,
                _ => Style::Plain,
            };
            let begin = line.text.len();
            let digits = usize::from(share < 10.0);
            text::push(&mut line.text, format_args!("{share:.digits$}%"));
            line.mark(begin, style);
        }
        let between = if line.text.is_empty() { "" } else { "  " };
        if let Some((read, written, busy)) = self.disks {
            text::push(&mut line.text, format_args!("{between}disk r "));
            text::push_bytes_rate(&mut line.text, read);
            line.text.push_str("/s w ");
            text::push_bytes_rate(&mut line.text, written);
            text::push(&mut line.text, format_args!("/s {busy:.0}%"));
        }
        let between = if line.text.is_empty() { "" } else { "  " };
        if let Some((received, sent)) = self.networks {
            text::push(&mut line.text, format_args!("{between}net in "));
            text::push_bytes_rate(&mut line.text, received);
            line.text.push_str("/s out ");
            text::push_bytes_rate(&mut line.text, sent);
            line.text.push_str("/s");
        }
        line
    }
}

/// The line of memory and swap: bars of what is used, in numbers too.
pub(crate) fn memory(system: &System, settings: &ViewSettings) -> ScreenLine {
    let mut line = ScreenLine::plain(String::with_capacity(128));
    if settings.shows(Meter::Memory) {
        push_memory(&mut line, system);
    }
    if settings.shows(Meter::Swap) {
        line.text.push_str(if line.text.is_empty() { "swap " } else { "  swap " });
        let swapped_kb = system.swap_total_kb.saturating_sub(system.swap_free_kb);
        push_bar(&mut line, swapped_kb, system.swap_total_kb);
    }
    line
}

fn push_memory(line: &mut ScreenLine, system: &System) {
    let used_kb = system.mem_total_kb.saturating_sub(system.mem_available_kb);
    line.text.push_str("mem ");
    push_bar(line, used_kb, system.mem_total_kb);
    line.text.push_str("  free ");
    text::push_kibibytes(&mut line.text, system.mem_free_kb as f64);
    line.text.push_str("  cache ");
    let cache_kb = system.cached_kb.saturating_add(system.buffers_kb);
    text::push_kibibytes(&mut line.text, cache_kb as f64);
}

/// Appends a bar, and the two numbers; without a bar where there is nothing to use.
fn push_bar(line: &mut ScreenLine, used_kb: u64, total_kb: u64) {
    if total_kb > 0 {
        let share = used_kb as f64 / total_kb as f64;
        line.text.push('[');
        let begin = line.text.len();
        let cells = spark::push_cells(&mut line.text, share, BAR);
        line.mark(begin, if share < 0.9 { Style::User } else { Style::Bad });
        line.text.extend(std::iter::repeat_n('·', BAR - cells));
        line.text.push_str("] ");
    }
    text::push_kibibytes(&mut line.text, used_kb as f64);
    line.text.push('/');
    text::push_kibibytes(&mut line.text, total_kb as f64);
}
