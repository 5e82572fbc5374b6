//! Rows gathered into groups: the dead into their parents, or all tasks by a common
//! property.
//!
//! Design decisions
//!
//! * Every row is in exactly one group, and a group's use is the sum of its rows', so
//!   that the groups' sum is the interval's, to the ns.
//! * A group shows the record of one member: a living one, the oldest by pid. A group of
//!   a user's or cgroup's tasks is called by that.

use std::collections::HashMap;
use std::sync::Arc;

use super::metric::Metric;
use super::query::{Cell, Key, TaskTable};
use super::tasks::{cell_of_increase, increase_of};
use crate::interval::Interval;
use crate::interval::ancestors::{self, Step};
use crate::record::Record;

/// What tasks are gathered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GroupBy {
    /// Process, for intervals of threads; a group shows its leader.
    Process,
    /// What died goes to its nearest living ancestor; the living stay apart.
    Parent,
    /// Session; the dead have their nearest living ancestor's.
    Session,
    /// Command name.
    Name,
    /// User.
    User,
    /// Cgroup; a task without one has its nearest living ancestor's.
    Cgroup,
}

impl GroupBy {
    /// All of them.
    pub const ALL: [GroupBy; 6] = [
        GroupBy::Process,
        GroupBy::Parent,
        GroupBy::Session,
        GroupBy::Name,
        GroupBy::User,
        GroupBy::Cgroup,
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
        }
    }

    /// The one of that name.
    pub fn from_name(name: &str) -> Option<GroupBy> {
        GroupBy::ALL.into_iter().find(|by| by.name() == name)
    }
}

/// What a group has in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Common<'a> {
    /// A task's process alone, by its row.
    Row(usize),
    Process(u32),
    Session(u32),
    Name(&'a [u8]),
    Named(GroupKey),
}

/// A group that has a name other than its members'.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GroupKey {
    /// The tasks of a user.
    User(u32),
    /// The tasks of a cgroup.
    Cgroup(u64),
}

impl GroupKey {
    /// What it is called where its name is not known.
    fn number(self) -> Vec<u8> {
        match self {
            GroupKey::User(uid) => uid.to_string().into_bytes(),
            GroupKey::Cgroup(id) => format!("cgroup {id}").into_bytes(),
        }
    }
}

/// How many members are asked for the name of their group: some may be gone.
const ASKED: usize = 4;

/// An interval's rows in groups.
#[derive(Clone, Debug)]
pub struct Groups {
    interval: Arc<Interval>,
    /// Rows of each group, the one that is shown first.
    groups: Vec<Vec<usize>>,
    /// What each group is called; None where it is called as the task it shows.
    titles: Vec<Option<Vec<u8>>>,
}

impl Groups {
    /// The groups of an interval. `sessions` gives the session of living processes; it
    /// is used for [`GroupBy::Session`] only. `name` gives the name of a group, of which it is
    /// told a member; a group without a name is called by its number.
    pub fn new(
        interval: Arc<Interval>,
        by: GroupBy,
        sessions: &HashMap<u32, u32>,
        name: impl Fn(GroupKey, &Record<'_>) -> Option<Vec<u8>>,
    ) -> Groups {
        let family = Family::of(&interval);
        let mut order: HashMap<Common<'_>, usize> = HashMap::new();
        let (mut groups, mut named): (Vec<Vec<usize>>, Vec<_>) = (Vec::new(), Vec::new());
        for row in 0..interval.len() {
            let common = family.common(row, by, sessions);
            let group = *order.entry(common).or_insert_with(|| {
                groups.push(Vec::new());
                named.push(match common {
                    Common::Named(key) => Some(key),
                    _ => None,
                });
                groups.len() - 1
            });
            groups[group].push(row);
        }
        for group in &mut groups {
            let pid = |row: usize| interval.cur().get(row).and_then(|record| record.ac_pid());
            let head = (0..group.len())
                .min_by_key(|&at| (interval.is_exited(group[at]), pid(group[at])))
                .unwrap_or(0);
            group.swap(0, head);
        }
        let title = |(group, members): (Option<GroupKey>, &Vec<usize>)| {
            let group = group?;
            let asked = members.iter().take(ASKED).filter_map(|&row| interval.cur().get(row));
            let mut names = asked.filter_map(|record| name(group, &record));
            Some(names.next().unwrap_or_else(|| group.number()))
        };
        let titles = named.into_iter().zip(&groups).map(title).collect();
        Groups { interval, groups, titles }
    }

    /// The interval whose rows they are.
    pub fn interval(&self) -> &Arc<Interval> {
        &self.interval
    }

    /// The rows of a group.
    pub fn members(&self, group: usize) -> &[usize] {
        self.groups.get(group).map_or(&[], Vec::as_slice)
    }

    fn increase(&self, group: usize, column: Metric) -> Option<u64> {
        self.members(group)
            .iter()
            .filter_map(|&row| increase_of(&self.interval, row, column))
            .reduce(u64::saturating_add)
    }
}

impl TaskTable for Groups {
    fn rows(&self) -> usize {
        self.groups.len()
    }

