//! Fits the programs' accesses to the running kernel's structures (CO-RE).
//!
//! Design decisions
//!
//! * aya-obj stops at the first access that does not fit, without the field's name, and
//!   panics where a field is a bit-field. Here such an access becomes an instruction that the
//!   verifier refuses, with the access's number in it: behind a test that the field exists it
//!   is dead code, elsewhere the verifier's message leads back to the field.
//! * A field counts as missing not only where the kernel has none of that name, but wherever
//!   the programs cannot read it: it is a bit-field, of another kind, or signed and of
//!   another width. The test that it exists fails then as well.

use std::collections::HashMap;
use std::fmt;

use aya_obj::Object;
use aya_obj::generated::bpf_insn;
use object::{Object as _, ObjectSection as _};

use super::btf::{Btf, Member, Type, kind, u32_at};

/// Instruction classes of include/uapi/linux/bpf_common.h, and the width of a load.
const CLASS: u8 = 0x07;
const LD: u8 = 0x00;
const LDX: u8 = 0x01;
const ST: u8 = 0x02;
const STX: u8 = 0x03;
const ALU: u8 = 0x04;
const ALU64: u8 = 0x07;
const WIDTH: u8 = 0x18;
/// BPF_JMP | BPF_CALL
const CALL: u8 = 0x85;
/// Numbers of functions that no kernel has: an access that does not fit.
const POISON: i32 = 0x0bad_0000;
/// Anonymous structures inside each other, at most.
const DEPTH: usize = 16;

/// Kinds of relocations, enum bpf_core_relo_kind of include/uapi/linux/bpf.h.
mod relo {
    pub(super) const FIELD_OFFSET: u32 = 0;
    pub(super) const FIELD_EXISTS: u32 = 2;
    pub(super) const TYPE_ID_LOCAL: u32 = 6;
    pub(super) const TYPE_ID_TARGET: u32 = 7;
    pub(super) const TYPE_EXISTS: u32 = 8;
    pub(super) const TYPE_SIZE: u32 = 9;
}

/// Why the programs cannot read a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The kernel has no such structure, or no such field in it.
    Missing,
    /// It is an integer here and something else there.
    OtherKind,
    /// It is of another width, and signed.
    OtherWidth,
    /// It has no bytes of its own.
    BitField,
    /// The kernel has several structures of that name, which differ.
    Ambiguous,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::Missing => "is missing",
            Reason::OtherKind => "is of another kind",
            Reason::OtherWidth => "has another width",
            Reason::BitField => "is a bit-field",
            Reason::Ambiguous => "has several definitions",
        })
    }
}

/// A field that the programs read, or a type (then `field` is empty).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Access {
    pub(crate) structure: String,
    pub(crate) field: String,
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dot = if self.field.is_empty() { "" } else { "." };
        write!(f, "{}{dot}{}", self.structure, self.field)
    }
}

/// How the accesses of an object fit a kernel.
#[derive(Debug, Default)]
pub(crate) struct Fit {
    accesses: Vec<(Access, Option<Reason>)>,
}

impl Fit {
    /// Whether the programs can read the field; `name` is as in "task_struct.se.exec_start".
    pub(crate) fn reason(&self, name: &str) -> Option<Reason> {
        let (structure, field) = name.split_once('.').unwrap_or((name, ""));
        self.accesses
            .iter()
            .find(|(access, _)| access.structure == structure && access.field == field)
            .and_then(|(_, reason)| *reason)
    }

    /// Every field that the programs read, with the reason where they cannot.
    #[cfg(test)]
    pub(crate) fn accesses(&self) -> impl Iterator<Item = (&Access, Option<Reason>)> {
        self.accesses.iter().map(|(access, reason)| (access, *reason))
    }

    /// The accesses that cannot be made, by the function number in the verifier's message.
    pub(crate) fn unreadable(&self) -> HashMap<i32, String> {
        let numbered = (0..).map(|number| POISON | number).zip(&self.accesses);
        numbered
            .filter_map(|(number, (access, reason))| {
                Some((number, format!("{access} {}", (*reason)?)))
            })
            .collect()
    }
}

/// One record of .BTF.ext (struct bpf_core_relo).
struct Relocation {
    section: usize,
    at: usize,
    type_id: u32,
    path: u32,
    kind: u32,
}

impl Relocation {
    fn is_of_field(&self) -> bool {
        matches!(self.kind, relo::FIELD_OFFSET | relo::FIELD_EXISTS)
    }
}

/// One step from a structure to a field in it, by the object's types.
enum Step<'a> {
    Member(Member<'a>),
    Element(u32),
}

/// Where a field is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    bit_offset: u32,
    type_id: u32,
}

/// An access, by the object's types and by the kernel's.
struct Resolved {
    /// Its type in the object.
    local: u32,
    /// The field's place in the kernel; for a type, the kernel's id.
    found: Result<Place, Reason>,
}

