//! Makes the programs fit the running kernel, and loads them.
//!
//! Design decisions
//!
//! * aya-obj parses and links the object; relocate.rs fits it to the kernel. Loading is a
//!   handful of bpf(2) calls of our own, because aya 0.14 supports neither preemptible
//!   programs nor kernel functions.
//! * Calls of kernel functions are marked by numbers that no helper has (bpf/task.h). The
//!   loader replaces them by the functions' ids.

use std::collections::{HashMap, HashSet};
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;
use std::{fs, io};

use aya_obj::generated::bpf_insn;
use aya_obj::{Map, Object};

use super::btf::{Btf, Bytes, kind};
use super::relocate::{self, Fit};
use crate::errors::Error;
use crate::privilege::has_bpf;
use crate::sys::bpf::{self, ProgramKind};

/// The programs of snapshots.
pub(crate) const SNAPSHOTS: &[u8] =
    include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/bpf/taskstats.bpf.o"));
/// The programs that follow a tree of processes.
pub(crate) const TREE: &[u8] =
    include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/bpf/tree.bpf.o"));

/// In the order of the numbers in bpf/taskstats.bpf.c.
const KERNEL_FUNCTIONS: [&str; 13] = [
    "bpf_iter_task_new",
    "bpf_iter_task_next",
    "bpf_iter_task_destroy",
    "bpf_rcu_read_lock",
    "bpf_rcu_read_unlock",
    "bpf_iter_num_new",
    "bpf_iter_num_next",
    "bpf_iter_num_destroy",
    CAST,
    "bpf_task_from_pid",
    "bpf_task_release",
    "bpf_preempt_disable",
    "bpf_preempt_enable",
];
/// Those that the programs can do without.
const OPTIONAL: [&str; 2] = ["bpf_preempt_disable", "bpf_preempt_enable"];
/// How many of them walk all tasks; with the others one is found by its id.
const WALKING: usize = 9;
/// Where the kernel describes its types.
const KERNEL_TYPES: &str = "/sys/kernel/btf/vmlinux";
const CAST: &str = "bpf_rdonly_cast";
const MARK: i32 = 0x7f_0000;
/// BPF_ALU64 | BPF_MOV | BPF_X
const COPY: u8 = 0xbf;
/// BPF_JMP | BPF_JA: to the next instruction.
const JUMP: u8 = 0x05;
/// BPF_JMP | BPF_CALL
const CALL: u8 = 0x85;
/// BPF_PSEUDO_KFUNC_CALL
const KERNEL_FUNCTION_CALL: u8 = 2;
/// The helper that lockdown=confidentiality takes away.
const PROBE_READ: &str = "bpf_probe_read_kernel";
/// Lines of the verifier's log that go into an error.
const LOG_LINES: usize = 4;

/// The object, with the types of the running kernel.
pub(crate) struct Loader {
    object: Object,
    kernel: Btf,
    fit: Fit,
    /// The ids of [`KERNEL_FUNCTIONS`]; looking one up reads all names of the kernel.
    functions: [Option<u32>; KERNEL_FUNCTIONS.len()],
}

impl Loader {
    /// Reads the kernel's types, and fits the programs' accesses to them.
    pub(crate) fn new(object: &[u8]) -> Result<Loader, Error> {
        let types = Bytes::of_kernel(Path::new(KERNEL_TYPES));
        if types.is_empty() {
            return Err(Error::Unsupported {
                reason: format!("the kernel does not describe its types ({KERNEL_TYPES})"),
                hint: "it needs a kernel with CONFIG_DEBUG_INFO_BTF=y".into(),
            });
        }
        Loader::for_kernel(object, types)
    }

    /// The same for a kernel with these types.
    pub(crate) fn for_kernel(bytes: &[u8], types: impl Into<Bytes>) -> Result<Loader, Error> {
        let kernel = Btf::parse(types)?;
        let mut object = Object::parse(bytes).map_err(damaged)?;
        let fit = relocate::relocate(bytes, &mut object, &kernel)
            .ok_or_else(|| damaged("its relocations cannot be read"))?;
        let wanted = KERNEL_FUNCTIONS.map(|name| (kind::FUNC, name));
        let mut functions = [None; KERNEL_FUNCTIONS.len()];
        for (place, found) in functions.iter_mut().zip(kernel.find_all(&wanted)) {
            *place = found.first().copied();
        }
        Ok(Loader { object, kernel, fit, functions })
    }

    /// How the programs' accesses fit the kernel.
    pub(crate) fn fit(&self) -> &Fit {
        &self.fit
    }

    /// Whether the kernel lets programs walk all tasks in one run (6.7).
    pub(crate) fn has_one_call(&self) -> bool {
        self.functions[..WALKING].iter().all(Option::is_some)
    }

    /// Whether the kernel describes a function of that name.
    pub(crate) fn has_function(&self, name: &str) -> bool {
        self.kernel.find(kind::FUNC, name).is_some()
    }

