//! Names that records cannot hold, once each.

use std::collections::HashMap;
use std::sync::Arc;

use super::Input;
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

/// A string to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// What it belongs to.
    pub key: StringKey,
    /// CLOCK_BOOTTIME start in ns of a process, so that it is not taken for that of
    /// another with its pid; 0 where that is not known.
    pub start_ns: u64,
    /// The string.
    pub text: Vec<u8>,
}

/// All strings of a dump, each with where it stands: a process that executes another
/// program, or a pid that is used again, has several.
#[derive(Debug, Default)]
pub struct Names {
    texts: HashMap<StringKey, Vec<(u64, Named)>>,
    /// Where strings may have stood that cannot be read.
    lost: Vec<u64>,
}

impl Names {
    /// Adds the strings of the frame at `offset`, which is behind those that were added.
    pub(super) fn add(&mut self, offset: u64, strings: Vec<Named>) {
        for named in strings {
            self.texts.entry(named.key).or_default().push((offset, named));
        }
    }

    /// What stood at `offset` cannot be read.
    pub(super) fn lose(&mut self, offset: u64) {
        self.lost.push(offset);
    }

    /// The string that was in force at `offset` of the dump; None where it may have been
    /// one that was lost.
    fn at(&self, key: &StringKey, offset: u64) -> Option<&Named> {
        let texts = self.texts.get(key)?;
        let after = texts.partition_point(|&(begin, _)| begin <= offset);
        let (begin, named) = texts.get(after.checked_sub(1)?)?;
        let lost = self.lost.iter().any(|lost| (begin..=&offset).contains(&lost));
        (!lost).then_some(named)
    }

    /// The last string of that key: for what has one name at all times.
    pub fn last(&self, key: &StringKey) -> Option<&[u8]> {
        self.texts.get(key)?.last().map(|(_, named)| named.text.as_slice())
    }
}

/// The names of a dump as they were at one of its snapshots.
#[derive(Clone, Debug)]
pub struct NamesAt {
    pub(super) names: Arc<Names>,
    pub(super) offset: u64,
}

impl NamesAt {
    /// The name of a user id.
    pub fn user(&self, uid: u32) -> Option<&[u8]> {
        self.names.last(&StringKey::of_user(uid))
    }

    /// The path of a cgroup.
    pub fn cgroup(&self, id: u64) -> Option<&[u8]> {
        self.names.last(&StringKey::of_cgroup(id))
    }

    /// The arguments of the process that a record is of, each ended by a NUL.
    pub fn cmdline(&self, record: &Record<'_>) -> Option<&[u8]> {
        let named = self.names.at(&StringKey::of_cmdline(record)?, self.offset)?;
        let start = exact_start(record);
        let same = match (named.start_ns, start) {
            (0, _) | (_, 0) => true,
            // A thread may have come later than its process, not earlier.
            (process, start) if record.ac_tgid() != record.ac_pid() => process <= start,
            (process, start) => process == start,
        };
        same.then_some(&named.text)
    }
}

/// The start that tells tasks of the same pid apart, 0 where none does.
pub fn exact_start(record: &Record<'_>) -> u64 {
    // A source without task ids derives starts, which wobble.
    record.task_id().and(record.ac_start_ns()).unwrap_or(0)
}

/// The byte form of a frame's strings.
pub(super) fn encode(strings: &[Named]) -> Vec<u8> {
    let mut out = Vec::new();
    for named in strings {
        super::put_varint(&mut out, named.key.kind.number());
        super::put_varint(&mut out, named.key.id);
        super::put_varint(&mut out, named.start_ns);
        super::put_varint(&mut out, named.text.len() as u64);
        out.extend_from_slice(&named.text);
    }
    out
}

/// The strings of a frame; None where the bytes are none.
pub(super) fn decode(bytes: &[u8]) -> Option<Vec<Named>> {
    let mut input = Input::new(bytes);
    let mut strings = Vec::new();
    while !input.is_empty() {
        let kind = StringKind::from_number(input.varint()?);
        let key = StringKey { kind, id: input.varint()? };
        let start_ns = input.varint()?;
        let length = input.length()?;
        strings.push(Named { key, start_ns, text: input.take(length)?.to_vec() });
    }
    Some(strings)
}
