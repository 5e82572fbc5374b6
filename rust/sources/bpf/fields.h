/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Filling the fields of a record.
 */
#ifndef FIELDS_H
#define FIELDS_H

#include "maps.h"

/*
 * Writes a keyed hash of an address, so that no kernel address is disclosed. The
 * verifier treats the address as a number only after it has been in memory.
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
 * ns / 1000. A division is the most expensive operation here: the number is split twice, by
 * 2^32 = 4294967 * 1000 + 296 and 2^20 = 1048 * 1000 + 576, until a multiplication suffices.
 */
static __always_inline u64 us(u64 ns)
{
	u64 middle = (ns >> 32) * 296 + (u32)ns;
	u64 low = (middle >> 20) * 576 + (middle & 0xfffff);

	return (ns >> 32) * 4294967 + (middle >> 20) * 1048 + (((low >> 3) * 137438954) >> 34);
}

/* us / 1000000, in the same way, below 2^38 us. */
static __always_inline u64 whole_seconds(u64 us)
{
	return us >> 38 ? us / 1000000 : ((us >> 6) * 2251799814) >> 45;
}

static __always_inline u32 cpu_of(struct task_struct *t)
{
	if (bpf_core_field_exists(t->thread_info.cpu))
		return t->thread_info.cpu;
	return OPTIONAL(((struct task_struct___old *)t)->cpu);
}

/* The number of a pid in the caller's namespace; 0 if it has none there. */
static __always_inline u32 number_in(const struct control *c, struct pid *pid)
{
	return number_at(pid, c->level, c->namespace);
}

/* Records the caller and its pid namespace. */
static __always_inline void find_caller(struct control *c)
{
	struct task_struct *caller = (struct task_struct *)bpf_get_current_task();
	u64 ids = bpf_get_current_pid_tgid();
	struct pid *pid = BPF_CORE_READ(caller, thread_pid);

	c->reader = (u32)ids;
	c->caller = ids >> 32;
	c->level = BPF_CORE_READ(pid, level);
	c->namespace = (u64)upid_at(pid, c->level).ns;
}

#define KB(pages, c) ((pages) * ((c)->page_size >> 10))

SUBPROGRAM int read_memory(struct control *c, struct record *r, struct mm_struct *mm)
{
	u64 rss = resident(mm), vm = OPTIONAL(mm->total_vm);

	r->rss_kb = KB(rss, c);
	r->vm_kb = KB(vm, c);
	r->hiwater_rss = KB(greater(rss, OPTIONAL(mm->hiwater_rss)), c);
	r->hiwater_vm = KB(greater(vm, OPTIONAL(mm->hiwater_vm)), c);
	return 0;
}

SUBPROGRAM int read_exe(struct record *r, struct mm_struct *mm)
{
	u32 s_dev = 0, major, minor;
	struct super_block *sb = 0;
	struct inode *inode = 0;
	struct file *file = 0;

	if (!bpf_core_field_exists(mm->exe_file) || !bpf_core_field_exists(file->f_inode))
		return 0;
	/* Without a file all of these reads return zero. */
	inode = mm->exe_file->f_inode;
	if (bpf_core_field_exists(inode->i_sb) && bpf_core_field_exists(sb->s_dev))
		s_dev = inode->i_sb->s_dev;
	major = s_dev >> 20;
	minor = s_dev & 0xfffff;
	/* new_encode_dev(), include/linux/kdev_t.h */
	r->ac_exe_dev = (minor & 0xff) | major << 8 | (minor & ~0xffu) << 12;
	r->ac_exe_inode = OPTIONAL(inode->i_ino);
	return 0;
}

SUBPROGRAM int fill_memory(struct control *c, struct record *r, struct task_struct *t)
{
	struct mm_struct *mm = OPTIONAL_FROM(t, mm);

	/* A kernel thread may have borrowed one. */
	if (mm && !(t->flags & PF_KTHREAD)) {
		if (wants(c, RUN_MEMORY))
			read_memory(c, r, mm);
		if (wants(c, RUN_EXE))
			read_exe(r, mm);
		/* RCU does not protect it: keep the values only if the task still uses it. */
		barrier();
		if (*(struct mm_struct *volatile *)&FROM(t)->mm == mm)
			return 0;
	}
	r->rss_kb = r->vm_kb = r->hiwater_rss = r->hiwater_vm = 0;
	r->ac_exe_dev = r->ac_exe_inode = 0;
	return 0;
}

/* Adds to a row, which is zero at its begin: with a condition here the verifier would follow two
 * ways through all that comes after it. */
#define ADD(field, value) (r->field += (value))

