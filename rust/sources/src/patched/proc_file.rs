//! The proc source: /proc/taskstats of a kernel with this project's series.
//!
//! Design decisions
//!
//! * A snapshot is two system calls, whatever the number of tasks: an ioctl takes it in the
//!   kernel and returns everything for the header, and a read fetches the records.
//! * The right to read is the descriptor's, so that no privilege is kept.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use precise_top_core::interval::Unchanged;
use precise_top_core::layout::is_exact;
use precise_top_core::{
    CpuClocks, FieldSet, Flags, Header, Instant, Layout, SharedBytes, Snapshot, SourceKind,
};

use super::assemble::{Assembler, Fetched};
use crate::errors::Error;
use crate::host::{self, Host};
use crate::source::{Request, Source};
use crate::sys::taskstats::{self, Cpu};

const FILE: &str = "/proc/taskstats";

/// Whether the kernel has the file.
pub(crate) fn is_there() -> bool {
    Path::new(FILE).exists()
}

/// The source.
pub(crate) struct ProcFile {
    device: Device,
    host: Host,
    assembler: Assembler,
    delayacct: bool,
}

/// The open file.
struct Device {
    file: File,
    record_size: usize,
    cpus: Vec<Cpu>,
    /// The largest number of bytes of one read.
    longest_read: usize,
}

/// The answer of the ioctl.
struct Outcome {
    answer: taskstats::Request,
    /// Number of online CPUs. The clocks of the first ones are known.
    online: usize,
    clocks: Vec<CpuClocks>,
}

impl Device {
    /// Takes a snapshot of the tasks that ran since an instant, or with 0 of all, and reads it.
    fn fetch(&mut self, buffer: &mut Vec<u8>, time_ns: u64) -> Result<(Fetched, Outcome), Error> {
        let mut answer = taskstats::Request { time_ns, ..taskstats::Request::default() };
        let (count, online) =
            taskstats::take_snapshot(&self.file, &mut answer, &mut self.cpus).map_err(failed)?;
        let clocks = self.cpus.iter().take(online).map(clocks).collect();
        if online > self.cpus.len() {
            // CPUs came online: the next snapshot has their clocks.
            self.cpus.resize(online, Cpu::default());
        }
        let mut syscalls = 1;
        let size = self.record_size;
        // One byte more a record, for the index of its mask.
        let needed = count * (size + 1);
        if buffer.len() < needed {
            buffer.resize(needed + needed / 2, 0);
        }
        let mut got = 0;
        while got < count * size {
            let end = (count * size).min(got.saturating_add(self.longest_read));
            syscalls += 1;
            match self.file.read(&mut buffer[got..end]) {
                Ok(0) => return Err(failed(ErrorKind::UnexpectedEof.into())),
                Ok(read) => got += read,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(error)),
            }
        }
        let (unchanged, mono_ns) = (Some(answer.unchanged), answer.mono_ns);
        Ok((Fetched { count, unchanged, mono_ns, syscalls }, Outcome { answer, online, clocks }))
    }
}

impl ProcFile {
    /// Opens the source. Unsupported where the kernel has no such file, AccessDenied
    /// without CAP_NET_ADMIN in the initial user namespace.
    pub(crate) fn open() -> Result<ProcFile, Error> {
        let mut file = File::open(FILE).map_err(refused)?;
        let host = Host::new();
        // All records have the layout of the first one.
        let mut asked = taskstats::Request { cnt: 1, ..taskstats::Request::default() };
        let (_, cpus) = taskstats::take_snapshot(&file, &mut asked, &mut []).map_err(failed)?;
        let mut first = vec![0; asked.record_size()];
        file.read_exact(&mut first).map_err(failed)?;
        let version = first.first_chunk().map_or(0, |&bytes| u16::from_ne_bytes(bytes));
        let record_size = first.len();
        if !is_exact(&first) {
            return Err(Error::Unsupported {
                reason: format!("{FILE} of this kernel has no exact times"),
                hint: "build the kernel with CONFIG_TASKSTATS_EXACT, and boot it without \
                       taskstats_exact=0; or take the bpf source"
                    .into(),
            });
        }
        Ok(ProcFile {
            device: Device {
                file,
                record_size,
                cpus: vec![Cpu::default(); cpus],
                longest_read: usize::MAX,
            },
            assembler: Assembler::new(&host, Layout::of_record(version, &first, false)?)?,
            host,
            delayacct: host::delayacct(),
        })
    }
}

