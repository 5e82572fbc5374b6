//! Why a source works here or does not, and what to type next.

use precise_top_core::SourceKind;

use crate::bpf::Bpf;
use crate::errors::Error;
use crate::host;
use crate::netlink::Netlink;
use crate::patched::proc_file::ProcFile;
use crate::procfs::Procfs;
use crate::source::Source;

/// What is known of a source, or of a facility.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Its name.
    pub name: &'static str,
    /// Whether it works here.
    pub available: bool,
    /// The same in a word: `found`, `denied` (a privilege is missing), `off` (it is
    /// switched off), `unsupported` (the kernel lacks it) or `failed`.
    pub state: &'static str,
    /// Why, or why not.
    pub reason: String,
    /// What to type to get it; empty where nothing is to be done.
    pub hint: String,
    /// How exact its CPU times are; empty where it does not work.
    pub precision: &'static str,
}

/// Every source, the best first.
pub fn sources() -> Vec<Report> {
    let proc = ProcFile::open().map(|source| {
        (source.precision(), "all tasks in two system calls, counted by the kernel".to_owned())
    });
    let bpf = Bpf::open().map(|source| (source.precision(), source.describe()));
    let netlink = Netlink::open().map(|source| (source.precision(), source.describe().to_owned()));
    let procfs = Procfs::open().map(|source| {
        (source.precision(), "no privilege needed; two to four files a task".to_owned())
    });
    vec![
        report(SourceKind::Proc, proc),
        report(SourceKind::Bpf, bpf),
        report(SourceKind::Netlink, netlink),
        report(SourceKind::Procfs, procfs),
    ]
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

/// Delay accounting, which fills the delay fields.
pub fn delayacct() -> Report {
    let (state, reason, hint) = match host::delayacct() {
        Some(true) => ("found", "kernel.task_delayacct is 1", ""),
        Some(false) => (
            "off",
            "kernel.task_delayacct is 0: delays other than waiting for a CPU are not measured",
            "sudo sysctl kernel.task_delayacct=1   (counts from then on)",
        ),
        None => (
            "unsupported",
            "the kernel has no delay accounting",
            "it needs a kernel with CONFIG_TASK_DELAY_ACCT=y",
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