/* Counters of a task, or of all dead threads of a process: their names are the same. */
#define ADD_COUNTS(from, run)                                                              \
	do {                                                                               \
		u64 utime = OPTIONAL((from)->utime), stime = OPTIONAL((from)->stime);      \
                                                                                           \
		ADD(cpu_run_real_total, utime + stime);                                    \
		ADD(cpu_run_virtual_total, run);                                           \
		ADD(ac_utime, us(utime));                                                  \
		ADD(ac_stime, us(stime));                                                  \
		ADD(ac_utimescaled, us(utime));                                            \
		ADD(ac_stimescaled, us(stime));                                            \
		ADD(cpu_scaled_run_real_total, utime + stime);                             \
		ADD(ac_gtime, us(OPTIONAL((from)->gtime)));                                \
		ADD(nvcsw, OPTIONAL((from)->nvcsw));                                       \
		ADD(nivcsw, OPTIONAL((from)->nivcsw));                                     \
		if (wants(c, RUN_MEMORY)) {                                                \
			ADD(ac_minflt, OPTIONAL((from)->min_flt));                         \
			ADD(ac_majflt, OPTIONAL((from)->maj_flt));                         \
		}                                                                          \
		if (wants(c, RUN_IO)) {                                                    \
			ADD(read_char, OPTIONAL((from)->ioac.rchar));                      \
			ADD(write_char, OPTIONAL((from)->ioac.wchar));                     \
			ADD(read_syscalls, OPTIONAL((from)->ioac.syscr));                  \
			ADD(write_syscalls, OPTIONAL((from)->ioac.syscw));                 \
			ADD(read_bytes, OPTIONAL((from)->ioac.read_bytes));                \
			ADD(write_bytes, OPTIONAL((from)->ioac.write_bytes));              \
			ADD(cancelled_write_bytes,                                         \
			    OPTIONAL((from)->ioac.cancelled_write_bytes));                 \
		}                                                                          \
	} while (0)

