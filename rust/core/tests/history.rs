//! What a history returns equals what was pushed.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use common::machine::Machine;
use precise_top_core::history::{History, Kept, Limits};
use precise_top_core::interval::{LastValues, Unchanged};
use precise_top_core::{
    Field, FieldSet, Flags, Header, Interval, Kind, Metric, RecordBuffer, RecordMut, SharedBytes,
    Snapshot, TaskTable, codec, state,
};
use proptest::prelude::*;

type Shared = Arc<Snapshot<SharedBytes>>;

/// A source of the tasks that ran: of the tasks of a machine some are left out.
struct Source {
    machine: Machine,
    last: Option<Arc<LastValues>>,
    /// Every so many snapshots hold all tasks.
    whole_every: usize,
    /// Tasks that are born and die in each interval.
    short_lives: u64,
    /// Tasks with a higher pid do not run.
    awake: u32,
    count: usize,
}

impl Source {
    fn new(seed: u64) -> Source {
        Source::of(Machine::new(seed))
    }

    fn of(machine: Machine) -> Source {
        let (whole_every, short_lives, awake) = (7, 3, u32::MAX);
        Source { machine, last: None, whole_every, short_lives, awake, count: 0 }
    }

    fn snapshot(&mut self) -> Shared {
        let whole = self.machine.step();
        self.count += 1;
        let is_whole = self.last.is_none() || self.count.is_multiple_of(self.whole_every);
        let snapshot = self.part_of(&whole, is_whole);
        let base = self.last.as_ref().map(|last| last.values_before(&snapshot).expect("a base"));
        match &mut self.last {
            Some(last) if !is_whole => Arc::make_mut(last).merge(&snapshot),
            last => *last = Some(Arc::new(LastValues::new(&snapshot, false, FieldSet::ALL))),
        }
        Arc::new(match base {
            Some(base) => snapshot.with_base(Arc::new(base)),
            None => snapshot,
        })
    }

    /// The tasks that ran, the dead, and short lives. The layout's masks are kept.
    fn part_of(&self, whole: &Snapshot<Vec<u8>>, is_whole: bool) -> Snapshot<SharedBytes> {
        let mut rows = RecordBuffer::new(whole.layout().record_size(), whole.len());
        for (row, record) in whole.iter().enumerate() {
            let pid = record.ac_pid().unwrap_or(0);
            let ran = pid <= self.awake && pid as usize % 3 != self.count % 3;
            let is_new =
                record.ac_start_ns() > Some(whole.header().begin.monotonic_ns - 3_000_000_000);
            if is_whole || ran || is_new || whole.is_exited(row) {
                rows.push(record.bytes(), record.filled());
            }
        }
        for number in 0..self.short_lives {
            rows.push(&short_life(whole, number), FieldSet::ALL);
        }
        let exited = whole.header().exited + self.short_lives as u32;
        let flags = whole.header().flags.with(Flags::WITHOUT_UNCHANGED, !is_whole);
        let flags = flags.with(Flags::EXITS, true);
        let header = Header { exited, flags, ..whole.header().clone() };
        let part = rows.into_snapshot(header, whole.layout().clone()).expect("rows");
        let living = whole.living() + self.short_lives as usize;
        let unchanged = living.saturating_sub(part.len()) as u32;
        part.with_unchanged(unchanged)
    }

    fn unchanged(&self) -> Option<Unchanged> {
        self.last.as_ref().map(LastValues::unchanged)
    }
}

/// The record of a task that was born and died just now.
fn short_life(whole: &Snapshot<Vec<u8>>, number: u64) -> Vec<u8> {
    let now = whole.header().begin.monotonic_ns;
    let mut bytes = vec![0; whole.layout().record_size()];
    let mut record = RecordMut::new(&mut bytes, whole.layout()).expect("the right size");
    let values = [
        (Field::ac_pid, 900_000 + number),
        (Field::ac_tgid, 900_000 + number),
        (Field::ac_ppid, 1 + number % 2),
        (Field::task_id, now + number),
        (Field::ac_start_ns, now - 1000),
        (Field::state, u64::from(state::DEAD)),
        (Field::ac_time_ns, now),
        (Field::ac_sum_exec_ns, 100_000 + now % 777 * number),
        (Field::cpu_run_virtual_total, 100_000 + now % 777 * number),
        (Field::ac_utime, now % 5 * 4000),
        (Field::ac_stime, number % 3 * 4000),
        (Field::nvcsw, number),
        (Field::read_bytes, 4096 * number),
    ];
    for (field, value) in values {
        record.set(field, value);
    }
    record.set_text(Field::ac_comm, format!("short{}", number % 4 / 2).as_bytes());
    bytes
}

