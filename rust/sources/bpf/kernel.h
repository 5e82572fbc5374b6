/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The kernel's structures as far as the programs read them. The loader sets
 * offsets and widths to those of the running kernel (CO-RE): only names and kinds
 * count here. Every integer is declared unsigned, also where the kernel's is signed:
 * the width of a signed field cannot be adjusted. Code that needs the sign casts to
 * the signed type. A name with three underscores is another version of the structure
 * before them.
 */
#ifndef KERNEL_H
#define KERNEL_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef signed char s8;
typedef int s32;
typedef long long s64;
typedef _Bool bool;

/* What bpf_helper_defs.h wants to know. */
typedef u8 __u8;
typedef u16 __u16;
typedef u32 __u32;
typedef u64 __u64;
typedef s32 __s32;
typedef s64 __s64;
typedef u16 __be16;
typedef u32 __be32;
typedef u32 __wsum;

/* include/uapi/linux/bpf.h */
enum {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_ARRAY_OF_MAPS = 12,
	BPF_MAP_TYPE_RINGBUF = 27,
};
enum { BPF_ANY, BPF_NOEXIST };
enum { BPF_RB_NO_WAKEUP = 1, BPF_RB_FORCE_WAKEUP = 2 };
enum { BPF_RB_AVAIL_DATA = 0 };

/* include/linux/sched.h */
enum {
	PF_EXITING = 0x4,
	PF_FORKNOEXEC = 0x40,
	PF_SUPERPRIV = 0x100,
	PF_DUMPCORE = 0x200,
	PF_SIGNALED = 0x400,
	PF_KTHREAD = 0x200000,
};
enum { TASK_DEAD = 0x80, EXIT_DEAD = 0x10 };
/* include/uapi/asm-generic/errno-base.h */
enum { EEXIST = 17 };
/* kernel/bpf/task_iter.c */
enum { BPF_TASK_ITER_ALL_THREADS = 1, BPF_TASK_ITER_PROC_THREADS = 2 };

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct {
	u32 counter;
} atomic_t;

struct arch_spinlock {
	atomic_t val;
};

struct raw_spinlock {
	struct arch_spinlock raw_lock;
};

struct sched_dl_entity {
	s64 runtime;
};

struct rq {
	struct raw_spinlock __lock;
	u64 clock;
	u64 clock_task;
	u64 prev_steal_time_rq;
	u64 idle_stamp;
	struct task_struct *curr, *idle, *stop;
	u64 nr_switches;
	u32 cpu;
	u32 online;
	struct sched_dl_entity fair_server;
};

struct cfs_rq {
	struct rq *rq;
};

struct sched_entity {
	u64 exec_start;
	u64 sum_exec_runtime;
	struct cfs_rq *cfs_rq;
};

struct timespec64 {
	u64 tv_sec, tv_nsec;
};

struct sched_info {
	unsigned long pcount;
	u64 run_delay;
	u64 max_run_delay, min_run_delay;
	struct timespec64 max_run_delay_ts;
	u64 last_arrival;
};

struct thread_info {
	u32 cpu;
};

struct task_io_accounting {
	u64 rchar, wchar, syscr, syscw;
	u64 read_bytes, write_bytes, cancelled_write_bytes;
};

struct task_delay_info {
	u64 blkio_delay, swapin_delay, freepages_delay, thrashing_delay;
	u64 compact_delay, wpcopy_delay, irq_delay;
	u32 blkio_count, swapin_count, freepages_count, thrashing_count;
	u32 compact_count, wpcopy_count, irq_count;
	u64 blkio_delay_max, blkio_delay_min;
	u64 swapin_delay_max, swapin_delay_min;
	u64 freepages_delay_max, freepages_delay_min;
	u64 thrashing_delay_max, thrashing_delay_min;
	u64 compact_delay_max, compact_delay_min;
	u64 wpcopy_delay_max, wpcopy_delay_min;
	u64 irq_delay_max, irq_delay_min;
	struct timespec64 blkio_delay_max_ts, swapin_delay_max_ts, freepages_delay_max_ts;
	struct timespec64 thrashing_delay_max_ts, compact_delay_max_ts;
	struct timespec64 wpcopy_delay_max_ts, irq_delay_max_ts;
};

/* What threads that are already dead leave to their process. */
struct taskstats {
	u64 cpu_count, cpu_delay_total;
	u64 blkio_count, blkio_delay_total, swapin_count, swapin_delay_total;
	u64 freepages_count, freepages_delay_total;
	u64 thrashing_count, thrashing_delay_total;
	u64 compact_count, compact_delay_total;
	u64 wpcopy_count, wpcopy_delay_total, irq_count, irq_delay_total;
};

struct signal_struct {
	atomic_t live;
	u32 nr_threads;
	u64 utime, stime, cutime, cstime, gtime, cgtime;
	unsigned long nvcsw, nivcsw, min_flt, maj_flt, maxrss;
	u64 sum_sched_runtime;
	struct task_io_accounting ioac;
	struct taskstats *stats;
	struct task_struct *group_exec_task;
};

struct percpu_counter {
	u64 count;
};

struct super_block {
	u32 s_dev;
};

struct inode {
	struct super_block *i_sb;
	unsigned long i_ino;
};

struct file {
	struct inode *f_inode;
};

struct mm_struct {
	unsigned long hiwater_rss, hiwater_vm, total_vm;
	struct percpu_counter rss_stat[4];
	struct file *exe_file;
};

/* Before 6.2; copied whole. */
struct atomic_long___old {
	unsigned long counter;
};
struct mm_rss_stat___old {
	struct atomic_long___old count[4];
};
struct mm_struct___old {
	struct mm_rss_stat___old rss_stat;
};

typedef struct {
	u32 val;
} kuid_t;
typedef struct {
	u32 val;
} kgid_t;

struct cred {
	kuid_t uid;
	kgid_t gid;
};

struct list_head {
	struct list_head *next, *prev;
};

struct pid_namespace {
	u32 level;
};

struct upid {
	u32 nr;
	struct pid_namespace *ns;
};

struct pid {
	u32 level;
	struct upid numbers[1];
};

struct kernfs_node {
	u64 id;
};

struct cgroup {
	struct kernfs_node *kn;
};

struct css_set {
	struct cgroup *dfl_cgrp;
};

struct task_struct {
	struct thread_info thread_info;
	u32 __state;
	u32 flags;
	u32 on_cpu;
	u32 on_rq;
	u32 static_prio;
	u32 policy;
	struct sched_entity se;
	struct sched_info sched_info;
	struct mm_struct *mm;
	u32 exit_state, exit_code;
	u32 pid, tgid;
	struct task_struct *real_parent, *group_leader;
	struct list_head children;
	struct pid *thread_pid;
	u64 utime, stime, gtime;
	unsigned long nvcsw, nivcsw, min_flt, maj_flt;
	u64 start_time, start_boottime;
	const struct cred *real_cred;
	char comm[16];
	struct signal_struct *signal;
	u32 ptrace;
	struct task_io_accounting ioac;
	u64 acct_rss_mem1, acct_vm_mem1;
	struct css_set *cgroups;
	struct task_delay_info *delays;
	u64 self_exec_id;
};

/* Before 5.14, and where thread_info is not part of the task. */
struct task_struct___old {
	unsigned long state;
	u32 cpu;
};

struct bpf_iter_meta;
struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
};

#pragma clang attribute pop

/* On the program's stack; include/uapi/linux/bpf.h. */
struct bpf_iter_task {
	u64 __opaque[3];
};
struct bpf_iter_num {
	u64 __opaque[1];
};

#endif
