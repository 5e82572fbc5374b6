//! Running the programs, with enough room for their records.

use std::fs::File;
use std::io::Read;
use std::mem::offset_of;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use precise_top_core::Header;

use super::Bpf;
use super::pool::Chosen;
use crate::errors::Error;
use crate::sys::bpf;
use crate::sys::shared::Control;

/// Room for some tasks more than in the last run.
const SPARE: usize = 64;
/// Records of the dead that an array has room for, at most.
const SPARE_DEAD: usize = 16384;
/// How often a snapshot runs the program until there is room for all rows.
const RUNS: usize = 3;

/// In `more`, as in bpf/taskstats.bpf.c: a switch is waited for.
const WAITS: u64 = 2;
/// How long to sleep then.
const WAIT: Duration = Duration::from_micros(100);

/// How the program is run.
pub(crate) enum Way {
    /// One call walks all tasks.
    OneCall(OwnedFd),
    /// An iterator calls it for each thread.
    Iterator(OwnedFd),
}

fn failed(error: std::io::Error) -> Error {
    Error::os("run the BPF program", error)
}

impl Bpf {
    /// Runs the program with room for all rows. Runs it again if more tasks were born than
    /// there is room for, and without the log if that was incomplete. Returns the array, and
    /// the control words after the run.
    pub(super) fn run_with_room(
        &mut self,
        threads: usize,
        flags: u32,
        mut by_log: bool,
        header: &mut Header,
    ) -> Result<(Chosen, Control), Error> {
        // The array is kernel memory: many dead tasks are copied out instead.
        let dead = (2 * self.exited).min(SPARE_DEAD);
        let mut runs = 0;
        loop {
            runs += 1;
            let (chosen, calls) = self.choose(self.wanted[threads], dead)?;
            header.syscalls += calls + self.hidden.read_clocks();
            header.syscalls += if by_log { self.run_by_log(flags)? } else { self.run(flags)? };
            let control: Control = self.control.read(0);
            header.syscalls += self.hidden.settle_clocks(control.t0_ns);
            if by_log && control.log_lost != 0 {
                by_log = false;
                continue;
            }
            let wanted = (control.wanted + control.unchanged) as usize;
            self.wanted[threads] = if by_log { wanted.max(self.wanted[threads]) } else { wanted };
            if control.wanted == control.count || runs == RUNS {
                return Ok((chosen, control));
            }
        }
    }

    /// Chooses an array for so many records and those of the dead, for the next run. Also
    /// returns the number of system calls.
    pub(super) fn choose(&mut self, records: usize, dead: usize) -> Result<(Chosen, u32), Error> {
        let (chosen, calls) = self.pool.choose(records + self.hidden.len() + dead + SPARE)?;
        let room = chosen.capacity - self.hidden.len();
        self.control.write(offset_of!(Control, output), chosen.index);
        self.control.write(offset_of!(Control, capacity), room as u32);
        Ok((chosen, calls))
    }

    /// Runs the program over all tasks. Returns the number of system calls.
    pub(super) fn run(&mut self, flags: u32) -> Result<u32, Error> {
        self.control.write(offset_of!(Control, flags), flags);
        match &self.way {
            Way::OneCall(program) => self.run_to_its_end(program.as_fd()),
            Way::Iterator(link) => {
                // Zero tells the program to begin a run.
                self.control.write(offset_of!(Control, t0_ns), 0_u64);
                let pass = bpf::begin_iterator(link.as_fd()).map_err(failed)?;
                let mut file = File::from(pass);
                let mut nothing = [0; 8];
                let mut calls = 2;
                loop {
                    calls += 1;
                    if file.read(&mut nothing).map_err(failed)? == 0 {
                        return Ok(calls);
                    }
                }
            }
        }
    }

    /// Runs the program over the processes in the log.
    fn run_by_log(&mut self, flags: u32) -> Result<u32, Error> {
        self.control.write(offset_of!(Control, flags), flags);
        self.run_to_its_end(self.log.program().expect("asked for where there is one"))
    }

    /// Runs all parts of a program. Returns the number of system calls.
    fn run_to_its_end(&self, program: BorrowedFd<'_>) -> Result<u32, Error> {
        self.control.write(offset_of!(Control, more), 0_u64);
        let mut calls = 0;
        loop {
            bpf::run(program).map_err(failed)?;
            calls += 1;
            match self.control.read::<Control>(0).more {
                0 => return Ok(calls),
                WAITS => {
                    std::thread::sleep(WAIT);
                    calls += 1;
                }
                _ => {}
            }
        }
    }
}
