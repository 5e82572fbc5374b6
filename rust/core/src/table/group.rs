//! Groups: the rows of an interval combined by a key.
//!
//! Design decisions
//!
//! * Every row is in exactly one group, and a group's use is the sum of its rows', so
//!   that the groups' sum is the interval's, to the ns.
//! * A group has the sums of counters, memory and threads. A group of one task and what it
//!   started shows that task's other fields; any other group those that its members share.
//!   The title of a user's or cgroup's group is its name.

use std::collections::HashMap;
use std::sync::Arc;

use super::members::Members;
use super::metric::Metric;
use super::query::{Cell, Key, TaskTable};
use super::slices::{Slice, Slices};
use super::tasks::key_of;
use crate::cgroup::CgroupName;
use crate::header::Header;
use crate::identity::{HashTask, Identity};
use crate::interval::Interval;
use crate::interval::ancestors::{self, Step};
use crate::record::Record;

/// The key by which rows are combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GroupBy {
    /// Process, for intervals of threads; a group shows its leader.
    Process,
    /// The nearest living ancestor of a dead task; each living task is a group.
    Parent,
    /// Session; a dead task has its nearest living ancestor's.
    Session,
    /// Command name.
    Name,
    /// User.
    User,
    /// Cgroup; a task without one has its nearest living ancestor's.
    Cgroup,
    /// A name in the path of the cgroup.
    OfCgroup(CgroupName),
}

impl GroupBy {
    /// All keys.
    pub const ALL: [GroupBy; 9] = [
        GroupBy::Process,
        GroupBy::Parent,
        GroupBy::Session,
        GroupBy::Name,
        GroupBy::User,
        GroupBy::Cgroup,
        GroupBy::OfCgroup(CgroupName::Container),
        GroupBy::OfCgroup(CgroupName::Pod),
        GroupBy::OfCgroup(CgroupName::Unit),
    ];

    /// The name used on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            GroupBy::Process => "process",
            GroupBy::Parent => "parent",
            GroupBy::Session => "session",
            GroupBy::Name => "name",
            GroupBy::User => "user",
            GroupBy::Cgroup => "cgroup",
            GroupBy::OfCgroup(name) => name.name(),
        }
    }

    /// Whether a group is one task with its threads or with what it started.
    const fn is_of_one_task(self) -> bool {
        matches!(self, GroupBy::Process | GroupBy::Parent | GroupBy::Session)
    }

    /// The key of that name.
    pub fn from_name(name: &str) -> Option<GroupBy> {
        GroupBy::ALL.into_iter().find(|by| by.name() == name)
    }
}

/// The value of the key that a group's rows have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Common<'a> {
    /// A group of this row and of dead tasks whose nearest living ancestor it is.
    Row(usize),
    Process(u32),
    Session(u32),
    Name(&'a [u8]),
    Key(GroupKey),
}

/// A group that has a name other than its members'.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GroupKey {
    /// The tasks of a user.
    User(u32),
    /// The tasks of a cgroup.
    Cgroup(u64),
    /// The tasks whose user or cgroup is unknown.
    Unknown,
}

impl GroupKey {
    /// The title where the name is unknown.
    pub(super) fn number(self) -> Vec<u8> {
        match self {
            GroupKey::User(uid) => uid.to_string().into_bytes(),
            GroupKey::Cgroup(id) => format!("cgroup {id}").into_bytes(),
            GroupKey::Unknown => b"unknown".to_vec(),
        }
    }
}

/// How many members are tried for the name of their group: some may be gone.
pub(super) const TRIED_MEMBERS: usize = 4;

/// The rows of an interval in groups.
#[derive(Clone, Debug)]
pub struct Groups {
    by: GroupBy,
    /// All rows, one group after the other.
    slices: Slices,
    /// The rows of each group; the first one is the living member with the lowest pid.
    groups: Vec<Slice>,
    /// The title of each group; None for that of its first row.
    titles: Vec<Option<Vec<u8>>>,
    are_named: bool,
}

