//! Trees: the rows of an interval under their parents, or under the cgroups that hold them.
//!
//! ```text
//! Plan (nodes with their rows and parents) -> TaskTree (laid out) -> Arranged (sorted, filtered)
//! ```
//!
//! Design decisions
//!
//! * Every row is an own row of exactly one node, and a node's use is that of its own rows
//!   and of all its descendants', so that the sum over the roots is the interval's, to the ns.
//! * The rows of a node and its descendants are one slice: a node is a group of these rows.
//! * A living task is under a living parent. The dead are under whatever started them, those
//!   of one name under one parent as one node.
//! * Rows whose parents make a ring, which only a forged dump has, are kept: the ring is cut.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::group::{Ancestry, GroupKey, TRIED_MEMBERS};
use super::members::{Members, adds_up, cell_of_sum};
use super::metric::Metric;
use super::query::{Cell, Dead, Filter, Key, Query, TaskTable, compare};
use super::running_sums::sum_over;
use super::slices::{Slice, Slices};
use super::tasks::key_of;
use crate::cgroup_stats::{CgroupMetric, CgroupValue, KnownCgroups};
use crate::header::Header;
use crate::identity::Identity;
use crate::interval::Interval;
use crate::interval::ancestors;
use crate::record::Record;

/// Nodes before they have their places.
#[derive(Default)]
struct Plan {
    /// Of each node: its own rows, its parent, and the name and title of a group.
    rows: Vec<Vec<usize>>,
    parents: Vec<Option<usize>>,
    names: Vec<Option<(Vec<u8>, Vec<u8>)>>,
}

impl Plan {
    fn add(&mut self, parent: Option<usize>) -> usize {
        self.rows.push(Vec::new());
        self.parents.push(parent);
        self.names.push(None);
        self.rows.len() - 1
    }

    /// The nodes with their descendants behind them.
    fn tree(mut self, interval: Arc<Interval>) -> TaskTree {
        let mut children = vec![Vec::new(); self.rows.len()];
        let mut waiting = Vec::new();
        for node in (0..self.rows.len()).rev() {
            match self.parents[node] {
                Some(parent) => children[parent].push(node),
                None => waiting.push((node, None, 0)),
            }
        }
        let mut nodes: Vec<Node> = Vec::with_capacity(self.rows.len());
        let mut rows = Vec::with_capacity(interval.len());
        while let Some((node, parent, depth)) = waiting.pop() {
            let (at, begin) = (nodes.len(), rows.len());
            rows.append(&mut self.rows[node]);
            let (own, end) = (rows.len() - begin, rows.len());
            let (name, title) = self.names[node].take().unzip();
            let slice = Slice { begin, own, end };
            nodes.push(Node { parent, depth, slice, next: at + 1, name, title });
            waiting.extend(children[node].iter().map(|&child| (child, Some(at), depth + 1)));
        }
        // Descendants stand behind their ancestors: each ends where its last one does.
        for at in (0..nodes.len()).rev() {
            if let Some(parent) = nodes[at].parent {
                nodes[parent].slice.end = nodes[parent].slice.end.max(nodes[at].slice.end);
                nodes[parent].next = nodes[parent].next.max(nodes[at].next);
            }
        }
        TaskTree { slices: Slices::new(interval, rows), nodes, cgroups: None }
    }
}

#[derive(Clone, Debug)]
struct Node {
    parent: Option<usize>,
    depth: usize,
    /// Its rows, the own ones first, then its descendants'.
    slice: Slice,
    /// The first node behind its descendants.
    next: usize,
    /// The name and the title of a group; None for a task.
    name: Option<Vec<u8>>,
    title: Option<Vec<u8>>,
}

/// The rows of an interval as a tree. Its nodes are numbered such that descendants follow.
#[derive(Clone, Debug)]
pub struct TaskTree {
    /// All rows in the order of the nodes.
    slices: Slices,
    nodes: Vec<Node>,
    /// Limits and use of its cgroups.
    cgroups: KnownCgroups,
}

/// Nodes of one parent.
struct Siblings<'a> {
    nodes: &'a [Node],
    next: usize,
}

impl Iterator for Siblings<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let at = self.next;
        self.next = self.nodes.get(at)?.next;
        Some(at)
    }
}

/// A row on the screen, relative to its ancestors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Branch {
    /// Number of ancestors.
    pub depth: usize,
    /// Bit n: more children of the ancestor at depth n follow below. Up to 64 levels.
    pub open: u64,
    /// Whether a sibling follows.
    pub is_last: bool,
    /// Whether its children are hidden.
    pub is_collapsed: bool,
}