/// What a screen shows of a frame. Bytes are told apart by their checksums.
#[derive(Debug, PartialEq)]
struct Shown {
    prev: String,
    cur: String,
    uses: Vec<(Option<u64>, Option<u64>, Option<u64>)>,
    unchanged: u32,
    totals: Option<(usize, u64, BTreeMap<&'static str, usize>)>,
    balance: String,
}

fn digest(snapshot: &Snapshot<SharedBytes>) -> String {
    let form = crc32c::crc32c(&codec::encode(snapshot));
    format!("{form:x} {} {:?}", snapshot.len(), snapshot.header().flags)
}

fn shown(interval: &Interval, unchanged: Option<&Unchanged>) -> Shown {
    let parts = |row| {
        let used = interval.usage(row);
        let steal_ns = used.and_then(|used| used.steal_ns);
        (used.map(|used| used.user_ns), used.map(|used| used.system_ns), steal_ns)
    };
    let records = |tasks: &Unchanged| {
        let records =
            (0..tasks.places()).filter_map(|place| Some(tasks.record(place)?.bytes().to_vec()));
        crc32c::crc32c(&records.flatten().collect::<Vec<u8>>())
    };
    Shown {
        prev: digest(interval.prev()),
        cur: digest(interval.cur()),
        uses: (0..interval.len()).map(parts).collect(),
        unchanged: unchanged.map_or(0, records),
        totals: unchanged.map(|tasks| {
            let totals = tasks.totals();
            (totals.tasks, totals.num_threads, totals.states())
        }),
        balance: format!("{:?}", interval.balance()),
    }
}

/// Pushes intervals, and returns what a screen showed of them.
fn push(history: &mut History, source: &mut Source, count: usize) -> Vec<Shown> {
    let mut prev = source.snapshot();
    history.begin(&prev).expect("a snapshot of all tasks");
    let mut all = Vec::new();
    for _ in 0..count {
        let cur = source.snapshot();
        let interval = Interval::between(Arc::clone(&prev), Arc::clone(&cur));
        let unchanged = source.unchanged();
        history.push(&interval, unchanged.as_ref()).expect("pushed");
        all.push(shown(&interval, unchanged.as_ref()));
        prev = cur;
    }
    all
}

fn read(history: &mut History, number: u64) -> Shown {
    let Kept { interval, unchanged, .. } =
        history.frame(number).expect("readable").expect("a frame");
    shown(&interval, unchanged.as_ref())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn frames_come_back_as_they_were(seed: u64, jumps in prop::collection::vec(0..300_u64, 8)) {
        let mut history = History::new(Limits::default());
        let mut source = Source::new(seed);
        let all = push(&mut history, &mut source, 300);
        prop_assert_eq!(history.numbers(), 0..300);
        let numbers = (0..300).chain((100..200).rev().step_by(9)).chain(jumps);
        for number in numbers {
            prop_assert_eq!(&read(&mut history, number), &all[number as usize], "{}", number);
        }
        prop_assert_eq!(history.exact_since(), 0);
    }

    #[test]
    fn frames_of_all_tasks_come_back_too(seed: u64) {
        let mut history = History::new(Limits::default());
        let mut machine = Machine::new(seed);
        let shots: Vec<Shared> =
            machine.snapshots(260).into_iter().map(|shot| Arc::new(shot.into_shared())).collect();
        let mut all = Vec::new();
        for pair in shots.windows(2) {
            let interval = Interval::between(Arc::clone(&pair[0]), Arc::clone(&pair[1]));
            history.push(&interval, None).expect("pushed");
            all.push(shown(&interval, None));
        }
        prop_assert_eq!(history.numbers(), 0..259);
        for number in (0..259).chain((0..259).rev().step_by(31)) {
            prop_assert_eq!(&read(&mut history, number), &all[number as usize], "{}", number);
        }
    }

    #[test]
    fn merging_keeps_the_sums(seed: u64) {
        let fill = |limits| {
            let mut history = History::new(limits);
            // Most rows are of short lives, so that the first runs that are merged make room enough.
            push(&mut history, &mut Source { short_lives: 300, ..Source::new(seed) }, 60);
            history
        };
        let mut large = fill(Limits::default());
        let limits = Limits { bytes: large.bytes() * 9 / 10, ..Limits::default() };
        let mut small = fill(limits);
        prop_assert!(small.bytes() <= limits.bytes, "{}", small.bytes());
        let exact = small.exact_since();
        prop_assert!(small.numbers().start < exact && exact < 60, "{exact}");
        let mut fewer = 0;
        for number in small.numbers() {
            let kept = small.frame(number).expect("readable").expect("a frame");
            let all = large.frame(number).expect("readable").expect("a frame");
            if number >= exact {
                let shown = |kept: &Kept| shown(&kept.interval, kept.unchanged.as_ref());
                prop_assert_eq!(shown(&kept), shown(&all));
                continue;
            }
            fewer += all.interval.len() - kept.interval.len();
            prop_assert_eq!(sums(&kept.interval), sums(&all.interval));
            let (merged, single) = (kept.interval.total(), all.interval.total());
            // A sum of two parts in whole µs.
            prop_assert!(merged.user_ns.abs_diff(single.user_ns) <= 4 * 1000);
            prop_assert!(merged.system_ns.abs_diff(single.system_ns) <= 4 * 1000);
            let (one, other) = (kept.unchanged.unwrap(), all.unchanged.unwrap());
            prop_assert_eq!(one.totals(), other.totals());
        }
        prop_assert!(fewer > 0);
    }
}

/// The sums of all counters and of the CPU time.
fn sums(interval: &Interval) -> Vec<String> {
    let ticks = [Field::ac_utime, Field::ac_stime];
    let counters = Field::ALL.iter().filter(|field| field.info().kind == Kind::Counter);
    let counters = counters.filter(|field| !ticks.contains(field));
    counters
        .map(|&field| Metric::Delta(field))
        .chain([Metric::TotalNs])
        .map(|metric| format!("{} {:?}", metric.name(), interval.sum(metric)))
        .collect()
}

#[test]
fn limits_hold() {
    let span_ns = 150_000_000_000;
    let limits = Limits { span_ns, bytes: 120_000 };
    let mut history = History::new(limits);
    let mut source = Source { short_lives: 0, ..Source::new(7) };
    let mut prev = source.snapshot();
    history.begin(&prev).expect("begun");
    for _ in 0..1200 {
        let cur = source.snapshot();
        let interval = Interval::between(Arc::clone(&prev), Arc::clone(&cur));
        history.push(&interval, source.unchanged().as_ref()).expect("pushed");
        prev = cur;
        assert!(history.bytes() <= limits.bytes, "{}", history.bytes());
    }
    let numbers = history.numbers();
    assert_eq!(numbers.end, 1200);
    let (begin, _) = history.times(numbers.start).expect("the oldest");
    let (_, end) = history.times(1199).expect("the newest");
    // One run more than asked for at most.
    assert!(end.boottime_ns - begin.boottime_ns <= span_ns + 130_000_000_000);
    assert!(history.frame(numbers.start - 1).expect("no error").is_none());
    assert!(history.frame(numbers.end).expect("no error").is_none());
    for number in numbers.clone().skip(1) {
        assert!(history.connects(number), "{number}");
        let (begin, end) = history.times(number).expect("a frame");
        assert_eq!(Some(begin), history.times(number - 1).map(|(_, end)| end));
        assert_eq!(history.at_time(end.realtime_ns), Some(number));
        assert_eq!(history.at_time(begin.realtime_ns + 1), Some(number));
    }
    assert_eq!(history.at_time(0), Some(numbers.start));
    assert_eq!(history.at_time(u64::MAX), Some(1199));
}

#[test]
fn tasks_that_sleep_are_kept_once() {
    let machine = Machine::like_a_server(1000, 30, 10);
    // Pids begin at 100. All tasks are read once a minute.
    let mut source = Source { awake: 140, short_lives: 0, whole_every: 60, ..Source::of(machine) };
    let mut history = History::new(Limits { span_ns: 500_000_000_000, bytes: usize::MAX });
    let mut all = push(&mut history, &mut source, 240);
    let bytes = history.bytes();
    let mut prev =
        Arc::clone(history.frame(239).expect("readable").expect("a frame").interval.cur());
    for _ in 0..720 {
        let cur = source.snapshot();
        let interval = Interval::between(Arc::clone(&prev), Arc::clone(&cur));
        history.push(&interval, source.unchanged().as_ref()).expect("pushed");
        all.push(shown(&interval, source.unchanged().as_ref()));
        prev = cur;
    }
    assert!(history.numbers().start >= 240, "the first key is forgotten");
    // Its anchor is not.
    assert!(history.bytes() > bytes / 2, "{} after {bytes}", history.bytes());
    assert!(history.bytes() < 3 * bytes, "{} after {bytes}", history.bytes());
    for number in history.numbers().rev().step_by(37) {
        assert_eq!(read(&mut history, number), all[number as usize], "{number}");
    }
}

#[test]
fn peaks_are_those_of_the_interval() {
    let mut history = History::new(Limits::default());
    history.measure([Metric::TotalNs, Metric::Field(Field::rss_kb), Metric::PerSec(Field::nvcsw)]);
    push(&mut history, &mut Source::new(3), 20);
    for number in 0..20 {
        let kept = history.frame(number).expect("readable").expect("a frame");
        let interval = kept.interval;
        let uses = (0..interval.len()).filter_map(|row| interval.usage(row));
        let highest = uses.map(|used| used.total_ns()).max().map(|ns| ns as f32);
        let peak = history.peak(number, Metric::TotalNs).expect("measured");
        assert_eq!(Some(peak.highest), highest);
        assert!(peak.sum >= peak.highest);
        assert!(history.peak(number, Metric::PerSec(Field::nvcsw)).is_some());
        assert_eq!(history.peak(number, Metric::Field(Field::rss_kb)), None);
        assert_eq!(history.peak(number, Metric::Tasks), None);
    }
}

#[test]
fn another_begin_is_a_gap() {
    let mut history = History::new(Limits::default());
    let mut source = Source::new(5);
    push(&mut history, &mut source, 5);
    source.last = None;
    push(&mut history, &mut source, 5);
    assert_eq!(history.numbers(), 0..10);
    let connected: Vec<bool> = (0..10).map(|number| history.connects(number)).collect();
    let expected: Vec<bool> = (0..10).map(|number| number != 0 && number != 5).collect();
    assert_eq!(connected, expected);
}
