/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The work of the programs at switches, idle states and exits.
 */
#ifndef HOOKS_H
#define HOOKS_H

#include "fields.h"
#include "cpu_time.h"

/* How many slots an exiting task tries. */
#define PROBES 8

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

/*
 * Idle time up to the last moment at which the CPU was idle for certain, where a hidden task
 * ended it: no program sees its switches. Zero if no task hides.
 */
static __always_inline u64 idle_before_hidden(const struct cpu *cpu)
{
	return cpu->is_idle ? not_negative(cpu->idle_end - cpu->idle_start) : 0;
}

/*
 * A switch from the idle task on a CPU that was not seen to become idle: it had been
 * offline. While a CPU goes offline no program runs on it (__DO_TRACE_CALL(),
 * include/linux/tracepoint.h); the last task there is the stopper (take_cpu_down()).
 */
static __always_inline void come_back(struct cpu *cpu, struct rq *q)
{
	if (!bpf_core_field_exists(q->stop) || !bpf_core_field_exists(q->nr_switches))
		return;
	if (cpu->is_idle || !cpu->stop_switches || q->nr_switches - cpu->stop_switches != 2)
		return;
	cpu->idle_start = cpu->stop_base + q->stop->se.sum_exec_runtime;
	cpu->is_idle = 1;
}

/* The clocks, idle time and tasks of a CPU at the run's instant, from its first switch after that. */
static __always_inline void note_instant(struct control *c, struct cpu *cpu, struct rq *q, s64 gap,
					 struct task_struct *prev, struct task_struct *next)
{
	s64 past = not_negative(q->clock - c->sched_ns);
	/* The switch began before the instant: what comes next has run from then on. */
	s64 ahead = not_negative(c->sched_ns - q->clock);

	cpu->noted_clock = q->clock;
	cpu->noted_clock_task = q->clock_task;
	cpu->noted_idle = cpu->idle_sum;
	if (!prev->pid && cpu->is_idle)
		cpu->noted_idle += not_negative(q->clock_task - cpu->idle_start - past);
	else
		/* The search for work came after the task's time. */
		cpu->noted_idle += idle_before_hidden(cpu) + not_negative(gap - past);
	if (!next->pid)
		cpu->noted_idle += ahead;
	PUBLISH(cpu->noted_serial, c->noting);
	if (prev->pid)
		take_note(c, prev, (s64)prev->se.sum_exec_runtime - not_negative(past - gap));
	if (next->pid)
		take_note(c, next, (s64)next->se.sum_exec_runtime + ahead);
}

SUBPROGRAM int on_switch(struct control *c, struct cpu *cpu, struct task_struct *prev,
			 struct task_struct *next)
{
	struct rq *q = prev->pid ? queue_of(prev) : queue_of(next);
	u64 noting = c->noting;
	int stops;
	s64 gap;

	if (noting && !c->sched_ns) {
		c->raced = 1;
		noting = 0;
	}
	if (!q)
		return 0;
	if (next->pid == c->reader || prev->pid == c->reader)
		/* The clock has just been updated. */
		take_offset(c, q->clock);
	/*
	 * Between the last accounting of a task and the switch, the kernel may search other CPUs
	 * for work. It counts that as idle time (sched_balance_newidle()), and so does this.
	 */
	gap = prev->pid ? not_negative(q->clock_task - prev->se.exec_start) + cpu->forgotten : 0;
	stops = bpf_core_field_exists(q->stop) && next == q->stop;
	if (!noting && prev->pid && next->pid && !gap && !stops)
		return 0;
	cpu->forgotten = 0;
	if (!prev->pid)
		come_back(cpu, q);
	if (stops) {
		cpu->stop_base = q->clock_task - next->se.sum_exec_runtime;
		cpu->stop_switches = OPTIONAL(q->nr_switches);
	}
	if (noting && cpu->noted_serial != noting)
		note_instant(c, cpu, q, gap, prev, next);
	else if (noting && prev->pid)
		/* It came to this CPU after t0; its note has the value of then. */
		take_note(c, prev, prev->se.sum_exec_runtime);
	if (noting && next->pid)
		take_note(c, next, next->se.sum_exec_runtime);
	cpu->known = 1;
	if (!prev->pid && cpu->is_idle)
		cpu->idle_sum += q->clock_task - cpu->idle_start;
	else
		cpu->idle_sum += idle_before_hidden(cpu);
	cpu->is_idle = !next->pid;
	if (!next->pid) {
		cpu->idle_start = q->clock_task - gap;
		cpu->idle_switches = OPTIONAL(q->nr_switches);
	} else {
		cpu->idle_sum += gap;
	}
	return 0;
}

