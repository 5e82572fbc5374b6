// SPDX-License-Identifier: GPL-2.0
/*
 * A snapshot of all tasks in one run, at one instant.
 *
 * Design decisions
 *
 * - Everything is read by direct dereference; helpers that probe memory cost five
 *   times as much. What may change while it is read is read again and compared.
 * - Values are those at the instant t0 of the run's begin. What a task that is
 *   running had used by then follows from its run queue's clocks; what a task that
 *   was switched meanwhile had used is noted by the switch program.
 * - Kernel functions are called through numbers that the loader replaces by their
 *   ids: a kernel without them loads the iterator program of the same object.
 */
#include "record.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "GPL";

/* A running task's clock may lag behind the estimate of it by this much. */
#define MARGIN_NS 20000
/* Readings of a task that keeps changing. */
#define READINGS 4
/* The clocks' rates differ by at most this much (adjtimex): 1 / 2000. */
#define DRIFT_SHIFT 11

#define NOTES 16384

/* Slots that are tried for a task that exits. */
#define PROBES 8
/* Every so many switches the cost of watching one is measured. */
#define SAMPLE 64
/* Processes may be in the list in another order than that of their start by this much. */
#define ORDER_NS 10000000
enum { FOUND, FIND_LAST, SKIP_THREADS };

#define KERNEL_FUNCTION(n, type) ((type)(long)(0x7f0000 + (n)))
#define iter_task_new \
	KERNEL_FUNCTION(1, int (*)(struct bpf_iter_task *, struct task_struct *, u32))
#define iter_task_next KERNEL_FUNCTION(2, struct task_struct *(*)(struct bpf_iter_task *))
#define iter_task_destroy KERNEL_FUNCTION(3, void (*)(struct bpf_iter_task *))
#define rcu_read_lock KERNEL_FUNCTION(4, void (*)(void))
#define rcu_read_unlock KERNEL_FUNCTION(5, void (*)(void))
#define iter_num_new KERNEL_FUNCTION(6, int (*)(struct bpf_iter_num *, int, int))
#define iter_num_next KERNEL_FUNCTION(7, int *(*)(struct bpf_iter_num *))
#define iter_num_destroy KERNEL_FUNCTION(8, void (*)(struct bpf_iter_num *))
#define rdonly_cast KERNEL_FUNCTION(9, void *(*)(const void *, u32))

/*
 * A function with a frame of its own: once it has returned, the verifier has nothing
 * left to tell its paths apart by.
 */
#define SUBPROGRAM static __attribute__((noinline))

/*
 * A task whose pointers are to be followed. What is read of a task that the verifier
 * vouches for needs no check of its address; but for each pointer followed from it the
 * verifier searches all of the kernel's types, which takes half a second.
 */
#define FROM(t) ((struct task_struct *)rdonly_cast(t, bpf_core_type_id_kernel(struct task_struct)))

/* Sizes marked 1 are set by the loader. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct control);
} controls SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct cpu);
} cpus SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u32);
} outputs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct slot);
} slots SEC(".maps");

/* Task to the number of its exit slot. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, u64);
	__type(value, u64);
} slot_of SEC(".maps");

struct note {
	u64 serial;
	s64 use;
};

/* Task to its use at the instant of the run in progress. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, NOTES);
	__type(key, u64);
	__type(value, struct note);
} notes SEC(".maps");

/* The keys noted in the run in progress. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, NOTES);
	__type(key, u32);
	__type(value, u64);
} noted SEC(".maps");

/* For the iterator, which does not meet a process's threads together: a process's
 * signal_struct to its row. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1);
	__type(key, u64);
	__type(value, struct note);
} row_of SEC(".maps");

/* What the walk carries from one task to the next. */
struct walk {
	struct record *row;	/* of the process whose threads are being met */
	u32 begun;		/* whether there is such a process */
	u32 ran;		/* whether it ran since the instant that is asked for */
	u32 outside;
};

/*
 * Asked of memory each time: a verifier that has seen the bits tested follows every
 * combination of them.
 */
static __always_inline u32 wants(const struct control *c, u32 flag)
{
	return *(const volatile u32 *)&c->flags & flag;
}

static __always_inline struct control *the_control(void)
{
	u32 zero = 0;

	return bpf_map_lookup_elem(&controls, &zero);
}

static __always_inline struct cpu *the_cpu(u32 number)
{
	return bpf_map_lookup_elem(&cpus, &number);
}

/*
 * Writes a keyed mixture of an address, so that no kernel address gets out. The
 * verifier takes it for a number only once it has been in memory.
 */
static __always_inline void write_id(const struct control *c, u64 *place, const void *pointer)
{
	u64 x;

	*(volatile u64 *)place = (u64)pointer;
	x = *(volatile u64 *)place ^ c->key[0];
	x *= c->key[1] | 1;
	x ^= x >> 32;
	x *= c->key[0] | 1;
	x ^= x >> 29;
	x += c->key[1];
	x *= 0xbf58476d1ce4e5b9ULL;
	x ^= x >> 32;
	*(volatile u64 *)place = x ?: 1;
}

/*
 * ns / 1000. A division takes longer than all else that is done with a number here,
 * and most numbers are small: below 2^35 ns a multiplication gives the same.
 */
static __always_inline u64 us(u64 ns)
{
	return ns >> 35 ? ns / 1000 : ((ns >> 3) * 274877907) >> 35;
}

/* us / 1000000, likewise, below 2^38 us. */
static __always_inline u64 whole_seconds(u64 us)
{
	return us >> 38 ? us / 1000000 : ((us >> 6) * 2251799814) >> 45;
}

