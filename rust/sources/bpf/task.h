/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Calls of kernel functions, and reads of a task that all programs share.
 */
#ifndef TASK_H
#define TASK_H

#include "kernel.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

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
#define task_from_pid KERNEL_FUNCTION(10, struct task_struct *(*)(s32))
#define task_release KERNEL_FUNCTION(11, void (*)(struct task_struct *))

/* Since 6.10. On older kernels the loader removes the calls. */
#define preempt_disable KERNEL_FUNCTION(12, void (*)(void))
#define preempt_enable KERNEL_FUNCTION(13, void (*)(void))

/*
 * Stores a word after all earlier stores, as other CPUs and user space see them: an atomic
 * operation that returns a value orders all accesses around it. Kernels before 5.12 lack
 * it, so that the iterator programs must not use it.
 */
#define PUBLISH(word, value) __sync_lock_test_and_set(&(word), value)
/* Loads such a word before all later loads. */
#define OBSERVE(word) __sync_fetch_and_add(&(word), 0)

/*
 * A function with a stack frame of its own: when it has returned, the verifier can merge
 * the paths through it.
 */
#define SUBPROGRAM static __attribute__((noinline))

/*
 * A field that a kernel may lack, or that the programs cannot read there: 0 then. The loader
 * names such a field and marks its columns as unsupported. Every snapshot needs the fields
 * that are read without this.
 */
#define OPTIONAL(field) (bpf_core_field_exists(field) ? (field) : 0)

/*
 * A task as an untrusted pointer, to follow its pointers. Reads through a trusted pointer
 * need no check of the address; but for each pointer that a program follows from one, the
 * verifier searches all of the kernel's types, which takes half a second.
 */
#define FROM(t) ((struct task_struct *)rdonly_cast(t, bpf_core_type_id_kernel(struct task_struct)))
/* A pointer in a task, of a field that a kernel may lack. */
#define OPTIONAL_FROM(t, field) (bpf_core_field_exists((t)->field) ? FROM(t)->field : 0)

static __always_inline u64 state_of(struct task_struct *t)
{
	u32 bits;

	if (bpf_core_field_exists(t->__state))
		bits = t->__state;
	else
		bits = OPTIONAL(((struct task_struct___old *)t)->state);
	return (bits & 0xffff) | (u32)t->exit_state << 16;
}

/* A pid at a level of namespaces. */
static __always_inline struct upid upid_at(struct pid *pid, u32 level)
{
	struct upid upid = {};

	/* The verifier takes no variable index into the array. */
	bpf_probe_read_kernel(&upid, sizeof(upid),
			      (void *)pid + bpf_core_field_offset(struct pid, numbers) +
				      level * bpf_core_type_size(struct upid));
	return upid;
}

/* The number of a pid in a namespace of that level; 0 if it has none there. */
static __always_inline u32 number_at(struct pid *pid, u32 level, u64 namespace)
{
	struct upid upid;

	if (!pid || pid->level < level)
		return 0;
	upid = upid_at(pid, level);
	return (u64)upid.ns == namespace ? upid.nr : 0;
}

/* Whether the clocks of a run queue can be read. */
static __always_inline bool has_clocks(void)
{
	struct rq *q = 0;

	return bpf_core_field_exists(q->clock) && bpf_core_field_exists(q->clock_task) &&
	       bpf_core_field_exists(q->cpu);
}

/* Whether a task's run queue can be found. Without FAIR_GROUP_SCHED it cannot. */
static __always_inline bool has_queues(void)
{
	struct task_struct *t = 0;
	struct cfs_rq *cfs = 0;

	return bpf_core_field_exists(t->se.cfs_rq) && bpf_core_field_exists(cfs->rq) &&
	       has_clocks();
}

static __always_inline struct rq *queue_of(struct task_struct *t)
{
	return has_queues() ? FROM(t)->se.cfs_rq->rq : 0;
}

/*
 * Arithmetic without branches: the verifier follows each combination of branches. The
 * compiler makes branches of a shift that it understands.
 */
static __always_inline u64 sign_mask(s64 a)
{
	asm("%0 s>>= 63" : "+r"(a));
	return a;
}

/* `b` where all bits of the mask are set, `a` where none is. */
static __always_inline u64 choose(u64 mask, u64 a, u64 b)
{
	return a ^ ((a ^ b) & mask);
}

static __always_inline s64 not_negative(s64 a)
{
	return a & ~sign_mask(a);
}

static __always_inline u64 greater(s64 a, s64 b)
{
	return a + not_negative(b - a);
}

static __always_inline u64 pages(s64 a, s64 b, s64 c)
{
	/* Per-CPU counters may be below zero for a moment. */
	return not_negative(a) + not_negative(b) + not_negative(c);
}

/* Peak of a process's resident pages, when its memory is gone. */
static __always_inline u64 max_rss(struct signal_struct *s)
{
	return OPTIONAL(s->maxrss);
}

/* Resident pages: file, anonymous and shared memory. */
static __always_inline u64 resident(struct mm_struct *mm)
{
	if (bpf_core_type_exists(struct mm_rss_stat___old)) {
		u64 offset = bpf_core_field_offset(struct mm_struct___old, rss_stat);
		struct mm_rss_stat___old s = {};

		/* The verifier cannot follow the type of the array. */
		bpf_probe_read_kernel(&s, sizeof(s), (void *)mm + offset);
		return pages(s.count[0].counter, s.count[1].counter, s.count[3].counter);
	}
	return pages(OPTIONAL(mm->rss_stat[0].count), OPTIONAL(mm->rss_stat[1].count),
		     OPTIONAL(mm->rss_stat[3].count));
}

#endif
