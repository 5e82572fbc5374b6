/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the programs write: struct taskstats version 14 and the extension
 * (docs/design/accounting.md). Rust reads it by the field table of precise-top-core.
 */
#ifndef RECORD_H
#define RECORD_H

#include "kernel.h"

#define RECORD_VERSION (14 | 0x8000)

struct record {
	u16 version;
	u8 pad0[2];
	u32 ac_exitcode;
	u8 ac_flag;
	u8 ac_nice;
	u8 pad1[6];
	u64 cpu_count, cpu_delay_total;
	u64 blkio_count, blkio_delay_total;
	u64 swapin_count, swapin_delay_total;
	u64 cpu_run_real_total, cpu_run_virtual_total;
	char ac_comm[32];
	u8 ac_sched;
	u8 pad2[7];
	u32 ac_uid, ac_gid, ac_pid, ac_ppid;
	u32 ac_btime;
	u8 pad3[4];
	u64 ac_etime, ac_utime, ac_stime;
	u64 ac_minflt, ac_majflt;
	u64 coremem, virtmem;
	u64 hiwater_rss, hiwater_vm;
	u64 read_char, write_char, read_syscalls, write_syscalls;
	u64 read_bytes, write_bytes, cancelled_write_bytes;
	u64 nvcsw, nivcsw;
	u64 ac_utimescaled, ac_stimescaled, cpu_scaled_run_real_total;
	u64 freepages_count, freepages_delay_total;
	u64 thrashing_count, thrashing_delay_total;
	u64 ac_btime64;
	u64 compact_count, compact_delay_total;
	u32 ac_tgid;
	u8 pad4[4];
	u64 ac_tgetime;
	u64 ac_exe_dev, ac_exe_inode;
	u64 wpcopy_count, wpcopy_delay_total;
	u64 irq_count, irq_delay_total;
	/* the extension */
	u64 ac_time_ns, ac_start_ns;
	u64 ac_sttime, ac_cutime, ac_cstime, ac_csttime, ac_gtime;
	u64 ac_sum_exec_ns;
	u64 rss_kb, vm_kb;
	u64 cgroup_id;
	u32 state, cpu, num_threads, task_flags;
	u64 tg_utime, tg_stime, tg_sum_exec_ns;
	u64 task_id;
};

_Static_assert(__builtin_offsetof(struct record, ac_comm) == 80, "base layout");
_Static_assert(__builtin_offsetof(struct record, ac_etime) == 144, "base layout");
_Static_assert(__builtin_offsetof(struct record, ac_tgid) == 368, "base layout");
_Static_assert(__builtin_offsetof(struct record, ac_time_ns) == 432, "base layout");
_Static_assert(sizeof(struct record) == 568, "base and extension");

/* What a run is to do, and what of a record it is to fill. */
enum {
	RUN_THREADS = 1 << 0,	/* one record a thread rather than a process */
	RUN_EXACT = 1 << 1,	/* switches are watched: values at one instant */
	RUN_MEMORY = 1 << 2,
	RUN_IO = 1 << 3,
	RUN_DELAY = 1 << 4,
	RUN_EXE = 1 << 5,
	RUN_CGROUP = 1 << 6,
};

/* One CPU, in a mapped array by its number. All times in ns. */
struct cpu {
	/* of the last run: the clocks its running task was corrected by */
	u64 serial;
	u64 clock, clock_task, steal;
	u64 idle;
	u32 online, running;
	/* kept by the switch program: time in the idle task, in clock_task units */
	u64 idle_sum, idle_start;
	u64 is_idle;
	/* the clock_task at which the stopper last began, less what it had used then; the
	 * switches there had been */
	u64 stop_base, stop_switches;
	/* where tasks are hidden, kept by the idle program: when it last left an idle state,
	 * the switches there had been then, and whether it is in one */
	u64 idle_end, idle_switches, halted;
	/* at the first switch after the run's instant */
	u64 noted_serial, noted_clock, noted_clock_task, noted_idle;
	u64 known;	/* whether the CPU is known to be idle or not */
	/* what the programs at switches and exits cost here */
	u64 switches, hooks_ns;
	/* the log of who ran here (run_log.h): its end, its end before the last run's instant, and
	 * its end before the one before, from where on the next run has to read it */
	u64 log_end, log_next, log_begin;
	u64 queue;	/* struct rq */
	/* where tasks are hidden: the switches there had been at the last one that was seen,
	 * and those of them away from the idle task */
	u64 seen_switches, seen_idle;
	u32 now;	/* the process that runs since the last switch, */
	u32 first;	/* and one that ran when no switch had been seen yet */
};