    fn record(&self, row: usize) -> Option<Record<'_>> {
        self.interval.cur().get(*self.members(row).first()?)
    }

    fn title(&self, row: usize) -> Option<&[u8]> {
        match self.titles.get(row)? {
            Some(title) => Some(title),
            None => self.interval.title(*self.members(row).first()?),
        }
    }

    fn cell(&self, row: usize, column: Metric) -> Option<Cell<'_>> {
        if column == Metric::Title {
            return self.title(row).map(Cell::Text);
        }
        if column.is_of_record() {
            return self.interval.cell(*self.members(row).first()?, column);
        }
        cell_of_increase(&self.interval, column, self.increase(row, column)?)
    }

    fn key(&self, row: usize, column: Metric) -> Option<Key<'_>> {
        if column == Metric::Title {
            return self.title(row).map(Key::Text);
        }
        if column.is_of_record() {
            return self.interval.key(*self.members(row).first()?, column);
        }
        self.increase(row, column).map(|n| Key::Int(i128::from(n)))
    }
}

/// Who is whose parent.
struct Family<'a> {
    interval: &'a Interval,
    /// By row: itself where it lives, else its nearest living ancestor.
    heirs: Vec<Option<usize>>,
}

impl<'a> Family<'a> {
    fn of(interval: &'a Interval) -> Family<'a> {
        let (mut living, mut dead) = (HashMap::new(), HashMap::new());
        for (row, record) in interval.cur().iter().enumerate() {
            let Some(pid) = record.ac_pid() else { continue };
            if interval.is_exited(row) {
                dead.insert(pid, row);
            } else {
                living.insert(pid, row);
            }
        }
        let next = |pid: Option<u32>| {
            let pid = pid.filter(|&pid| pid != 0)?;
            living.get(&pid).or_else(|| dead.get(&pid)).copied()
        };
        let heirs = ancestors::ends(interval.len(), |row| {
            if !interval.is_exited(row) {
                return Step::End(row);
            }
            let Some(record) = interval.cur().get(row) else { return Step::Lost };
            // A dead thread's nearest is its own process.
            let process = record.ac_tgid().filter(|&tgid| Some(tgid) != record.ac_pid());
            next(process).or_else(|| next(record.ac_ppid())).map_or(Step::Lost, Step::Go)
        });
        Family { interval, heirs }
    }

    fn common(&self, row: usize, by: GroupBy, sessions: &HashMap<u32, u32>) -> Common<'a> {
        let alone = Common::Row(row);
        let Some(record) = self.interval.cur().get(row) else { return alone };
        let heir = || self.heirs.get(row).copied().flatten();
        match by {
            GroupBy::Process => record.ac_tgid().map_or(alone, Common::Process),
            GroupBy::Parent => heir().map_or(alone, Common::Row),
            GroupBy::Name => record.ac_comm().map_or(alone, Common::Name),
            GroupBy::User => {
                record.ac_uid().map_or(alone, |uid| Common::Named(GroupKey::User(uid)))
            }
            GroupBy::Session => {
                let living = heir().and_then(|row| self.interval.cur().get(row));
                let of = |pid: Option<u32>| sessions.get(&pid?).copied();
                living
                    .and_then(|record| of(record.ac_pid()).or_else(|| of(record.ac_tgid())))
                    .map_or(alone, Common::Session)
            }
            GroupBy::Cgroup => record
                .cgroup_id()
                .or_else(|| self.interval.cur().get(heir()?)?.cgroup_id())
                .map_or(alone, |id| Common::Named(GroupKey::Cgroup(id))),
        }
    }
}
