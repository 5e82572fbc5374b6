/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The walk over all tasks, and the rows that it writes.
 */
#ifndef WALK_H
#define WALK_H

#include "fields.h"
#include "cpu_time.h"

/* The kernel's list is sorted by start time up to this error. */
#define ORDER_NS 10000000
enum { FOUND, FIND_LAST, SKIP_THREADS };

/*
 * The memory of the current row; 0 if there is no room. The state that the walk carries from
 * one task to the next is in the control words: on the stack, the verifier would follow
 * every combination of it.
 */
static __always_inline struct record *place_of_row(struct control *c)
{
	u32 which = c->output, n = c->row;
	void *output;

	if (n >= c->capacity)
		return 0;
	output = bpf_map_lookup_elem(&outputs, &which);
	return output ? bpf_map_lookup_elem(output, &n) : 0;
}

/* Ends the current row. Drops it if the process did not run. */
SUBPROGRAM int end_row(struct control *c)
{
	if (!c->row_begun)
		return 0;
	c->row_begun = 0;
	if (!c->row_ran) {
		c->unchanged++;
		return 0;
	}
	c->wanted++;
	if (c->row < c->capacity)
		c->count++;
	return 0;
}

SUBPROGRAM int begin_row(struct control *c, struct task_struct *t, struct signal_struct *s)
{
	end_row(c);
	c->row = c->count;
	c->row_outside = is_outside(c, t);
	c->row_begun = !c->row_outside;
	/* The death of a thread does not count as a run of the others. */
	c->row_ran = !c->since || (!wants(c, RUN_THREADS) && s->sum_sched_runtime);
	return 0;
}

/*
 * A long list is walked in parts, each in a run of its own. A part ends before a process.
 * The next part begins after the last process of the previous part, or, if that has died, at
 * the first process that is clearly younger.
 *
 * Returns whether a task is outside the current part.
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

	slot = bpf_map_lookup_elem(&exiting, &key);
	if (slot)
		slot->met = c->serial;
	number = bpf_map_lookup_elem(&slot_of, &key);
	if (!number)
		return;
	index = *number & (c->slots - 1);
	slot = bpf_map_lookup_elem(&slots, &index);
	if (slot && slot->task == key)
		slot->met = c->serial;
}

/* Adds to the sums that need no row. */
SUBPROGRAM int count_use(struct control *c, struct task_struct *t, s64 use, s64 of_dead)
{
	if (t->tgid == c->caller)
		c->own_ns += use + of_dead;
	if (t->pid == 1)
		c->met_init = 1;
	if (c->row_outside) {
		c->outside++;
		c->outside_ns += use;
		if (!wants(c, RUN_EXITS))
			c->outside_ns += of_dead;
	}
	return 0;
}

/* Whether a row begins with the current task. Reads memory each time, as `wants` does. */
static __always_inline u64 leads(const struct control *c)
{
	return *(const volatile u64 *)&c->leads;
}

/* Adds a task to the row, or begins it. */
SUBPROGRAM int write_row(struct control *c, struct record *r, struct task_struct *t, s64 use)
{
	struct signal_struct *s = FROM(t)->signal;

	if (leads(c)) {
		fill_own(c, r, t, c->t0_ns, c->real_s);
		fill_ids(c, r, t);
		write_id(c, &r->task_id, wants(c, RUN_THREADS) ? (void *)t : s);
	} else if (r->state >> 16 && !t->exit_state) {
		/* The leader has exited, this thread lives. */
		r->state = state_of(t);
		r->cpu = cpu_of(t);
		r->ac_exitcode = 0;
	}
	if (wants(c, RUN_MEMORY | RUN_EXE) && !r->vm_kb)
		fill_memory(c, r, t);
	fill_sums(c, r, t);
	ADD(ac_sum_exec_ns, use);
	if (leads(c) && !wants(c, RUN_THREADS)) {
		add_dead_threads(c, r, s);
		/* If exits are watched, user space adds their exact times. */
		if (!wants(c, RUN_EXITS))
			r->ac_sum_exec_ns += s->sum_sched_runtime;
	}
	return 0;
}

/* One step of the walk over all threads; a process's leader comes before its others. */
SUBPROGRAM int visit(struct control *c, struct task_struct *t)
{
	struct signal_struct *s;
	struct record *r;
	s64 use;

	/* Skip idle tasks, and tasks that are released. */
	if (!t->pid || !FROM(t)->thread_pid || is_left_out(c, t))
		return 0;
	*(volatile u64 *)&c->leads = wants(c, RUN_THREADS) || t->pid == t->tgid;
	s = FROM(t)->signal;
	use = use_at(c, t);
	/* Zero for a task born after the run's instant. */
	use = not_negative(use);
	if (wants(c, RUN_EXITS) && (t->flags & PF_EXITING))
		mark_met(c, t);
	if (leads(c))
		begin_row(c, t, s);
	/* A zombie keeps its row, so that user space knows it is not reaped yet. */
	c->row_ran |= c->ran | (t->flags & PF_EXITING);
	count_use(c, t, use, leads(c) * s->sum_sched_runtime);
	/* The row of an unchanged process with one thread would be dropped. */
	if (c->row_outside || (!c->row_ran && OPTIONAL(s->nr_threads) == 1))
		return 0;
	r = place_of_row(c);
	if (r)
		write_row(c, r, t, use);
	return 0;
}

/* One step of a walk that visits the threads of a process in any order. */
SUBPROGRAM int visit_unordered(struct control *c, struct task_struct *t)
{
	struct task_struct *leader = FROM(t)->group_leader;
	struct note *known, new = { .serial = c->serial };
	u64 key = (u64)t->signal;

	if (!t->pid || !FROM(t)->thread_pid)
		return 0;
	/* A dead thread that its tracer has not reaped yet: user space adds its use. */
	if (wants(c, RUN_EXITS) && t->exit_state && t->pid != t->tgid)
		return 0;
	known = bpf_map_lookup_elem(&row_of, &key);
	if (!known || known->serial != c->serial) {
		/* The first thread visited begins the row of its process. */
		new.use = c->count;
		visit(c, leader);
		end_row(c);
		bpf_map_update_elem(&row_of, &key, &new, BPF_ANY);
		known = &new;
	}
	if (t->pid == t->tgid)
		return 0;
	c->row = known->use;
	c->row_outside = is_outside(c, t);
	visit(c, t);
	return 0;
}

#endif
