//! Resource use of a tree of processes, summed in the kernel.
//!
//! Design decisions
//!
//! * A task becomes a member when a member, or the calling process, creates it, before it runs
//!   (bpf/tree.bpf.c). Its last switch adds its time, so that nothing has to be collected
//!   meanwhile.
//! * At the end a walk adds the members that still live. It misses tasks between their release
//!   and their last switch, so `finish` waits for these. If the last switch is hidden, the
//!   program at the end of the task's memory adds its time.
//! * The tree of a running process is marked by a walk at the begin, and what its tasks used
//!   before does not count. Children whose parent died during the walk are in no chain of parents
//!   any more, so such a begin is given up and made again: then they were orphans before it.
//! * Each tree has maps and programs of its own, independent of all others.

use std::fs::File;
use std::io::Read;
use std::mem::{offset_of, size_of};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use super::loader::{self, Loader, Target};
use super::maps::{HASH, make_array, make_hash, map};
use crate::errors::Error;
use crate::host::Host;
use crate::sys::bpf;
use crate::sys::shared::{Mapping, TreeWords};

/// Members that may live at a time.
const MEMBERS: usize = 65536;
/// Bytes of a member in its map.
pub(super) const MEMBER: usize = 32;
/// Bytes of a command's name, and of its sums.
pub(super) const COMMAND: usize = 16;
pub(super) const COMMAND_USE: usize = 16;
/// Commands with different names, at most.
const COMMANDS: usize = 8192;
/// How long a task may take from its release to its last switch, and how often to look.
const PATIENCE: u32 = 1000;
const LOOK_AGAIN: Duration = Duration::from_millis(1);
/// How often to begin again where parents die while their tree is marked.
const BEGINS: usize = 16;

/// Sums the resource use of the processes that the calling process creates from now on, and
/// of their descendants; or that of a running process and its descendants from now on.
#[derive(Debug)]
pub struct Tree {
    words: Mapping,
    commands: OwnedFd,
    walk: OwnedFd,
    /// The programs at their tracepoints.
    _links: [OwnedFd; 4],
    /// The program at births.
    born: OwnedFd,
    page_kb: u64,
    /// Parents that died while the tree was marked: their children may be missing.
    orphaned: u64,
}

/// Resource use of all members.
#[derive(Clone, Debug, Default)]
pub struct TreeSums {
    /// Processes that began.
    pub processes: u64,
    /// CPU time in ns, exact.
    pub cpu_ns: u64,
    /// User time by ticks, in ns.
    pub tick_user_ns: u64,
    /// System time by ticks, in ns.
    pub tick_system_ns: u64,
    /// Minor page faults.
    pub minflt: u64,
    /// Major page faults.
    pub majflt: u64,
    /// Voluntary context switches.
    pub nvcsw: u64,
    /// Involuntary context switches.
    pub nivcsw: u64,
    /// Time in ns that tasks were runnable and waited for a CPU.
    pub cpu_delay_ns: u64,
    /// Bytes read from storage.
    pub read_bytes: u64,
    /// Bytes written to storage.
    pub write_bytes: u64,
    /// Peak resident memory of the largest process, in KiB.
    pub max_rss_kb: u64,
    /// Tasks that may not be in the sums: the map was full, the kernel skipped the program at
    /// their birth, or they were still exiting.
    pub missed: u64,
    /// Tasks that are in the sums, but in no row of `commands`: the map of names was full.
    pub unnamed: u64,
    /// By the process's command name.
    pub commands: Vec<CommandSums>,
}

/// Resource use of the processes with one command name.
#[derive(Clone, Debug)]
pub struct CommandSums {
    /// Up to 15 bytes.
    pub name: Vec<u8>,
    /// Processes that had this name when they ended, or at the end.
    pub processes: u64,
    /// CPU time of all their threads, in ns.
    pub cpu_ns: u64,
}

impl Tree {
    /// Loads the programs and begins.
    ///
    /// AccessDenied without CAP_BPF and CAP_PERFMON; Unsupported if the kernel is older than
    /// 5.14.
    pub fn open() -> Result<Tree, Error> {
        Tree::begin(None)
    }

    /// Follows a running process, by its number in the caller's pid namespace, with all that
    /// descends from it.
    ///
    /// NoSuchTask if there is none, else the errors of `open`.
    pub fn open_for(pid: u32) -> Result<Tree, Error> {
        let mut tree = Tree::begin(Some(pid))?;
        for _ in 1..BEGINS {
            if tree.orphaned == 0 {
                break;
            }
            tree = Tree::begin(Some(pid))?;
        }
        match tree.words.read::<TreeWords>(0).processes {
            0 => Err(Error::NoSuchTask(pid)),
            _ => Ok(tree),
        }
    }