/// The nodes of a tree that are shown, from the top.
#[derive(Clone, Debug, Default)]
pub struct Arranged {
    /// The nodes.
    pub nodes: Vec<u32>,
    /// Where each stands.
    pub branches: Vec<Branch>,
    /// The nodes that the filter keeps, in their numbers' order: some are shown for their
    /// descendants alone. Empty without a filter.
    pub kept: Vec<u32>,
}

impl TaskTree {
    /// Tasks under what started them, threads under their process.
    pub fn of_tasks(interval: Arc<Interval>) -> TaskTree {
        let ancestry = Ancestry::of(&interval);
        let parents = ancestors::without_rings(interval.len(), |row| ancestry.parent(row));
        let mut plan = Plan::default();
        let mut nodes: Vec<Option<usize>> = vec![None; interval.len()];
        let mut dead: HashMap<(Option<usize>, &[u8]), usize> = HashMap::new();
        let mut way = Vec::new();
        for row in 0..interval.len() {
            // Parents come first.
            let mut above = Some(row);
            while let Some(row) = above.filter(|&row| nodes[row].is_none()) {
                way.push(row);
                above = parents[row];
            }
            while let Some(row) = way.pop() {
                let parent = parents[row].and_then(|parent| nodes[parent]);
                let name = interval.cur().get(row).and_then(|record| record.ac_comm());
                let node = match name.filter(|_| interval.is_exited(row)) {
                    Some(name) => *dead.entry((parent, name)).or_insert_with(|| plan.add(parent)),
                    None => plan.add(parent),
                };
                plan.rows[node].push(row);
                nodes[row] = Some(node);
            }
        }
        let pid = |row: usize| interval.cur().get(row).and_then(|record| record.ac_pid());
        for ((parent, name), node) in dead {
            if plan.rows[node].len() > 1 {
                let of = parent.and_then(|parent| pid(*plan.rows[parent].first()?));
                let key = [name, b" of ", of.unwrap_or(0).to_string().as_bytes()].concat();
                plan.names[node] = Some((key, name.to_vec()));
            }
        }
        plan.tree(interval)
    }

    /// The tasks that died in the interval, under their names. Other rows are left out.
    pub fn of_dead(interval: Arc<Interval>) -> TaskTree {
        let mut by_name: BTreeMap<&[u8], Vec<usize>> = BTreeMap::new();
        for row in (0..interval.len()).filter(|&row| interval.is_exited(row)) {
            let name = interval.cur().get(row).and_then(|record| record.ac_comm());
            by_name.entry(name.unwrap_or_default()).or_default().push(row);
        }
        let mut plan = Plan::default();
        for (name, rows) in by_name {
            let above = (rows.len() > 1).then(|| plan.add(None));
            if let Some(node) = above {
                plan.names[node] = Some((name.to_vec(), name.to_vec()));
            }
            for row in rows {
                let node = plan.add(above);
                plan.rows[node].push(row);
            }
        }
        plan.tree(Arc::clone(&interval))
    }

    /// The cgroups of tasks, by their paths. `path` returns that of a cgroup from one of its
    /// tasks; one without a path has its number.
    pub fn of_cgroups(
        interval: Arc<Interval>,
        path: impl Fn(GroupKey, &Record<'_>) -> Option<Vec<u8>>,
    ) -> TaskTree {
        let ancestry = Ancestry::of(&interval);
        let mut members: HashMap<GroupKey, Vec<usize>> = HashMap::new();
        let mut order = Vec::new();
        for row in 0..interval.len() {
            let key = ancestry.cgroup(row);
            members.entry(key).or_insert_with(|| {
                order.push(key);
                Vec::new()
            });
            members.entry(key).and_modify(|rows| rows.push(row));
        }
        let mut plan = Plan::default();
        let mut known: HashMap<Vec<u8>, usize> = HashMap::new();
        for key in order {
            let mut rows = members.remove(&key).unwrap_or_default();
            let asked = rows.iter().take(TRIED_MEMBERS);
            let path = asked
                .filter_map(|&row| path(key, &interval.cur().get(row)?))
                .next()
                .unwrap_or_else(|| key.number());
            let node = plan.cgroup(&mut known, &path);
            plan.rows[node].append(&mut rows);
        }
        plan.tree(interval)
    }

    /// A tree of cgroups whose limits and use are known.
    #[must_use]
    pub fn with_cgroups(self, cgroups: KnownCgroups) -> TaskTree {
        TaskTree { cgroups, ..self }
    }

    fn cgroup_value(&self, node: usize, metric: CgroupMetric) -> Option<CgroupValue> {
        self.cgroups.as_ref()?.value(self.group_name(node)?, metric)
    }

    /// The interval whose rows they are.
    pub fn interval(&self) -> &Arc<Interval> {
        self.slices.interval()
    }

    /// The rows of a node and its descendants.
    fn slice(&self, node: usize) -> Slice {
        self.nodes.get(node).map(|node| node.slice).unwrap_or_default()
    }

    fn members(&self, node: usize) -> Members<'_> {
        self.slices.members(self.slice(node))
    }