static __always_inline struct rq *queue_of(struct task_struct *t)
{
	/* Without FAIR_GROUP_SCHED there is no way from a task to its queue. */
	if (!bpf_core_field_exists(t->se.cfs_rq))
		return 0;
	return FROM(t)->se.cfs_rq->rq;
}

static __always_inline u64 steal_of(struct rq *q)
{
	return bpf_core_field_exists(q->prev_steal_time_rq) ? q->prev_steal_time_rq : 0;
}

/* One consistent reading of a task's run time and its queue's clocks. */
struct reading {
	u64 sum, exec_start, arrival;
	u64 clock, clock_task;
	u32 on_cpu;
};

static __always_inline void read_task(struct control *c, struct task_struct *t, struct rq *q,
				      struct reading *r)
{
	for (int i = 0; i < READINGS; i++) {
		r->on_cpu = t->on_cpu;
		r->sum = t->se.sum_exec_runtime;
		r->exec_start = t->se.exec_start;
		r->arrival = bpf_core_field_exists(t->sched_info.last_arrival) ?
				     t->sched_info.last_arrival :
				     0;
		r->clock = q->clock;
		r->clock_task = q->clock_task;
		barrier();
		if (*(volatile u64 *)&t->se.sum_exec_runtime == r->sum &&
		    *(volatile u64 *)&t->se.exec_start == r->exec_start &&
		    *(volatile u64 *)&q->clock == r->clock &&
		    *(volatile s32 *)&t->on_cpu == r->on_cpu)
			return;
		c->retries++;
	}
	c->torn++;
}

/*
 * What a task had used by t0, in ns. The clocks it was corrected by go to its CPU's
 * words, which must hold those of the running task: both go into the same sum.
 */
static __always_inline s64 compute_use(struct control *c, struct task_struct *t)
{
	struct rq *q = queue_of(t);
	struct reading r = {};
	struct cpu *cpu;
	s64 t0, since;

	c->ran = 1;
	if (!q)
		return t->se.sum_exec_runtime;
	read_task(c, t, q, &r);
	t0 = c->sched_ns;
	/* exec_start on the queue's clock. */
	since = r.exec_start + (r.clock - r.clock_task);
	c->ran = r.on_cpu || (s64)r.arrival > (s64)c->since || since > (s64)c->since;
	if (r.on_cpu) {
		s64 offset = r.clock - bpf_ktime_get_ns();

		/* The clock was right when it was last updated, and has lagged since. */
		if (offset > c->offset_ns)
			c->offset_ns = offset;
	}
	cpu = the_cpu(q->cpu);
	if (cpu && (cpu->serial != c->serial || (r.on_cpu && !cpu->running))) {
		cpu->serial = c->serial;
		cpu->running = r.on_cpu;
		cpu->clock = r.clock;
		cpu->clock_task = r.clock_task;
		cpu->steal = steal_of(q);
		cpu->online = q->online;
		if (wants(c, RUN_EXACT) && cpu->noted_serial == c->serial) {
			/* The task that ran at t0 was corrected by these. */
			cpu->clock = cpu->noted_clock;
			cpu->clock_task = cpu->noted_clock_task;
		}
	}
	if (wants(c, RUN_EXACT)) {
		u64 key = (u64)t;
		struct note *note;

		if (!r.on_cpu && (s64)r.arrival <= t0 - MARGIN_NS && since <= t0 - MARGIN_NS)
			return r.sum;
		note = bpf_map_lookup_elem(&notes, &key);
		if (note && note->serial == c->serial)
			return note->use;
		return r.on_cpu ? (s64)r.sum + (t0 - since) : (s64)r.sum;
	}
	/* Without notes only the last stint is known. */
	if ((s64)r.arrival > t0) {
		s64 stint = since - (s64)r.arrival;

		return (s64)r.sum - (stint > 0 ? stint : 0);
	}
	if (r.on_cpu)
		return (s64)r.sum + (t0 - since);
	if (since > t0)
		return (s64)r.sum - (since - t0);
	return r.sum;
}

SUBPROGRAM s64 use_at(struct control *c, struct task_struct *t)
{
	return compute_use(c, t);
}

/* Of a task that the verifier does not vouch for: an instruction's kind of pointer is one. */
SUBPROGRAM s64 use_of_dying(struct control *c, struct task_struct *t)
{
	return compute_use(c, t);
}

static __always_inline u64 state_of(struct task_struct *t)
{
	u32 bits;

	if (bpf_core_field_exists(t->__state))
		bits = t->__state;
	else
		bits = ((struct task_struct___old *)t)->state;
	return (bits & 0xffff) | (u32)t->exit_state << 16;
}

static __always_inline u32 cpu_of(struct task_struct *t)
{
	if (bpf_core_field_exists(t->thread_info.cpu))
		return t->thread_info.cpu;
	if (bpf_core_field_exists(((struct task_struct___old *)t)->cpu))
		return ((struct task_struct___old *)t)->cpu;
	return 0;
}

/* A pid's number in the taker's namespace; 0 where it has none there. */
static __always_inline struct upid upid_at(struct pid *pid, u32 level)
{
	struct upid upid = {};

	/* The verifier takes no variable index into the array. */
	bpf_probe_read_kernel(&upid, sizeof(upid),
			      (void *)pid + bpf_core_field_offset(struct pid, numbers) +
				      level * bpf_core_type_size(struct upid));
	return upid;
}

static __always_inline u32 number_in(const struct control *c, struct pid *pid)
{
	struct upid upid;

	if (!pid || pid->level < c->level)
		return 0;
	upid = upid_at(pid, c->level);
	return (u64)upid.ns == c->namespace ? upid.nr : 0;
}

