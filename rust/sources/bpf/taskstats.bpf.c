// SPDX-License-Identifier: GPL-2.0
/*
 * A snapshot of all tasks in one run, at one instant.
 *
 * Design decisions
 *
 * - The programs read memory by direct dereference; helpers that probe memory cost five
 *   times as much. Values that may change meanwhile are read twice and compared.
 * - All values are as of the instant t0, the begin of the run. The CPU time of a running
 *   task at t0 follows from the clocks of its run queue; if a task is switched while the
 *   run lasts, the switch program notes its CPU time at t0.
 * - Kernel functions are called through numbers that the loader replaces by their ids.
 *   Kernels without these functions load the iterator program of the same object.
 */

#include "run_log.h"
#include "exit_ring.h"

char LICENSE[] SEC("license") = "GPL";

/* A switch is waited for so long, and so often before user space may sleep; a power of two. */
#define LONGEST_SWITCH_NS 1000000000
#define SPINS 1024
/* In `more`: a switch is waited for. 1 is another part. */
#define WAITS 2

/* The cost of the program at switches is measured once in so many switches. */
#define SAMPLE 64

/* Estimates the scheduler's clock - CLOCK_MONOTONIC. */
static __always_inline void estimate_offset(struct control *c)
{
	struct task_struct *caller = (struct task_struct *)bpf_get_current_task();
	struct rq *q;

	if (!has_queues())
		return;
	/* Without rdonly_cast the current task is but a number: helpers read from it. */
	q = BPF_CORE_READ(caller, se.cfs_rq, rq);
	if (q)
		take_offset(c, BPF_CORE_READ(q, clock));
}

/* Begins a run: the switch program takes notes from its instant on. */
static __always_inline void begin(struct control *c)
{
	c->count = c->wanted = c->unchanged = 0;
	c->outside = c->outside_ns = c->own_ns = c->met_init = 0;
	c->retries = c->torn = 0;
	c->last_start = c->settled = 0;
	estimate_offset(c);
	for (int i = 0; i < READINGS; i++) {
		c->serial++;
		c->note_count = 0;
		*(volatile u64 *)&c->sched_ns = 0;
		*(volatile u64 *)&c->raced = 0;
		if (wants(c, RUN_EXITS))
			*(volatile u64 *)&c->noting = c->serial;
		c->t0_ns = bpf_ktime_get_ns();
		*(volatile u64 *)&c->sched_ns = c->t0_ns + c->offset_ns;
		c->real_s = (c->t0_ns + c->real_offset_ns) / 1000000000;
		/* Try again if a switch came between the two: it has no note. */
		if (!*(volatile u64 *)&c->raced)
			break;
	}
}

/*
 * Whether a CPU has finished the switch that it was in at the run's instant. While it switches
 * it holds the queue's lock, save where it looks for work on other CPUs: then the task that it
 * leaves is in no queue. The program at switches notes those that begin later.
 */
SUBPROGRAM int is_settled(struct control *c, struct cpu *cpu)
{
	struct rq *q = QUEUE(cpu->queue);

	if (!cpu->queue || !bpf_core_field_exists(q->__lock.raw_lock.val.counter) ||
	    !bpf_core_field_exists(q->curr) || !bpf_core_field_exists(q->curr->on_rq))
		return 1;
	if (*(volatile u32 *)&q->__lock.raw_lock.val.counter)
		return 0;
	/* Orders the loads. */
	OBSERVE(c->serial);
	if (!*(volatile u32 *)&q->curr->on_rq)
		return 0;
	OBSERVE(c->serial);
	return !*(volatile u32 *)&q->__lock.raw_lock.val.counter;
}

/*
 * Returns whether all CPUs have finished the switches that they were in at the instant. That
 * takes microseconds, but as long as it likes where a hypervisor has taken the CPU away.
 */
SUBPROGRAM int settle(struct control *c)
{
	struct bpf_iter_num numbers;
	int settled = 0;

	iter_num_new(&numbers, 0, 1 << 16);
	while (iter_num_next(&numbers)) {
		struct cpu *cpu = the_cpu(c->settled);

		if (!cpu) {
			settled = 1;
			break;
		}
		if (is_settled(c, cpu)) {
			c->settled++;
		} else if (bpf_ktime_get_ns() - c->t0_ns > LONGEST_SWITCH_NS) {
			c->torn++;
			c->settled++;
		} else if (++*(volatile u64 *)&c->retries & (SPINS - 1)) {
			continue;
		} else {
			break;
		}
	}
	iter_num_destroy(&numbers);
	return settled;
}