    fn own(&self, node: usize) -> Members<'_> {
        let members = self.members(node);
        Members { rows: members.own_rows(), ..members }
    }

    /// The nodes that a query keeps, with their ancestors, as they are shown: siblings in the
    /// query's order. Children of the nodes for which `is_collapsed` holds (given the node and
    /// its depth) are hidden; a filter shows all that it keeps.
    pub fn arranged(&self, query: &Query, is_collapsed: impl Fn(usize, usize) -> bool) -> Arranged {
        let is_all = query.filter.is_empty();
        let kept = if is_all { Vec::new() } else { self.kept_rows(&query.filter) };
        let is_shown = (!is_all).then(|| self.with_ancestors(&kept));
        let keys = self.keys(query.sort);
        let mut arranged = Arranged { kept, ..Arranged::default() };
        let mut waiting: Vec<(usize, u64, bool)> = Vec::new();
        // The first of the siblings is the last to be added, as it is taken off first.
        let push = |waiting: &mut Vec<(usize, u64, bool)>, siblings: Siblings<'_>, open| {
            let begin = waiting.len();
            let shown = siblings.filter(|&node| is_shown.as_ref().is_none_or(|shown| shown[node]));
            waiting.extend(shown.map(|node| (node, open, false)));
            waiting[begin..].sort_unstable_by(|&(a, ..), &(b, ..)| {
                compare(keys[b], keys[a], query.descending).then(b.cmp(&a))
            });
            if let Some((.., is_last)) = waiting.get_mut(begin) {
                *is_last = true;
            }
        };
        push(&mut waiting, self.siblings(0, self.nodes.len()), 0);
        while let Some((node, open, is_last)) = waiting.pop() {
            let Node { depth, next, .. } = self.nodes[node];
            let below = self.siblings(node + 1, next);
            let is_collapsed = is_all && node + 1 < next && is_collapsed(node, depth);
            arranged.nodes.push(node as u32);
            arranged.branches.push(Branch { depth, open, is_last, is_collapsed });
            if !is_collapsed {
                let goes_on = if is_last || depth >= 64 { 0 } else { 1 << depth };
                push(&mut waiting, below, open | goes_on);
            }
        }
        arranged
    }

    /// The nodes from `first` to before `end` without their descendants.
    fn siblings(&self, first: usize, end: usize) -> Siblings<'_> {
        Siblings { nodes: &self.nodes[..end], next: first }
    }

    /// Whether the filter keeps each node or one of its descendants.
    fn with_ancestors(&self, kept: &[u32]) -> Vec<bool> {
        let mut is_shown = vec![false; self.nodes.len()];
        kept.iter().for_each(|&node| is_shown[node as usize] = true);
        for node in (0..self.nodes.len()).rev() {
            if let Some(parent) = self.nodes[node].parent {
                is_shown[parent] |= is_shown[node];
            }
        }
        is_shown
    }

    /// The sort key of each node.
    fn keys(&self, sort: Option<Metric>) -> Vec<Option<Key<'_>>> {
        let Some(metric) = sort else { return vec![None; self.nodes.len()] };
        if !adds_up(self.interval(), metric) {
            return (0..self.nodes.len()).map(|node| self.key(node, metric)).collect();
        }
        let upto = self.slices.upto(metric);
        let key = |Node { slice, .. }: &Node| sum_over(&upto, slice.begin..slice.end);
        self.nodes.iter().map(|node| key(node).map(Key::Int)).collect()
    }
}

impl Plan {
    /// The node of a cgroup's path, made with those above it.
    fn cgroup(&mut self, known: &mut HashMap<Vec<u8>, usize>, path: &[u8]) -> usize {
        let (mut node, mut end) = (None, 0);
        loop {
            // "/a/b": "/", "/a", "/a/b".
            let upto = if end == 0 && path.first() == Some(&b'/') { 1 } else { end };
            if upto > 0 {
                let at = *known.entry(path[..upto].to_vec()).or_insert_with(|| self.add(node));
                if self.names[at].is_none() {
                    let from = path[..upto].iter().rposition(|&byte| byte == b'/');
                    let last = &path[from.filter(|_| upto > 1).map_or(0, |at| at + 1)..upto];
                    self.names[at] = Some((path[..upto].to_vec(), last.to_vec()));
                }
                node = Some(at);
            }
            if end >= path.len() || path.len() == 1 {
                return node.unwrap_or_else(|| self.add(None));
            }
            let next = path[end + 1..].iter().position(|&byte| byte == b'/');
            end = next.map_or(path.len(), |at| end + 1 + at);
        }
    }
}