/* Who takes the snapshot, and in which pid namespace. */
static __always_inline void find_taker(struct control *c)
{
	struct task_struct *taker = (struct task_struct *)bpf_get_current_task();
	u64 ids = bpf_get_current_pid_tgid();
	struct pid *pid = BPF_CORE_READ(taker, thread_pid);

	c->reader = (u32)ids;
	c->taker = ids >> 32;
	c->level = BPF_CORE_READ(pid, level);
	c->namespace = (u64)upid_at(pid, c->level).ns;
}

static __always_inline u64 pages(s64 a, s64 b, s64 c)
{
	/* Counters of several CPUs may be below zero for a moment. */
	return (a > 0 ? a : 0) + (b > 0 ? b : 0) + (c > 0 ? c : 0);
}

/* Resident pages: file, anonymous and shared memory. */
static __always_inline u64 resident(struct mm_struct *mm)
{
	if (bpf_core_type_exists(struct mm_rss_stat___old)) {
		u64 offset = bpf_core_field_offset(struct mm_struct___old, rss_stat);
		struct mm_rss_stat___old s = {};

		/* The verifier does not follow the array's type. */
		bpf_probe_read_kernel(&s, sizeof(s), (void *)mm + offset);
		return pages(s.count[0].counter, s.count[1].counter, s.count[3].counter);
	}
	return pages(mm->rss_stat[0].count, mm->rss_stat[1].count, mm->rss_stat[3].count);
}

#define KB(pages, c) ((pages) * ((c)->page_size >> 10))

SUBPROGRAM int fill_memory(struct control *c, struct record *r, struct task_struct *t)
{
	struct mm_struct *mm = FROM(t)->mm;
	u64 rss = 0, vm = 0, high_rss = 0, high_vm = 0, dev = 0, inode = 0;

	/* A kernel thread may have borrowed one. */
	if (mm && !(t->flags & PF_KTHREAD)) {
		if (wants(c, RUN_MEMORY)) {
			rss = resident(mm);
			vm = mm->total_vm;
			high_rss = mm->hiwater_rss;
			high_vm = mm->hiwater_vm;
			if (high_rss < rss)
				high_rss = rss;
			if (high_vm < vm)
				high_vm = vm;
		}
		if (wants(c, RUN_EXE)) {
			struct inode *i = mm->exe_file->f_inode;
			u32 s_dev = i->i_sb->s_dev;
			u32 major = s_dev >> 20, minor = s_dev & 0xfffff;

			/* new_encode_dev(), include/linux/kdev_t.h */
			dev = (minor & 0xff) | major << 8 | (minor & ~0xffu) << 12;
			inode = i->i_ino;
			if (!i)
				dev = 0;
		}
		/* Not freed under RCU: what was read counts only if it is still the task's. */
		barrier();
		if (*(struct mm_struct *volatile *)&FROM(t)->mm != mm)
			return 0;
	}
	if (wants(c, RUN_MEMORY)) {
		r->rss_kb = KB(rss, c);
		r->vm_kb = KB(vm, c);
		r->hiwater_rss = KB(high_rss, c);
		r->hiwater_vm = KB(high_vm, c);
	}
	if (wants(c, RUN_EXE)) {
		r->ac_exe_dev = dev;
		r->ac_exe_inode = inode;
	}
	return 0;
}

/* Adds to a process's row, or begins a row: `keep` is all ones or zero. */
#define ADD(field, value) (r->field = (r->field & keep) + (value))

SUBPROGRAM int fill_delays(struct record *r, struct task_struct *t, u64 keep)
{
	struct task_delay_info *d = 0;

	if (bpf_core_field_exists(t->sched_info.run_delay)) {
		ADD(cpu_count, t->sched_info.pcount);
		ADD(cpu_delay_total, t->sched_info.run_delay);
	}
	if (bpf_core_field_exists(t->delays))
		d = FROM(t)->delays;
	if (!d) {
		if (keep)
			return 0;
		r->blkio_count = r->blkio_delay_total = 0;
		r->swapin_count = r->swapin_delay_total = 0;
		r->freepages_count = r->freepages_delay_total = 0;
		r->thrashing_count = r->thrashing_delay_total = 0;
		r->compact_count = r->compact_delay_total = 0;
		r->wpcopy_count = r->wpcopy_delay_total = 0;
		r->irq_count = r->irq_delay_total = 0;
		return 0;
	}
	ADD(blkio_count, d->blkio_count);
	ADD(blkio_delay_total, d->blkio_delay);
	ADD(swapin_count, d->swapin_count);
	ADD(swapin_delay_total, d->swapin_delay);
	ADD(freepages_count, d->freepages_count);
	ADD(freepages_delay_total, d->freepages_delay);
	ADD(thrashing_count, d->thrashing_count);
	ADD(thrashing_delay_total, d->thrashing_delay);
	if (bpf_core_field_exists(d->compact_delay)) {
		ADD(compact_count, d->compact_count);
		ADD(compact_delay_total, d->compact_delay);
	}
	if (bpf_core_field_exists(d->wpcopy_delay)) {
		ADD(wpcopy_count, d->wpcopy_count);
		ADD(wpcopy_delay_total, d->wpcopy_delay);
	}
	if (bpf_core_field_exists(d->irq_delay)) {
		ADD(irq_count, d->irq_count);
		ADD(irq_delay_total, d->irq_delay);
	}
	return 0;
}

