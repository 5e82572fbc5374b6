/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The CPU time of a task at the instant of a run.
 */
#ifndef CPU_TIME_H
#define CPU_TIME_H

#include "maps.h"

/* A run queue's clock may lag behind its estimate by this much. */
#define MARGIN_NS 20000
/* How often a task that keeps changing is read. */
#define READINGS 4
/* The clocks' rates differ by at most this much (adjtimex): 1 / 2000. */
#define DRIFT_SHIFT 11

static __always_inline u64 steal_of(struct rq *q)
{
	return OPTIONAL(q->prev_steal_time_rq);
}

/*
 * Takes a CPU's clock as an estimate of the scheduler's clock - CLOCK_MONOTONIC. The clock may
 * have been updated long before, where a hypervisor took the CPU away in between: so the largest
 * estimate is the best, and follows a clock that is slewed.
 */
static __always_inline void take_offset(struct control *c, u64 clock)
{
	u64 now = bpf_ktime_get_ns();
	s64 offset = clock - now;
	s64 floor = c->offset_ns - ((now - c->offset_fresh) >> DRIFT_SHIFT);

	c->offset_fresh = now;
	c->offset_ns = offset > floor ? offset : floor;
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
		r->arrival = OPTIONAL(t->sched_info.last_arrival);
		r->clock = q->clock;
		r->clock_task = q->clock_task;
		barrier();
		if (*(volatile u64 *)&t->se.sum_exec_runtime == r->sum &&
		    *(volatile u64 *)&t->se.exec_start == r->exec_start &&
		    *(volatile u64 *)&q->clock == r->clock &&
		    *(volatile u64 *)&q->clock_task == r->clock_task &&
		    *(volatile u32 *)&t->on_cpu == r->on_cpu)
			return;
		c->retries++;
	}
	c->torn++;
}

/* Stores the clocks of a CPU that correct its running task. */
static __always_inline void keep_clocks(struct control *c, struct cpu *cpu, struct rq *q,
					const struct reading *r)
{
	cpu->serial = c->serial;
	cpu->running = r->on_cpu;
	cpu->clock = r->clock;
	cpu->clock_task = r->clock_task;
	cpu->steal = steal_of(q);
	cpu->online = bpf_core_field_exists(q->online) ? q->online : 1;
	cpu->queue = (u64)q;
	if (wants(c, RUN_EXACT) && cpu->noted_serial == c->serial) {
		/* These have corrected the task that ran at t0. */
		cpu->clock = cpu->noted_clock;
		cpu->clock_task = cpu->noted_clock_task;
	}
}

/*
 * The CPU time of a task up to t0, in ns. Stores the clocks of the correction in its CPU's
 * words: the balance needs those that corrected the running task.
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
	/* exec_start, converted to the queue's clock. */
	since = r.exec_start + (r.clock - r.clock_task);
	/* A task that runs by proxy may have come to the CPU with an old exec_start. */
	if (r.on_cpu && since < (s64)r.arrival)
		since = r.arrival;
	c->ran = r.on_cpu || (s64)r.arrival > (s64)c->since || since > (s64)c->since;
	if (r.on_cpu) {
		s64 offset = r.clock - bpf_ktime_get_ns();

		/* The clock lags since its last update, so the largest offset is the best. */
		if (offset > c->offset_ns)
			c->offset_ns = offset;
	}
	cpu = the_cpu(q->cpu);
	if (cpu && (cpu->serial != c->serial || (r.on_cpu && !cpu->running))) {
		keep_clocks(c, cpu, q, &r);
		if (r.on_cpu)
			cpu->first = t->tgid;
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
	/* Without notes only the last stint on a CPU is known. */
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

/* The same for an untrusted pointer: the verifier allows one kind of pointer an instruction. */
SUBPROGRAM s64 use_of_dying(struct control *c, struct task_struct *t)
{
	return compute_use(c, t);
}

#endif
