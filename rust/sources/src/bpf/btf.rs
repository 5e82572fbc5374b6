//! Reads type descriptions: those of the kernel, and those of the BPF objects
//! (Documentation/bpf/btf.rst).

use std::collections::HashMap;
use std::fs::{self, File};
use std::ops::Deref;
use std::path::Path;

use crate::errors::Error;
use crate::sys::shared::Mapping;

/// Kinds of types, BTF_KIND_* of include/uapi/linux/btf.h.
pub(crate) mod kind {
    pub(crate) const VOID: u8 = 0;
    pub(crate) const INT: u8 = 1;
    pub(crate) const PTR: u8 = 2;
    pub(crate) const ARRAY: u8 = 3;
    pub(crate) const STRUCT: u8 = 4;
    pub(crate) const UNION: u8 = 5;
    pub(crate) const ENUM: u8 = 6;
    pub(crate) const TYPEDEF: u8 = 8;
    pub(crate) const VOLATILE: u8 = 9;
    pub(crate) const CONST: u8 = 10;
    pub(crate) const RESTRICT: u8 = 11;
    pub(crate) const FUNC: u8 = 12;
    pub(crate) const FUNC_PROTO: u8 = 13;
    pub(crate) const VAR: u8 = 14;
    pub(crate) const DATASEC: u8 = 15;
    pub(crate) const FLOAT: u8 = 16;
    pub(crate) const DECL_TAG: u8 = 17;
    pub(crate) const TYPE_TAG: u8 = 18;
    pub(crate) const ENUM64: u8 = 19;
}
use kind::*;

const MAGIC: u16 = 0xeb9f;
/// Bytes of `struct btf_header`, and of `struct btf_type` without what follows it.
const HEADER: usize = 24;
const TYPE: usize = 12;
/// Bytes of `struct btf_member`.
const MEMBER: usize = 12;
/// BTF_INT_SIGNED, in the encoding of an integer.
const SIGNED: u32 = 1;
/// Modifiers and typedefs in a row, at most: damaged data may have a circle of them.
const DEPTH: usize = 32;

/// Descriptions of types.
pub(crate) enum Bytes {
    Owned(Vec<u8>),
    Mapped(Mapping),
}

impl Bytes {
    /// Those that the kernel describes in a file. It is read where it cannot be mapped, a page
    /// at each call. Empty where there is none.
    pub(crate) fn of_kernel(path: &Path) -> Bytes {
        let map = || {
            let file = File::open(path)?;
            let length = file.metadata()?.len() as usize;
            Mapping::of_kernel(&file, length)
        };
        map().map_or_else(|_| Bytes::Owned(fs::read(path).unwrap_or_default()), Bytes::Mapped)
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Bytes {
        Bytes::Owned(bytes)
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Owned(bytes) => bytes,
            Bytes::Mapped(mapping) => mapping.bytes(),
        }
    }
}

#[cfg(test)]
impl std::ops::DerefMut for Bytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Bytes::Owned(bytes) => bytes,
            Bytes::Mapped(_) => unreachable!("tests change bytes of their own"),
        }
    }
}

/// The types of an object or of the kernel, by their ids.
pub(crate) struct Btf {
    bytes: Bytes,
    /// Where each type begins; the first id is 1.
    starts: Vec<u32>,
    strings: usize,
}

/// One type.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Type {
    pub(crate) kind: u8,
    /// Members, parameters or values that it has.
    pub(crate) count: usize,
    name: u32,
    /// Whether its members may be bit-fields.
    flag: bool,
    /// Bytes that a value takes, or the id of the type that this one refers to.
    size_or_type: u32,
    /// Where it begins.
    start: usize,
}

/// One member of a structure or a union.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Member<'a> {
    /// Empty where it is anonymous.
    pub(crate) name: &'a [u8],
    pub(crate) type_id: u32,
    pub(crate) bit_offset: u32,
    /// Bits that it has; None where it is no bit-field.
    pub(crate) bits: Option<u32>,
}

/// The element type of an array, and its length.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Array {
    pub(crate) element: u32,
    pub(crate) length: u32,
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(word.try_into().ok()?))
}

/// The first two bytes of a name, which may end with a zero.
fn begin(name: &[u8]) -> usize {
    let [first, second] = [0, 1].map(|at| usize::from(name.get(at).copied().unwrap_or(0)));
    if first == 0 { 0 } else { first << 8 | second }
}

fn damaged() -> Error {
    Error::Unsupported {
        reason: "the description of types (BTF) is damaged, or of a newer format".into(),
        hint: String::new(),
    }
}

impl Btf {
    /// Finds where each type begins.
    pub(crate) fn parse(bytes: impl Into<Bytes>) -> Result<Btf, Error> {
        Btf::find_types(bytes.into()).ok_or_else(damaged)
    }