/// Relocates all programs of the object, whose file is `bytes`. None where that is damaged.
pub(crate) fn relocate(bytes: &[u8], object: &mut Object, kernel: &Btf) -> Option<Fit> {
    let file = object::File::parse(bytes).ok()?;
    let data = |name| file.section_by_name(name)?.data().ok();
    let local = Btf::parse(data(".BTF")?.to_vec()).ok()?;
    let section_of = |name: &[u8]| {
        let section = file.section_by_name_bytes(name)?;
        Some(section.index().0)
    };
    let relocations = read_relocations(data(".BTF.ext")?, &local, section_of)?;
    let candidates = find_candidates(&relocations, &local, kernel)?;
    let mut fit = Fit::default();
    let mut resolved: Vec<Resolved> = Vec::new();
    // Ids and paths of the object's types say what an access is; each is resolved once.
    let mut known: HashMap<(u32, u32, bool), usize> = HashMap::new();
    let mut numbers = Vec::new();
    for relocation in &relocations {
        let key = (relocation.type_id, relocation.path, relocation.is_of_field());
        let number = *known.entry(key).or_insert_with(|| {
            let (access, one) = resolve(relocation, &local, kernel, &candidates);
            fit.accesses.push((access, None));
            resolved.push(one);
            resolved.len() - 1
        });
        numbers.push(number);
        let instruction = instruction(object, relocation)?;
        let one = &mut resolved[number];
        if let Ok(place) = one.found
            && relocation.kind == relo::FIELD_OFFSET
            && let Err(reason) = check_width(instruction.code, one.local, &local, place, kernel)
        {
            one.found = Err(reason);
        }
    }
    for ((_, reason), one) in fit.accesses.iter_mut().zip(&resolved) {
        *reason = one.found.err();
    }
    for (relocation, number) in relocations.iter().zip(numbers) {
        let value = value_of(relocation, &resolved[number], &local, kernel);
        apply(object, relocation, value, number)?;
    }
    Some(fit)
}

fn read_relocations(
    ext: &[u8],
    local: &Btf,
    section_of: impl Fn(&[u8]) -> Option<usize>,
) -> Option<Vec<Relocation>> {
    let header = u32_at(ext, 4)? as usize;
    let start = header.checked_add(u32_at(ext, 24)? as usize)?;
    let part = ext.get(start..start.checked_add(u32_at(ext, 28)? as usize)?)?;
    let size = u32_at(part, 0)? as usize;
    let mut at = 4;
    let mut found = Vec::new();
    while at < part.len() {
        let section = section_of(local.string(u32_at(part, at)?))?;
        let count = u32_at(part, at + 4)?;
        at += 8;
        for _ in 0..count {
            found.push(Relocation {
                section,
                at: u32_at(part, at)? as usize,
                type_id: u32_at(part, at + 4)?,
                path: u32_at(part, at + 8)?,
                kind: u32_at(part, at + 12)?,
            });
            at = at.checked_add(size)?;
        }
    }
    Some(found)
}

/// A name without what tells versions of a structure apart.
fn plain(name: &str) -> &str {
    name.split_once("___").map_or(name, |(plain, _)| plain)
}

/// The kernel's types of the same kind and name as each of the object's.
fn find_candidates(
    relocations: &[Relocation],
    local: &Btf,
    kernel: &Btf,
) -> Option<HashMap<u32, Vec<u32>>> {
    let mut ids: Vec<u32> = relocations.iter().map(|relocation| relocation.type_id).collect();
    ids.sort_unstable();
    ids.dedup();
    let mut wanted = Vec::new();
    for &id in &ids {
        let of = local.get(id)?;
        wanted.push((of.kind, plain(std::str::from_utf8(local.name(&of)).ok()?).to_owned()));
    }
    let wanted: Vec<_> = wanted.iter().map(|(kind, name)| (*kind, name.as_str())).collect();
    Some(ids.into_iter().zip(kernel.find_all(&wanted)).collect())
}

/// The access that a relocation is of.
fn resolve(
    relocation: &Relocation,
    local: &Btf,
    kernel: &Btf,
    candidates: &HashMap<u32, Vec<u32>>,
) -> (Access, Resolved) {
    let id = relocation.type_id;
    let name = local.get(id).map(|of| String::from_utf8_lossy(local.name(&of)).into_owned());
    let mut access = Access { structure: name.unwrap_or_default(), field: String::new() };
    let candidates = candidates.get(&id).map(Vec::as_slice).unwrap_or_default();
    if !relocation.is_of_field() {
        let found = match candidates {
            [] => Err(Reason::Missing),
            [one] => Ok(Place { bit_offset: 0, type_id: *one }),
            _ => Err(Reason::Ambiguous),
        };
        return (access, Resolved { local: id, found });
    }
    let Some((steps, field)) = steps(local, id, local.string(relocation.path)) else {
        return (access, Resolved { local: id, found: Err(Reason::Missing) });
    };
    access.field = name_of(&steps);
    let mut found = Err(Reason::Missing);
    for &candidate in candidates {
        match (found, follow(local, &steps, kernel, candidate)) {
            (Err(Reason::Missing), one) => found = one,
            (Ok(first), Ok(other)) if first.bit_offset != other.bit_offset => {
                found = Err(Reason::Ambiguous);
            }
            _ => {}
        }
    }
    (access, Resolved { local: field, found })
}

