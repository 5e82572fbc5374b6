/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The log of who ran, and the way over those alone.
 *
 * Design decisions
 *
 * - Each CPU has a ring of its own, of process ids. A run reads it up to its end, but the
 *   next one begins at the end that it had before the run's instant: who is switched away
 *   between the two has a part of its time before the instant and a part behind.
 * - Who was noted since the last run is noted no more. So that no one is left out, the end
 *   is taken before the serial changes: what is noted under the new one is behind it.
 * - Who runs is noted when it is switched away. A run looks at who runs before it looks
 *   at the log, so that who is switched away in between is in one of them.
 * - Who exits is met as well, until no one has exited since the last look: its slot counts
 *   in this run only if its process was looked for.
 * - A ring that came around is told of: user space walks over all tasks instead. Of an id
 *   that is not in use any more it knows by the slot.
 */
#ifndef RUN_LOG_H
#define RUN_LOG_H

#include "walk.h"

/* Entries of a CPU's ring, and of its table of those noted last; powers of two. */
#define LOG 1024
#define LOGGED 256
/* Entries of the list of those to meet. */
#define LISTED 8192

#define QUEUE(address) \
	((struct rq *)rdonly_cast((void *)(address), bpf_core_type_id_kernel(struct rq)))

/*
 * Whether others than hidden tasks may have run between switches that were seen. From who
 * was switched to at the last one, over idle times, to who runs now, each hidden task in
 * between makes two switches, or one where it runs still; any more are of someone else.
 */
static __always_inline bool has_hole(const struct cpu *cpu, u64 switches, u64 idle)
{
	u64 unseen = switches - cpu->seen_switches, idled = idle - cpu->seen_idle;

	/* Before the first one nothing is known. */
	return cpu->seen_switches && unseen && (unseen + 1) / 2 != idled + !!cpu->now;
}

/* Whether the kernel tells the switches of a CPU, by which hidden ones are found. */
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

/* Where switches are hidden: who was there before the hidden one, and that others may have
 * been. */
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
			/* As if the ring had come around. */
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

/* Before the instant of a run: where the log stands. */
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

/* A process with all its threads, unless the run has met it. */
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

/* The clocks of a CPU on which no one may be met. */
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

/* Puts a process on the list of those that the run is to meet. */
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

/* Where switches are hidden: who runs, and whether others did since the last one seen. */
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

/* Who runs on each CPU. */
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
	/* The ring came around. */
	c->log_lost |= OBSERVE(cpu->log_end) - begin > LOG;
	return 0;
}

/* Who has run, on each CPU. */
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
 * The processes of the tasks that have exited up to now: that they are still there tells the
 * caller that they are not gone. Tells whether all of them have said who they are.
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

/* All that are on the list, and those that exit meanwhile. */
static __always_inline void visit_listed(struct control *c)
{
	struct bpf_iter_num numbers;

	c->exits = c->tail;
	c->visited = 0;
	/* Some rounds meet no one: they wait for a claim, which takes less than a microsecond. */
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
	/* A full list may lack some. */
	c->log_lost |= c->listed >= LISTED;
}

#endif