/* The part of a record that adds up over the threads of a process. */
SUBPROGRAM int fill_sums(struct control *c, struct record *r, struct task_struct *t,
				      u64 keep)
{
	u64 utime = t->utime, stime = t->stime;

	ADD(cpu_run_real_total, utime + stime);
	ADD(cpu_run_virtual_total, t->se.sum_exec_runtime);
	ADD(ac_utime, us(utime));
	ADD(ac_stime, us(stime));
	ADD(ac_utimescaled, us(utime));
	ADD(ac_stimescaled, us(stime));
	ADD(cpu_scaled_run_real_total, utime + stime);
	ADD(ac_gtime, us(t->gtime));
	ADD(nvcsw, t->nvcsw);
	ADD(nivcsw, t->nivcsw);
	if (wants(c, RUN_MEMORY)) {
		ADD(ac_minflt, t->min_flt);
		ADD(ac_majflt, t->maj_flt);
	}
	if (wants(c, RUN_MEMORY) && bpf_core_field_exists(t->acct_rss_mem1)) {
		ADD(coremem, t->acct_rss_mem1 * c->page_size / (1000 * 1024));
		ADD(virtmem, t->acct_vm_mem1 * c->page_size / (1000 * 1024));
	}
	if (wants(c, RUN_IO) && bpf_core_field_exists(t->ioac.rchar)) {
		ADD(read_char, t->ioac.rchar);
		ADD(write_char, t->ioac.wchar);
		ADD(read_syscalls, t->ioac.syscr);
		ADD(write_syscalls, t->ioac.syscw);
		ADD(read_bytes, t->ioac.read_bytes);
		ADD(write_bytes, t->ioac.write_bytes);
		ADD(cancelled_write_bytes, t->ioac.cancelled_write_bytes);
	}
	if (wants(c, RUN_DELAY))
		fill_delays(r, t, keep);
	return 0;
}

/* Adds what the process's dead threads left to it. */
SUBPROGRAM int add_dead_threads(struct control *c, struct record *r,
					     struct signal_struct *s)
{
	struct taskstats *d = bpf_core_field_exists(s->stats) ? s->stats : 0;
	u64 utime = s->utime, stime = s->stime;
	const u64 keep = ~0ULL;

	/* No thread has died yet. */
	if (!s->sum_sched_runtime)
		return 0;

	ADD(cpu_run_real_total, utime + stime);
	ADD(cpu_run_virtual_total, s->sum_sched_runtime);
	ADD(ac_utime, us(utime));
	ADD(ac_stime, us(stime));
	ADD(ac_utimescaled, us(utime));
	ADD(ac_stimescaled, us(stime));
	ADD(cpu_scaled_run_real_total, utime + stime);
	ADD(ac_gtime, us(s->gtime));
	ADD(nvcsw, s->nvcsw);
	ADD(nivcsw, s->nivcsw);
	if (wants(c, RUN_MEMORY)) {
		ADD(ac_minflt, s->min_flt);
		ADD(ac_majflt, s->maj_flt);
	}
	if (wants(c, RUN_IO) && bpf_core_field_exists(s->ioac.rchar)) {
		ADD(read_char, s->ioac.rchar);
		ADD(write_char, s->ioac.wchar);
		ADD(read_syscalls, s->ioac.syscr);
		ADD(write_syscalls, s->ioac.syscw);
		ADD(read_bytes, s->ioac.read_bytes);
		ADD(write_bytes, s->ioac.write_bytes);
		ADD(cancelled_write_bytes, s->ioac.cancelled_write_bytes);
	}
	if (wants(c, RUN_DELAY) && d) {
		ADD(cpu_count, d->cpu_count);
		ADD(cpu_delay_total, d->cpu_delay_total);
		ADD(blkio_count, d->blkio_count);
		ADD(blkio_delay_total, d->blkio_delay_total);
		ADD(swapin_count, d->swapin_count);
		ADD(swapin_delay_total, d->swapin_delay_total);
		ADD(freepages_count, d->freepages_count);
		ADD(freepages_delay_total, d->freepages_delay_total);
		ADD(thrashing_count, d->thrashing_count);
		ADD(thrashing_delay_total, d->thrashing_delay_total);
		if (bpf_core_field_exists(d->compact_count)) {
			ADD(compact_count, d->compact_count);
			ADD(compact_delay_total, d->compact_delay_total);
		}
		if (bpf_core_field_exists(d->wpcopy_count)) {
			ADD(wpcopy_count, d->wpcopy_count);
			ADD(wpcopy_delay_total, d->wpcopy_delay_total);
		}
		if (bpf_core_field_exists(d->irq_count)) {
			ADD(irq_count, d->irq_count);
			ADD(irq_delay_total, d->irq_delay_total);
		}
	}
	return 0;
}

/* The part of a record that is one task's: a thread's, or a process's leader's. */
SUBPROGRAM int fill_own(struct control *c, struct record *r, struct task_struct *t, u64 now,
			u64 real_s)
{
	struct signal_struct *s = FROM(t)->signal;
	u64 started = t->start_time;
	/* A task born while the walk runs is younger than its instant. */
	u64 age_us = now > started ? us(now - started) : 0;
	u64 leader_started = FROM(t)->group_leader->start_time;
	u32 task_flags = t->flags;
	u64 utime = s->utime, stime = s->stime;

	r->version = RECORD_VERSION;
	r->ac_exitcode = task_flags & PF_EXITING ? t->exit_code : 0;
	r->ac_flag = (t->pid == t->tgid && (task_flags & PF_FORKNOEXEC) ? 0x1 : 0) |
		     (task_flags & PF_SUPERPRIV ? 0x2 : 0) | (task_flags & PF_DUMPCORE ? 0x8 : 0) |
		     (task_flags & PF_SIGNALED ? 0x10 : 0);
	r->ac_nice = t->static_prio - 120;
	r->ac_sched = t->policy;
	__builtin_memcpy(r->ac_comm, t->comm, sizeof(t->comm));
	r->ac_uid = FROM(t)->real_cred->uid.val;
	r->ac_gid = FROM(t)->real_cred->gid.val;
	r->ac_etime = age_us;
	r->ac_tgetime = leader_started == started ? age_us :
			now > leader_started	  ? us(now - leader_started) :
						    0;
	r->ac_btime64 = real_s - whole_seconds(age_us);
	r->ac_btime = r->ac_btime64;
	r->ac_time_ns = now;
	r->ac_start_ns = t->start_boottime;
	r->ac_cutime = us(s->cutime);
	r->ac_cstime = us(s->cstime);
	r->state = state_of(t);
	r->cpu = cpu_of(t);
	r->num_threads = s->nr_threads;
	r->task_flags = task_flags;
	r->tg_utime = us(utime);
	r->tg_stime = us(stime);
	r->tg_sum_exec_ns = s->sum_sched_runtime;
	if (wants(c, RUN_CGROUP) && bpf_core_field_exists(t->cgroups))
		r->cgroup_id = FROM(t)->cgroups->dfl_cgrp->kn->id;
	return 0;
}