    /// Puts the maps' descriptors into the programs.
    pub(crate) fn link(&mut self, maps: &[(&str, BorrowedFd<'_>)]) -> Result<(), Error> {
        let defined = self.object.maps.clone();
        let pairs: Vec<(&str, RawFd, &Map)> = maps
            .iter()
            .filter_map(|(name, fd)| Some((*name, fd.as_raw_fd(), defined.get(*name)?)))
            .collect();
        let text: HashSet<usize> =
            self.object.functions.keys().map(|(section, _)| *section).collect();
        self.object.relocate_maps(pairs.into_iter(), &text).map_err(damaged)?;
        self.object.relocate_calls(&text).map_err(damaged)
    }

    /// Loads the program of that name; `target` is what it is attached to.
    pub(crate) fn load(&self, name: &'static str, target: Target<'_>) -> Result<OwnedFd, Error> {
        self.prepare(name, target)?.load()
    }

    /// The program of that name, to be loaded once it is needed.
    pub(crate) fn prepare(
        &self,
        name: &'static str,
        target: Target<'_>,
    ) -> Result<Prepared, Error> {
        let program = self.object.programs.get(name);
        let function =
            program.and_then(|program| self.object.functions.get(&program.function_key()));
        let (Some(program), Some(function)) = (program, function) else {
            return Err(damaged(format!("no program {name}")));
        };
        let kind = match target {
            Target::Call => ProgramKind::Syscall,
            Target::Tracepoint(point) => {
                ProgramKind::Tracepoint(self.id(&format!("btf_trace_{point}"), kind::TYPEDEF)?)
            }
            Target::Function(name) => ProgramKind::Function(self.id(name, kind::FUNC)?),
            Target::Tasks => ProgramKind::Iterator(self.id("bpf_iter_task", kind::FUNC)?),
        };
        let mut instructions = function.instructions.clone();
        self.call_kernel_functions(&mut instructions)?;
        let license = program.license.clone();
        Ok(Prepared { name, kind, instructions, license, unreadable: self.fit.unreadable() })
    }

    fn call_kernel_functions(&self, instructions: &mut [bpf_insn]) -> Result<(), Error> {
        for instruction in instructions {
            let which = instruction.imm - MARK;
            if instruction.code != CALL || !(1..=KERNEL_FUNCTIONS.len() as i32).contains(&which) {
                continue;
            }
            let which = (which - 1) as usize;
            if let Some(id) = self.functions[which] {
                instruction.set_src_reg(KERNEL_FUNCTION_CALL);
                instruction.imm = id.cast_signed();
            } else if KERNEL_FUNCTIONS[which] == CAST {
                // Older verifiers vouch for no task, so that there is nothing to take back.
                instruction.code = COPY;
                instruction.set_dst_reg(0);
                instruction.set_src_reg(1);
                instruction.imm = 0;
            } else if OPTIONAL.contains(&KERNEL_FUNCTIONS[which]) {
                instruction.code = JUMP;
                instruction.imm = 0;
            } else {
                return Err(absent(KERNEL_FUNCTIONS[which]));
            }
        }
        Ok(())
    }

    fn id(&self, name: &str, kind: u8) -> Result<u32, Error> {
        self.kernel.find(kind, name).ok_or_else(|| absent(name))
    }
}

/// A program that fits the kernel.
pub(crate) struct Prepared {
    name: &'static str,
    kind: ProgramKind,
    instructions: Vec<bpf_insn>,
    license: CString,
    /// What the verifier's message may lead to.
    unreadable: HashMap<i32, String>,
}

impl Prepared {
    /// Has the kernel check it.
    pub(crate) fn load(self) -> Result<OwnedFd, Error> {
        bpf::load_program(self.name, self.kind, &self.instructions, &self.license)
            .map_err(|(error, log)| refused(self.name, &error, &log, &self.unreadable))
    }
}

#[cfg(test)]
impl Prepared {
    /// How many instructions it has.
    pub(crate) fn length(&self) -> usize {
        self.instructions.len()
    }
}

/// What a program is attached to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target<'a> {
    /// Nothing: it is run by a call.
    Call,
    /// A tracepoint.
    Tracepoint(&'a str),
    /// The begin of a kernel function.
    Function(&'a str),
    /// The task iterator.
    Tasks,
}

fn absent(name: &str) -> Error {
    Error::Unsupported { reason: format!("this kernel has no {name}"), hint: String::new() }
}

fn damaged(error: impl std::fmt::Display) -> Error {
    Error::Unsupported {
        reason: format!("the BPF object does not load: {error}"),
        hint: String::new(),
    }
}

/// The kernel's refusal of a program: the privilege, the field or the helper that is missing,
/// or else the verifier's reason.
fn refused(
    program: &str,
    error: &io::Error,
    log: &str,
    unreadable: &HashMap<i32, String>,
) -> Error {
    // Without CAP_PERFMON the verifier refuses any access to the kernel's memory.
    if error.raw_os_error() == Some(libc::EPERM) || !has_bpf() {
        return denied();
    }
    let reason = if let Some(text) = unreadable_access(log, unreadable) {
        format!("the BPF program {program} needs a field that this kernel lacks: {text}")
    } else if log.contains(PROBE_READ) && log.contains("cannot use helper") {
        return locked_down();
    } else {
        let reason = reason_in(log);
        let colon = if reason.is_empty() { "" } else { ": " };
        format!("the kernel refuses the BPF program {program} ({error}){colon}{reason}")
    };
    Error::Unsupported { reason, hint: String::new() }
}

/// The access that an instruction in the log stands for ("invalid func unknown#195887105").
fn unreadable_access<'a>(log: &str, unreadable: &'a HashMap<i32, String>) -> Option<&'a str> {
    log.split("unknown#").skip(1).find_map(|rest| {
        let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
        unreadable.get(&digits.parse().ok()?).map(String::as_str)
    })
}

/// The verifier's reason. Its log traces instructions ("12: (85) call …"), each with the
/// state of registers ("R0=…", "; source"); the reason comes behind the last one. Counts of
/// instructions follow, and from Linux 7.3 on also suggestions.
fn reason_in(log: &str) -> String {
    let lines: Vec<&str> = log.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let is_trace = |line: &&str| {
        line.split_once(": ").is_some_and(|(number, rest)| {
            number.bytes().all(|byte| byte.is_ascii_digit())
                && (rest.starts_with('(') || rest.starts_with('R'))
        })
    };
    let last = lines.iter().rposition(is_trace).unwrap_or(0);
    let behind = lines[last.min(lines.len())..].iter().take_while(|line| {
        // What is said about the whole check.
        !line.starts_with("processed ") && !line.starts_with("verification time")
    });
    behind.take(LOG_LINES).copied().collect::<Vec<_>>().join("; ")
}

/// The refusal of a kernel that keeps its memory from root as well.
fn locked_down() -> Error {
    let mode = fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default();
    let cause = if mode.contains("[confidentiality]") {
        "the kernel is locked down (lockdown=confidentiality)"
    } else {
        "the kernel refuses the helper bpf_probe_read_kernel, as with lockdown=confidentiality"
    };
    Error::Unsupported {
        reason: format!("{cause}: BPF programs may not read its memory"),
        hint: "boot with lockdown=integrity or without lockdown".into(),
    }
}

/// The refusal for want of capabilities.
pub(crate) fn denied() -> Error {
    Error::AccessDenied {
        reason: "BPF needs CAP_BPF and CAP_PERFMON in the initial user namespace".into(),
        hint: "run it as root outside containers, or use the procfs source".into(),
    }
}

/// The refusal for want of locked memory.
pub(crate) fn out_of_memory(limit: u64) -> Error {
    Error::AccessDenied {
        reason: format!(
            "BPF maps need more locked memory than RLIMIT_MEMLOCK allows ({} KiB); kernels before \
             5.11 charge maps to it",
            limit >> 10
        ),
        hint: "raise the limit (ulimit -l unlimited, or LimitMEMLOCK=infinity in a systemd unit)"
            .into(),
    }
}

/// Borrows every descriptor of a list of named maps.
pub(crate) fn borrowed<'a>(
    maps: &'a [(&'static str, &'a OwnedFd)],
) -> Vec<(&'static str, BorrowedFd<'a>)> {
    maps.iter().map(|(name, fd)| (*name, fd.as_fd())).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn a_refused_program_shows_what_the_verifier_said() {
        // A program that ends without a result.
        let exit = bpf_insn {
            code: 0x95,
            _bitfield_align_1: [],
            _bitfield_1: bpf_insn::new_bitfield_1(0, 0),
            off: 0,
            imm: 0,
        };
        let license = std::ffi::CString::new("GPL").expect("no zero inside");
        let (error, log) = bpf::load_program("empty", ProgramKind::Syscall, &[exit], &license)
            .expect_err("the verifier accepts no such program");
        if error.raw_os_error() == Some(libc::EPERM) {
            assert!(std::env::var_os("PRECISE_TOP_NO_SKIP").is_none(), "must run here");
            return;
        }
        let shown = refused("empty", &error, &log, &HashMap::new()).to_string();
        assert!(shown.contains("refuses the BPF program empty"), "{shown}");
        assert!(shown.contains("R0 !read_ok"), "{shown}");
    }

    #[test]
    fn programs_load_while_a_storm_of_children_dies() {
        amid_dying_children(|| {
            for _ in 0..5 {
                if let Err(error) = super::super::Bpf::open() {
                    assert!(std::env::var_os("PRECISE_TOP_NO_SKIP").is_none(), "{error}");
                }
            }
        });
    }

    /// Does the work while other threads start children, which makes the verifier give up.
    pub(crate) fn amid_dying_children<T>(work: impl FnOnce() -> T) -> T {
        struct Over<'a>(&'a AtomicBool);
        impl Drop for Over<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let _over = Over(&over);
            for _ in 0..2 {
                scope.spawn(|| {
                    while !over.load(Ordering::Relaxed) {
                        let child = std::process::Command::new("true").spawn();
                        let _ = child.and_then(|mut child| child.wait());
                    }
                });
            }
            work()
        })
    }
}
