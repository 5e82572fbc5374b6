//! Groups of rows, and the cumulative view: every time counts once.

mod common;

use std::collections::HashMap;
use std::sync::Arc;

use common::{Shared, snapshot_with};
use precise_top_core::{
    Cell, CgroupName, Field, Filter, Flags, GroupBy, GroupKey, Groups, Interval, Key, Metric,
    Query, Record, TaskTable,
};
use proptest::prelude::*;

use Field::{
    ac_cutime, ac_pid, ac_ppid, ac_start_ns, ac_stime, ac_sum_exec_ns, ac_tgid, ac_uid, ac_utime,
    cgroup_id,
};

const SECOND: u64 = 1_000_000_000;
const MS: u64 = 1_000_000;

type Row = Vec<(Field, u64)>;

fn task(pid: u64, ppid: u64, start: u64, cpu: u64) -> Row {
    vec![
        (ac_pid, pid),
        (ac_tgid, pid),
        (ac_ppid, ppid),
        (ac_start_ns, start),
        (ac_sum_exec_ns, cpu),
        (ac_utime, 1),
        (ac_stime, 0),
        (ac_uid, pid % 3),
        (cgroup_id, 1 + pid % 2),
    ]
}

fn at(seconds: u64, living: &[Row], dead: &[Row], known: bool) -> Shared {
    let rows: Vec<&[_]> = living.iter().chain(dead).map(Vec::as_slice).collect();
    snapshot_with(seconds, &rows, |header| {
        header.exited = dead.len() as u32;
        header.flags = header.flags.with(Flags::EXITS, known);
    })
}

fn int(cell: Option<Cell<'_>>) -> Option<i128> {
    match cell {
        Some(Cell::Int(number)) => Some(number),
        _ => None,
    }
}

/// Pid and total of each group.
fn groups(fold: &Groups) -> HashMap<i128, i128> {
    (0..fold.rows())
        .filter_map(|row| {
            let pid = int(fold.cell(row, Metric::Field(ac_pid)))?;
            Some((pid, int(fold.cell(row, Metric::TotalNs)).unwrap_or(0)))
        })
        .collect()
}

#[test]
fn a_build_shows_as_its_make() {
    let new = 10 * SECOND + 1;
    let before = at(10, &[task(1, 0, 1, 5), task(50, 1, 1, 7)], &[], true);
    // make 50 started sh 60, which started cc 61; all but make are dead.
    let dead = [task(61, 60, new, 900), task(60, 50, new, 30), task(77, 999, new, 4)];
    let after = at(11, &[task(1, 0, 1, 6), task(50, 1, 1, 17)], &dead, true);
    let interval = Arc::new(Interval::between(before, after));
    let fold = Groups::new(Arc::clone(&interval), GroupBy::Parent, &HashMap::new(), |_, _| None);
    // 77's parent was never seen: it stays alone.
    assert_eq!(groups(&fold), HashMap::from([(1, 1), (50, 940), (77, 4)]));
    assert_eq!(int(fold.cell(1, Metric::Tasks)), Some(3));
}

#[test]
fn a_dead_thread_goes_to_its_own_process() {
    let mut thread = task(61, 1, 10 * SECOND + 1, 40);
    thread[1].1 = 50;
    let before = at(10, &[task(1, 0, 1, 5), task(50, 1, 1, 7)], &[], true);
    let after = at(11, &[task(1, 0, 1, 5), task(50, 1, 1, 8)], &[thread], true);
    let interval = Arc::new(Interval::between(before, after));
    let fold = Groups::new(interval, GroupBy::Parent, &HashMap::new(), |_, _| None);
    assert_eq!(groups(&fold), HashMap::from([(1, 0), (50, 41)]));
}

#[test]
fn the_dead_have_their_ancestors_session() {
    let before = at(10, &[task(50, 1, 1, 7), task(51, 50, 1, 0)], &[], true);
    let dead = [task(60, 51, 10 * SECOND + 1, 30)];
    let after = at(11, &[task(50, 1, 1, 8), task(51, 50, 1, 2)], &dead, true);
    let interval = Arc::new(Interval::between(before, after));
    let sessions = HashMap::from([(50, 50), (51, 50)]);
    let fold = Groups::new(interval, GroupBy::Session, &sessions, |_, _| None);
    assert_eq!(groups(&fold), HashMap::from([(50, 33)]));
}