impl Source for ProcFile {
    fn kind(&self) -> SourceKind {
        SourceKind::Proc
    }

    fn precision(&self) -> &'static str {
        self.kind().precision(true)
    }

    fn unchanged(&self) -> Option<Unchanged> {
        self.assembler.unchanged()
    }

    fn snapshot(&mut self, request: &Request) -> Result<Snapshot<SharedBytes>, Error> {
        let ProcFile { device, host, assembler, delayacct } = self;
        let header = |outcome: Outcome| {
            let mut header = Header::new(SourceKind::Proc, FieldSet::EMPTY);
            host.identify(&mut header);
            header.task_id_space = Some(host.task_id_space());
            if request.system == Some(true) {
                header.syscalls += host.read_system(&mut header);
                *delayacct = header.flags.contains(Flags::DELAYACCT);
            }
            header.syscalls += host.read_meters(&mut header, request);
            if request.cpu_times == Some(true) {
                header.syscalls += host.read_cpu_times(&mut header);
            }
            header.begin = Instant {
                monotonic_ns: outcome.answer.mono_ns,
                boottime_ns: outcome.answer.boot_ns,
                realtime_ns: outcome.answer.real_ns,
            };
            // All values are of one instant, however long the read takes.
            header.end = header.begin;
            header.sched_clock_ns = Some(outcome.answer.sched_ns);
            header.cpu_clocks = outcome.clocks;
            header.cpus_online = outcome.online as u32;
            header.flags = header.flags.with(Flags::DELAYACCT, *delayacct);
            header
        };
        assembler.snapshot(request, |buffer, since| device.fetch(buffer, since), header)
    }
}

fn clocks(cpu: &Cpu) -> CpuClocks {
    CpuClocks {
        cpu: cpu.cpu,
        clock_ns: cpu.clock_ns,
        clock_task_ns: cpu.clock_task_ns,
        idle_ns: cpu.idle_ns,
        steal_ns: cpu.steal_ns,
    }
}

fn failed(error: io::Error) -> Error {
    Error::os(format!("read {FILE}"), error)
}

fn refused(error: io::Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound => Error::Unsupported {
            reason: format!("the kernel has no {FILE}"),
            hint: "it comes with this project's kernel-patches, for Linux 7.3 and 6.12; without it take \
                   the bpf source"
                .into(),
        },
        ErrorKind::PermissionDenied => Error::AccessDenied {
            reason: format!("{FILE} needs CAP_NET_ADMIN in the initial user namespace"),
            hint: "run it as root outside containers, or use the procfs source".into(),
        },
        _ => Error::os(format!("open {FILE}"), error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_reads_are_continued() {
        let Ok(mut source) = ProcFile::open() else {
            assert!(std::env::var_os("PRECISE_TOP_PROC").is_none(), "must run here");
            return;
        };
        let size = source.device.record_size;
        let request = Request { threads: true, ..Request::default() };
        for longest in [size, 3 * size, 4096] {
            source.device.longest_read = longest;
            let snapshot = source.snapshot(&request).expect("a snapshot");
            // A read gives whole records.
            let reads = snapshot.len().div_ceil(longest / size);
            assert_eq!(snapshot.header().syscalls as usize, 1 + reads);
            let pids: Vec<_> = snapshot.iter().map(|record| record.ac_pid()).collect();
            assert!(pids.len() > 10 && pids.is_sorted_by(|a, b| a < b), "{pids:?}");
            assert!(pids.contains(&Some(std::process::id())));
        }
        source.device.longest_read = size - 1;
        assert!(matches!(source.snapshot(&request), Err(Error::Os { .. })), "less than a record");
    }
}
