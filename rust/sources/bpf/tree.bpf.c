// SPDX-License-Identifier: GPL-2.0
/*
 * Resource use of a tree of processes, summed when its tasks die.
 *
 * Design decisions
 *
 * - The program at births marks each task before it first runs. Nothing that happens
 *   later changes the mark: dying parents, other sessions, ids that are used again.
 * - The last switch of a task removes its mark, or else the walk at the end does. The one
 *   that removes the mark adds the CPU time, so that it is added once.
 * - Nothing has to be collected meanwhile: the sums are complete at any time.
 * - The tree of a process that runs already is marked by a walk. Meanwhile the program at births
 *   follows the chain of parents, because a parent may not be marked yet. Where a parent dies
 *   meanwhile, its children are in no chain any more: user space then begins again.
 */

#include "task.h"

char LICENSE[] SEC("license") = "GPL";

#define READINGS 4
/* A longer chain of parents is not followed. */
#define LONGEST_CHAIN 256

/* The words shared with user space, in a mapped array. Sums are those of all members. */
struct tree {
	u64 caller;		/* the process that follows the tree */
	u64 root;		/* the process whose tree it is; 0: what the caller starts */
	u64 level, namespace;	/* the caller's pid namespace, of which `root` is a number */
	u64 marking;		/* set by user space while a walk marks the tree */
	u64 orphaned;		/* parents that died meanwhile */
	u64 ended;		/* set by user space: no task becomes a member any more */
	s64 offset_ns;		/* scheduler's clock - CLOCK_MONOTONIC */
	u64 members;		/* tasks that are marked */
	u64 lost;		/* tasks without a mark: the map was full, */
	u64 unnamed;		/* and tasks without a row of their command */
	u64 processes;		/* processes that began */
	u64 cpu_ns;
	u64 utime, stime;	/* by ticks */
	u64 minflt, majflt;
	u64 nvcsw, nivcsw;
	u64 cpu_delay_ns;
	u64 read_bytes, write_bytes;
	u64 max_rss;		/* pages */
	u64 left_out;		/* a process that a test treats as hidden */
};

/* A command's name and its use. */
struct command {
	char name[16];
};
struct command_use {
	u64 processes, cpu_ns;
};

struct member {
	struct command command;	/* of its process, valid with `counted` */
	u64 counted;		/* its counters are in the sums, but not its CPU time */
	u64 before;		/* its CPU time when it became a member */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct tree);
} trees SEC(".maps");

/* By task. The loader sets the sizes. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, u64);
	__type(value, struct member);
} members SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct command);
	__type(value, struct command_use);
} commands SEC(".maps");

#define ADD(sum, value) __sync_fetch_and_add(&(sum), value)

static __always_inline struct tree *the_tree(void)
{
	u32 zero = 0;

	return bpf_map_lookup_elem(&trees, &zero);
}

/* Called by the process that follows the tree. */
SEC("raw_tp/begin")
int begin(void *ctx)
{
	struct tree *tree = the_tree();

	if (tree)
		tree->caller = bpf_get_current_pid_tgid() >> 32;
	return 0;
}

/* Called after it where the tree is that of a running process. */
SEC("raw_tp/find_namespace")
int find_namespace(void *ctx)
{
	struct task_struct *caller = (struct task_struct *)bpf_get_current_task();
	struct pid *pid = BPF_CORE_READ(caller, thread_pid);
	struct tree *tree = the_tree();

	if (!tree)
		return 0;
	tree->level = BPF_CORE_READ(pid, level);
	tree->namespace = (u64)upid_at(pid, tree->level).ns;
	return 0;
}

/* Whether a task belongs to the root or to a descendant of it. */
SUBPROGRAM int descends(struct tree *tree, struct task_struct *t)
{
	struct task_struct *p = FROM(t);

	for (int i = 0; i < LONGEST_CHAIN; i++) {
		u32 process = number_at(p->group_leader->thread_pid, tree->level, tree->namespace);

		if (process && process == tree->root)
			return 1;
		if (p->pid <= 1)
			return 0;
		p = p->real_parent;
	}
	ADD(tree->lost, 1);
	return 0;
}

/* Makes a task a member, with the CPU time up to now that does not count. Returns whether it
 * was none before. */
static __always_inline bool join(struct tree *tree, struct task_struct *t, u64 before)
{
	struct member new = { .before = before };
	u64 key = (u64)t;
	long failed;

	ADD(tree->members, 1);
	failed = bpf_map_update_elem(&members, &key, &new, BPF_NOEXIST);
	if (failed) {
		ADD(tree->members, -1);
		if (failed != -EEXIST)
			ADD(tree->lost, 1);
		return 0;
	}
	if (t->pid == t->tgid)
		ADD(tree->processes, 1);
	return 1;
}