/* The same for delays; the names of their times end with `total`. */
#define ADD_DELAY(d, name, total)                                                          \
	do {                                                                               \
		ADD(name##_count, OPTIONAL((d)->name##_count));                            \
		ADD(name##_delay_total, OPTIONAL((d)->name##total));                       \
	} while (0)
#define ADD_DELAYS(d, total)                                                               \
	do {                                                                               \
		ADD_DELAY(d, blkio, total);                                                \
		ADD_DELAY(d, swapin, total);                                               \
		ADD_DELAY(d, freepages, total);                                            \
		ADD_DELAY(d, thrashing, total);                                            \
		ADD_DELAY(d, compact, total);                                              \
		ADD_DELAY(d, wpcopy, total);                                               \
		ADD_DELAY(d, irq, total);                                                  \
	} while (0)

/* A shortest wait, 0 where none is known, as a number that is greatest then; and back. */
#define MINIMUM(ns) (((ns) - 1) & ~(1ULL << 63))
#define FROM_MINIMUM(number) (((number) + 1) & ~(1ULL << 63))

/*
 * Keeps the longest wait, when it ended, and the shortest. Without branches: the verifier
 * would follow both ways of each.
 */
#define KEEP_PEAK(from, name, most, least)                                                 \
	do {                                                                               \
		u64 longest = OPTIONAL((from)->most);                                      \
		u64 mask = sign_mask(r->name##_delay_max - longest);                      \
		u64 shortest = MINIMUM(OPTIONAL((from)->least));                           \
		u64 least_yet = MINIMUM(r->name##_delay_min);                              \
                                                                                           \
		r->name##_delay_max = choose(mask, r->name##_delay_max, longest);          \
		r->name##_delay_max_ts.tv_sec =                                            \
			choose(mask, r->name##_delay_max_ts.tv_sec,                        \
			       OPTIONAL((from)->most##_ts.tv_sec));                        \
		r->name##_delay_max_ts.tv_nsec =                                           \
			choose(mask, r->name##_delay_max_ts.tv_nsec,                       \
			       OPTIONAL((from)->most##_ts.tv_nsec));                       \
		mask = sign_mask(shortest - least_yet);                                   \
		r->name##_delay_min = FROM_MINIMUM(choose(mask, least_yet, shortest));     \
	} while (0)

SUBPROGRAM int fill_peaks(struct record *r, struct task_struct *t)
{
	struct task_delay_info *d = OPTIONAL_FROM(t, delays);

	KEEP_PEAK(&t->sched_info, cpu, max_run_delay, min_run_delay);
	if (!d)
		return 0;
	KEEP_PEAK(d, blkio, blkio_delay_max, blkio_delay_min);
	KEEP_PEAK(d, swapin, swapin_delay_max, swapin_delay_min);
	KEEP_PEAK(d, freepages, freepages_delay_max, freepages_delay_min);
	KEEP_PEAK(d, thrashing, thrashing_delay_max, thrashing_delay_min);
	KEEP_PEAK(d, compact, compact_delay_max, compact_delay_min);
	KEEP_PEAK(d, wpcopy, wpcopy_delay_max, wpcopy_delay_min);
	KEEP_PEAK(d, irq, irq_delay_max, irq_delay_min);
	return 0;
}

SUBPROGRAM int fill_delays(struct record *r, struct task_struct *t)
{
	struct task_delay_info *d;

	ADD(cpu_count, OPTIONAL(t->sched_info.pcount));
	ADD(cpu_delay_total, OPTIONAL(t->sched_info.run_delay));
	d = OPTIONAL_FROM(t, delays);
	if (d)
		ADD_DELAYS(d, _delay);
	return 0;
}

/* The fields that add up over the threads of a process. */
SUBPROGRAM int fill_sums(struct control *c, struct record *r, struct task_struct *t)
{
	ADD_COUNTS(t, t->se.sum_exec_runtime);
	if (wants(c, RUN_MEMORY)) {
		ADD(coremem, OPTIONAL(t->acct_rss_mem1) * c->page_size / (1000 * 1024));
		ADD(virtmem, OPTIONAL(t->acct_vm_mem1) * c->page_size / (1000 * 1024));
	}
	if (wants(c, RUN_DELAY)) {
		fill_delays(r, t);
		fill_peaks(r, t);
	}
	return 0;
}

/* Adds the counters of the process's dead threads. */
SUBPROGRAM int add_dead_threads(struct control *c, struct record *r,
					     struct signal_struct *s)
{
	struct taskstats *d = OPTIONAL(s->stats);

	/* No thread has died yet. */
	if (!s->sum_sched_runtime)
		return 0;
	ADD_COUNTS(s, s->sum_sched_runtime);
	if (wants(c, RUN_DELAY) && d) {
		ADD_DELAY(d, cpu, _delay_total);
		ADD_DELAYS(d, _delay_total);
	}
	return 0;
}

static __always_inline u64 cgroup_of(struct task_struct *t)
{
	struct kernfs_node *kn = 0;
	struct cgroup *group = 0;
	struct css_set *set = 0;

	if (!bpf_core_field_exists(t->cgroups) || !bpf_core_field_exists(set->dfl_cgrp) ||
	    !bpf_core_field_exists(group->kn) || !bpf_core_field_exists(kn->id))
		return 0;
	return FROM(t)->cgroups->dfl_cgrp->kn->id;
}

/* Begins a record with the fields of one task: a thread, or the leader of a process. */
SUBPROGRAM int fill_own(struct control *c, struct record *r, struct task_struct *t, u64 now,
			u64 real_s)
{
	struct signal_struct *s = FROM(t)->signal;
	u64 started = t->start_time;
	/* A task born during the walk is younger than the run's instant. */
	u64 age_us = now > started ? us(now - started) : 0;
	u64 leader_started = FROM(t)->group_leader->start_time;
	u32 task_flags = t->flags;
	u64 utime = OPTIONAL(s->utime), stime = OPTIONAL(s->stime);
	const struct cred *cred = OPTIONAL_FROM(t, real_cred);

	/* Memory that is not asked for is not touched: thousands of rows come from cold caches. */
	__builtin_memset(r, 0, __builtin_offsetof(struct record, cpu_delay_max));
	if (wants(c, RUN_DELAY))
		__builtin_memset(&r->cpu_delay_max, 0,
				 __builtin_offsetof(struct record, ac_time_ns) -
					 __builtin_offsetof(struct record, cpu_delay_max));
	__builtin_memset(&r->ac_time_ns, 0,
			 sizeof(*r) - __builtin_offsetof(struct record, ac_time_ns));
	r->version = RECORD_VERSION;
	r->ac_exitcode = task_flags & PF_EXITING ? OPTIONAL(t->exit_code) : 0;
	r->ac_flag = (t->pid == t->tgid && (task_flags & PF_FORKNOEXEC) ? 0x1 : 0) |
		     (task_flags & PF_SUPERPRIV ? 0x2 : 0) | (task_flags & PF_DUMPCORE ? 0x8 : 0) |
		     (task_flags & PF_SIGNALED ? 0x10 : 0);
	r->ac_nice = OPTIONAL(t->static_prio) - 120;
	r->ac_sched = OPTIONAL(t->policy);
	r->exec_mark = OPTIONAL(t->self_exec_id);
	if (bpf_core_field_exists(t->comm))
		__builtin_memcpy(r->ac_comm, t->comm, sizeof(t->comm));
	if (cred) {
		r->ac_uid = OPTIONAL(cred->uid.val);
		r->ac_gid = OPTIONAL(cred->gid.val);
	}
	r->ac_etime = age_us;
	r->ac_tgetime = leader_started == started ? age_us :
			now > leader_started	  ? us(now - leader_started) :
						    0;
	r->ac_btime64 = real_s - whole_seconds(age_us);
	r->ac_btime = r->ac_btime64;
	r->ac_time_ns = now;
	r->ac_start_ns = t->start_boottime;
	r->ac_cutime = us(OPTIONAL(s->cutime));
	r->ac_cstime = us(OPTIONAL(s->cstime));
	r->state = state_of(t);
	r->cpu = cpu_of(t);
	r->num_threads = OPTIONAL(s->nr_threads);
	r->task_flags = task_flags;
	r->tg_utime = us(utime);
	r->tg_stime = us(stime);
	r->tg_sum_exec_ns = s->sum_sched_runtime;
	if (wants(c, RUN_CGROUP))
		r->cgroup_id = cgroup_of(t);
	return 0;
}

/* Writes the ids in the caller's namespace. Returns false if the task is outside it. */
SUBPROGRAM int fill_ids(const struct control *c, struct record *r, struct task_struct *t)
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

#endif
