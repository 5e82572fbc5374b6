/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The maps that the programs of a snapshot share.
 */
#ifndef MAPS_H
#define MAPS_H

#include "record.h"
#include "task.h"

/* Sizes marked 1 are set by the loader. */
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

/* Task to the number of its exit slot. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, u64);
	__type(value, u64);
} slot_of SEC(".maps");

/* Readable for user space where tasks have died. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1);
} deaths SEC(".maps");

struct note {
	u64 serial;
	s64 use;
};

/* Task to its use at the instant of the run in progress. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, u64);
	__type(value, struct note);
} notes SEC(".maps");

/* The keys noted in the run in progress. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u64);
} noted SEC(".maps");

/* Per CPU the processes that ran there, one after the other (run_log.h), */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u32);
} ran SEC(".maps");

/* and the last ones noted there, with the serial of the run before. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u64);
} logged SEC(".maps");

/* The processes that a run is to meet; the first ones are from user space. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u32);
} listed SEC(".maps");

/* A process's signal_struct to its row, or the run that has met it: for the iterator, which
 * does not meet its threads together, and for the log, which may name it twice. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1);
	__type(key, u64);
	__type(value, struct note);
} row_of SEC(".maps");

/*
 * Asked of memory each time: a verifier that has seen the bits tested follows every
 * combination of them.
 */
static __always_inline u32 wants(const struct control *c, u32 flag)
{
	return *(const volatile u32 *)&c->flags & flag;
}

/* Whether a process is one that tests have put in hiding. */
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