/* Writes the ids in the taker's namespace. False: the task is outside of it. */
static __always_inline bool fill_ids(const struct control *c, struct record *r,
				     struct task_struct *t)
{
	struct task_struct *parent = FROM(t)->real_parent;

	if (!c->level) {
		r->ac_pid = t->pid;
		r->ac_tgid = t->tgid;
		r->ac_ppid = parent->tgid;
		return 1;
	}
	r->ac_pid = number_in(c, FROM(t)->thread_pid);
	r->ac_tgid = number_in(c, FROM(t)->group_leader->thread_pid);
	r->ac_ppid = number_in(c, parent->group_leader->thread_pid);
	return r->ac_pid != 0;
}

static __always_inline bool is_outside(const struct control *c, struct task_struct *t)
{
	return c->level && !number_in(c, FROM(t)->thread_pid);
}

/* The place for the next record, or 0 where the array is full. */
static __always_inline struct record *next_place(struct control *c)
{
	u32 which = c->output, n = c->count;
	void *output;

	if (n >= c->capacity)
		return 0;
	output = bpf_map_lookup_elem(&outputs, &which);
	return output ? bpf_map_lookup_elem(output, &n) : 0;
}

/* Keeps the row that was being written, if it is to be kept at all. */
static __always_inline void end_row(struct control *c, struct walk *w)
{
	if (!w->begun)
		return;
	w->begun = 0;
	if (!w->ran) {
		c->unchanged++;
		return;
	}
	c->wanted++;
	if (w->row)
		c->count++;
}

/*
 * A long list is walked in parts, each a run of its own. A part ends before a process,
 * and the next begins behind the last process of the part before; should that have died
 * meanwhile, at the first that is clearly younger.
 *
 * Tells whether a task is no part of the present part.
 */
SUBPROGRAM int is_elsewhere(struct control *c, struct task_struct *t)
{
	bool leads = t->pid == t->tgid;

	if (c->finding == FIND_LAST) {
		if ((u64)t == c->last)
			c->finding = SKIP_THREADS;
		else if (leads && t->start_time > c->last_start + ORDER_NS)
			c->finding = FOUND;
	} else if (c->finding == SKIP_THREADS && leads) {
		c->finding = FOUND;
	}
	if (c->finding != FOUND)
		return 1;
	if (leads) {
		if (c->part && c->visited >= c->part) {
			c->finding = FIND_LAST;
			c->more = 1;
			return 0;
		}
		*(volatile u64 *)&c->last = (u64)t;
		c->last_start = t->start_time;
	}
	c->visited++;
	return 0;
}

/* Marks the exit slot of a task that is still in the list. */
static __always_inline void mark_met(struct control *c, struct task_struct *t)
{
	u64 key = (u64)t, *number;
	struct slot *slot;
	u32 index;

	number = bpf_map_lookup_elem(&slot_of, &key);
	if (!number)
		return;
	index = *number & (c->slots - 1);
	slot = bpf_map_lookup_elem(&slots, &index);
	if (slot && slot->task == key)
		slot->met = c->serial;
}

/* One step of the walk over all threads; a process's leader comes before its others. */
SUBPROGRAM int visit(struct control *c, struct walk *w, struct task_struct *t)
{
	struct signal_struct *s;
	struct record *r;
	bool leads;
	u64 keep;
	s64 use;

	/* The idle tasks are no tasks of the table; a released one has left it. */
	if (!t->pid || !FROM(t)->thread_pid)
		return 0;
	leads = wants(c, RUN_THREADS) || t->pid == t->tgid;
	s = FROM(t)->signal;
	use = use_at(c, t);
	/* Born after the run's instant. */
	if (use < 0)
		use = 0;
	if (wants(c, RUN_EXACT) && c->slots && (t->flags & PF_EXITING))
		mark_met(c, t);
	if (leads) {
		end_row(c, w);
		w->outside = is_outside(c, t);
		w->begun = !w->outside;
		w->row = w->outside ? 0 : next_place(c);
		/* The death of a thread is no run of one that is left. */
		w->ran = !c->since || (!wants(c, RUN_THREADS) && s->sum_sched_runtime);
	}
	w->ran |= c->ran;
	if (t->tgid == c->taker) {
		c->own_ns += use;
		if (leads)
			c->own_ns += s->sum_sched_runtime;
	}
	if (w->outside) {
		c->outside++;
		c->outside_ns += use;
		if (leads && !wants(c, RUN_EXACT))
			c->outside_ns += s->sum_sched_runtime;
	}
	r = w->row;
	/* The row of a sleeper with one thread would only be thrown away. */
	if (!r || (!w->ran && s->nr_threads == 1))
		return 0;
	keep = leads ? 0 : ~0ULL;
	if (leads) {
		fill_own(c, r, t, c->t0_ns, c->real_s);
		fill_ids(c, r, t);
		if (wants(c, RUN_THREADS))
			write_id(c, &r->task_id, t);
		else
			write_id(c, &r->task_id, s);
	}
	if (wants(c, RUN_MEMORY | RUN_EXE) && (leads || !r->vm_kb))
		fill_memory(c, r, t);
	fill_sums(c, r, t, keep);
	ADD(ac_sum_exec_ns, use);
	if (leads && !wants(c, RUN_THREADS)) {
		add_dead_threads(c, r, s);
		/* With exits watched, their exact times are added by the taker. */
		if (!(wants(c, RUN_EXACT) && c->slots))
			r->ac_sum_exec_ns += s->sum_sched_runtime;
	}
	return 0;
}