/* Whether a task creates members. */
static __always_inline bool is_inside(struct tree *tree, struct task_struct *maker)
{
	u64 key = (u64)maker;

	if (bpf_map_lookup_elem(&members, &key))
		return 1;
	return *(volatile u64 *)&tree->marking && descends(tree, maker);
}

static __always_inline void on_birth(struct task_struct *t)
{
	struct task_struct *maker = bpf_get_current_task_btf();
	struct tree *tree = the_tree();

	if (!tree || *(volatile u64 *)&tree->ended)
		return;
	if ((!tree->root && maker->tgid == tree->caller && t->tgid != maker->tgid) ||
	    is_inside(tree, maker))
		join(tree, t, 0);
}

/*
 * Called for each new task before it runs. Tracepoints allow preemption since 7.0: while
 * this program is preempted, the kernel skips it for other births on this CPU, and counts
 * recursion misses.
 */
SEC("tp_btf/task_newtask")
int BPF_PROG(born, struct task_struct *t, u64 clone_flags)
{
	preempt_disable();
	on_birth(t);
	preempt_enable();
	return 0;
}

static __always_inline struct command_use *row_of_command(struct command *command)
{
	struct command_use none = {}, *row = bpf_map_lookup_elem(&commands, command);

	if (row)
		return row;
	bpf_map_update_elem(&commands, command, &none, BPF_NOEXIST);
	return bpf_map_lookup_elem(&commands, command);
}

/* Removes the mark and adds the CPU time of the task. */
static __always_inline void leave(struct tree *tree, u64 key, struct member *member, u64 use)
{
	struct command command = member->command;
	struct command_use *row;

	use -= member->before;
	if (bpf_map_delete_elem(&members, &key))
		return;
	ADD(tree->cpu_ns, use);
	row = row_of_command(&command);
	if (row)
		ADD(row->cpu_ns, use);
	else
		ADD(tree->unnamed, 1);
	ADD(tree->members, -1);
}

/* Peak memory of the task's process, in pages. */
static __always_inline u64 peak(struct task_struct *t)
{
	struct mm_struct *mm = OPTIONAL_FROM(t, mm);

	/* Since 6.16 the tracepoint comes before the memory is released. The peak in the
	 * signal_struct includes the time before the process's exec. */
	return mm ? greater(resident(mm), OPTIONAL(mm->hiwater_rss)) : max_rss(FROM(t)->signal);
}

/* Adds the counters of a task to the sums, or takes them away where `sign` is -1. */
static __always_inline void add_counters(struct tree *tree, struct task_struct *t, s64 sign)
{
	ADD(tree->utime, sign * OPTIONAL(t->utime));
	ADD(tree->stime, sign * OPTIONAL(t->stime));
	ADD(tree->minflt, sign * OPTIONAL(t->min_flt));
	ADD(tree->majflt, sign * OPTIONAL(t->maj_flt));
	ADD(tree->nvcsw, sign * OPTIONAL(t->nvcsw));
	ADD(tree->nivcsw, sign * OPTIONAL(t->nivcsw));
	ADD(tree->cpu_delay_ns, sign * OPTIONAL(t->sched_info.run_delay));
	ADD(tree->read_bytes, sign * OPTIONAL(t->ioac.read_bytes));
	ADD(tree->write_bytes, sign * OPTIONAL(t->ioac.write_bytes));
}

