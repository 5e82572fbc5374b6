//! Names that records cannot hold: command lines, users, cgroups.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use crate::cgroup_readings::CgroupsAt;
use crate::dump::RecordedCgroups;
use crate::error::ParseError;
use crate::identity::is_of_process;
use crate::record::Record;

/// The kind of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StringKind {
    /// The arguments of a process, each ended by a NUL.
    Cmdline,
    /// The name of a user id.
    User,
    /// The path of a cgroup.
    Cgroup,
    /// A kind of a later version.
    Unknown(u64),
}

impl StringKind {
    /// The number in the file.
    pub const fn number(self) -> u64 {
        match self {
            StringKind::Cmdline => 1,
            StringKind::User => 2,
            StringKind::Cgroup => 3,
            StringKind::Unknown(number) => number,
        }
    }

    /// The kind of that number.
    pub const fn from_number(number: u64) -> StringKind {
        match number {
            1 => StringKind::Cmdline,
            2 => StringKind::User,
            3 => StringKind::Cgroup,
            other => StringKind::Unknown(other),
        }
    }
}

/// The process, user or cgroup that a name belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StringKey {
    /// The kind of the name.
    pub kind: StringKind,
    /// Process, user or cgroup id.
    pub id: u64,
}

impl StringKey {
    /// The key of a user's name.
    pub const fn of_user(uid: u32) -> StringKey {
        StringKey { kind: StringKind::User, id: uid as u64 }
    }

    /// The key of a cgroup's path.
    pub const fn of_cgroup(id: u64) -> StringKey {
        StringKey { kind: StringKind::Cgroup, id }
    }

    /// The key of a process's arguments, which its threads share.
    pub fn of_cmdline(record: &Record<'_>) -> Option<StringKey> {
        let id = record.ac_tgid().or(record.ac_pid())?;
        Some(StringKey { kind: StringKind::Cmdline, id: u64::from(id) })
    }
}

/// The start of a process whose arguments are unknown.
pub const UNKNOWN: u64 = u64::MAX;

/// A name to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedName {
    /// The process, user or cgroup.
    pub key: StringKey,
    /// CLOCK_BOOTTIME start in ns of a process, which distinguishes it from another one with
    /// its pid; 0 where the start is unknown, [`UNKNOWN`] where the arguments are.
    pub start_ns: u64,
    /// The name.
    pub text: Vec<u8>,
}

/// All names of a dump, each with its offset. A process has several after an exec, and so
/// has a pid that is reused.
#[derive(Debug, Default)]
pub struct Names {
    by_key: HashMap<StringKey, Vec<(u64, RecordedName)>>,
    /// Bytes that they take.
    memory: usize,
    /// Offsets of unreadable names, ascending. Any name may have been among them, so that
    /// older names may be wrong from there on.
    lost: Vec<(u64, ParseError)>,
    /// Limits and use of cgroups.
    cgroups: Option<RecordedCgroups>,
}

impl Names {
    /// Adds the names of the frame at `offset`, after those added before.
    pub(crate) fn add(&mut self, offset: u64, strings: Vec<RecordedName>) {
        for named in strings {
            self.memory += Names::memory_of(&named);
            let texts = self.by_key.entry(named.key).or_insert_with(|| Vec::with_capacity(1));
            texts.push((offset, named));
        }
    }

    /// Bytes that the names take.
    pub(crate) fn memory(&self) -> usize {
        self.memory
    }

    /// Bytes that a name takes, with its place in the map, which is half empty at worst, and with
    /// what the allocator needs.
    pub(crate) fn memory_of(named: &RecordedName) -> usize {
        const PLACE: usize = 2 * size_of::<(StringKey, Vec<(u64, RecordedName)>)>();
        const ALLOCATOR: usize = 2 * 16;
        PLACE + ALLOCATOR + size_of::<(u64, RecordedName)>() + named.text.len()
    }

    /// Adds the offsets of unreadable bytes that may have been names.
    pub(crate) fn lose(&mut self, mut lost: Vec<(u64, ParseError)>) {
        lost.sort_by_key(|&(offset, _)| offset);
        self.lost = lost;
    }

    /// Sets the readings of cgroups.
    pub(crate) fn set_cgroups(&mut self, cgroups: RecordedCgroups) {
        self.cgroups = Some(cgroups);
    }

    /// The unreadable names before `offset` of the dump.
    pub(crate) fn lost(&self, offset: u64) -> &[(u64, ParseError)] {
        &self.lost[..self.lost.partition_point(|&(lost, _)| lost < offset)]
    }

    /// The name that is valid at `offset` of the dump; None where a later one may be
    /// unreadable.
    fn at(&self, key: &StringKey, offset: u64) -> Option<&RecordedName> {
        let names = self.by_key.get(key)?;
        let after = names.partition_point(|&(begin, _)| begin <= offset);
        let (begin, named) = names.get(after.checked_sub(1)?)?;
        self.lost(offset).last().is_none_or(|(lost, _)| lost < begin).then_some(named)
    }

    /// The last name of that key; None where a later one may be unreadable.
    pub fn last(&self, key: &StringKey) -> Option<&[u8]> {
        self.at(key, u64::MAX).map(|named| named.text.as_slice())
    }
}

/// The names of a dump that are valid at one of its snapshots.
#[derive(Clone, Debug)]
pub struct NamesAt {
    pub(crate) names: Arc<Names>,
    pub(crate) offset: u64,
}

impl NamesAt {
    /// The names of a snapshot that is not recorded.
    pub fn of(names: Vec<RecordedName>) -> NamesAt {
        let mut all = Names::default();
        all.add(0, names);
        NamesAt { names: Arc::new(all), offset: 0 }
    }

    /// The name of a user id.
    pub fn user(&self, uid: u32) -> Option<&[u8]> {
        self.text(&StringKey::of_user(uid))
    }

    /// The path of a cgroup.
    pub fn cgroup(&self, id: u64) -> Option<&[u8]> {
        self.text(&StringKey::of_cgroup(id))
    }

    /// The last two readings of the files of cgroups; None where later ones may be unreadable.
    pub fn cgroups(&self) -> Option<CgroupsAt> {
        let (begin, found) = self.names.cgroups.as_ref()?.at(self.offset)?;
        let lost = self.names.lost(self.offset).last();
        lost.is_none_or(|&(lost, _)| lost < begin).then_some(found)
    }

    fn text(&self, key: &StringKey) -> Option<&[u8]> {
        self.names.at(key, self.offset).map(|named| named.text.as_slice())
    }

    /// The arguments of the process that a record is of, each ended by a NUL.
    pub fn cmdline(&self, record: &Record<'_>) -> Option<&[u8]> {
        let named = self.names.at(&StringKey::of_cmdline(record)?, self.offset)?;
        if named.start_ns == UNKNOWN {
            return None;
        }
        let process_start_ns = (named.start_ns != 0).then_some(named.start_ns);
        is_of_process(record, process_start_ns).then_some(&named.text)
    }
}

/// Arguments that each end with a NUL, quoted as for a shell.
pub fn quoted(arguments: &[u8]) -> Cow<'_, [u8]> {
    let arguments = arguments.strip_suffix(b"\0").unwrap_or(arguments);
    if arguments.is_empty() {
        return Cow::Borrowed(arguments);
    }
    let quoted = arguments.split(|&byte| byte == 0).map(shlex::bytes::try_quote);
    let quoted: Vec<_> = quoted.filter_map(Result::ok).collect();
    Cow::Owned(quoted.join(&b' '))
}