impl TaskTable for TaskTree {
    fn rows(&self) -> usize {
        self.nodes.len()
    }

    fn record(&self, row: usize) -> Option<Record<'_>> {
        self.interval().cur().get(*self.members(row).rows.first()?)
    }

    /// A cgroup without tasks of its own has no record.
    fn keeps(&self, row: usize, filter: &Filter) -> bool {
        filter.is_empty() || self.has_kept_task(row, filter)
    }

    fn any_record(&self, row: usize, test: &dyn Fn(&Record<'_>) -> bool) -> bool {
        self.own(row).records().any(|(_, record)| test(&record))
    }

    fn group_name(&self, row: usize) -> Option<&[u8]> {
        self.nodes.get(row)?.name.as_deref()
    }

    fn has_task(&self, row: usize, task: &Identity, header: &Header) -> bool {
        self.own(row).records().any(|(_, record)| record.identity().is_still(task, header))
    }

    fn title(&self, row: usize) -> Option<&[u8]> {
        match &self.nodes.get(row)?.title {
            Some(title) => Some(title),
            None => self.interval().title(*self.members(row).rows.first()?),
        }
    }

    fn dead(&self, row: usize) -> Option<Dead> {
        let mut own = self.own(row);
        if own.rows.is_empty() {
            own = self.members(row);
        }
        if own.rows.is_empty() || !own.rows.iter().all(|&row| self.interval().is_exited(row)) {
            return None;
        }
        let mut dead =
            Dead { tasks: own.rows.len(), exits: BTreeMap::new(), peak_kb: None, lives_us: None };
        for (_, record) in own.records() {
            *dead.exits.entry(record.ac_exitcode()).or_default() += 1;
            dead.peak_kb = dead.peak_kb.max(record.hiwater_rss());
            if let Some(us) = record.ac_etime() {
                let (least, most) = dead.lives_us.unwrap_or((us, us));
                dead.lives_us = Some((least.min(us), most.max(us)));
            }
        }
        Some(dead)
    }

    /// The value of a node with its descendants.
    fn cell(&self, row: usize, metric: Metric) -> Option<Cell<'_>> {
        match metric {
            Metric::Title => self.title(row).map(Cell::Text),
            Metric::Exited => self.dead(row).map(|_| Cell::Int(1)),
            Metric::Cgroup(metric) => Some(match self.cgroup_value(row, metric)? {
                CgroupValue::Max => Cell::Text(b"max"),
                CgroupValue::Int(number) => Cell::Int(number.into()),
                CgroupValue::Float(number) => Cell::Float(number),
            }),
            _ => self.slices.cell(self.slice(row), metric),
        }
    }

    fn sum(&self, metric: Metric) -> Option<Cell<'_>> {
        let of_rows = match metric {
            // Each node adds what it used without its descendants.
            Metric::OwnNs | Metric::OwnPct => Metric::TotalNs,
            _ if metric.is_of_descendants() => return None,
            _ if adds_up(self.interval(), metric) => metric,
            _ => return self.sum_of(&mut (0..self.rows() as u32), metric),
        };
        cell_of_sum(self.interval(), metric, self.slices.sum(of_rows)?)
    }

    fn key(&self, row: usize, metric: Metric) -> Option<Key<'_>> {
        match metric {
            Metric::Title => key_of(self.cell(row, metric)?),
            // No limit is the largest one; rates differ by less than one.
            Metric::Cgroup(metric) => Some(Key::Int(match self.cgroup_value(row, metric)? {
                CgroupValue::Max => i128::MAX,
                CgroupValue::Int(number) => number.into(),
                CgroupValue::Float(number) => (number * 1000.0) as i128,
            })),
            _ => self.slices.key(self.slice(row), metric),
        }
    }

    /// The value of the node without its descendants, so that a sum counts each row once.
    fn part(&self, row: usize, metric: Metric) -> Option<Cell<'_>> {
        match *self.own(row).rows {
            [only] => self.interval().part(only, metric),
            // The kernel counts a cgroup with those below it.
            _ if metric.is_of_descendants() || matches!(metric, Metric::Cgroup(_)) => None,
            _ => self.own(row).cell(metric),
        }
    }
}