/// A parent that has waited for a child which used 30 ms before the interval and 20 in it.
fn waited(dead: &[Row], known: bool) -> Interval {
    let with = |mut row: Row, us: u64| {
        row.push((ac_cutime, us));
        row
    };
    let child = task(60, 50, 1, 30 * MS);
    let before = at(10, &[with(task(50, 1, 1, 7 * MS), 5_000), with(child, 2_000)], &[], known);
    // The child's own 50 ms and its dead children's 2 ms.
    let after = at(11, &[with(task(50, 1, 1, 8 * MS), 57_000)], dead, known);
    Interval::between(before, after)
}

#[test]
fn children_count_for_what_they_used_in_the_interval() {
    let seen = waited(&[], false);
    assert_eq!(int(seen.cell(0, Metric::ChildUserNs)), Some(i128::from(20 * MS)));
    assert_eq!(int(seen.cell(0, Metric::AllNs)), Some(i128::from(21 * MS)));
}

#[test]
fn a_dead_childs_time_is_in_its_own_row_where_it_has_one() {
    let mut child = task(60, 50, 1, 50 * MS);
    child.push((ac_cutime, 2_000));
    let seen = waited(&[child], true);
    assert_eq!(int(seen.cell(0, Metric::ChildUserNs)), Some(i128::from(20 * MS)));
    assert_eq!(int(seen.sum(Metric::AllNs)), Some(i128::from(MS + 20 * MS)));
}

#[test]
fn threads_make_their_process() {
    let thread = |pid: u64, cpu: u64| {
        let mut row = task(pid, 1, 1, cpu);
        row.retain(|&(field, _)| field != Field::ac_tgid);
        row.push((Field::ac_tgid, 50));
        row
    };
    let before = at(10, &[thread(50, 0), thread(51, 0), task(60, 1, 1, 0)], &[], true);
    let living = [thread(50, MS), thread(51, 20 * MS), task(60, 1, 1, 5 * MS)];
    let mut dead = thread(52, 7 * MS);
    dead.retain(|&(field, _)| field != Field::ac_start_ns);
    dead.push((Field::ac_start_ns, 10 * SECOND + 1));
    let interval = Arc::new(Interval::between(before, at(11, &living, &[dead], true)));
    let fold = Groups::new(interval, GroupBy::Process, &HashMap::new(), |_, _| None);
    assert_eq!(fold.rows(), 2);
    assert_eq!(fold.record(0).and_then(|record| record.ac_pid()), Some(50));
    assert_eq!(int(fold.cell(0, Metric::TotalNs)), Some(i128::from(28 * MS)));
    assert_eq!(int(fold.cell(0, Metric::Tasks)), Some(3));
    assert_eq!(int(fold.cell(1, Metric::TotalNs)), Some(i128::from(5 * MS)));
}

fn cells(fold: &Groups, field: Field) -> Vec<Option<i128>> {
    (0..fold.rows()).map(|row| int(fold.cell(row, Metric::Field(field)))).collect()
}

#[test]
fn a_group_has_sums_and_what_its_members_share() {
    let with = |mut row: Row, uid: u64, rss: u64| {
        row.retain(|&(field, _)| field != ac_uid);
        row.extend([(ac_uid, uid), (Field::rss_kb, rss), (Field::read_bytes, 10 * rss)]);
        row
    };
    let living = [
        with(task(2, 1, 1, 5), 7, 100),
        with(task(3, 1, 1, 7), 7, 20),
        with(task(4, 1, 1, 9), 0, 3),
    ];
    let dead = [with(task(5, 2, 10 * SECOND + 1, 8), 7, 4)];
    let before = at(10, &living, &[], true);
    let interval = Arc::new(Interval::between(before, at(11, &living, &dead, true)));
    let fold = |by| Groups::new(Arc::clone(&interval), by, &HashMap::new(), |_, _| None);

    let users = fold(GroupBy::User);
    assert_eq!(cells(&users, ac_uid), [Some(7), Some(0)]);
    assert_eq!(cells(&users, ac_pid), [None, Some(4)]);
    assert_eq!(cells(&users, Field::rss_kb), [Some(120), Some(3)], "the dead have no memory");
    assert_eq!(cells(&users, Field::read_bytes), [Some(1240), Some(30)]);
    assert_eq!(int(users.cell(0, Metric::CpuNs)), Some(20));
    assert_eq!(users.key(0, Metric::Field(Field::rss_kb)), Some(Key::Int(120)));
    // What a task started is shown as that task.
    assert_eq!(cells(&fold(GroupBy::Parent), ac_pid), [Some(2), Some(3), Some(4)]);
}