/* Whether a CPU that was seen idle has left its idle state and runs a hidden task. */
static __always_inline bool runs_hidden(const struct cpu *cpu, s64 t0_task)
{
	return cpu->idle_end && !cpu->halted && t0_task > (s64)cpu->idle_end + MARGIN_NS;
}

/* The idle time of a CPU at t0, after all tasks were visited. */
SUBPROGRAM int close_cpu(struct control *c, struct cpu *cpu)
{
	s64 t0_task;

	if (cpu->serial != c->serial)
		return 0;
	if (OBSERVE(cpu->noted_serial) == c->serial) {
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
		/* No switch was seen yet, and no task is running. */
		cpu->idle_start = t0_task;
		cpu->is_idle = 1;
	}
	cpu->known = 1;
	if (cpu->is_idle && !cpu->running && !runs_hidden(cpu, t0_task)) {
		if (t0_task > (s64)cpu->idle_start)
			cpu->idle += t0_task - cpu->idle_start;
	} else {
		cpu->idle += idle_before_hidden(cpu);
	}
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
	state = OBSERVE(slot->state);
	if (state == SLOT_DYING) {
		/* Another task may have the memory by now; compare the start times. */
		t = FROM((void *)slot->task);
		use = use_of_dying(c, t);
		/* Zero for a task born after the run's instant. */
		use = not_negative(use);
		start = t->start_boottime;
		barrier();
		if (start == slot->record.ac_start_ns &&
		    *(volatile u64 *)&slot->state == SLOT_DYING) {
			slot->used = use;
			slot->serial = c->serial;
			return 0;
		}
		state = OBSERVE(slot->state);
	}
	if (state != SLOT_DEAD)
		return 0;
	slot->used = slot->end;
	if (slot->died_ns >= c->t0_ns) {
		u64 key = slot->task;
		struct note *note = bpf_map_lookup_elem(&notes, &key);

		if (note && note->serial == c->serial)
			slot->used = not_negative(note->use);
	}
	slot->serial = c->serial;
	return 0;
}

/* Slots and CPUs as of the instant, after all tasks were visited. */
static __always_inline void close_books(struct control *c)
{
	struct bpf_iter_num numbers;
	int *i;

	/* Include tasks that exited during the walk: it may have missed them. */
	if (!c->by_log)
		c->exits = c->head;
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
	iter_num_new(&numbers, 0, 1 << 22);
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
 * Walks all tasks in one run, or a part of them and sets `more`: kernels from 6.7 on.
 * Between two parts the caller is in user space, where every kernel can preempt it.
 */
SEC("raw_tp/snapshot")
int snapshot(void *ctx)
{
	struct control *c = the_control();
	struct bpf_iter_task tasks;
	struct task_struct *t;

	if (!c)
		return 0;
	if (!c->more) {
		find_caller(c);
		c->by_log = 0;
		open_log(c);
		begin(c);
		c->finding = FOUND;
	}
	c->visited = 0;
	c->more = wants(c, RUN_EXACT) && !settle(c) ? WAITS : 0;
	if (c->more)
		return 0;
	rcu_read_lock();
	iter_task_new(&tasks, 0, BPF_TASK_ITER_ALL_THREADS);
	while ((t = iter_task_next(&tasks))) {
		if (is_elsewhere(c, t))
			continue;
		if (c->more)
			break;
		visit(c, t);
	}
	iter_task_destroy(&tasks);
	rcu_read_unlock();
	end_row(c);
	if (c->more)
		return 0;
	if (wants(c, RUN_EXACT))
		close_books(c);
	c->end_ns = bpf_ktime_get_ns();
	return 0;
}

/* Visits only the processes in the log, which ran since the last run. */
SEC("raw_tp/snapshot_of_ran")
int snapshot_of_ran(void *ctx)
{
	struct control *c = the_control();

	if (!c)
		return 0;
	if (!c->more) {
		find_caller(c);
		open_log(c);
		c->by_log = 1;
		begin(c);
		c->log_lost = 0;
	}
	c->more = settle(c) ? 0 : WAITS;
	if (c->more)
		return 0;
	list_running(c);
	list_ran(c);
	rcu_read_lock();
	visit_listed(c);
	rcu_read_unlock();
	close_books(c);
	c->end_ns = bpf_ktime_get_ns();
	return 0;
}

/* Called for each thread, and then once without a thread: kernels from 5.8 on. */
SEC("iter/task")
int each_task(struct bpf_iter__task *ctx)
{
	struct control *c = the_control();
	struct task_struct *t = ctx->task;

	if (!c)
		return 0;
	if (!c->t0_ns) {
		find_caller(c);
		c->last = 0;
		begin(c);
	}
	if (t)
		c->last = t->pid;
	if (!t) {
		c->noting = 0;
		c->end_ns = bpf_ktime_get_ns();
	} else if (wants(c, RUN_THREADS)) {
		visit(c, t);
		end_row(c);
	} else {
		visit_unordered(c, t);
	}
	return 0;
}

/* Adds the cost of an event, as a sample of `events` such events. */
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

	if (!c || is_left_out(c, prev) || is_left_out(c, next))
		return 0;
	if (cpu) {
		log_switch(c, cpu, prev, next);
		on_switch(c, cpu, prev, next);
	}
	if (c->slots && state_of(prev) & TASK_DEAD) {
		finish(c, prev);
		tell(c);
	}
	add_cost(cpu, begin_ns, SAMPLE);
	return 0;
}

