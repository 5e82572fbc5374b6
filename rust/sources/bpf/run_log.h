/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The log of processes that ran, and the walk over those alone.
 *
 * Design decisions
 *
 * - Each CPU has a ring of process ids. A run reads the ring up to its end. The next run
 *   begins where the end was before this run's instant: a process that was switched out
 *   between the two ran before the instant and after it.
 * - A process is logged once a run. The run stores the end of the ring before it changes the
 *   serial, so that entries under the new serial come after that end.
 * - A process is logged when it is switched out. A run first reads which processes run, and
 *   then the log: a process that is switched out in between is in one of the two.
 * - A run also visits processes of exiting tasks, until no task has exited since the last
 *   look: a slot counts in this run only if its process was visited.
 * - If a ring has wrapped around, the run reports it, and user space walks over all tasks
 *   instead. If an id is not in use any more, the exit slot tells user space.
 */
#ifndef RUN_LOG_H
#define RUN_LOG_H

#include "walk.h"

/* Entries of a CPU's ring, and of its table of processes logged last; powers of two. */
#define LOG 1024
#define LOGGED 256
/* Entries of the list of processes to visit. */
#define LISTED 8192

#define QUEUE(address) \
	((struct rq *)rdonly_cast((void *)(address), bpf_core_type_id_kernel(struct rq)))

/*
 * Whether tasks that are not hidden may have run unseen since the last switch that was seen.
 * A hidden task makes two switches between others or idle times, or one if it still runs;
 * any more switches are those of another task.
 */
static __always_inline bool has_hole(const struct cpu *cpu, u64 switches, u64 idle)
{
	u64 unseen = switches - cpu->seen_switches, idled = idle - cpu->seen_idle;

	/* Nothing is known before the first one. */
	return cpu->seen_switches && unseen && (unseen + 1) / 2 != idled + !!cpu->now;
}

/* Whether the kernel's counts of switches can be read, which show hidden ones. */
static __always_inline bool counts_switches(struct rq *q)
{
	struct task_struct *t = 0;

	return bpf_core_field_exists(q->nr_switches) && bpf_core_field_exists(q->curr) &&
	       bpf_core_field_exists(q->idle) && bpf_core_field_exists(t->nvcsw) &&
	       bpf_core_field_exists(t->nivcsw);
}

static __always_inline u64 idle_switches(struct rq *q)
{
	return q->idle->nvcsw + q->idle->nivcsw;
}

SUBPROGRAM int log_process(struct control *c, struct cpu *cpu, u32 tgid)
{
	u32 number = bpf_get_smp_processor_id(), at;
	u64 tag = c->serial << 32 | tgid, *last;
	u32 *place;

	at = number * LOGGED + (tgid & (LOGGED - 1));
	last = bpf_map_lookup_elem(&logged, &at);
	if (tgid && last && *last != tag) {
		*last = tag;
		at = number * LOG + (cpu->log_end & (LOG - 1));
		place = bpf_map_lookup_elem(&ran, &at);
		if (place)
			*place = tgid;
		PUBLISH(cpu->log_end, cpu->log_end + 1);
	}
	return 0;
}

/* Where switches are hidden: logs the process that ran before, and whether there may be
 * others. */
SUBPROGRAM int log_unseen(struct control *c, struct cpu *cpu, struct rq *q, u32 idles)
{
	u64 switches, idle;

	if (!counts_switches(q))
		return 0;
	switches = q->nr_switches;
	idle = idle_switches(q);
	/* Without this one. */
	if (switches - 1 != cpu->seen_switches) {
		log_process(c, cpu, cpu->now);
		if (has_hole(cpu, switches - 1, idle - idles))
			/* The same effect as a ring that has wrapped around. */
			cpu->log_end += LOG + 1;
	}
	cpu->seen_switches = switches;
	cpu->seen_idle = idle;
	return 0;
}

/* At a switch, with interrupts off. */
static __always_inline void log_switch(struct control *c, struct cpu *cpu,
				       struct task_struct *prev, struct task_struct *next)
{
	if (c->hides) {
		struct rq *q = prev->pid ? queue_of(prev) : queue_of(next);

		if (q)
			log_unseen(c, cpu, q, !prev->pid);
	}
	log_process(c, cpu, prev->tgid);
	barrier();
	*(volatile u32 *)&cpu->now = next->tgid;
}

/* Stores the ends of the rings, before the instant of a run. */
static __always_inline void open_log(struct control *c)
{
	struct bpf_iter_num numbers;
	int *i;

	iter_num_new(&numbers, 0, 1 << 16);
	while ((i = iter_num_next(&numbers))) {
		struct cpu *cpu = the_cpu(*i);

		if (!cpu)
			break;
		if (c->taken)
			cpu->log_begin = cpu->log_next;
		cpu->log_next = OBSERVE(cpu->log_end);
	}
	iter_num_destroy(&numbers);
	c->taken = 0;
}

/* Visits a process with all its threads, unless the run has visited it. */
SUBPROGRAM int visit_process(struct control *c, u32 tgid)
{
	struct note new = { .serial = c->serial }, *met;
	struct task_struct *leader, *t;
	struct bpf_iter_task threads;
	u64 key;

	leader = task_from_pid(tgid);
	if (!leader)
		return 0;
	key = (u64)leader->signal;
	met = bpf_map_lookup_elem(&row_of, &key);
	if (!met || met->serial != c->serial) {
		bpf_map_update_elem(&row_of, &key, &new, BPF_ANY);
		iter_task_new(&threads, leader, BPF_TASK_ITER_PROC_THREADS);
		while ((t = iter_task_next(&threads)))
			visit(c, t);
		iter_task_destroy(&threads);
		end_row(c);
	}
	task_release(leader);
	return 0;
}

