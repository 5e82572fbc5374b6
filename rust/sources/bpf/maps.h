/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The maps that the programs share, and the calls of the kernel's functions.
 */
#ifndef MAPS_H
#define MAPS_H

#include "record.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define NOTES 16384

#define KERNEL_FUNCTION(n, type) ((type)(long)(0x7f0000 + (n)))
#define iter_task_new \
	KERNEL_FUNCTION(1, int (*)(struct bpf_iter_task *, struct task_struct *, u32))
#define iter_task_next KERNEL_FUNCTION(2, struct task_struct *(*)(struct bpf_iter_task *))
#define iter_task_destroy KERNEL_FUNCTION(3, void (*)(struct bpf_iter_task *))
#define rcu_read_lock KERNEL_FUNCTION(4, void (*)(void))
#define rcu_read_unlock KERNEL_FUNCTION(5, void (*)(void))
#define iter_num_new KERNEL_FUNCTION(6, int (*)(struct bpf_iter_num *, int, int))
#define iter_num_next KERNEL_FUNCTION(7, int *(*)(struct bpf_iter_num *))
#define iter_num_destroy KERNEL_FUNCTION(8, void (*)(struct bpf_iter_num *))
#define rdonly_cast KERNEL_FUNCTION(9, void *(*)(const void *, u32))

/*
 * A function with a frame of its own: once it has returned, the verifier has nothing
 * left to tell its paths apart by.
 */
#define SUBPROGRAM static __attribute__((noinline))

/*
 * A task whose pointers are to be followed. What is read of a task that the verifier
 * vouches for needs no check of its address; but for each pointer followed from it the
 * verifier searches all of the kernel's types, which takes half a second.
 */
#define FROM(t) ((struct task_struct *)rdonly_cast(t, bpf_core_type_id_kernel(struct task_struct)))

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

struct note {
	u64 serial;
	s64 use;
};

/* Task to its use at the instant of the run in progress. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, NOTES);
	__type(key, u64);
	__type(value, struct note);
} notes SEC(".maps");

/* The keys noted in the run in progress. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, NOTES);
	__type(key, u32);
	__type(value, u64);
} noted SEC(".maps");

/* For the iterator, which does not meet a process's threads together: a process's
 * signal_struct to its row. */
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
