//! Reports whether each source works here, why not, and what to type next.

use precise_top_core::SourceKind;

use crate::bpf::Bpf;
use crate::errors::Error;
use crate::host::{self, DelayAccounting};
use crate::namespace;
use crate::netlink::Netlink;
use crate::patched::proc_file::ProcFile;
use crate::privilege::sees_all_processes;
use crate::procfs::Procfs;
use crate::source::Source;
use crate::sys::worker::{self, without_worker};

/// Whether a source or a facility works here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Its name.
    pub name: &'static str,
    /// Whether it works here.
    pub available: bool,
    /// The state in a word: `found`, `denied` (a privilege is missing), `off` (it is
    /// switched off), `unsupported` (the kernel lacks it) or `failed`.
    pub state: &'static str,
    /// Why it works, or why not.
    pub reason: String,
    /// What to type to get it. Empty where there is nothing to do.
    pub hint: String,
    /// How exact its CPU times are. Empty where it does not work.
    pub precision: &'static str,
}

/// Reports on every source, the best first.
pub fn sources() -> Vec<Report> {
    let proc = ProcFile::open().map(|source| {
        (source.precision(), "all tasks in two system calls, counted by the kernel".to_owned())
    });
    let bpf = Bpf::open().map(|source| (source.precision(), source.describe()));
    let netlink = Netlink::open().map(|source| (source.precision(), source.describe().to_owned()));
    let procfs = Procfs::open().map(|source| {
        (source.precision(), "no privilege needed; two to four files a task".to_owned())
    });
    let mut reports = vec![
        report(SourceKind::Proc, proc),
        report(SourceKind::Bpf, bpf),
        with_hidden(report(SourceKind::Netlink, netlink)),
        with_hidden(report(SourceKind::Procfs, procfs)),
    ];
    let lacks = [namespace::notice(), worker::refusal().map(|error| without_worker(&error))];
    for lack in lacks.into_iter().flatten() {
        for report in reports.iter_mut().filter(|report| report.available) {
            report.reason.push_str("; ");
            report.reason.push_str(&lack);
        }
    }
    reports
}

/// Says where a source that reads /proc misses processes.
fn with_hidden(mut report: Report) -> Report {
    if report.available && !sees_all_processes() {
        report.reason.push_str("; /proc hides other users' processes (hidepid)");
        report.hint = "run it as root, or in the group of the mount of /proc (proc(5), gid)".into();
    }
    report
}

fn report(kind: SourceKind, tried: Result<(&'static str, String), Error>) -> Report {
    let (state, reason, hint, precision) = match tried {
        Ok((precision, reason)) => ("found", reason, String::new(), precision),
        Err(Error::AccessDenied { reason, hint }) => ("denied", reason, hint, ""),
        Err(Error::Unsupported { reason, hint }) => ("unsupported", reason, hint, ""),
        Err(error) => ("failed", error.to_string(), String::new(), ""),
    };
    Report { name: kind.name(), available: state == "found", state, reason, hint, precision }
}

/// Reports on delay accounting, which fills the delay fields.
pub fn delayacct() -> Report {
    let (state, reason, hint) = match host::delay_accounting() {
        DelayAccounting::On => ("found", "kernel.task_delayacct is 1", ""),
        DelayAccounting::FromBoot => {
            ("found", "on from boot (kernels before 5.14 have no kernel.task_delayacct)", "")
        }
        DelayAccounting::Off => (
            "off",
            "kernel.task_delayacct is 0: delays other than waiting for a CPU are not measured",
            "sudo sysctl kernel.task_delayacct=1   (counts from then on)",
        ),
        DelayAccounting::Missing => (
            "unsupported",
            "the kernel has no delay accounting",
            "it needs a kernel with CONFIG_TASK_DELAY_ACCT=y",
        ),
        DelayAccounting::Unreadable => (
            "failed",
            "/proc/sys/kernel/task_delayacct cannot be read here",
            "mount /proc without subset=pid, and do not mask the file",
        ),
    };
    let available = state == "found";
    Report {
        name: "delayacct",
        available,
        state,
        reason: reason.into(),
        hint: hint.into(),
        precision: if available { "ns" } else { "" },
    }
}