impl Groups {
    /// The groups of an interval. `sessions` has the session of each living process, for
    /// [`GroupBy::Session`]. `name` returns the name of a group from one of its members; a
    /// group without a name has its number as title.
    pub fn new(
        interval: Arc<Interval>,
        by: GroupBy,
        sessions: &HashMap<u32, u32>,
        name: impl Fn(GroupKey, &Record<'_>) -> Option<Vec<u8>>,
    ) -> Groups {
        let ancestry = Ancestry::of(&interval);
        let mut order: HashMap<Common<'_>, usize> = HashMap::new();
        let (mut groups, mut named): (Vec<Vec<usize>>, Vec<_>) = (Vec::new(), Vec::new());
        for row in 0..interval.len() {
            let common = ancestry.common(row, by, sessions);
            let group = *order.entry(common).or_insert_with(|| {
                groups.push(Vec::new());
                named.push(match common {
                    Common::Key(key) => Some(key),
                    _ => None,
                });
                groups.len() - 1
            });
            groups[group].push(row);
        }
        groups.iter_mut().for_each(|group| put_head_first(&interval, group));
        let mut are_named = true;
        let title = |(group, members): (Option<GroupKey>, &Vec<usize>)| {
            let group = group?;
            let asked =
                members.iter().take(TRIED_MEMBERS).filter_map(|&row| interval.cur().get(row));
            let mut names = asked.filter_map(|record| name(group, &record));
            let name = names.next();
            are_named &= name.is_some() || group == GroupKey::Unknown;
            Some(name.unwrap_or_else(|| group.number()))
        };
        let mut titles = named.into_iter().zip(&groups).map(title).collect();
        if let GroupBy::OfCgroup(name) = by {
            (groups, titles) = combined(&interval, name, groups.into_iter().zip(titles));
        }
        let mut rows = Vec::with_capacity(interval.len());
        let slice = |mut members: Vec<usize>| {
            let begin = rows.len();
            rows.append(&mut members);
            let end = rows.len();
            // A group that has a name shows what all its members share, another one its first
            // row's.
            let own = if by.is_of_one_task() { 1 } else { end - begin };
            Slice { begin, own, end }
        };
        let groups = groups.into_iter().map(slice).collect();
        Groups { by, slices: Slices::new(interval, rows), groups, titles, are_named }
    }

    /// The interval whose rows they are.
    pub fn interval(&self) -> &Arc<Interval> {
        self.slices.interval()
    }

    /// Whether the name of each group was known that has one.
    pub fn are_named(&self) -> bool {
        self.are_named
    }

    /// The rows of a group.
    pub fn members(&self, group: usize) -> &[usize] {
        self.values(group).rows
    }

    fn slice(&self, group: usize) -> Slice {
        self.groups.get(group).copied().unwrap_or_default()
    }

    fn values(&self, group: usize) -> Members<'_> {
        self.slices.members(self.slice(group))
    }
}

/// Groups of cgroups with their paths, those together whose paths have the same name.
fn combined(
    interval: &Interval,
    name: CgroupName,
    of_paths: impl Iterator<Item = (Vec<usize>, Option<Vec<u8>>)>,
) -> (Vec<Vec<usize>>, Vec<Option<Vec<u8>>>) {
    let (mut groups, mut titles): (Vec<Vec<usize>>, Vec<_>) = (Vec::new(), Vec::new());
    let mut order = HashMap::new();
    for (members, path) in of_paths {
        let path = path.unwrap_or_default();
        let title = match name.of(&path) {
            // A group without a path has no slash.
            _ if !path.starts_with(b"/") => b"unknown".to_vec(),
            none if none.is_empty() => format!("no {}", name.name()).into_bytes(),
            name => name.into_owned(),
        };
        let group = *order.entry(title).or_insert_with_key(|title: &Vec<u8>| {
            groups.push(Vec::new());
            titles.push(Some(title.clone()));
            groups.len() - 1
        });
        groups[group].extend(members);
    }
    groups.iter_mut().for_each(|group| put_head_first(interval, group));
    (groups, titles)
}

/// Puts the living member with the lowest pid first, or else the dead one.
fn put_head_first(interval: &Interval, group: &mut [usize]) {
    let pid = |row: usize| interval.cur().get(row).and_then(|record| record.ac_pid());
    let head = (0..group.len())
        .min_by_key(|&at| (interval.is_exited(group[at]), pid(group[at])))
        .unwrap_or(0);
    if !group.is_empty() {
        group.swap(0, head);
    }
}

impl TaskTable for Groups {
    fn rows(&self) -> usize {
        self.groups.len()
    }

