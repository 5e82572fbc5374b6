//! Names that records cannot hold, once each.

use std::collections::HashMap;
use std::sync::Arc;

use crate::error::ParseError;
use crate::identity::is_of_process;
use crate::record::Record;

/// What a string is the name of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StringKind {
    /// The arguments of a process, each ended by a NUL.
    Cmdline,
    /// The name of a user id.
    User,
    /// The path of a cgroup.
    Cgroup,
    /// Something of a later version.
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

/// What a string belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StringKey {
    /// What it names.
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

/// The start of a process of which is only known that its arguments are not.
pub const UNKNOWN: u64 = u64::MAX;

/// A string to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedName {
    /// What it belongs to.
    pub key: StringKey,
    /// CLOCK_BOOTTIME start in ns of a process, so that it is not taken for that of
    /// another with its pid; 0 where that is not known; [`UNKNOWN`].
    pub start_ns: u64,
    /// The string.
    pub text: Vec<u8>,
}

/// All strings of a dump, each with where it stands: a process that executes another
/// program, or a pid that is used again, has several.
#[derive(Debug, Default)]
pub struct Names {
    texts: HashMap<StringKey, Vec<(u64, RecordedName)>>,
    /// Where strings were that cannot be read, ascending. Any string may have been among
    /// them, so that from there on the older ones are not known to hold.
    lost: Vec<(u64, ParseError)>,
}

impl Names {
    /// Adds the strings of the frame at `offset`, which is behind those that were added.
    pub(crate) fn add(&mut self, offset: u64, strings: Vec<RecordedName>) {
        for named in strings {
            self.texts.entry(named.key).or_default().push((offset, named));
        }
    }

    /// Notes what cannot be read and may have held strings.
    pub(crate) fn lose(&mut self, mut lost: Vec<(u64, ParseError)>) {
        lost.sort_by_key(|&(offset, _)| offset);
        self.lost = lost;
    }

    /// What was lost before `offset` of the dump.
    pub(crate) fn lost(&self, offset: u64) -> &[(u64, ParseError)] {
        &self.lost[..self.lost.partition_point(|&(lost, _)| lost < offset)]
    }

    /// The string that was in force at `offset` of the dump; None where a later one may
    /// have been lost.
    fn at(&self, key: &StringKey, offset: u64) -> Option<&RecordedName> {
        let texts = self.texts.get(key)?;
        let after = texts.partition_point(|&(begin, _)| begin <= offset);
        let (begin, named) = texts.get(after.checked_sub(1)?)?;
        self.lost(offset).last().is_none_or(|(lost, _)| lost < begin).then_some(named)
    }

    /// The last string of that key; None where a later one may have been lost.
    pub fn last(&self, key: &StringKey) -> Option<&[u8]> {
        self.at(key, u64::MAX).map(|named| named.text.as_slice())
    }
}

/// The names of a dump as they were at one of its snapshots.
#[derive(Clone, Debug)]
pub struct NamesAt {
    pub(crate) names: Arc<Names>,
    pub(crate) offset: u64,
}

impl NamesAt {
    /// The name of a user id.
    pub fn user(&self, uid: u32) -> Option<&[u8]> {
        self.text(&StringKey::of_user(uid))
    }

    /// The path of a cgroup.
    pub fn cgroup(&self, id: u64) -> Option<&[u8]> {
        self.text(&StringKey::of_cgroup(id))
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