    fn find_types(bytes: Bytes) -> Option<Btf> {
        let magic = u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?);
        if magic != MAGIC || bytes.len() < HEADER {
            return None;
        }
        let header = u32_at(&bytes, 4)? as usize;
        let part = |at: usize| -> Option<(usize, usize)> {
            let start = header.checked_add(u32_at(&bytes, at)? as usize)?;
            let end = start.checked_add(u32_at(&bytes, at + 4)? as usize)?;
            (end <= bytes.len()).then_some((start, end))
        };
        let ((mut at, end), (strings, _)) = (part(8)?, part(16)?);
        let mut starts = Vec::with_capacity((end - at) / (2 * TYPE));
        while at < end {
            starts.push(at as u32);
            let info = u32_at(&bytes, at + 4)?;
            at += TYPE + trailing((info >> 24 & 0x1f) as u8, info as usize & 0xffff)?;
        }
        Some(Btf { bytes, starts, strings })
    }

    /// The type with that id, which may be 0: void.
    pub(crate) fn get(&self, id: u32) -> Option<Type> {
        if id == 0 {
            let void =
                Type { kind: VOID, count: 0, name: 0, flag: false, size_or_type: 0, start: 0 };
            return Some(void);
        }
        let start = *self.starts.get(id as usize - 1)? as usize;
        let info = u32_at(&self.bytes, start + 4)?;
        Some(Type {
            kind: (info >> 24 & 0x1f) as u8,
            count: info as usize & 0xffff,
            name: u32_at(&self.bytes, start)?,
            flag: info >> 31 != 0,
            size_or_type: u32_at(&self.bytes, start + 8)?,
            start,
        })
    }

    /// The string at that offset; empty where there is none.
    pub(crate) fn string(&self, offset: u32) -> &[u8] {
        self.strings_from(offset).split(|&byte| byte == 0).next().unwrap_or_default()
    }

    fn strings_from(&self, offset: u32) -> &[u8] {
        self.bytes.get(self.strings + offset as usize..).unwrap_or_default()
    }

    /// The name of a type.
    pub(crate) fn name(&self, of: &Type) -> &[u8] {
        self.string(of.name)
    }

    /// The ids of the types with each of these kinds and names, in one pass over all types.
    pub(crate) fn find_all(&self, wanted: &[(u8, &str)]) -> Vec<Vec<u32>> {
        let mut places: HashMap<(u8, &[u8]), Vec<usize>> = HashMap::new();
        for (place, (kind, name)) in wanted.iter().enumerate() {
            places.entry((*kind, name.as_bytes())).or_default().push(place);
        }
        // Most types of a kernel are of other kinds, have no name, or begin in another way: to tell
        // that, their names need not be read to the end and hashed.
        let kinds = wanted.iter().fold(0_u32, |kinds, (kind, _)| kinds | 1 << kind);
        let mut begins = vec![false; 1 << 16];
        wanted.iter().for_each(|(_, name)| begins[begin(name.as_bytes())] = true);
        let mut found = vec![Vec::new(); wanted.len()];
        for id in 1..=self.starts.len() as u32 {
            let Some(candidate) = self.get(id) else { continue };
            if candidate.name == 0
                || kinds & 1 << candidate.kind == 0
                || !begins[begin(self.strings_from(candidate.name))]
            {
                continue;
            }
            for &place in places.get(&(candidate.kind, self.name(&candidate))).into_iter().flatten()
            {
                found[place].push(id);
            }
        }
        found
    }

    /// The id of the first type with that kind and name.
    pub(crate) fn find(&self, kind: u8, name: &str) -> Option<u32> {
        self.find_all(&[(kind, name)])[0].first().copied()
    }

    /// The type behind modifiers and typedefs, with its id.
    pub(crate) fn resolve(&self, mut id: u32) -> Option<(u32, Type)> {
        for _ in 0..DEPTH {
            let found = self.get(id)?;
            match found.kind {
                TYPEDEF | VOLATILE | CONST | RESTRICT | TYPE_TAG => id = found.size_or_type,
                _ => return Some((id, found)),
            }
        }
        None
    }

    /// The members of a structure or a union.
    pub(crate) fn members(&self, of: Type) -> impl Iterator<Item = Member<'_>> {
        let count = if matches!(of.kind, STRUCT | UNION) { of.count } else { 0 };
        (0..count).filter_map(move |index| {
            let at = of.start + TYPE + index * MEMBER;
            let place = u32_at(&self.bytes, at + 8)?;
            let (bits, bit_offset) =
                if of.flag { (place >> 24, place & 0xff_ffff) } else { (0, place) };
            let type_id = u32_at(&self.bytes, at + 4)?;
            Some(Member {
                name: self.string(u32_at(&self.bytes, at)?),
                type_id,
                bit_offset,
                bits: Some(bits).filter(|&bits| bits != 0).or_else(|| self.old_bits(type_id)),
            })
        })
    }

    /// The bits of an integer type that does not fill its bytes: how bit-fields were described
    /// before their members had a size.
    fn old_bits(&self, id: u32) -> Option<u32> {
        let (_, found) = self.resolve(id)?;
        let bits = self.integer(found)? & 0xff;
        (bits != found.size_or_type * 8).then_some(bits)
    }

    /// What an array is of.
    pub(crate) fn array(&self, of: Type) -> Option<Array> {
        let at = of.start + TYPE;
        (of.kind == ARRAY).then_some(())?;
        Some(Array { element: u32_at(&self.bytes, at)?, length: u32_at(&self.bytes, at + 8)? })
    }

    /// How an integer is encoded.
    fn integer(&self, of: Type) -> Option<u32> {
        (of.kind == INT).then(|| u32_at(&self.bytes, of.start + TYPE))?
    }

    /// Whether it is an integer without a sign, a bool among them.
    pub(crate) fn is_unsigned(&self, of: Type) -> bool {
        self.integer(of).is_some_and(|encoding| encoding >> 24 & SIGNED == 0)
    }

    /// Bytes that a value takes.
    pub(crate) fn size(&self, id: u32) -> Option<u32> {
        let mut elements = 1_u32;
        let mut id = id;
        for _ in 0..DEPTH {
            let (_, found) = self.resolve(id)?;
            let size = match found.kind {
                INT | STRUCT | UNION | ENUM | ENUM64 | FLOAT => found.size_or_type,
                PTR => size_of::<usize>() as u32,
                ARRAY => {
                    let array = self.array(found)?;
                    elements = elements.checked_mul(array.length)?;
                    id = array.element;
                    continue;
                }
                _ => return None,
            };
            return elements.checked_mul(size);
        }
        None
    }
}