/// The steps of an access string ("0:7:1"), and the type of what they lead to.
fn steps<'a>(local: &'a Btf, id: u32, path: &[u8]) -> Option<(Vec<Step<'a>>, u32)> {
    let path = std::str::from_utf8(path).ok()?;
    let mut indices = path.split(':').map(|index| index.parse::<u32>().ok());
    // The first one is of an array of such structures.
    (indices.next()?? == 0).then_some(())?;
    let (mut steps, mut id) = (Vec::new(), id);
    for index in indices {
        let (_, of) = local.resolve(id)?;
        if let Some(array) = local.array(of) {
            steps.push(Step::Element(index?));
            id = array.element;
        } else {
            let member = local.members(of).nth(index? as usize)?;
            id = member.type_id;
            if !member.name.is_empty() {
                steps.push(Step::Member(member));
            }
        }
    }
    Some((steps, id))
}

fn name_of(steps: &[Step<'_>]) -> String {
    let mut name = String::new();
    for step in steps {
        match step {
            Step::Element(index) => name += &format!("[{index}]"),
            Step::Member(member) => {
                let dot = if name.is_empty() { "" } else { "." };
                name += &format!("{dot}{}", String::from_utf8_lossy(member.name));
            }
        }
    }
    name
}

/// Takes the same steps in the kernel's structure.
fn follow(local: &Btf, steps: &[Step<'_>], kernel: &Btf, root: u32) -> Result<Place, Reason> {
    let mut place = Place { bit_offset: 0, type_id: root };
    for (taken, step) in steps.iter().enumerate() {
        let (_, of) = kernel.resolve(place.type_id).ok_or(Reason::Missing)?;
        match step {
            Step::Member(wanted) => {
                let (bit_offset, member) =
                    find_member(kernel, of, wanted.name, DEPTH).ok_or(Reason::Missing)?;
                if !is_alike(local, wanted.type_id, kernel, member.type_id) {
                    return Err(Reason::OtherKind);
                }
                if member.bits.is_some() && taken == steps.len() - 1 {
                    return Err(Reason::BitField);
                }
                place.bit_offset += bit_offset;
                place.type_id = member.type_id;
            }
            Step::Element(index) => {
                let array = kernel.array(of).ok_or(Reason::OtherKind)?;
                // A flexible array has no length of its own.
                if *index >= array.length && array.length != 0 {
                    return Err(Reason::Missing);
                }
                let size = kernel.size(array.element).ok_or(Reason::OtherKind)?;
                place.bit_offset += index * size * 8;
                place.type_id = array.element;
            }
        }
    }
    Ok(place)
}

/// The member of that name, also inside anonymous ones, with its offset from the beginning.
fn find_member<'a>(btf: &'a Btf, of: Type, name: &[u8], depth: usize) -> Option<(u32, Member<'a>)> {
    let depth = depth.checked_sub(1)?;
    for member in btf.members(of) {
        if member.name == name {
            return Some((member.bit_offset, member));
        }
        if member.name.is_empty() {
            let (_, inner) = btf.resolve(member.type_id)?;
            if let Some((offset, found)) = find_member(btf, inner, name, depth) {
                return Some((member.bit_offset + offset, found));
            }
        }
    }
    None
}

/// Whether a field of the object may be one of the kernel: integers of any width, pointers to
/// anything, and structures, whose members are looked at when they are read.
fn is_alike(local: &Btf, a: u32, kernel: &Btf, b: u32) -> bool {
    let (Some((_, a)), Some((_, b))) = (local.resolve(a), kernel.resolve(b)) else { return false };
    let is_composite = |of: Type| matches!(of.kind, kind::STRUCT | kind::UNION);
    match (local.array(a), kernel.array(b)) {
        (Some(a), Some(b)) => is_alike(local, a.element, kernel, b.element),
        _ => a.kind == b.kind || is_composite(a) && is_composite(b),
    }
}

/// Whether an instruction can access a field that may be wider or narrower in the kernel.
fn check_width(
    code: u8,
    local_id: u32,
    local: &Btf,
    place: Place,
    kernel: &Btf,
) -> Result<(), Reason> {
    let (_, a) = local.resolve(local_id).ok_or(Reason::Missing)?;
    let (_, b) = kernel.resolve(place.type_id).ok_or(Reason::Missing)?;
    if matches!(a.kind, kind::STRUCT | kind::UNION) {
        return Ok(());
    }
    let (ours, theirs) = (local.size(local_id), kernel.size(place.type_id));
    if ours == theirs {
        return Ok(());
    }
    if let (Some(ours_of), Some(theirs_of)) = (local.array(a), kernel.array(b)) {
        let fits = theirs_of.length == 0 || theirs_of.length >= ours_of.length;
        let same = local.size(ours_of.element) == kernel.size(theirs_of.element);
        // The elements of another length are structures, whose members are looked at.
        let structures =
            local.resolve(ours_of.element).map(|(_, of)| of.kind) == Some(kind::STRUCT);
        return if fits && (same || structures) { Ok(()) } else { Err(Reason::OtherWidth) };
    }
    let adapts = matches!(code & CLASS, LDX) && Some(width(code)) == ours;
    if adapts && local.is_unsigned(a) && kernel.is_unsigned(b) && code_of(code, theirs).is_some() {
        Ok(())
    } else {
        Err(Reason::OtherWidth)
    }
}

/// Bytes that a load reads.
fn width(code: u8) -> u32 {
    match code & WIDTH {
        0x00 => 4,
        0x08 => 2,
        0x10 => 1,
        _ => 8,
    }
}

/// The same load of another width.
fn code_of(code: u8, size: Option<u32>) -> Option<u8> {
    let width = match size? {
        4 => 0x00,
        2 => 0x08,
        1 => 0x10,
        8 => 0x18,
        _ => return None,
    };
    Some(code & !WIDTH | width)
}

/// What a relocation puts into its instruction, and the width of a load that must change.
fn value_of(
    relocation: &Relocation,
    resolved: &Resolved,
    local: &Btf,
    kernel: &Btf,
) -> Option<(u64, Option<u32>)> {
    let exists = u64::from(resolved.found.is_ok());
    Some(match relocation.kind {
        relo::FIELD_EXISTS | relo::TYPE_EXISTS => (exists, None),
        relo::TYPE_ID_LOCAL => (u64::from(relocation.type_id), None),
        relo::FIELD_OFFSET => {
            let place = resolved.found.ok()?;
            let (_, of) = kernel.resolve(place.type_id)?;
            let size = kernel.size(place.type_id);
            let adapts = of.kind == kind::INT && size != local.size(resolved.local);
            (u64::from(place.bit_offset / 8), size.filter(|_| adapts))
        }
        relo::TYPE_ID_TARGET => (u64::from(resolved.found.ok()?.type_id), None),
        relo::TYPE_SIZE => (u64::from(kernel.size(resolved.found.ok()?.type_id)?), None),
        _ => return None,
    })
}

fn instruction<'a>(object: &'a mut Object, relocation: &Relocation) -> Option<&'a mut bpf_insn> {
    instructions(object, relocation)?.first_mut()
}

