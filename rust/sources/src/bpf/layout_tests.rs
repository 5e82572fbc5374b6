//! What user space and the programs know of each other: structures, constants, map sizes.

use std::mem::size_of;

use object::{Object as _, ObjectSection as _};
use precise_top_core::{Field, Layout};

use super::btf::{Btf, kind};
use super::loader::{SNAPSHOTS, TREE};
use super::{VERSION, exit_slots, fields, map_set, process_tree, run_log};
use crate::sys::shared::{Control, CpuWords, SlotWords, TreeWords};

fn types_of(object: &[u8]) -> Btf {
    let file = object::File::parse(object).expect("an object");
    let section = file.section_by_name(".BTF").expect("its types");
    Btf::parse(section.data().expect("their bytes").to_vec()).expect("types")
}

/// Names, offsets and sizes of a structure's fields.
fn fields_of(types: &Btf, name: &str) -> Vec<(String, usize, usize)> {
    let id = types.find(kind::STRUCT, name).unwrap_or_else(|| panic!("no struct {name}"));
    let of = types.get(id).expect("a type");
    let fields = types.members(of).map(|member| {
        let size = types.size(member.type_id).expect("a size") as usize;
        let name = String::from_utf8_lossy(member.name).into_owned();
        (name, member.bit_offset as usize / 8, size)
    });
    fields.collect()
}

#[test]
fn shared_structures_are_those_of_the_programs() {
    let (snapshots, tree) = (types_of(SNAPSHOTS), types_of(TREE));
    for (types, (name, ours)) in [
        (&snapshots, Control::LAYOUT),
        (&snapshots, CpuWords::LAYOUT),
        (&snapshots, SlotWords::LAYOUT),
        (&tree, TreeWords::LAYOUT),
    ] {
        let mut theirs = fields_of(types, name);
        if name == "slot" {
            let record = theirs.pop().expect("its record");
            assert_eq!((record.0.as_str(), record.1), ("record", size_of::<SlotWords>()));
        }
        let ours: Vec<_> =
            ours.iter().map(|&(name, at, size)| (name.to_owned(), at, size)).collect();
        assert_eq!(ours, theirs, "struct {name}");
    }
}

#[test]
fn records_have_the_layout_of_the_field_table() {
    let types = types_of(SNAPSHOTS);
    let layout = Layout::of_version(VERSION).expect("a layout");
    let mut seen = 0;
    for (name, at, size) in fields_of(&types, "record") {
        if name.starts_with("pad") {
            continue;
        }
        if name == "exec_mark" {
            assert_eq!((Some(at), size), (layout.exec_mark_offset(), size_of::<u32>()));
            continue;
        }
        let field = Field::from_name(&name).unwrap_or_else(|| panic!("no field {name}"));
        assert_eq!(layout.offset(field), Some(at), "{name}");
        assert_eq!(field.info().repr.size(), size, "{name}");
        seen += 1;
    }
    assert_eq!(seen, layout.fields().iter().count());
    let record = types.find(kind::STRUCT, "record").expect("struct record");
    assert_eq!(types.size(record), Some(layout.record_size() as u32));
}

/// The value that a header gives a name: "NAME = 1 << 2," or "#define NAME 3".
fn constant(header: &str, name: &str) -> u64 {
    let line = header
        .lines()
        .map(str::trim)
        .find_map(|line| {
            let rest = line.strip_prefix("#define ").unwrap_or(line).strip_prefix(name)?;
            rest.starts_with([' ', '\t']).then_some(rest)
        })
        .unwrap_or_else(|| panic!("no {name}"));
    let value = line.trim().trim_start_matches('=').split([',', '/']).next().unwrap_or_default();
    let number = |text: &str| text.trim().parse::<u64>().expect("a number");
    match value.split_once("<<") {
        Some((one, shift)) => number(one) << number(shift),
        None => number(value),
    }
}

#[test]
fn constants_are_those_of_the_headers() {
    let record = include_str!("../../bpf/record.h");
    for (name, value) in fields::bits::ALL {
        assert_eq!(constant(record, name), u64::from(value), "{name}");
    }
    let states = record.split("enum slot_state {").nth(1).expect("the states");
    let states = states.split('}').next().expect("their end");
    for (value, name) in states.split(',').map(str::trim).enumerate() {
        let ours = exit_slots::STATES.iter().find(|(known, _)| *known == name);
        assert!(ours.is_none_or(|&(_, known)| known == value as u64), "{name}");
    }
    let log = include_str!("../../bpf/run_log.h");
    assert_eq!(constant(log, "LOG"), run_log::LOG as u64);
    assert_eq!(constant(log, "LOGGED"), run_log::LOGGED as u64);
    assert_eq!(constant(log, "LISTED"), run_log::LISTED as u64);
    let (snapshots, tree) = (types_of(SNAPSHOTS), types_of(TREE));
    let size = |types: &Btf, name| {
        types.size(types.find(kind::STRUCT, name).expect("a structure")).expect("a size") as usize
    };
    assert_eq!(size(&snapshots, "note"), map_set::NOTE);
    assert_eq!(size(&tree, "member"), process_tree::MEMBER);
    assert_eq!(size(&tree, "command"), process_tree::COMMAND);
    assert_eq!(size(&tree, "command_use"), process_tree::COMMAND_USE);
}