/*
 * Time of the task that a CPU is about to leave, which the kernel counts for nobody. Nearly all of it is
 * search for work, and counts as such; of the stopper, whose time is accounted only when it leaves, it
 * is also what it used. The queue's lock is held, as at switches.
 */
SUBPROGRAM int on_forget(struct rq *q, struct task_struct *curr)
{
	struct cpu *cpu = the_cpu(q->cpu);

	/* Below zero the kernel moves nothing on. */
	if (cpu && OPTIONAL(q->fair_server.runtime) >= 0)
		cpu->forgotten += not_negative(q->clock_task - curr->se.exec_start);
	return 0;
}

/* A CPU enters or leaves an idle state. */
SUBPROGRAM int on_idle(struct control *c, struct cpu *cpu, struct rq *q, u64 leaves)
{
	if (leaves) {
		cpu->idle_end = bpf_ktime_get_ns() + c->offset_ns - (q->clock - q->clock_task);
		cpu->idle_switches = OPTIONAL(q->nr_switches);
		cpu->halted = 0;
		return 0;
	}
	cpu->halted = 1;
	if (cpu->is_idle && OPTIONAL(q->nr_switches) == cpu->idle_switches)
		return 0;
	/*
	 * A hidden task ran here. The CPU is idle since the kernel found no work for it
	 * (sched_balance_newidle()), or else since its clock's last update, the switch.
	 */
	cpu->idle_sum += idle_before_hidden(cpu);
	cpu->idle_start = q->clock_task;
	if (OPTIONAL(q->idle_stamp))
		cpu->idle_start -= not_negative(q->clock - q->idle_stamp);
	cpu->is_idle = cpu->known = 1;
	cpu->idle_switches = OPTIONAL(q->nr_switches);
	return 0;
}

/*
 * Reports to user space that tasks have died: once, until it has looked. It resets `woken`
 * before it looks, so that no death goes unreported.
 */
SUBPROGRAM int tell(struct control *c)
{
	u64 one = 1;

	if (c->head >= c->wake_at && !__sync_lock_test_and_set(&c->woken, 1))
		bpf_ringbuf_output(&deaths, &one, sizeof(one), BPF_RB_FORCE_WAKEUP);
	return 0;
}

/* Whether the walk in progress, if any, has passed the process of a task. */
SUBPROGRAM int was_walked(struct control *c, struct task_struct *t)
{
	u64 key = (u64)t->signal;
	struct note *met;

	if (!c->by_log)
		return FROM(t)->group_leader->start_time <= c->last_start;
	met = bpf_map_lookup_elem(&row_of, &key);
	return met && met->serial == c->serial;
}

static __always_inline bool is_last_thread(struct signal_struct *s)
{
	return bpf_core_field_exists(s->live.counter) && !s->live.counter;
}