/* Options of the kernel, known once the program is loaded. */
static __always_inline u64 find_absent(void)
{
	struct task_struct *t = 0;
	struct task_delay_info *d = 0;
	u64 absent = 0;

	if (!bpf_core_field_exists(t->se.cfs_rq))
		absent |= ABSENT_QUEUE;
	if (!bpf_core_field_exists(t->ioac.rchar))
		absent |= ABSENT_IO;
	if (!bpf_core_field_exists(t->acct_rss_mem1))
		absent |= ABSENT_XACCT;
	if (!bpf_core_field_exists(t->cgroups))
		absent |= ABSENT_CGROUPS;
	if (!bpf_core_field_exists(t->sched_info.run_delay))
		absent |= ABSENT_SCHED_INFO;
	if (!bpf_core_field_exists(t->delays))
		return absent | ABSENT_DELAYS;
	if (!bpf_core_field_exists(d->compact_delay))
		absent |= ABSENT_COMPACT;
	if (!bpf_core_field_exists(d->wpcopy_delay))
		absent |= ABSENT_WPCOPY;
	if (!bpf_core_field_exists(d->irq_delay))
		absent |= ABSENT_IRQ;
	return absent;
}

/* One step of a walk that meets the threads of a process in any order. */
SUBPROGRAM int visit_unordered(struct control *c, struct task_struct *t)
{
	struct task_struct *leader = FROM(t)->group_leader;
	struct note *known, new = { .serial = c->serial };
	u64 key = (u64)t->signal;
	struct walk w = {};
	void *output;
	u32 index;

	if (!t->pid || !FROM(t)->thread_pid)
		return 0;
	known = bpf_map_lookup_elem(&row_of, &key);
	if (!known || known->serial != c->serial) {
		/* The first that is met stands for the process, whichever it is. */
		new.use = c->count;
		visit(c, &w, leader);
		end_row(c, &w);
		bpf_map_update_elem(&row_of, &key, &new, BPF_ANY);
		known = &new;
	}
	if (t->pid == t->tgid)
		return 0;
	w.outside = is_outside(c, t);
	index = c->output;
	output = bpf_map_lookup_elem(&outputs, &index);
	index = known->use;
	if (output && !w.outside)
		w.row = bpf_map_lookup_elem(output, &index);
	if (index >= c->capacity)
		w.row = 0;
	visit(c, &w, t);
	return 0;
}

/* The scheduler's clock - CLOCK_MONOTONIC, as well as it can be told just now. */
static __always_inline void estimate_offset(struct control *c)
{
	struct task_struct *taker = (struct task_struct *)bpf_get_current_task();
	u64 now = bpf_ktime_get_ns();
	s64 offset;

	/* With switches watched, the taker's last one has told it to the ns. */
	if (!wants(c, RUN_EXACT))
		/* A maximum over the past must be able to follow a clock that is slewed. */
		c->offset_ns -= (now - c->offset_fresh) >> DRIFT_SHIFT;
	c->offset_fresh = now;
	if (!bpf_core_field_exists(taker->se.cfs_rq))
		return;
	offset = BPF_CORE_READ(taker, se.cfs_rq, rq, clock) - bpf_ktime_get_ns();
	if (offset > c->offset_ns)
		c->offset_ns = offset;
}

/* Begins a run: from its instant on, switches are noted. */
static __always_inline void begin(struct control *c)
{
	c->absent = find_absent();
	c->count = c->wanted = c->unchanged = 0;
	c->outside = c->outside_ns = c->own_ns = 0;
	c->retries = c->torn = 0;
	estimate_offset(c);
	for (int i = 0; i < READINGS; i++) {
		c->serial++;
		c->note_count = 0;
		c->exits = c->head;
		*(volatile u64 *)&c->sched_ns = 0;
		*(volatile u64 *)&c->raced = 0;
		if (wants(c, RUN_EXACT))
			*(volatile u64 *)&c->noting = c->serial;
		c->t0_ns = bpf_ktime_get_ns();
		*(volatile u64 *)&c->sched_ns = c->t0_ns + c->offset_ns;
		c->real_s = (c->t0_ns + c->real_offset_ns) / 1000000000;
		/* A switch between the two could not be noted: the taker was preempted. */
		if (!*(volatile u64 *)&c->raced)
			break;
	}
}

/* Idle time of every CPU at t0, once all of its tasks have been met. */
SUBPROGRAM int close_cpu(struct control *c, struct cpu *cpu)
{
	s64 t0_task;

	if (cpu->serial != c->serial)
		return 0;
	if (cpu->noted_serial == c->serial) {
		cpu->idle = cpu->noted_idle;
		if (!cpu->running) {
			cpu->clock = cpu->noted_clock;
			cpu->clock_task = cpu->noted_clock_task;
		}
		return 0;
	}
	cpu->idle = cpu->idle_sum;
	t0_task = c->sched_ns - (cpu->clock - cpu->clock_task);
	if (!cpu->known && !cpu->running) {
		/* No switch was seen yet, and no task runs. */
		cpu->idle_start = t0_task;
		cpu->is_idle = 1;
	}
	cpu->known = 1;
	if (cpu->is_idle && !cpu->running && t0_task > (s64)cpu->idle_start)
		cpu->idle += t0_task - cpu->idle_start;
	return 0;
}