    fn begin(root: Option<u32>) -> Result<Tree, Error> {
        let mut loader = Loader::new(loader::TREE)?;
        let trees = make_array("trees", size_of::<TreeWords>(), 1)?;
        let members = make_hash(HASH, "members", [8, MEMBER], MEMBERS)?;
        let commands = make_hash(HASH, "commands", [COMMAND, COMMAND_USE], COMMANDS)?;
        let maps = [("trees", &trees), ("members", &members), ("commands", &commands)];
        loader.link(&loader::borrowed(&maps))?;
        let words = map(&trees, size_of::<TreeWords>())?;
        let call = |name| {
            let program = loader.load(name, Target::Call)?;
            bpf::run(program.as_fd()).map_err(|error| Error::os("run the BPF program", error))
        };
        call("begin")?;
        if let Some(pid) = root {
            call("find_namespace")?;
            words.write(offset_of!(TreeWords, root), u64::from(pid));
            words.write(offset_of!(TreeWords, marking), 1_u64);
        }
        let walk = walk_of(&loader, "each_task")?;
        let load = |name, point| loader.load(name, Target::Tracepoint(point));
        let attach = |program: &OwnedFd| {
            bpf::attach(program.as_fd())
                .map_err(|error| Error::os("attach to the scheduler", error))
        };
        let born = load("born", "task_newtask")?;
        // The program at births comes last: the others are there when it marks a member.
        let links = [
            attach(&load("switched", "sched_switch")?)?,
            attach(&load("exits", "sched_process_exit")?)?,
            attach(&load("freed", "sched_process_free")?)?,
            attach(&born)?,
        ];
        let page_kb = Host::new().page_size() >> 10;
        let mut tree = Tree { words, commands, walk, _links: links, born, page_kb, orphaned: 0 };
        if root.is_some() {
            // This causes a switch, which updates the scheduler's clock.
            std::thread::sleep(LOOK_AGAIN);
            pass(&walk_of(&loader, "mark_task")?)?;
            tree.words.write(offset_of!(TreeWords, marking), 0_u64);
        }
        tree.orphaned = tree.words.read::<TreeWords>(0).orphaned;
        Ok(tree)
    }

    /// Ends, and returns the sums; living members count with their use so far.
    pub fn finish(self) -> Result<TreeSums, Error> {
        self.words.write(offset_of!(TreeWords, ended), 1_u64);
        for _ in 0..PATIENCE {
            if self.words.read::<TreeWords>(0).members == 0 {
                break;
            }
            // This causes a switch, which updates the scheduler's clock.
            std::thread::sleep(LOOK_AGAIN);
            pass(&self.walk)?;
        }
        let words: TreeWords = self.words.read(0);
        // Skipped births anywhere in the system; some may belong to this tree.
        let skipped = bpf::recursion_misses(self.born.as_fd()).unwrap_or(0);
        let commands = bpf::elements(self.commands.as_fd())
            .map_err(|error| Error::os("read a BPF map", error))?;
        let commands = commands.into_iter().map(|(name, [processes, cpu_ns])| {
            let name = name.iter().copied().take_while(|&byte| byte != 0).collect();
            CommandSums { name, processes, cpu_ns }
        });
        Ok(TreeSums {
            processes: words.processes,
            cpu_ns: words.cpu_ns,
            tick_user_ns: words.utime,
            tick_system_ns: words.stime,
            minflt: words.minflt,
            majflt: words.majflt,
            nvcsw: words.nvcsw,
            nivcsw: words.nivcsw,
            cpu_delay_ns: words.cpu_delay_ns,
            read_bytes: words.read_bytes,
            write_bytes: words.write_bytes,
            max_rss_kb: words.max_rss * self.page_kb,
            missed: words.lost + words.members + skipped + self.orphaned,
            unnamed: words.unnamed,
            commands: commands.collect(),
        })
    }
}

/// A program that visits all tasks.
fn walk_of(loader: &Loader, name: &'static str) -> Result<OwnedFd, Error> {
    let program = loader.load(name, Target::Tasks)?;
    bpf::link_iterator(program.as_fd()).map_err(|error| Error::os("link the task iterator", error))
}

/// Lets it visit them once.
fn pass(walk: &OwnedFd) -> Result<(), Error> {
    let failed = |error| Error::os("run the BPF program", error);
    let mut pass = File::from(bpf::begin_iterator(walk.as_fd()).map_err(failed)?);
    while pass.read(&mut [0; 8]).map_err(failed)? != 0 {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn who_dies_while_a_hidden_task_waits_for_the_cpu_is_counted() {
        let Ok(tree) = Tree::open() else {
            assert!(std::env::var_os("PRECISE_TOP_NO_SKIP").is_none(), "must run here");
            return;
        };
        let on_one_cpu = |script: &str| {
            let mut command = Command::new("taskset");
            command.args(["-c", "0", "sh", "-c", script]);
            command
        };
        let mut hidden = on_one_cpu("while :; do :; done").spawn().expect("a shell");
        tree.words.write(offset_of!(TreeWords, left_out), u64::from(hidden.id()));
        let storm = "i=0; while [ $i -lt 100 ]; do (:); i=$((i+1)); done";
        let status = on_one_cpu(storm).status().expect("a shell");
        hidden.kill().expect("a signal");
        hidden.wait().expect("its death");
        assert!(status.success());
        let born = tree.born.try_clone().expect("a descriptor");
        let sums = tree.finish().expect("the sums");
        // The kernel skips births where many tasks fork at once, as other tests do.
        let skipped = bpf::recursion_misses(born.as_fd()).expect("its count");
        assert!(sums.processes + skipped >= 102, "{sums:?}, {skipped} skipped");
        assert!(sums.missed <= skipped, "{sums:?}, {skipped} skipped");
    }
}
