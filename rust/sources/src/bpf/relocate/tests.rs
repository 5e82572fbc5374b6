//! Accesses against changed descriptions of types: those of the objects, of the running kernel,
//! and of the kernels in a directory.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::super::fields::{self, Lacking};
use super::super::loader::tests::amid_dying_children;
use super::super::loader::{Loader, SNAPSHOTS, TREE, Target};
use super::*;

/// Programs of the objects, with what they are attached to. The last ones of each are needed
/// only on some kernels.
const SNAPSHOT_PROGRAMS: [(&str, Target<'_>); 8] = [
    ("snapshot", Target::Call),
    ("each_task", Target::Tasks),
    ("switched", Target::Tracepoint("sched_switch")),
    ("exits", Target::Tracepoint("sched_process_exit")),
    ("snapshot_of_ran", Target::Call),
    ("idles", Target::Tracepoint("cpu_idle")),
    ("freed", Target::Tracepoint("sched_process_free")),
    ("forgets", Target::Function("dl_server_update_idle_time")),
];

/// The object's own description of types: a kernel that has just what the programs read.
fn own_types() -> Vec<u8> {
    let file = object::File::parse(SNAPSHOTS).expect("an object");
    let section = file.section_by_name(".BTF").expect("its types");
    section.data().expect("their bytes").to_vec()
}

fn fitted(types: Vec<u8>) -> (Object, Fit) {
    let kernel = Btf::parse(types).expect("types");
    let mut object = Object::parse(SNAPSHOTS).expect("an object");
    let fit = relocate(SNAPSHOTS, &mut object, &kernel).expect("relocations");
    (object, fit)
}

/// Changes of one member's description in the kernel.
#[derive(Clone, Copy)]
enum Change {
    Name,
    Type(u32),
    Bits(u32),
}

fn changed(types: Vec<u8>, structure: &str, name: &str, change: Change) -> Vec<u8> {
    let mut types = Btf::parse(types).expect("types");
    if let Change::Bits(bits) = change {
        types.make_bit_field(structure, name, bits).expect("the member");
        return types.bytes().to_vec();
    }
    let member = types.member_bytes(structure, name).expect("the member");
    match change {
        // Offset 1 is the name of something else.
        Change::Name => member[..4].copy_from_slice(&1_u32.to_ne_bytes()),
        Change::Type(id) => member[4..8].copy_from_slice(&id.to_ne_bytes()),
        Change::Bits(_) => unreachable!("handled above"),
    }
    types.bytes().to_vec()
}

/// Adds a type, and returns its id.
fn with_type(types: &mut Vec<u8>, record: &[u32]) -> u32 {
    let header = u32_at(types, 4).expect("a header") as usize;
    let length = u32_at(types, 12).expect("a header") as usize;
    let count = Btf::parse(types.clone()).expect("types").count();
    let bytes: Vec<u8> = record.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let at = header + u32_at(types, 8).expect("a header") as usize + length;
    types.splice(at..at, bytes.iter().copied());
    let strings = u32_at(types, 16).expect("a header");
    types[12..16].copy_from_slice(&((length + bytes.len()) as u32).to_ne_bytes());
    types[16..20].copy_from_slice(&(strings + bytes.len() as u32).to_ne_bytes());
    count as u32 + 1
}

/// Loads of a field, by the width that each instruction reads.
fn widths(object: &Object, path: &str) -> BTreeSet<u32> {
    let file = object::File::parse(SNAPSHOTS).expect("an object");
    let data = |name| file.section_by_name(name).expect("a section").data().expect("its bytes");
    let local = Btf::parse(data(".BTF").to_vec()).expect("types");
    let section_of = |name: &[u8]| Some(file.section_by_name_bytes(name)?.index().0);
    let relocations = read_relocations(data(".BTF.ext"), &local, section_of).expect("relocations");
    let mut found = BTreeSet::new();
    let mut object = object.clone();
    for relocation in relocations.iter().filter(|one| one.kind == relo::FIELD_OFFSET) {
        let (access, _) = resolve(relocation, &local, &local, &HashMap::new());
        if format!("{access}") == path {
            found.insert(width(instruction(&mut object, relocation).expect("a load").code));
        }
    }
    found
}

/// Whether it is of an older version of a structure.
fn is_older(access: &Access) -> bool {
    access.structure.contains("___")
}

#[test]
fn every_field_that_columns_are_made_from_is_one_that_the_programs_read() {
    let (_, fit) = fitted(own_types());
    let read: BTreeSet<String> = fit.accesses().map(|(access, _)| access.to_string()).collect();
    for source in fields::sources() {
        assert!(read.contains(&source), "{source} is read by no program");
    }
    for (access, reason) in fit.accesses().filter(|(access, _)| !is_older(access)) {
        assert_eq!(reason, None, "{access}");
    }
}

#[test]
fn fields_of_another_kind_cost_their_columns_and_say_so() {
    let integer = |bits: u32, size: u32, encoding: u32| {
        [0, u32::from(kind::INT) << 24, size, encoding << 24 | bits]
    };
    let mut types = own_types();
    let byte = with_type(&mut types, &integer(8, 1, 0));
    let boolean = with_type(&mut types, &integer(8, 1, 4));
    let signed = with_type(&mut types, &integer(8, 1, 1));
    let enumeration = with_type(&mut types, &[0, u32::from(kind::ENUM) << 24, 4]);
    let structure = with_type(&mut types, &[0, u32::from(kind::STRUCT) << 24, 4]);
    let cases = [
        (Change::Name, Some(Reason::Missing)),
        (Change::Type(byte), None),
        (Change::Type(boolean), None),
        (Change::Type(signed), Some(Reason::OtherWidth)),
        (Change::Type(enumeration), Some(Reason::OtherKind)),
        (Change::Type(structure), Some(Reason::OtherKind)),
        (Change::Bits(3), Some(Reason::BitField)),
    ];
    for (number, (change, expected)) in cases.into_iter().enumerate() {
        for (path, field) in
            [("task_struct.exit_code", "exit_code"), ("task_struct.on_cpu", "on_cpu")]
        {
            let (object, fit) = fitted(changed(types.clone(), "task_struct", field, change));
            assert_eq!(fit.reason(path), expected, "case {number}, {path}");
            let poisoned: Vec<String> =
                fit.unreadable().into_values().filter(|text| !text.contains("___")).collect();
            assert_eq!(poisoned.is_empty(), expected.is_none(), "{poisoned:?}");
            if let Some(reason) = expected {
                assert!(poisoned.contains(&format!("{path} {reason}")), "{poisoned:?}");
            } else {
                assert_eq!(widths(&object, path), BTreeSet::from([1]), "case {number}, {path}");
            }
        }
        let (_, fit) = fitted(changed(types.clone(), "task_struct", "exit_code", change));
        let lacking = Lacking::of(&fit);
        let column = precise_top_core::Field::ac_exitcode;
        assert_eq!(lacking.fields.contains(column), expected.is_some(), "case {number}");
        assert_eq!(lacking.texts.len(), usize::from(expected.is_some()), "{:?}", lacking.texts);
    }
}

/// The running kernel's types; None where BPF is not allowed here.
fn running() -> Option<Vec<u8>> {
    let types = std::fs::read("/sys/kernel/btf/vmlinux").ok();
    if !crate::has_bpf() || types.is_none() {
        assert!(std::env::var_os("PRECISE_TOP_NO_SKIP").is_none(), "must run here");
        return None;
    }
    types
}

/// Without each of these no program can walk over the tasks.
const NEEDED: [&str; 22] = [
    "bpf_iter__task.task",
    "pid.level",
    "pid.numbers",
    "signal_struct.sum_sched_runtime",
    "task_struct.exit_state",
    "task_struct.flags",
    "task_struct.group_leader",
    "task_struct.on_cpu",
    "task_struct.pid",
    "task_struct.real_parent",
    "task_struct.se.exec_start",
    "task_struct.se.sum_exec_runtime",
    "task_struct.signal",
    "task_struct.start_boottime",
    "task_struct.start_time",
    "task_struct.tgid",
    "task_struct.thread_pid",
    "upid.nr",
    "upid.ns",
    "rq",
    "task_struct",
    "upid",
];

/// Links and loads all programs of snapshots for a kernel with these types.
fn load_all(types: Vec<u8>) -> Vec<(&'static str, crate::Error)> {
    let mut loader = Loader::for_kernel(SNAPSHOTS, types).expect("an object");
    let maps = super::super::open::test_maps(&mut loader);
    let mut refused = Vec::new();
    for (name, target) in SNAPSHOT_PROGRAMS {
        if let Err(error) = loader.load(name, target) {
            refused.push((name, error));
        }
    }
    drop(maps);
    refused
}

#[test]
fn the_running_kernel_takes_the_programs_without_any_optional_field() {
    let Some(types) = running() else { return };
    let (_, fit) = fitted(types.clone());
    let expected: BTreeSet<&str> =
        load_all(types.clone()).into_iter().map(|(name, _)| name).collect();
    let optional: Vec<Access> = fit
        .accesses()
        .filter(|(access, reason)| reason.is_none() && !access.field.is_empty())
        .map(|(access, _)| access.clone())
        .filter(|access| !NEEDED.contains(&access.to_string().as_str()))
        .collect();
    assert!(optional.len() > 80, "{optional:?}");
    let hidden = |hide: &dyn Fn(&Access) -> bool| {
        let mut kernel = Btf::parse(types.clone()).expect("types");
        for access in optional.iter().filter(|access| hide(access)) {
            kernel.hide(&access.structure, &access.field);
        }
        kernel.bytes().to_vec()
    };
    let all: BTreeSet<&str> = load_all(hidden(&|_| true))
        .into_iter()
        .inspect(|(name, error)| eprintln!("{name}: {error}"))
        .map(|(name, _)| name)
        .collect();
    assert!(all.is_subset(&expected), "without all optional fields: {all:?}");
    // By halves, so that code behind two tests is checked as well.
    for bit in [0, 3] {
        let kept = |access: &Access| {
            let place = optional.iter().position(|other| other == access).expect("one of them");
            place >> bit & 1 == 0
        };
        let found = load_all(hidden(&kept));
        assert!(found.iter().all(|(name, _)| expected.contains(name)), "bit {bit}: {found:?}");
    }
}

#[test]
fn a_field_that_the_walk_needs_is_named() {
    let Some(types) = running() else { return };
    let mut kernel = Btf::parse(types).expect("types");
    kernel.hide("task_struct", "on_cpu");
    let refused = load_all(kernel.bytes().to_vec());
    let (_, error) = refused.iter().find(|(name, _)| *name == "snapshot").expect("refused");
    let shown = error.to_string();
    assert!(shown.contains("task_struct.on_cpu is missing"), "{shown}");
}

#[test]
fn a_missing_field_is_named_while_the_verifier_is_interrupted() {
    let Some(types) = running() else { return };
    let mut kernel = Btf::parse(types).expect("types");
    kernel.hide("task_struct", "on_cpu");
    let mut loader = Loader::for_kernel(SNAPSHOTS, kernel.bytes().to_vec()).expect("an object");
    let maps = super::super::open::test_maps(&mut loader);
    amid_dying_children(|| {
        for _ in 0..50 {
            let error = loader.load("snapshot", Target::Call).expect_err("no program");
            let shown = error.to_string();
            assert!(shown.contains("task_struct.on_cpu is missing"), "{shown}");
        }
    });
    drop(maps);
}

/// Kernels' types, one file each, in the directory PRECISE_TOP_BTF.
#[test]
fn the_objects_fit_every_kernel_of_the_matrix() {
    let Some(directory) = std::env::var_os("PRECISE_TOP_BTF").map(PathBuf::from) else { return };
    let files: Vec<PathBuf> = std::fs::read_dir(&directory)
        .expect("the directory of types")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "btf"))
        .collect();
    assert!(!files.is_empty(), "no types in {}", directory.display());
    for path in files {
        let types = std::fs::read(&path).expect("types");
        for object in [SNAPSHOTS, TREE] {
            let loader = Loader::for_kernel(object, types.clone()).expect("an object that fits");
            let unreadable: Vec<String> = loader.fit().unreadable().into_values().collect();
            eprintln!("{}: {}", path.display(), unreadable.join("; "));
            for needed in NEEDED {
                let lost = unreadable.iter().find(|text| text.split(' ').next() == Some(needed));
                assert!(lost.is_none(), "{}: {}", path.display(), lost.expect("one"));
            }
        }
    }
}