#[test]
fn tasks_of_unknown_users_are_one_group() {
    let unknown = |pid| {
        let mut row = task(pid, 1, 1, 5);
        row.retain(|&(field, _)| field != ac_uid);
        row
    };
    let rows = [unknown(2), unknown(3)];
    let interval = Interval::between(at(10, &rows, &[], true), at(11, &rows, &[], true));
    let fold = Groups::new(Arc::new(interval), GroupBy::User, &HashMap::new(), |_, _| None);
    assert_eq!(fold.rows(), 1);
    assert_eq!(title(&fold, 0), "unknown");
    assert_eq!(cells(&fold, ac_uid), [None]);
}

#[test]
fn sums_over_threads_count_the_memory_of_a_process_once() {
    let thread = |pid: u64, tgid: u64, rss: u64| {
        let mut row = task(pid, 1, 1, 0);
        row.retain(|&(field, _)| field != ac_tgid && field != ac_uid);
        row.extend([(ac_tgid, tgid), (ac_uid, 7), (Field::rss_kb, rss)]);
        row.extend([(Field::num_threads, 2), (ac_cutime, 9), (Field::nvcsw, 1)]);
        row
    };
    let rows = [thread(50, 50, 100), thread(51, 50, 100), thread(60, 60, 5)];
    let threads = |seconds| {
        let rows: Vec<&[_]> = rows.iter().map(Vec::as_slice).collect();
        snapshot_with(seconds, &rows, |header| {
            header.flags = header.flags.with(Flags::THREADS, true);
        })
    };
    let interval = Arc::new(Interval::between(threads(10), threads(11)));
    let fold = Groups::new(interval, GroupBy::User, &HashMap::new(), |_, _| None);
    assert_eq!(cells(&fold, Field::rss_kb), [Some(105)]);
    assert_eq!(cells(&fold, Field::num_threads), [Some(4)]);
    assert_eq!(cells(&fold, ac_cutime), [Some(18)]);
    assert_eq!(cells(&fold, Field::nvcsw), [Some(3)]);
}

#[test]
fn large_groups_have_the_sums_of_their_members() {
    let row = |pid: u64, times: u64| {
        let mut row = task(pid, 1, 1, pid * times);
        row.retain(|&(field, _)| field != ac_uid);
        row.extend([(ac_uid, 7), (Field::rss_kb, pid), (Field::nvcsw, pid * times)]);
        row.extend([(Field::blkio_delay_total, pid * times), (Field::cpu_delay_total, 3)]);
        row
    };
    let rows = |times| (101..=140).map(|pid| row(pid, times)).collect::<Vec<_>>();
    let interval = Interval::between(at(10, &rows(1), &[], true), at(11, &rows(3), &[], true));
    let fold = Groups::new(Arc::new(interval), GroupBy::User, &HashMap::new(), |_, _| None);
    assert_eq!(fold.rows(), 1);
    let sum: i128 = (101..=140).sum();
    for (metric, wanted) in [
        (Metric::TotalNs, 2 * sum),
        (Metric::OwnNs, 2 * sum),
        (Metric::LivingNs, 0),
        (Metric::DeadNs, 0),
        (Metric::WaitNs, 2 * sum),
        (Metric::Delta(Field::nvcsw), 2 * sum),
        (Metric::CpuNs, 3 * sum),
        (Metric::Field(Field::nvcsw), 3 * sum),
        (Metric::Field(Field::rss_kb), sum),
        (Metric::Tasks, 40),
    ] {
        assert_eq!(int(fold.cell(0, metric)), Some(wanted), "{metric:?}");
        assert_eq!(int(fold.sum(metric)), Some(wanted), "{metric:?}");
        assert!(matches!(fold.key(0, metric), Some(Key::Int(key)) if key == wanted), "{metric:?}");
    }
    // What they do not share.
    assert!(fold.cell(0, Metric::Field(ac_pid)).is_none());
    assert!(matches!(fold.cell(0, Metric::Field(ac_uid)), Some(Cell::Int(7))));
}