    fn record(&self, row: usize) -> Option<Record<'_>> {
        self.interval().cur().get(*self.members(row).first()?)
    }

    fn any_record(&self, row: usize, test: &dyn Fn(&Record<'_>) -> bool) -> bool {
        self.values(row).records().any(|(_, record)| test(&record))
    }

    fn group_name(&self, row: usize) -> Option<&[u8]> {
        if self.by.is_of_one_task() { None } else { self.title(row) }
    }

    fn has_task(&self, row: usize, task: &Identity, header: &Header) -> bool {
        self.values(row).records().any(|(_, record)| record.identity().is_still(task, header))
    }

    fn title(&self, row: usize) -> Option<&[u8]> {
        match self.titles.get(row)? {
            Some(title) => Some(title),
            None => self.interval().title(*self.members(row).first()?),
        }
    }

    fn cell(&self, row: usize, column: Metric) -> Option<Cell<'_>> {
        match column {
            Metric::Title => self.title(row).map(Cell::Text),
            _ => self.slices.cell(self.slice(row), column),
        }
    }

    fn key(&self, row: usize, column: Metric) -> Option<Key<'_>> {
        match column {
            Metric::Title => key_of(self.cell(row, column)?),
            _ => self.slices.key(self.slice(row), column),
        }
    }
}

/// The parents and the nearest living ancestors.
pub(super) struct Ancestry<'a> {
    interval: &'a Interval,
    /// The rows of living and of dead tasks by pid.
    living: HashMap<u32, usize, HashTask>,
    dead: HashMap<u32, usize, HashTask>,
    /// For each row: itself if it lives, else its nearest living ancestor.
    heirs: Vec<Option<usize>>,
}

impl<'a> Ancestry<'a> {
    pub(super) fn of(interval: &'a Interval) -> Ancestry<'a> {
        let (mut living, mut dead) = (HashMap::default(), HashMap::default());
        for (row, record) in interval.cur().iter().enumerate() {
            let Some(pid) = record.ac_pid() else { continue };
            if interval.is_exited(row) {
                dead.insert(pid, row);
            } else {
                living.insert(pid, row);
            }
        }
        let mut ancestry = Ancestry { interval, living, dead, heirs: Vec::new() };
        ancestry.heirs = ancestors::ends(interval.len(), |row| {
            if !interval.is_exited(row) {
                return Step::End(row);
            }
            ancestry.next(row).map_or(Step::Lost, Step::Go)
        });
        ancestry
    }

    /// The row of the process of a thread, else of the parent; a living one comes first.
    fn next(&self, row: usize) -> Option<usize> {
        let record = self.interval.cur().get(row)?;
        let of = |pid: Option<u32>| {
            let pid = pid.filter(|&pid| pid != 0)?;
            self.living.get(&pid).or_else(|| self.dead.get(&pid)).copied()
        };
        let process = record.ac_tgid().filter(|&tgid| Some(tgid) != record.ac_pid());
        of(process).or_else(|| of(record.ac_ppid()))
    }

    /// The row under which a tree has this one. A living task is never under a dead one, nor
    /// under one that began later: that has its parent's pid.
    pub(super) fn parent(&self, row: usize) -> Option<usize> {
        let next = self.next(row)?;
        let parent = if self.interval.is_exited(row) { next } else { self.heirs[next]? };
        let task = |row: usize| Some(self.interval.cur().get(row)?.identity());
        let is_later = task(parent)?.began_after(&task(row)?, self.interval.cur().header());
        (parent != row && !is_later).then_some(parent)
    }

    /// The cgroup of a row.
    pub(super) fn cgroup(&self, row: usize) -> GroupKey {
        match self.common(row, GroupBy::Cgroup, &HashMap::new()) {
            Common::Key(key) => key,
            _ => GroupKey::Unknown,
        }
    }

    fn common(&self, row: usize, by: GroupBy, sessions: &HashMap<u32, u32>) -> Common<'a> {
        let alone = Common::Row(row);
        let Some(record) = self.interval.cur().get(row) else { return alone };
        let heir = || self.heirs.get(row).copied().flatten();
        match by {
            GroupBy::Process => record.ac_tgid().map_or(alone, Common::Process),
            GroupBy::Parent => heir().map_or(alone, Common::Row),
            GroupBy::Name => record.ac_comm().map_or(alone, Common::Name),
            GroupBy::User => Common::Key(record.ac_uid().map_or(GroupKey::Unknown, GroupKey::User)),
            GroupBy::Session => {
                let living = heir().and_then(|row| self.interval.cur().get(row));
                let of = |pid: Option<u32>| sessions.get(&pid?).copied();
                living
                    .and_then(|record| of(record.ac_pid()).or_else(|| of(record.ac_tgid())))
                    .map_or(alone, Common::Session)
            }
            GroupBy::Cgroup | GroupBy::OfCgroup(_) => {
                // The kernel numbers cgroups from 1.
                let id = |record: Record<'_>| record.cgroup_id().filter(|&id| id != 0);
                let of_heir = || id(self.interval.cur().get(heir()?)?);
                let id = id(record).or_else(of_heir);
                Common::Key(id.map_or(GroupKey::Unknown, GroupKey::Cgroup))
            }
        }
    }
}