/*
 * Linux 6.12 to 6.16 call this for idle time that ends with a task's arrival (enqueue_task_fair()), and
 * take the task that the CPU is about to leave, and looks for work after, for the idle one. The
 * function moves the time of the last accounting on, and adds to no task's time.
 */
SEC("fentry/dl_server_update_idle_time")
int BPF_PROG(forgets, struct rq *q, struct task_struct *curr)
{
	struct control *c = the_control();

	if (c && curr->pid)
		on_forget(q, curr);
	return 0;
}

/* Where tasks are hidden: only idle states show that a CPU is idle. */
SEC("tp_btf/cpu_idle")
int BPF_PROG(idles, u32 state, u32 number)
{
	struct rq *q = queue_of((struct task_struct *)bpf_get_current_task());
	struct cpu *cpu = the_cpu(number);
	struct control *c = the_control();

	if (c && cpu && q)
		/* PWR_EVENT_EXIT, include/trace/events/power.h */
		on_idle(c, cpu, q, state == ~0U);
	return 0;
}

/* Where tasks are hidden: the last switch of a task may be to one of them. */
SEC("tp_btf/sched_process_free")
int BPF_PROG(freed, struct task_struct *t)
{
	struct control *c = the_control();
	u64 key = (u64)t;

	if (!c)
		return 0;
	if (bpf_map_lookup_elem(&exiting, &key))
		send(c, t);
	if (!bpf_map_lookup_elem(&slot_of, &key))
		return 0;
	finish(c, t);
	tell(c);
	return 0;
}

static __always_inline void on_exit(struct task_struct *t)
{
	struct cpu *cpu = the_cpu(bpf_get_smp_processor_id());
	u64 begin_ns = bpf_ktime_get_ns();
	struct control *c = the_control();

	if (!c || is_left_out(c, t))
		return;
	claim(c, t);
	add_cost(cpu, begin_ns, 1);
}

/*
 * Tracepoints allow preemption since 7.0. While this program is preempted, the kernel skips
 * it for other tasks that exit on this CPU, and counts recursion misses; see finish().
 */
SEC("tp_btf/sched_process_exit")
int BPF_PROG(exits, struct task_struct *t)
{
	preempt_disable();
	on_exit(t);
	preempt_enable();
	return 0;
}

/* The same for the iterator. */
SEC("tp_btf/sched_process_exit")
int BPF_PROG(holds, struct task_struct *t)
{
	struct cpu *cpu = the_cpu(bpf_get_smp_processor_id());
	u64 begin_ns = bpf_ktime_get_ns();
	struct control *c = the_control();

	if (!c || is_left_out(c, t))
		return 0;
	hold(c, t);
	add_cost(cpu, begin_ns, 1);
	return 0;
}

SEC("tp_btf/sched_switch")
int BPF_PROG(ends, bool preempt, struct task_struct *prev)
{
	struct cpu *cpu = the_cpu(bpf_get_smp_processor_id());
	u64 begin_ns = cpu && !(cpu->switches++ % SAMPLE) ? bpf_ktime_get_ns() : 0;
	struct control *c = the_control();

	if (c && state_of(prev) & TASK_DEAD && !is_left_out(c, prev))
		send(c, prev);
	add_cost(cpu, begin_ns, SAMPLE);
	return 0;
}
