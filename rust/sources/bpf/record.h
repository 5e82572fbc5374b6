/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Structures shared with user space. A record is struct taskstats version 17 with the
 * extension (docs/design/accounting.md); the field table of precise-top-core describes it.
 */
#ifndef RECORD_H
#define RECORD_H

#include "kernel.h"

#define RECORD_VERSION (17 | 0x8000)

/* struct __kernel_timespec */
struct instant {
	u64 tv_sec, tv_nsec;
};

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
	u8 pad2[3];
	/* where struct taskstats has padding: changes with each program that a task executes */
	u32 exec_mark;
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
	u64 cpu_delay_max, cpu_delay_min;
	u64 blkio_delay_max, blkio_delay_min;
	u64 swapin_delay_max, swapin_delay_min;
	u64 freepages_delay_max, freepages_delay_min;
	u64 thrashing_delay_max, thrashing_delay_min;
	u64 compact_delay_max, compact_delay_min;
	u64 wpcopy_delay_max, wpcopy_delay_min;
	u64 irq_delay_max, irq_delay_min;
	struct instant cpu_delay_max_ts;
	struct instant blkio_delay_max_ts;
	struct instant swapin_delay_max_ts;
	struct instant freepages_delay_max_ts;
	struct instant thrashing_delay_max_ts;
	struct instant compact_delay_max_ts;
	struct instant wpcopy_delay_max_ts;
	struct instant irq_delay_max_ts;
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
_Static_assert(__builtin_offsetof(struct record, ac_time_ns) == 688, "base layout");
_Static_assert(sizeof(struct record) == 824, "base and extension");

/* Options of a run, and the fields that it fills. */
enum {
	RUN_THREADS = 1 << 0,	/* a record for each thread, not for each process */
	RUN_EXACT = 1 << 1,	/* switches are watched: values at one instant */
	RUN_MEMORY = 1 << 2,
	RUN_IO = 1 << 3,
	RUN_DELAY = 1 << 4,
	RUN_EXE = 1 << 5,
	RUN_CGROUP = 1 << 6,
	RUN_EXITS = 1 << 7,	/* exits are watched: user space adds the use of the dead */
};

/* One CPU, in a mapped array by its number. All times in ns. */
struct cpu {
	/* of the last run: the clocks that corrected its running task */
	u64 serial;
	u64 clock, clock_task, steal;
	u64 idle;
	u32 online, running;
	/* set by the switch program: time in the idle task, in clock_task units */
	u64 idle_sum, idle_start;
	u64 is_idle;
	/* clock_task when the stopper last began, less its CPU time then; the number of
	 * switches then */
	u64 stop_base, stop_switches;
	/* time of the task that runs which the kernel counts for nobody */
	u64 forgotten;
	/* where tasks are hidden, set by the idle program: when the CPU last left an idle
	 * state, the number of switches then, and whether it is in one */
	u64 idle_end, idle_switches, halted;
	/* at the first switch after the run's instant */
	u64 noted_serial, noted_clock, noted_clock_task, noted_idle;
	u64 known;	/* whether `is_idle` is known */
	/* cost of the programs at switches and exits on this CPU */
	u64 switches, hooks_ns;
	/* the log of processes that ran here (run_log.h): its end, its end before the last run,
	 * and its end before the run that was taken before, where the next run begins to read */
	u64 log_end, log_next, log_begin;
	u64 queue;	/* struct rq */
	/* where tasks are hidden: the number of switches at the last one that was seen, and
	 * of those from the idle task */
	u64 seen_switches, seen_idle;
	u32 now;	/* the process that runs since the last switch */
	u32 first;	/* a process that ran before the first switch that was seen */
};

