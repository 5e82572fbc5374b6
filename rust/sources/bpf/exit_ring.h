/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Exits on kernels whose tasks an iterator lists.
 *
 * Design decisions
 *
 * - The oldest of these kernels lack the atomic operations by which tasks claim slots. So a
 *   task's slot is in a table from its exit to its last switch, which sends it to user space
 *   through a ring buffer.
 * - The programs run with preemption off, so that one draft a CPU suffices.
 */
#ifndef EXIT_RING_H
#define EXIT_RING_H

#include "hooks.h"

/* Keeps the slot of an exiting task for its last switch. */
SUBPROGRAM int hold(struct control *c, struct task_struct *t)
{
	u32 number = bpf_get_smp_processor_id();
	struct slot *draft = bpf_map_lookup_elem(&drafts, &number);
	u64 key = (u64)t;

	if (!draft)
		return 0;
	describe_exit(c, draft, t);
	/* The iterator visits threads by their numbers. */
	/* For user space, until the last switch: when it exited, and what it had used. */
	draft->used = draft->record.ac_time_ns;
	draft->end = draft->record.ac_sum_exec_ns;
	draft->walked = t->pid <= c->last ? c->noting : 0;
	bpf_map_update_elem(&exiting, &key, draft, BPF_ANY);
	return 0;
}

/* The last switch of a task: sends its slot. */
SUBPROGRAM int send(struct control *c, struct task_struct *t)
{
	u64 key = (u64)t, flags = BPF_RB_NO_WAKEUP;
	struct slot *slot;

	slot = bpf_map_lookup_elem(&exiting, &key);
	if (!slot) {
		hold(c, t);
		slot = bpf_map_lookup_elem(&exiting, &key);
		if (!slot) {
			lose_exit(c, t);
			return 0;
		}
	}
	end_slot(slot, t);
	slot->state = SLOT_DEAD;
	if (bpf_ringbuf_query(&deaths, BPF_RB_AVAIL_DATA) >= c->wake_at)
		flags = BPF_RB_FORCE_WAKEUP;
	if (bpf_ringbuf_output(&deaths, slot, sizeof(*slot), flags))
		lose_exit(c, t);
	bpf_map_delete_elem(&exiting, &key);
	return 0;
}

#endif