/* Describes an exiting task, while all of its fields can be read. */
SUBPROGRAM int describe_exit(struct control *c, struct slot *slot, struct task_struct *t)
{
	struct record *r = &slot->record;
	u64 now = bpf_ktime_get_ns();
	struct mm_struct *mm;

	fill_own(c, r, t, now, (now + c->real_offset_ns) / 1000000000);
	fill_sums(c, r, t);
	/* The record of a process's last thread includes the threads that died before. */
	if (!wants(c, RUN_THREADS) && is_last_thread(FROM(t)->signal))
		add_dead_threads(c, r, FROM(t)->signal);
	r->ac_sum_exec_ns = t->se.sum_exec_runtime;
	/* Since 6.16 the tracepoint comes before the memory is released. The peak in the
	 * signal_struct includes the time before the process's exec. */
	mm = OPTIONAL_FROM(t, mm);
	r->hiwater_rss = mm ? KB(greater(resident(mm), OPTIONAL(mm->hiwater_rss)), c) :
			      KB(max_rss(FROM(t)->signal), c);
	slot->outside = !fill_ids(c, r, t);
	write_id(c, &r->task_id, t);
	slot->task = (u64)t;
	slot->process_start = FROM(t)->group_leader->start_boottime;
	write_id(c, &slot->process_id, FROM(t)->signal);
	slot->leader = t->pid == t->tgid;
	slot->ptraced = OPTIONAL(t->ptrace);
	slot->met = slot->walked = slot->serial = slot->used = slot->end = slot->died_ns = 0;
	slot->tgid = t->tgid;
	return 0;
}

/* Writes the final CPU time of a task, at its last switch. */
static __always_inline void end_slot(struct slot *slot, struct task_struct *t)
{
	struct record *r = &slot->record;

	slot->end = t->se.sum_exec_runtime;
	slot->died_ns = bpf_ktime_get_ns();
	r->cpu_run_virtual_total += slot->end - r->ac_sum_exec_ns;
	r->ac_sum_exec_ns = slot->end;
}

/* Counts a death that is in no slot. */
static __always_inline void lose_exit(struct control *c, struct task_struct *t)
{
	__sync_fetch_and_add(&c->exits_lost, 1);
	__sync_fetch_and_add(&c->overflow_ns, t->se.sum_exec_runtime);
}

/* Claims a slot for an exiting task. If none is free, its last switch tries again. */
SUBPROGRAM int claim(struct control *c, struct task_struct *t)
{
	u64 key = (u64)t, number = 0;
	struct slot *slot = 0;
	u32 index;

	if (!c->slots)
		return 0;
	for (int i = 0; i < PROBES; i++) {
		number = __sync_fetch_and_add(&c->head, 1);
		index = number & (c->slots - 1);
		slot = bpf_map_lookup_elem(&slots, &index);
		if (!slot)
			break;
		if (slot->state == SLOT_FREE)
			break;
		/* Its task takes long to die, or user space has not looked for long. */
		*(volatile u64 *)&slot->passed = number;
		slot = 0;
	}
	if (!slot)
		return 0;
	if (bpf_map_update_elem(&slot_of, &key, &number, BPF_ANY)) {
		*(volatile u64 *)&slot->passed = number;
		return 0;
	}
	PUBLISH(slot->state, SLOT_CLAIMED);
	/* User space may read between any two of these stores; the number tells which task
	 * the state belongs to. */
	*(volatile u64 *)&slot->number = number;
	describe_exit(c, slot, t);
	slot->walked = was_walked(c, t) ? c->noting : 0;
	PUBLISH(slot->state, SLOT_DYING);
	return 0;
}

/* The last switch of a task: writes its final CPU time. */
SUBPROGRAM int finish(struct control *c, struct task_struct *t)
{
	u64 key = (u64)t, *number;
	struct slot *slot;
	u32 index;

	number = bpf_map_lookup_elem(&slot_of, &key);
	if (!number) {
		/*
		 * No slot was free at its exit, or the kernel skipped the program there,
		 * because another run of it on this CPU was preempted.
		 */
		claim(c, t);
		number = bpf_map_lookup_elem(&slot_of, &key);
		if (!number) {
			lose_exit(c, t);
			return 0;
		}
		__sync_fetch_and_add(&c->exits_late, 1);
	}
	index = *number & (c->slots - 1);
	slot = bpf_map_lookup_elem(&slots, &index);
	if (slot && slot->task == key && slot->state == SLOT_DYING) {
		end_slot(slot, t);
		PUBLISH(slot->state, SLOT_DEAD);
	}
	/* User space knows an unreaped leader by its state, other threads by this entry. */
	if (!OPTIONAL(t->ptrace) || t->pid == t->tgid)
		bpf_map_delete_elem(&slot_of, &key);
	return 0;
}

#endif