/// The instructions from the relocation's on.
fn instructions<'a>(object: &'a mut Object, relocation: &Relocation) -> Option<&'a mut [bpf_insn]> {
    let size = size_of::<bpf_insn>();
    let functions = object.functions.values_mut();
    let function = functions
        .filter(|function| function.section_index.0 == relocation.section)
        .find(|function| {
            let start = function.section_offset;
            (start..start + function.instructions.len() * size).contains(&relocation.at)
        })?;
    let at = (relocation.at - function.section_offset) / size;
    Some(&mut function.instructions[at..])
}

/// Writes the value into the instruction, or makes it one that no kernel accepts.
fn apply(
    object: &mut Object,
    relocation: &Relocation,
    value: Option<(u64, Option<u32>)>,
    number: usize,
) -> Option<()> {
    let instructions = instructions(object, relocation)?;
    let is_wide = instructions[0].code & CLASS == LD;
    let Some((value, size)) = value else {
        let count = if is_wide { 2 } else { 1 };
        for instruction in instructions.get_mut(..count)? {
            instruction.code = CALL;
            instruction.set_dst_reg(0);
            instruction.set_src_reg(0);
            instruction.off = 0;
            instruction.imm = POISON | number as i32;
        }
        return Some(());
    };
    match instructions[0].code & CLASS {
        LD => {
            instructions[0].imm = value as i32;
            instructions.get_mut(1)?.imm = (value >> 32) as i32;
        }
        LDX | ST | STX => {
            instructions[0].off = i16::try_from(value).ok()?;
            if let Some(code) = code_of(instructions[0].code, size)
                && instructions[0].code & CLASS == LDX
            {
                instructions[0].code = code;
            }
        }
        ALU | ALU64 => instructions[0].imm = value as i32,
        _ => return None,
    }
    Some(())
}

#[cfg(test)]
mod tests;