proptest! {
    #[test]
    fn the_groups_sums_are_the_intervals(
        tasks in proptest::collection::vec((1u64..40, 0u64..40, 0u64..1 << 40), 1..40),
        living in 0usize..40,
    ) {
        let before = at(10, &[], &[], true);
        let rows: Vec<Row> = tasks
            .iter()
            .enumerate()
            .map(|(index, &(pid, ppid, cpu))| {
                task(pid + 40 * (index as u64 % 2), ppid, 10 * SECOND + 1 + index as u64, cpu)
            })
            .collect();
        let (living, dead) = rows.split_at(living.min(rows.len()));
        let interval = Arc::new(Interval::between(before, at(11, living, dead, true)));
        let sessions: HashMap<u32, u32> = (0..80).map(|pid| (pid, pid / 7)).collect();
        for by in GroupBy::ALL {
            let fold = Groups::new(Arc::clone(&interval), by, &sessions, |_, _| None);
            for column in [Metric::UserNs, Metric::SystemNs, Metric::TotalNs, Metric::Tasks] {
                prop_assert_eq!(int(fold.sum(column)), int(interval.sum(column)), "{:?}", by);
            }
            let mut members: Vec<_> =
                (0..fold.rows()).flat_map(|group| fold.members(group).to_vec()).collect();
            members.sort_unstable();
            prop_assert_eq!(members, (0..interval.len()).collect::<Vec<_>>());
        }
    }
}

fn title(fold: &Groups, row: usize) -> String {
    match fold.cell(row, Metric::Title) {
        Some(Cell::Text(title)) => String::from_utf8_lossy(title).into_owned(),
        other => format!("{other:?}"),
    }
}

#[test]
fn groups_of_a_cgroup_or_user_are_called_by_it() {
    let tasks = [task(2, 0, 1, 5), task(3, 0, 1, 7), task(4, 0, 1, 9), task(6, 0, 1, 1)];
    let (before, after) = (at(10, &tasks, &[], true), at(11, &tasks, &[], true));
    let interval = Arc::new(Interval::between(before, after));
    // Of the cgroup's tasks the first that is asked knows nothing.
    let name = |group, record: &Record<'_>| match (group, record.ac_pid()) {
        (GroupKey::Cgroup(1), Some(4)) => Some(b"/even".to_vec()),
        (GroupKey::User(1), _) => Some(b"one".to_vec()),
        _ => None,
    };
    let titles = |by| {
        let fold = Groups::new(Arc::clone(&interval), by, &HashMap::new(), name);
        (0..fold.rows()).map(|row| title(&fold, row)).collect::<Vec<_>>()
    };
    assert_eq!(titles(GroupBy::Cgroup), ["/even", "cgroup 2"]);
    assert_eq!(titles(GroupBy::User), ["2", "0", "one"]);
    // Others are called by the task that they show.
    assert_eq!(titles(GroupBy::Parent), ["task2", "task3", "task4", "task6"]);

    let fold = Groups::new(Arc::clone(&interval), GroupBy::Cgroup, &HashMap::new(), name);
    let chosen = |text: &str, descending| {
        let filter = Filter { text: Some(text.into()), ..Filter::default() };
        let sort = Some(Metric::Title);
        fold.select(&Query { sort, descending, filter, ..Query::default() })
    };
    assert_eq!(chosen("EVEN", false), [0]);
    assert_eq!(chosen("", false), [0, 1]);
    assert_eq!(chosen("", true), [1, 0]);
    assert_eq!(chosen("3", false), [1], "by a member's pid");
}

#[test]
fn cgroups_with_a_name_in_common_are_one_group() {
    let tasks: Vec<Row> = (4..=7)
        .map(|pid| {
            let mut row = task(pid, 1, 1, pid * MS);
            row.retain(|(field, _)| *field != cgroup_id);
            row.push((cgroup_id, pid));
            row
        })
        .collect();
    let interval = Arc::new(Interval::between(at(1, &[], &[], true), at(2, &tasks, &[], true)));
    let id = "0".repeat(64);
    let name = |group: GroupKey, _: &Record<'_>| {
        let path = match group {
            GroupKey::Cgroup(4) => format!("/docker/{id}/init.scope"),
            GroupKey::Cgroup(5) => format!("/docker/{id}/system.slice/ssh.service"),
            GroupKey::Cgroup(6) => "/system.slice/ssh.service".into(),
            _ => return None,
        };
        Some(path.into_bytes())
    };
    let titles = |kind| {
        let groups =
            Groups::new(Arc::clone(&interval), GroupBy::OfCgroup(kind), &HashMap::new(), name);
        (0..groups.rows())
            .map(|row| (title(&groups, row), groups.members(row).len()))
            .collect::<Vec<_>>()
    };
    let group = |title: &str, tasks| (title.to_owned(), tasks);
    assert_eq!(
        titles(CgroupName::Container),
        [group("000000000000", 2), group("no container", 1), group("unknown", 1)]
    );
    assert_eq!(
        titles(CgroupName::Unit),
        [group("init.scope", 1), group("ssh.service", 2), group("unknown", 1)]
    );
}
