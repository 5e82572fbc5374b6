//! Names that records cannot hold, once each.

use super::Input;
use crate::header::Flags;
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

/// What a string belongs to: a pid, uid or cgroup id, and for a pid its start, 0 where
/// it is not known or wobbles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StringKey {
    /// What it names.
    pub kind: StringKind,
    /// Pid, uid or cgroup id.
    pub id: u64,
    /// CLOCK_BOOTTIME start in ns of a process.
    pub start_ns: u64,
}

impl StringKey {
    /// The key of a user's name.
    pub const fn of_user(uid: u32) -> StringKey {
        StringKey { kind: StringKind::User, id: uid as u64, start_ns: 0 }
    }

    /// The key of a cgroup's path.
    pub const fn of_cgroup(id: u64) -> StringKey {
        StringKey { kind: StringKind::Cgroup, id, start_ns: 0 }
    }

    /// The key of a process's arguments, with the flags of its snapshot. A thread has its
    /// own.
    pub fn of_cmdline(record: &Record<'_>, flags: Flags) -> Option<StringKey> {
        let exact = !flags.contains(Flags::DERIVED_STARTS);
        let start_ns = record.ac_start_ns().filter(|_| exact).unwrap_or(0);
        let id = u64::from(record.ac_pid()?);
        Some(StringKey { kind: StringKind::Cmdline, id, start_ns })
    }
}

/// The byte form of a frame's strings.
pub(super) fn encode(strings: &[(StringKey, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (key, text) in strings {
        super::put_varint(&mut out, key.kind.number());
        super::put_varint(&mut out, key.id);
        super::put_varint(&mut out, key.start_ns);
        super::put_varint(&mut out, text.len() as u64);
        out.extend_from_slice(text);
    }
    out
}

/// The strings of a frame; None where the bytes are none.
pub(super) fn decode(bytes: &[u8]) -> Option<Vec<(StringKey, Vec<u8>)>> {
    let mut input = Input::new(bytes);
    let mut strings = Vec::new();
    while !input.is_empty() {
        let kind = StringKind::from_number(input.varint()?);
        let key = StringKey { kind, id: input.varint()?, start_ns: input.varint()? };
        let length = input.length()?;
        strings.push((key, input.take(length)?.to_vec()));
    }
    Some(strings)
}
