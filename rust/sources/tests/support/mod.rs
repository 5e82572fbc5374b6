//! Helpers of the tests of the bpf source.

use std::hint::black_box;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use precise_top_core::{FieldGroup, FieldSet, SourceKind};
use precise_top_sources::{Request, Source, open, sources};

/// Opens the bpf source; None where this machine lacks it and may.
pub(crate) fn bpf() -> Option<Box<dyn Source>> {
    match open(Some(SourceKind::Bpf)) {
        Ok(source) => Some(source),
        Err(error) => {
            assert!(std::env::var_os("PRECISE_TOP_NO_SKIP").is_none(), "must run here: {error}");
            eprintln!("skipped: {error}");
            None
        }
    }
}

/// Whether the kernel walks all tasks in one call.
pub(crate) fn has_one_call() -> bool {
    sources().iter().any(|report| report.name == "bpf" && report.reason.contains("one system call"))
}

/// Child processes, killed when dropped.
pub(crate) struct Children(pub(crate) Vec<Child>);

impl Drop for Children {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // Kill what the shell started, too; a sleeper has no group of its own.
            let group = format!("-{}", child.id());
            let _ =
                Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The fields of CPU time.
pub(crate) fn cpu() -> FieldSet {
    FieldSet::of_group(FieldGroup::Cpu)
}

/// A request for CPU times at one instant.
pub(crate) fn exact() -> Request {
    Request { exact: true, fields: cpu(), ..Request::default() }
}

/// Uses CPU time in this thread.
pub(crate) fn burn(time: Duration) {
    let until = Instant::now() + time;
    let mut number = 1u64;
    while Instant::now() < until {
        number = black_box(number.wrapping_mul(3));
    }
}