/// Changes of what a kernel has.
#[cfg(test)]
impl Btf {
    /// The number of types.
    pub(crate) fn count(&self) -> usize {
        self.starts.len()
    }

    /// The bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The description of a member.
    pub(crate) fn member_bytes(&mut self, structure: &str, name: &str) -> Option<&mut [u8]> {
        let of = self.get(self.find(STRUCT, structure)?)?;
        let index = self.members(of).position(|member| member.name == name.as_bytes())?;
        let at = of.start + TYPE + index * MEMBER;
        self.bytes.get_mut(at..at + MEMBER)
    }

    /// Makes a member a bit-field.
    pub(crate) fn make_bit_field(&mut self, structure: &str, name: &str, bits: u32) -> Option<()> {
        let of = self.get(self.find(STRUCT, structure)?)?;
        self.bytes[of.start + 7] |= 0x80;
        let member = self.member_bytes(structure, name)?;
        let offset = u32_at(member, 8)?;
        member[8..12].copy_from_slice(&(bits << 24 | offset).to_ne_bytes());
        Some(())
    }

    /// Takes away the name of a field's last member, in all structures that lead there: a
    /// path is as "se.exec_start" or "rss_stat[0].count".
    pub(crate) fn hide(&mut self, structure: &str, path: &str) {
        let plain = structure.split("___").next().unwrap_or_default();
        let mut ids = self.find_all(&[(STRUCT, plain)]).remove(0);
        let steps: Vec<String> = path
            .split('.')
            .map(|step| step.split('[').next().unwrap_or_default().to_owned())
            .collect();
        for (taken, step) in steps.iter().enumerate() {
            let mut next = Vec::new();
            for id in ids {
                self.hide_member(id, step.as_bytes(), taken + 1 == steps.len(), &mut next);
            }
            ids = next;
        }
    }

    fn hide_member(&mut self, id: u32, name: &[u8], last: bool, next: &mut Vec<u32>) {
        let Some((_, of)) = self.resolve(id) else { return };
        let of = match self.array(of).and_then(|array| self.resolve(array.element)) {
            Some((_, element)) => element,
            None => of,
        };
        let members: Vec<(bool, u32)> =
            self.members(of).map(|member| (member.name == name, member.type_id)).collect();
        let anonymous: Vec<bool> = self.members(of).map(|member| member.name.is_empty()).collect();
        for (index, (is_it, type_id)) in members.into_iter().enumerate() {
            let at = of.start + TYPE + index * MEMBER;
            if anonymous[index] {
                self.hide_member(type_id, name, last, next);
            } else if is_it && last {
                // The name of the type itself is the name of no member.
                let other = self.bytes[of.start..of.start + 4].to_vec();
                self.bytes[at..at + 4].copy_from_slice(&other);
            } else if is_it {
                next.push(type_id);
            }
        }
    }
}

/// Bytes behind `struct btf_type`; None where the kind is unknown.
fn trailing(kind: u8, count: usize) -> Option<usize> {
    Some(match kind {
        INT | VAR | DECL_TAG => 4,
        ARRAY => 12,
        STRUCT | UNION | DATASEC | ENUM64 => count * 12,
        ENUM | FUNC_PROTO => count * 8,
        // PTR, FWD, TYPEDEF and the other modifiers, FUNC, FLOAT, TYPE_TAG
        PTR | 7..=12 | FLOAT | TYPE_TAG => 0,
        _ => return None,
    })
}