SUBPROGRAM int read_slot(struct control *c, u64 number)
{
	u32 index = number & (c->slots - 1);
	struct slot *slot = bpf_map_lookup_elem(&slots, &index);
	struct task_struct *t;
	u64 state, start;
	s64 use;

	if (!slot)
		return 0;
	state = *(volatile u64 *)&slot->state;
	if (state == SLOT_DYING) {
		/* The memory may be another task's by now: its start tells. */
		t = FROM((void *)slot->task);
		use = use_of_dying(c, t);
		start = t->start_boottime;
		barrier();
		if (start == slot->record.ac_start_ns &&
		    *(volatile u64 *)&slot->state == SLOT_DYING) {
			slot->used = use;
			slot->serial = c->serial;
			return 0;
		}
		state = *(volatile u64 *)&slot->state;
	}
	if (state != SLOT_DEAD)
		return 0;
	slot->used = slot->end;
	if (slot->died_ns >= c->t0_ns) {
		u64 key = slot->task;
		struct note *note = bpf_map_lookup_elem(&notes, &key);

		if (note && note->serial == c->serial)
			slot->used = note->use;
	}
	slot->serial = c->serial;
	return 0;
}

/* Slots and CPUs as they were at the instant, once all tasks have been met. */
static __always_inline void close_books(struct control *c)
{
	struct bpf_iter_num numbers;
	int *i;

	rcu_read_lock();
	iter_num_new(&numbers, 0, 1 << 22);
	while ((i = iter_num_next(&numbers))) {
		u64 number = c->tail + (u32)*i;

		if (number >= c->exits)
			break;
		read_slot(c, number);
	}
	iter_num_destroy(&numbers);
	iter_num_new(&numbers, 0, 1 << 16);
	while ((i = iter_num_next(&numbers))) {
		struct cpu *cpu = the_cpu(*i);

		if (!cpu)
			break;
		close_cpu(c, cpu);
	}
	iter_num_destroy(&numbers);
	*(volatile u64 *)&c->noting = 0;
	rcu_read_unlock();
	iter_num_new(&numbers, 0, NOTES);
	while ((i = iter_num_next(&numbers))) {
		u32 n = *i;
		u64 *key;

		if (n >= c->note_count)
			break;
		key = bpf_map_lookup_elem(&noted, &n);
		if (key)
			bpf_map_delete_elem(&notes, key);
	}
	iter_num_destroy(&numbers);
}

/*
 * The whole table in one run, or a part of it, which is told by `more`: kernels from
 * 6.7 on. In between the caller is back in user space, where it can be preempted on
 * every kernel.
 */
SEC("raw_tp/snapshot")
int snapshot(void *ctx)
{
	struct control *c = the_control();
	struct bpf_iter_task tasks;
	struct task_struct *t;
	struct walk w = {};

	if (!c)
		return 0;
	if (!c->more) {
		find_taker(c);
		begin(c);
		c->finding = FOUND;
	}
	c->visited = c->more = 0;
	rcu_read_lock();
	iter_task_new(&tasks, 0, BPF_TASK_ITER_ALL_THREADS);
	while ((t = iter_task_next(&tasks))) {
		if (is_elsewhere(c, t))
			continue;
		if (c->more)
			break;
		visit(c, &w, t);
	}
	iter_task_destroy(&tasks);
	rcu_read_unlock();
	end_row(c, &w);
	if (c->more)
		return 0;
	if (wants(c, RUN_EXACT))
		close_books(c);
	c->end_ns = bpf_ktime_get_ns();
	return 0;
}

/* One thread a call, then one call without: kernels from 5.8 on. */
SEC("iter/task")
int each_task(struct bpf_iter__task *ctx)
{
	struct control *c = the_control();
	struct task_struct *t = ctx->task;
	struct walk w = {};

	if (!c)
		return 0;
	if (!c->t0_ns) {
		find_taker(c);
		begin(c);
	}
	if (!t) {
		c->end_ns = bpf_ktime_get_ns();
	} else if (wants(c, RUN_THREADS)) {
		visit(c, &w, t);
		end_row(c, &w);
	} else {
		visit_unordered(c, t);
	}
	return 0;
}

SUBPROGRAM int take_note(struct control *c, struct task_struct *t, s64 use)
{
	struct note new = { .serial = c->serial, .use = use };
	u64 key = (u64)t, *place;
	struct note *old;
	u32 n;

	old = bpf_map_lookup_elem(&notes, &key);
	if (old && old->serial == new.serial)
		return 0;
	n = __sync_fetch_and_add(&c->note_count, 1);
	place = bpf_map_lookup_elem(&noted, &n);
	if (!place || bpf_map_update_elem(&notes, &key, &new, BPF_ANY)) {
		__sync_fetch_and_add(&c->notes_lost, 1);
		return 0;
	}
	*place = key;
	return 0;
}

SUBPROGRAM int on_switch(struct control *c, struct task_struct *prev,
				      struct task_struct *next)
{
	struct rq *q = prev->pid ? queue_of(prev) : queue_of(next);
	u64 noting = c->noting;
	struct cpu *cpu;