/* The words between user space and the programs, in a mapped array. */
struct control {
	/* set before a run */
	u32 output;		/* which array of the pool to write */
	u32 flags;
	u32 capacity;		/* records that fit */
	u32 reader;		/* the calling thread and its process, in the initial namespace; */
	u32 caller;		/* set by the run, as is their pid namespace */
	u32 level;
	u64 namespace;
	u64 real_offset_ns;	/* CLOCK_REALTIME - CLOCK_MONOTONIC */
	u64 key[2];
	u64 page_size;
	u64 tail;		/* first exit slot in use */
	u64 slots;		/* number of exit slots, a power of two; 0: none are claimed */
	u64 since;		/* write only tasks that ran after this scheduler's clock; 0: all */
	u64 part;		/* tasks in a part of the walk; 0: all */
	u64 hides;		/* whether the kernel hides tasks and their switches */
	u64 left_out;		/* a process that a test treats as hidden */
	u64 taken;		/* the last run's result was used: the log continues from there */
	u64 listed;		/* length of the list of processes to visit; the run appends to it */
	/* result of a run */
	u64 count;		/* records written */
	u64 wanted;		/* records that there would be with enough room */
	u64 unchanged;		/* records left out: their tasks did not run since */
	u64 t0_ns;		/* CLOCK_MONOTONIC instant of the values */
	u64 sched_ns;		/* the same instant on the scheduler's clock */
	u64 real_s;		/* the same instant in whole seconds since 1970 */
	u64 end_ns;
	u64 outside_ns;		/* use of tasks outside the caller's pid namespace */
	u64 outside;		/* their number */
	u64 own_ns;		/* use of the caller's process */
	u64 met_init;		/* whether it has met the machine's first process */
	u64 retries;		/* readings repeated because the task was changing */
	u64 torn;		/* readings still torn after all repeats */
	u64 exits;		/* the run has read the exit slots [tail, exits) */
	u64 log_lost;		/* the log is incomplete: there is no result */
	/* state of the programs */
	u64 visited;		/* tasks visited in this part */
	u64 finding;		/* whether the end of the last part was not found yet */
	u64 more;		/* whether another part follows, or a switch is waited for */
	u64 settled;		/* CPUs below this have finished the switch at the instant */
	u64 last, last_start;	/* the last process visited; the iterator's last thread id */
	u64 ran;		/* whether the current task ran since, */
	u64 leads;		/* and whether a row begins with it */
	u64 row;		/* index of the current row, */
	u64 row_begun;		/* whether there is one, */
	u64 row_ran;		/* whether any of its tasks ran since, */
	u64 row_outside;	/* and whether they are outside the caller's pid namespace */
	u64 serial;		/* of the last run */
	u64 noting;		/* serial of the run in progress, 0 between runs */
	u64 by_log;		/* whether it visits only processes in the log */
	u64 raced;		/* a switch came before the run's instant was known */
	s64 offset_ns;		/* scheduler's clock - CLOCK_MONOTONIC */
	u64 offset_fresh;	/* t0 of its last estimate */
	u64 note_count;		/* notes of the run in progress */
	u64 notes_lost;		/* notes without room, since the beginning */
	u64 head;		/* exit slots given out; the first number is 1 */
	u64 wake_at;		/* deaths are reported once so many were given out, */
	u64 woken;		/* unless they were, and user space has not looked since */
	u64 exits_late;		/* slots claimed by the last switch, */
	u64 exits_lost;		/* deaths without a slot, */
	u64 overflow_ns;	/* and what these tasks had used */
};

enum slot_state { SLOT_FREE, SLOT_DYING, SLOT_DEAD, SLOT_CLAIMED };

/* An exiting task. */
struct slot {
	u64 task;
	u64 state;
	u64 met;		/* serial of the last run that visited the task, */
	u64 walked;		/* or that had passed its process when the task exited */
	u64 serial;		/* serial of the run that `used` belongs to */
	u64 used;		/* CPU time at the instant of that run */
	u64 end;		/* CPU time at the last switch */
	u64 died_ns;		/* CLOCK_MONOTONIC of the last switch */
	u64 process_id;		/* task_id of its process */
	u64 process_start;	/* ac_start_ns of its process */
	u64 number;		/* the last number that claimed it, */
	u64 passed;		/* and the last one that passed over it */
	u32 leader, ptraced;
	u32 outside, tgid;
	struct record record;
};

#endif