/* The words between user space and the programs, in a mapped array. */
struct control {
	/* set before a run */
	u32 output;		/* which array of the pool to write */
	u32 flags;
	u32 capacity;		/* records that fit */
	u32 reader;		/* thread and process that take it, by initial-namespace ids; */
	u32 caller;		/* set by the run, as is their pid namespace */
	u32 level;
	u64 namespace;
	u64 real_offset_ns;	/* CLOCK_REALTIME - CLOCK_MONOTONIC */
	u64 key[2];
	u64 page_size;
	u64 tail;		/* first exit slot in use */
	u64 slots;		/* number of exit slots, a power of two; 0 without */
	u64 since;		/* write only what ran after this, on the scheduler's clock; 0 all */
	u64 part;		/* tasks of a part of the walk; 0 all */
	u64 hides;		/* whether the kernel hides tasks and their switches */
	u64 left_out;		/* a process that is treated as if hidden: for tests */
	u64 taken;		/* the last run's result was taken: the log goes on from there */
	u64 listed;		/* processes to be met though they may not have run; the run adds to them */
	/* result of a run */
	u64 count;		/* records written */
	u64 wanted;		/* records there would be with room for all */
	u64 unchanged;		/* records left out, because nothing ran since */
	u64 t0_ns;		/* CLOCK_MONOTONIC instant of the values */
	u64 sched_ns;		/* the same instant on the scheduler's clock */
	u64 real_s;		/* the same instant in whole seconds since 1970 */
	u64 end_ns;
	u64 outside_ns;		/* use of tasks outside the caller's pid namespace */
	u64 outside;		/* their number */
	u64 own_ns;		/* use of the caller's process */
	u64 retries;		/* readings repeated because the task was just changing */
	u64 torn;		/* readings still torn after all repeats */
	u64 exits;		/* exit slots [tail, exits) were read by the run */
	u64 log_lost;		/* more ran than the log can tell: there is no result */
	/* kept by the programs */
	u64 visited;		/* tasks met in the present part */
	u64 finding;		/* whether the last part's end is still looked for */
	u64 more;		/* whether another part is to come */
	u64 last, last_start;	/* the last process met */
	u64 ran;		/* whether the task just read ran since, */
	u64 leads;		/* and whether a row begins with it */
	u64 row;		/* the row that is being written: its index, */
	u64 row_begun;		/* whether there is one, */
	u64 row_ran;		/* whether any of its tasks ran since, */
	u64 row_outside;	/* and whether they are outside the caller's pid namespace */
	u64 serial;		/* of the last run */
	u64 noting;		/* serial of the run in progress, 0 between runs */
	u64 by_log;		/* whether it meets only who ran */
	u64 raced;		/* a switch came before the run's instant was known */
	s64 offset_ns;		/* scheduler's clock - CLOCK_MONOTONIC */
	u64 offset_fresh;	/* t0 of the reading of it */
	u64 note_count;		/* notes of the run in progress */
	u64 notes_lost;
	u64 head;		/* exit slots given out; the first number is 1 */
	u64 wake_at;		/* user space is told of deaths once so many were given out, */
	u64 woken;		/* unless it has been, and has not looked since */
	u64 exits_late;		/* slots claimed by the last switch, */
	u64 exits_lost;		/* deaths without a slot, */
	u64 overflow_ns;	/* and what these tasks had used */
};

enum slot_state { SLOT_FREE, SLOT_DYING, SLOT_DEAD, SLOT_CLAIMED };

/* A task that exits. */
struct slot {
	u64 task;
	u64 state;
	u64 met;		/* serial of the last run whose walk met the task, */
	u64 walked;		/* or had its process behind when the task exited */
	u64 serial;		/* serial of the run that `used` belongs to */
	u64 used;		/* CPU time at the instant of that run */
	u64 end;		/* CPU time at the last switch */
	u64 died_ns;		/* CLOCK_MONOTONIC of the last switch */
	u64 process_id;		/* task_id of its process */
	u64 process_start;	/* ac_start_ns of its process */
	u64 number;		/* the number that it was last claimed by, */
	u64 passed;		/* and the last one that passed over it */
	u32 leader, ptraced;
	u32 outside, tgid;
	struct record record;
};

#endif