SUBPROGRAM int count(struct tree *tree, struct member *member, struct task_struct *t)
{
	struct task_struct *leader = FROM(t)->group_leader;
	struct signal_struct *signal = FROM(t)->signal;
	u64 rss = peak(t);
	struct command_use *row;
	struct command command = {};

	if (ADD(member->counted, 1))
		return 0;
	if (bpf_core_field_exists(leader->comm))
		__builtin_memcpy(command.name, leader->comm, sizeof(command.name));
	member->command = command;
	add_counters(tree, t, 1);
	/* A death at the same moment on another CPU may be missed here. */
	if (rss > *(volatile u64 *)&tree->max_rss)
		*(volatile u64 *)&tree->max_rss = rss;
	if (t->pid != t->tgid)
		return 0;
	/* The exec of another thread ends this leader: the process continues. */
	if (OPTIONAL(signal->group_exec_task))
		return 0;
	row = row_of_command(&command);
	if (row)
		ADD(row->processes, 1);
	return 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(exits, struct task_struct *t)
{
	struct tree *tree = the_tree();
	struct member *member;
	u64 key = (u64)t;

	if (!tree)
		return 0;
	/* Its children are still in its list. */
	if (*(volatile u64 *)&tree->marking && t->children.next != &t->children &&
	    descends(tree, t))
		ADD(tree->orphaned, 1);
	member = bpf_map_lookup_elem(&members, &key);
	if (member)
		count(tree, member, t);
	return 0;
}

SEC("tp_btf/sched_switch")
int BPF_PROG(switched, bool preempt, struct task_struct *prev, struct task_struct *next)
{
	bool dead = state_of(prev) & TASK_DEAD;
	struct tree *tree = the_tree();
	struct member *member;
	u64 key = (u64)prev;
	struct rq *q;

	if (!tree || !(dead || next->tgid == tree->caller))
		return 0;
	if (tree->left_out && (u32)next->tgid == tree->left_out)
		return 0;
	q = queue_of(next->pid ? next : prev);
	if (q)
		/* The clock has just been updated. */
		tree->offset_ns = q->clock - bpf_ktime_get_ns();
	if (!dead)
		return 0;
	member = bpf_map_lookup_elem(&members, &key);
	if (!member)
		return 0;
	/* The program at its exit may have been skipped. */
	count(tree, member, prev);
	leave(tree, key, member, prev->se.sum_exec_runtime);
	return 0;
}

/* CPU time of a task up to now, running or not. Steal time since the last update of its
 * queue's clock, at most a tick ago, counts as CPU time. */
static __always_inline u64 use_now(struct tree *tree, struct task_struct *t)
{
	struct rq *q = queue_of(t);
	u64 sum = 0;

	for (int i = 0; i < READINGS; i++) {
		u64 exec_start, clock, clock_task;
		s64 since;

		sum = *(volatile u64 *)&t->se.sum_exec_runtime;
		if (!q || !*(volatile u32 *)&t->on_cpu)
			return sum;
		exec_start = *(volatile u64 *)&t->se.exec_start;
		clock = *(volatile u64 *)&q->clock;
		clock_task = *(volatile u64 *)&q->clock_task;
		since = bpf_ktime_get_ns() + tree->offset_ns - (exec_start + clock - clock_task);
		barrier();
		if (*(volatile u64 *)&t->se.sum_exec_runtime == sum &&
		    *(volatile u64 *)&q->clock == clock &&
		    *(volatile u64 *)&q->clock_task == clock_task)
			return sum + not_negative(since);
	}
	return sum;
}

/* The last switch of a member may be to a task that the kernel hides. */
SEC("tp_btf/sched_process_free")
int BPF_PROG(freed, struct task_struct *t)
{
	struct tree *tree = the_tree();
	struct member *member;
	u64 key = (u64)t;

	member = bpf_map_lookup_elem(&members, &key);
	if (!tree || !member)
		return 0;
	count(tree, member, t);
	leave(tree, key, member, t->se.sum_exec_runtime);
	return 0;
}

/* At the end: counts the tasks that still live. */
SEC("iter/task")
int each_task(struct bpf_iter__task *ctx)
{
	struct task_struct *t = ctx->task;
	struct tree *tree = the_tree();
	struct member *member;
	u64 key = (u64)t;

	if (!t || !tree)
		return 0;
	member = bpf_map_lookup_elem(&members, &key);
	if (!member)
		return 0;
	count(tree, member, t);
	leave(tree, key, member, use_now(tree, t));
	return 0;
}

/* At the begin: the tree of a running process. */
SEC("iter/task")
int mark_task(struct bpf_iter__task *ctx)
{
	struct task_struct *t = ctx->task;
	struct tree *tree = the_tree();
	struct member *member;
	u64 key = (u64)t;

	if (!t || !tree || bpf_map_lookup_elem(&members, &key) || !descends(tree, t))
		return 0;
	/* What it uses from here on counts. */
	add_counters(tree, t, -1);
	if (!join(tree, t, use_now(tree, t))) {
		add_counters(tree, t, 1);
		return 0;
	}
	/* The program at the end of its memory may have come before the mark. */
	member = bpf_map_lookup_elem(&members, &key);
	if (member && *(volatile u32 *)&t->exit_state & EXIT_DEAD) {
		count(tree, member, t);
		leave(tree, key, member, use_now(tree, t));
	}
	return 0;
}