	if (noting && !c->sched_ns) {
		c->raced = 1;
		noting = 0;
	}
	if (!q)
		return 0;
	if (next->pid == c->reader || prev->pid == c->reader)
		/* The clock has just been updated. */
		c->offset_ns = q->clock - bpf_ktime_get_ns();
	if (!noting && prev->pid && next->pid)
		return 0;
	cpu = the_cpu(q->cpu);
	if (!cpu)
		return 0;
	if (noting && cpu->noted_serial != noting) {
		s64 past = q->clock - c->sched_ns;

		if (past < 0)
			past = 0;
		cpu->noted_clock = q->clock;
		cpu->noted_clock_task = q->clock_task;
		cpu->noted_idle = cpu->idle_sum;
		if (!prev->pid && cpu->is_idle) {
			s64 idle = q->clock_task - cpu->idle_start - past;

			if (idle > 0)
				cpu->noted_idle += idle;
		}
		barrier();
		cpu->noted_serial = noting;
		if (prev->pid)
			take_note(c, prev, (s64)prev->se.sum_exec_runtime - past);
	} else if (noting && prev->pid) {
		/* It came to this CPU after t0, and was noted then. */
		take_note(c, prev, prev->se.sum_exec_runtime);
	}
	if (noting && next->pid)
		take_note(c, next, next->se.sum_exec_runtime);
	cpu->known = 1;
	if (!prev->pid && cpu->is_idle) {
		cpu->idle_sum += q->clock_task - cpu->idle_start;
		cpu->is_idle = 0;
	}
	if (!next->pid) {
		cpu->idle_start = q->clock_task;
		cpu->is_idle = 1;
	}
	return 0;
}

/* The last switch of a task: its final value. */
SUBPROGRAM int finish(struct control *c, struct task_struct *t)
{
	u64 key = (u64)t, *number;
	struct slot *slot;
	u32 index;

	if (!c->slots)
		return 0;
	number = bpf_map_lookup_elem(&slot_of, &key);
	if (!number) {
		__sync_fetch_and_add(&c->overflow_ns, t->se.sum_exec_runtime);
		return 0;
	}
	index = *number & (c->slots - 1);
	slot = bpf_map_lookup_elem(&slots, &index);
	if (slot && slot->task == key && slot->state == SLOT_DYING) {
		struct record *r = &slot->record;

		slot->end = t->se.sum_exec_runtime;
		slot->died_ns = bpf_ktime_get_ns();
		r->cpu_run_virtual_total += slot->end - r->ac_sum_exec_ns;
		r->ac_sum_exec_ns = slot->end;
		barrier();
		*(volatile u64 *)&slot->state = SLOT_DEAD;
	}
	/* A leader that waits to be reaped is known by its state; another thread is not. */
	if (!t->ptrace || t->pid == t->tgid)
		bpf_map_delete_elem(&slot_of, &key);
	return 0;
}

/* Adds what an event cost that stands for `events` like it. */
static __always_inline void add_cost(struct cpu *cpu, u64 begin_ns, u32 events)
{
	if (cpu && begin_ns)
		cpu->hooks_ns += (bpf_ktime_get_ns() - begin_ns) * events;
}

SEC("tp_btf/sched_switch")
int BPF_PROG(switched, bool preempt, struct task_struct *prev, struct task_struct *next)
{
	struct cpu *cpu = the_cpu(bpf_get_smp_processor_id());
	u64 begin_ns = cpu && !(cpu->switches++ % SAMPLE) ? bpf_ktime_get_ns() : 0;
	struct control *c = the_control();

	if (!c)
		return 0;
	on_switch(c, prev, next);
	if (state_of(prev) & TASK_DEAD)
		finish(c, prev);
	add_cost(cpu, begin_ns, SAMPLE);
	return 0;
}

SUBPROGRAM int on_exit(struct control *c, struct task_struct *t)
{
	u64 key = (u64)t, number = 0, now;
	struct slot *slot = 0;
	struct record *r;
	u32 index;

	if (!c->slots)
		return 0;
	for (int i = 0; i < PROBES; i++) {
		number = __sync_fetch_and_add(&c->head, 1);
		index = number & (c->slots - 1);
		slot = bpf_map_lookup_elem(&slots, &index);
		if (slot && slot->state == SLOT_FREE)
			break;
		/* A task takes long to die: its slot is passed over. */
		slot = 0;
	}
	if (!slot || bpf_map_update_elem(&slot_of, &key, &number, BPF_ANY)) {
		__sync_fetch_and_add(&c->exits_lost, 1);
		return 0;
	}
	*(volatile u64 *)&slot->state = SLOT_CLAIMED;
	r = &slot->record;
	now = bpf_ktime_get_ns();
	fill_own(c, r, t, now, (now + c->real_offset_ns) / 1000000000);
	fill_sums(c, r, t, 0);
	/* The last thread of a process stands for those that were released before. */
	if (!wants(c, RUN_THREADS) && !FROM(t)->signal->live.counter)
		add_dead_threads(c, r, FROM(t)->signal);
	r->ac_sum_exec_ns = t->se.sum_exec_runtime;
	r->hiwater_rss = KB(FROM(t)->signal->maxrss, c);
	slot->outside = !fill_ids(c, r, t);
	write_id(c, &r->task_id, t);
	slot->task = key;
	slot->process_start = FROM(t)->group_leader->start_boottime;
	write_id(c, &slot->process_id, FROM(t)->signal);
	slot->leader = t->pid == t->tgid;
	slot->ptraced = t->ptrace;
	slot->met = slot->serial = slot->used = slot->end = slot->died_ns = 0;
	barrier();
	*(volatile u64 *)&slot->state = SLOT_DYING;
	return 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(exits, struct task_struct *t)
{
	struct cpu *cpu = the_cpu(bpf_get_smp_processor_id());
	u64 begin_ns = bpf_ktime_get_ns();
	struct control *c = the_control();

	if (!c)
		return 0;
	on_exit(c, t);
	add_cost(cpu, begin_ns, 1);
	return 0;
}
