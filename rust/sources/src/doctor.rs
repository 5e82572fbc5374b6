//! Why a source works here or does not, and what to type next.

use taskstats_core::SourceKind;

use crate::bpf::Bpf;
use crate::errors::Error;
use crate::netlink::Netlink;
use crate::procfs::Procfs;
use crate::{Source, host};

/// What is known of a source, or of a facility.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Its name.
    pub name: &'static str,
    /// Whether it works here.
    pub available: bool,
    /// Why, or why not.
    pub reason: String,
    /// What to type to get it; empty where nothing is to be done.
    pub hint: String,
    /// How exact its CPU times are; empty where it does not work.
    pub precision: &'static str,
}

/// Every source, the best first.
pub fn sources() -> Vec<Report> {
    let bpf = Bpf::open().map(|source| (source.precision(), source.describe()));
    let netlink = Netlink::open().map(|source| {
        (source.precision(), "one netlink message a task, many in one system call".to_owned())
    });
    let procfs = Procfs::open().map(|source| {
        (source.precision(), "no privilege needed; two to four files a task".to_owned())
    });
    vec![
        report(SourceKind::Bpf, bpf),
        report(SourceKind::Netlink, netlink),
        report(SourceKind::Procfs, procfs),
    ]
}

fn report(kind: SourceKind, tried: Result<(&'static str, String), Error>) -> Report {
    let name = kind.name();
    match tried {
        Ok((precision, reason)) => {
            Report { name, available: true, reason, hint: String::new(), precision }
        }
        Err(Error::AccessDenied { reason, hint } | Error::Unsupported { reason, hint }) => {
            Report { name, available: false, reason, hint, precision: "" }
        }
        Err(error) => {
            let reason = error.to_string();
            Report { name, available: false, reason, hint: String::new(), precision: "" }
        }
    }
}

/// Delay accounting, which fills the delay fields.
pub fn delayacct() -> Report {
    let (available, reason, hint) = match host::delayacct() {
        Some(true) => (true, "kernel.task_delayacct is 1", ""),
        Some(false) => (
            false,
            "kernel.task_delayacct is 0: delays other than waiting for a CPU are not measured",
            "sudo sysctl kernel.task_delayacct=1   (counts from then on)",
        ),
        None => (
            false,
            "the kernel has no delay accounting",
            "it needs a kernel with CONFIG_TASK_DELAY_ACCT=y",
        ),
    };
    Report {
        name: "delayacct",
        available,
        reason: reason.into(),
        hint: hint.into(),
        precision: if available { "ns" } else { "" },
    }
}