/* Reads the clocks of a CPU; the run may visit none of its tasks. */
SUBPROGRAM int read_clocks(struct control *c, struct cpu *cpu)
{
	struct reading r = {};
	struct rq *q;

	if (!cpu->queue || !has_clocks())
		return 0;
	q = QUEUE(cpu->queue);
	for (int i = 0; i < READINGS; i++) {
		r.clock = q->clock;
		r.clock_task = q->clock_task;
		barrier();
		if (*(volatile u64 *)&q->clock == r.clock &&
		    *(volatile u64 *)&q->clock_task == r.clock_task)
			break;
		c->retries++;
	}
	keep_clocks(c, cpu, q, &r);
	return 0;
}

/* Adds a process to the list of those that the run visits. */
static __always_inline void list(struct control *c, u32 tgid)
{
	u32 n = c->listed, *place;

	/* The idle tasks have no process. */
	if (!tgid)
		return;
	place = bpf_map_lookup_elem(&listed, &n);
	if (!place)
		return;
	*place = tgid;
	c->listed = n + 1;
}

/* Where switches are hidden: the process that runs, and whether others may have run. */
SUBPROGRAM int list_current(struct control *c, struct cpu *cpu)
{
	struct rq *q = QUEUE(cpu->queue);

	if (!c->hides || !cpu->queue)
		return 0;
	if (!counts_switches(q)) {
		c->log_lost = 1;
		return 0;
	}
	list(c, q->curr->tgid);
	c->log_lost |= has_hole(cpu, q->nr_switches, idle_switches(q));
	return 0;
}

/* Lists the processes that run, on each CPU. */
static __always_inline void list_running(struct control *c)
{
	struct bpf_iter_num numbers;
	int *i;

	iter_num_new(&numbers, 0, 1 << 16);
	while ((i = iter_num_next(&numbers))) {
		struct cpu *cpu = the_cpu(*i);

		if (!cpu)
			break;
		read_clocks(c, cpu);
		list_current(c, cpu);
		list(c, *(volatile u32 *)&cpu->now);
		list(c, cpu->first);
	}
	iter_num_destroy(&numbers);
}

SUBPROGRAM int list_log_of(struct control *c, struct cpu *cpu, u32 number)
{
	u64 begin = cpu->log_begin, end = OBSERVE(cpu->log_end);
	struct bpf_iter_num numbers;
	int *i;

	iter_num_new(&numbers, 0, LOG);
	while ((i = iter_num_next(&numbers))) {
		u64 entry = begin + (u32)*i;
		u32 at = number * LOG + (entry & (LOG - 1));
		u32 *tgid;

		if (entry >= end)
			break;
		tgid = bpf_map_lookup_elem(&ran, &at);
		if (tgid)
			list(c, *tgid);
	}
	iter_num_destroy(&numbers);
	/* The ring has wrapped around. */
	c->log_lost |= OBSERVE(cpu->log_end) - begin > LOG;
	return 0;
}

/* Lists the processes that have run, on each CPU. */
static __always_inline void list_ran(struct control *c)
{
	struct bpf_iter_num numbers;
	int *i;

	iter_num_new(&numbers, 0, 1 << 16);
	while ((i = iter_num_next(&numbers))) {
		struct cpu *cpu = the_cpu(*i);

		if (!cpu)
			break;
		list_log_of(c, cpu, *i);
	}
	iter_num_destroy(&numbers);
}

/*
 * Lists the processes of the tasks that have exited up to now: by their rows user space
 * knows that they still exist. Returns whether all of these tasks have filled their slots.
 */
SUBPROGRAM int list_dying(struct control *c)
{
	struct bpf_iter_num numbers;
	int *i, said_all = 0;

	iter_num_new(&numbers, 0, 1 << 22);
	while ((i = iter_num_next(&numbers))) {
		u64 number = c->exits;
		u32 index = number & (c->slots - 1);
		struct slot *slot;

		if (number >= *(volatile u64 *)&c->head) {
			said_all = 1;
			break;
		}
		slot = bpf_map_lookup_elem(&slots, &index);
		if (!slot)
			break;
		if (OBSERVE(slot->state) == SLOT_CLAIMED)
			break;
		if (*(volatile u64 *)&slot->number == number)
			list(c, slot->tgid);
		else if (slot->number < number && *(volatile u64 *)&slot->passed < number)
			break;
		c->exits = number + 1;
	}
	iter_num_destroy(&numbers);
	return said_all;
}

/* Visits all processes on the list, and those of tasks that exit meanwhile. */
static __always_inline void visit_listed(struct control *c)
{
	struct bpf_iter_num numbers;

	c->exits = c->tail;
	c->visited = 0;
	/* Some rounds visit none: they wait for a claim, which takes less than a microsecond. */
	iter_num_new(&numbers, 0, 2 * LISTED);
	while (iter_num_next(&numbers)) {
		u32 n = c->visited, *tgid;

		if (n >= c->listed) {
			if (list_dying(c) && n >= c->listed)
				break;
			continue;
		}
		c->visited = n + 1;
		tgid = bpf_map_lookup_elem(&listed, &n);
		if (tgid)
			visit_process(c, *tgid);
	}
	iter_num_destroy(&numbers);
	/* A full list may lack some processes. */
	c->log_lost |= c->listed >= LISTED;
}

#endif
