/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The maps of the snapshot programs.
 */
#ifndef MAPS_H
#define MAPS_H

#include "record.h"
#include "task.h"

/* The loader sets the sizes, which are 1 here. */
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

/* From a task to the number of its exit slot. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, u64);
	__type(value, u64);
} slot_of SEC(".maps");

/* Becomes readable for user space when tasks have died. For the iterator (exit_ring.h) it
 * holds their slots. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1);
} deaths SEC(".maps");

/* For the iterator: from an exiting task to its slot, */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, u64);
	__type(value, struct slot);
} exiting SEC(".maps");

/* and the memory in which each CPU fills one. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct slot);
} drafts SEC(".maps");

struct note {
	u64 serial;
	s64 use;
};

/* From a task to its CPU time at the instant of the run in progress. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, u64);
	__type(value, struct note);
} notes SEC(".maps");

/* The keys of `notes` that the run in progress has added. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u64);
} noted SEC(".maps");

/* A ring for each CPU: the processes that ran there (run_log.h). */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u32);
} ran SEC(".maps");

/* A table for each CPU: processes that are in its ring already, with the run's serial. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u64);
} logged SEC(".maps");

/* The processes that a run visits. User space writes the first ones. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u32);
} listed SEC(".maps");

/* From the signal_struct of a process to its row, or to the run that has visited it: the
 * iterator does not visit its threads in a row, and the log may name it twice. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1);
	__type(key, u64);
	__type(value, struct note);
} row_of SEC(".maps");

/*
 * Reads memory each time: a verifier that knows the tested bits follows every combination
 * of them.
 */
static __always_inline u32 wants(const struct control *c, u32 flag)
{
	return *(const volatile u32 *)&c->flags & flag;
}

/* Whether a test treats the process as hidden. */
static __always_inline bool is_left_out(const struct control *c, const struct task_struct *t)
{
	return c->left_out && (u32)t->tgid == c->left_out;
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

#endif
