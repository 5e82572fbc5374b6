/* libtaskstats: exact task accounting of Linux. See libtaskstats(3).
 *
 * Generated from rust/capi by `make capi-header`. */

#ifndef TASKSTATS_H
#define TASKSTATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
/**
 * Numbers of the fields, by the kernel's names.
 */
enum taskstats_field {
    TASKSTATS_FIELD_version = 0,
    TASKSTATS_FIELD_ac_exitcode = 1,
    TASKSTATS_FIELD_ac_flag = 2,
    TASKSTATS_FIELD_ac_nice = 3,
    TASKSTATS_FIELD_cpu_count = 4,
    TASKSTATS_FIELD_cpu_delay_total = 5,
    TASKSTATS_FIELD_blkio_count = 6,
    TASKSTATS_FIELD_blkio_delay_total = 7,
    TASKSTATS_FIELD_swapin_count = 8,
    TASKSTATS_FIELD_swapin_delay_total = 9,
    TASKSTATS_FIELD_cpu_run_real_total = 10,
    TASKSTATS_FIELD_cpu_run_virtual_total = 11,
    TASKSTATS_FIELD_ac_comm = 12,
    TASKSTATS_FIELD_ac_sched = 13,
    TASKSTATS_FIELD_ac_uid = 14,
    TASKSTATS_FIELD_ac_gid = 15,
    TASKSTATS_FIELD_ac_pid = 16,
    TASKSTATS_FIELD_ac_ppid = 17,
    TASKSTATS_FIELD_ac_btime = 18,
    TASKSTATS_FIELD_ac_etime = 19,
    TASKSTATS_FIELD_ac_utime = 20,
    TASKSTATS_FIELD_ac_stime = 21,
    TASKSTATS_FIELD_ac_minflt = 22,
    TASKSTATS_FIELD_ac_majflt = 23,
    TASKSTATS_FIELD_coremem = 24,
    TASKSTATS_FIELD_virtmem = 25,
    TASKSTATS_FIELD_hiwater_rss = 26,
    TASKSTATS_FIELD_hiwater_vm = 27,
    TASKSTATS_FIELD_read_char = 28,
    TASKSTATS_FIELD_write_char = 29,
    TASKSTATS_FIELD_read_syscalls = 30,
    TASKSTATS_FIELD_write_syscalls = 31,
    TASKSTATS_FIELD_read_bytes = 32,
    TASKSTATS_FIELD_write_bytes = 33,
    TASKSTATS_FIELD_cancelled_write_bytes = 34,
    TASKSTATS_FIELD_nvcsw = 35,
    TASKSTATS_FIELD_nivcsw = 36,
    TASKSTATS_FIELD_ac_utimescaled = 37,
    TASKSTATS_FIELD_ac_stimescaled = 38,
    TASKSTATS_FIELD_cpu_scaled_run_real_total = 39,
    TASKSTATS_FIELD_freepages_count = 40,
    TASKSTATS_FIELD_freepages_delay_total = 41,
    TASKSTATS_FIELD_thrashing_count = 42,
    TASKSTATS_FIELD_thrashing_delay_total = 43,
    TASKSTATS_FIELD_ac_btime64 = 44,
    TASKSTATS_FIELD_compact_count = 45,
    TASKSTATS_FIELD_compact_delay_total = 46,
    TASKSTATS_FIELD_ac_tgid = 47,
    TASKSTATS_FIELD_ac_tgetime = 48,
    TASKSTATS_FIELD_ac_exe_dev = 49,
    TASKSTATS_FIELD_ac_exe_inode = 50,
    TASKSTATS_FIELD_wpcopy_count = 51,
    TASKSTATS_FIELD_wpcopy_delay_total = 52,
    TASKSTATS_FIELD_irq_count = 53,
    TASKSTATS_FIELD_irq_delay_total = 54,
    TASKSTATS_FIELD_cpu_delay_max = 55,
    TASKSTATS_FIELD_cpu_delay_min = 56,
    TASKSTATS_FIELD_blkio_delay_max = 57,
    TASKSTATS_FIELD_blkio_delay_min = 58,
    TASKSTATS_FIELD_swapin_delay_max = 59,
    TASKSTATS_FIELD_swapin_delay_min = 60,
    TASKSTATS_FIELD_freepages_delay_max = 61,
    TASKSTATS_FIELD_freepages_delay_min = 62,
    TASKSTATS_FIELD_thrashing_delay_max = 63,
    TASKSTATS_FIELD_thrashing_delay_min = 64,
    TASKSTATS_FIELD_compact_delay_max = 65,
    TASKSTATS_FIELD_compact_delay_min = 66,
    TASKSTATS_FIELD_wpcopy_delay_max = 67,
    TASKSTATS_FIELD_wpcopy_delay_min = 68,
    TASKSTATS_FIELD_irq_delay_max = 69,
    TASKSTATS_FIELD_irq_delay_min = 70,
    TASKSTATS_FIELD_ac_time_ns = 71,
    TASKSTATS_FIELD_ac_start_ns = 72,
    TASKSTATS_FIELD_ac_sttime = 73,
    TASKSTATS_FIELD_ac_cutime = 74,
    TASKSTATS_FIELD_ac_cstime = 75,
    TASKSTATS_FIELD_ac_csttime = 76,
    TASKSTATS_FIELD_ac_gtime = 77,
    TASKSTATS_FIELD_ac_sum_exec_ns = 78,
    TASKSTATS_FIELD_rss_kb = 79,
    TASKSTATS_FIELD_vm_kb = 80,
    TASKSTATS_FIELD_cgroup_id = 81,
    TASKSTATS_FIELD_state = 82,
    TASKSTATS_FIELD_cpu = 83,
    TASKSTATS_FIELD_num_threads = 84,
    TASKSTATS_FIELD_task_flags = 85,
    TASKSTATS_FIELD_tg_utime = 86,
    TASKSTATS_FIELD_tg_stime = 87,
    TASKSTATS_FIELD_tg_sum_exec_ns = 88,
    TASKSTATS_FIELD_task_id = 89,
    TASKSTATS_FIELD_cpu_delay_max_ts = 90,
    TASKSTATS_FIELD_blkio_delay_max_ts = 91,
    TASKSTATS_FIELD_swapin_delay_max_ts = 92,
    TASKSTATS_FIELD_freepages_delay_max_ts = 93,
    TASKSTATS_FIELD_thrashing_delay_max_ts = 94,
    TASKSTATS_FIELD_compact_delay_max_ts = 95,
    TASKSTATS_FIELD_wpcopy_delay_max_ts = 96,
    TASKSTATS_FIELD_irq_delay_max_ts = 97,
};

/**
 * Length of an error's message with its final NUL.
 */
#define TASKSTATS_MESSAGE_SIZE 488

/**
 * taskstats_use.flags: the CPU time is known.
 */
#define TASKSTATS_USE_KNOWN 1

/**
 * taskstats_use.flags: the steal time is known.
 */
#define TASKSTATS_USE_STEAL_KNOWN 2

/**
 * taskstats_use.flags: the task began in the interval.
 */
#define TASKSTATS_USE_BORN 4

/**
 * taskstats_use.flags: the task died in the interval.
 */
#define TASKSTATS_USE_EXITED 8

/**
 * taskstats_netlink_record.kind: the record of a task; `id` is its pid.
 */
#define TASKSTATS_RECORD_PID 1

/**
 * taskstats_netlink_record.kind: the sums of a process; `id` is its tgid.
 */
#define TASKSTATS_RECORD_TGID 2

/**
 * taskstats_snapshot_info.flags: records are threads; without it they are processes.
 */
#define TASKSTATS_SNAPSHOT_THREADS 1

/**
 * taskstats_snapshot_info.flags: delay accounting is on (kernel.task_delayacct).
 */
#define TASKSTATS_SNAPSHOT_DELAYACCT 2

/**
 * taskstats_snapshot_info.flags: tasks are missing, as the memory for them ran out.
 */
#define TASKSTATS_SNAPSHOT_TRUNCATED 4

/**
 * taskstats_snapshot_info.flags: exits were lost.
 */
#define TASKSTATS_SNAPSHOT_EXITS_LOST 8

/**
 * taskstats_snapshot_info.flags: all values are of one instant.
 */
#define TASKSTATS_SNAPSHOT_ONE_INSTANT 32

/**
 * taskstats_snapshot_info.flags: tasks that died since the previous snapshot have records.
 */
#define TASKSTATS_SNAPSHOT_EXITS 64

/**
 * taskstats_snapshot_info.flags: numbers in the records have the other byte order than this
 * machine's. Functions that return values swap them.
 */
#define TASKSTATS_SNAPSHOT_SWAPPED 2147483648

/**
 * taskstats_options.flags: records of threads, not of processes.
 */
#define TASKSTATS_THREADS 1

/**
 * taskstats_options.flags: watch neither switches nor exits. That costs less: tasks that died
 * between two snapshots are in neither, and values are not of one instant.
 */
#define TASKSTATS_WITHOUT_EXITS 2

/**
 * taskstats_options.flags: read the CPUs' times of /proc/stat even if the source does not need
 * them for the balance.
 */
#define TASKSTATS_CPU_TIMES 4

/**
 * Version of the interface, which the library was built with. It grows when functions or
 * members of structures are added; what existed stays.
 */
#define TASKSTATS_ABI 1

/**
 * Result of a function.
 */
enum taskstats_status {
    /**
     * Success.
     */
    TASKSTATS_STATUS_OK = 0,
    /**
     * An argument is wrong: NULL, an unknown name, a structure without its size.
     */
    TASKSTATS_STATUS_ARGUMENT = 1,
    /**
     * A privilege is missing.
     */
    TASKSTATS_STATUS_ACCESS = 2,
    /**
     * The task does not exist.
     */
    TASKSTATS_STATUS_NO_TASK = 3,
    /**
     * The kernel or this machine lacks what is needed.
     */
    TASKSTATS_STATUS_UNSUPPORTED = 4,
    /**
     * A system call failed.
     */
    TASKSTATS_STATUS_SYSTEM = 5,
    /**
     * The bytes cannot be understood.
     */
    TASKSTATS_STATUS_PARSE = 6,
    /**
     * The memory ran out.
     */
    TASKSTATS_STATUS_MEMORY = 7,
    /**
     * A fault in the library.
     */
    TASKSTATS_STATUS_INTERNAL = 8,
    /**
     * The value is unknown.
     */
    TASKSTATS_STATUS_UNKNOWN = 9,
};

/**
 * The C type of a field in a record.
 */
enum taskstats_field_type {
    /**
     * uint8_t
     */
    TASKSTATS_FIELD_TYPE_U8 = 0,
    /**
     * int8_t
     */
    TASKSTATS_FIELD_TYPE_I8 = 1,
    /**
     * uint16_t
     */
    TASKSTATS_FIELD_TYPE_U16 = 2,
    /**
     * uint32_t
     */
    TASKSTATS_FIELD_TYPE_U32 = 3,
    /**
     * uint64_t
     */
    TASKSTATS_FIELD_TYPE_U64 = 4,
    /**
     * struct __kernel_timespec; taskstats_record_u64() returns nanoseconds.
     */
    TASKSTATS_FIELD_TYPE_TIMESPEC = 5,
    /**
     * char[TS_COMM_LEN]
     */
    TASKSTATS_FIELD_TYPE_TEXT = 6,
};

/**
 * What a field's number means over time.
 */
enum taskstats_field_kind {
    /**
     * Names the task.
     */
    TASKSTATS_FIELD_KIND_ID = 0,
    /**
     * Only grows during a task's life.
     */
    TASKSTATS_FIELD_KIND_COUNTER = 1,
    /**
     * A value of the moment, a high-water mark or an instant.
     */
    TASKSTATS_FIELD_KIND_GAUGE = 2,
    /**
     * A set of bits.
     */
    TASKSTATS_FIELD_KIND_FLAGS = 3,
    /**
     * Text.
     */
    TASKSTATS_FIELD_KIND_TEXT = 4,
};

/**
 * A stream of exits. Threads may share it, in the process that opened it.
 */
struct taskstats_exits;

/**
 * What every task used between two snapshots: row N is of record N of the later one. It never
 * changes, so threads may share it.
 */
struct taskstats_interval;

/**
 * All tasks of a machine at one time. It never changes, so threads may share it.
 */
struct taskstats_snapshot;

/**
 * An open source. One thread may use it at a time, in the process that opened it.
 */
struct taskstats_source;

/**
 * Explanation of a status. A function writes it where it fails. Its size is fixed.
 */
struct taskstats_error {
    /**
     * The status that was returned.
     */
    enum taskstats_status status;
    /**
     * The system's error number, 0 where there is none.
     */
    int32_t os_errno;
    /**
     * Where in the bytes the error is. For TASKSTATS_STATUS_PARSE.
     */
    uint64_t offset;
    /**
     * The cause and what to do, in UTF-8, ended by a NUL.
     */
    char message[TASKSTATS_MESSAGE_SIZE];
};

/**
 * A field.
 */
struct taskstats_field_info {
    /**
     * sizeof(taskstats_field_info), set by the caller.
     */
    size_t struct_size;
    /**
     * The kernel's name. It lives for ever, as the other strings do.
     */
    const char *name;
    /**
     * The unit, such as "ns"; "" where there is none.
     */
    const char *unit;
    /**
     * One sentence.
     */
    const char *description;
    /**
     * Its C type.
     */
    enum taskstats_field_type field_type;
    /**
     * What it means over time.
     */
    enum taskstats_field_kind kind;
    /**
     * Bytes that it has in a record.
     */
    size_t size;
};

/**
 * CPU time that a task used in an interval. Unknown times are 0 and have no flag.
 */
struct taskstats_use {
    /**
     * sizeof(taskstats_use), set by the caller.
     */
    size_t struct_size;
    /**
     * TASKSTATS_USE_*. Later versions set more bits.
     */
    uint32_t flags;
    /**
     * The task's pid, 0 where unknown.
     */
    uint32_t pid;
    /**
     * User time.
     */
    uint64_t user_ns;
    /**
     * System time.
     */
    uint64_t system_ns;
    /**
     * Steal time.
     */
    uint64_t steal_ns;
    /**
     * All of these.
     */
    uint64_t total_ns;
};

/**
 * Where the machine's CPU time went: available = tasks + rowless + idle + irq + steal + residual.
 */
struct taskstats_balance {
    /**
     * sizeof(taskstats_balance), set by the caller.
     */
    size_t struct_size;
    /**
     * CPUs that were online at both ends.
     */
    uint32_t cpus;
    /**
     * 1 if the residual is not larger than `bound_ns`: the books close.
     */
    uint32_t closed;
    /**
     * These CPUs x the interval.
     */
    uint64_t available_ns;
    /**
     * User and system time of the rows.
     */
    uint64_t tasks_ns;
    /**
     * Time of tasks without a row.
     */
    uint64_t rowless_ns;
    /**
     * Idle time.
     */
    uint64_t idle_ns;
    /**
     * Interrupts.
     */
    uint64_t irq_ns;
    /**
     * Steal time.
     */
    uint64_t steal_ns;
    /**
     * The largest residual that is explained.
     */
    uint64_t bound_ns;
    /**
     * What is left over; negative where there is too much.
     */
    int64_t residual_ns;
};

/**
 * Where a record is in a datagram. Its size is fixed.
 */
struct taskstats_netlink_record {
    /**
     * TASKSTATS_RECORD_PID or TASKSTATS_RECORD_TGID.
     */
    uint32_t kind;
    /**
     * The pid or tgid. A tgid's record itself has no ids.
     */
    uint32_t id;
    /**
     * Where the record begins in the datagram.
     */
    size_t offset;
    /**
     * Bytes of the record: taskstats_parse() takes them.
     */
    size_t size;
};

/**
 * A snapshot's header. Times are 0 where they are unknown.
 */
struct taskstats_snapshot_info {
    /**
     * sizeof(taskstats_snapshot_info), set by the caller.
     */
    size_t struct_size;
    /**
     * Address of the first record. Records have no alignment.
     */
    const void *records;
    /**
     * Number of records.
     */
    size_t count;
    /**
     * Bytes from one record to the next.
     */
    size_t record_size;
    /**
     * How many of the records, the last ones, are of tasks that died since the source's
     * previous snapshot.
     */
    size_t exited;
    /**
     * Exits that were lost: what they used is in no record.
     */
    uint64_t exits_lost;
    /**
     * The records' version. Bit 15: the extension follows the base.
     */
    uint32_t version;
    /**
     * TASKSTATS_SNAPSHOT_*. Later versions set more bits.
     */
    uint32_t flags;
    /**
     * Number of CPUs online, 0 where unknown.
     */
    uint32_t cpus_online;
    /**
     * Tasks that exist and could not be read.
     */
    uint32_t missed;
    /**
     * CLOCK_MONOTONIC just before the first record was taken; the instant of the values
     * with TASKSTATS_SNAPSHOT_ONE_INSTANT.
     */
    uint64_t begin_monotonic_ns;
    /**
     * CLOCK_BOOTTIME of the same moment.
     */
    uint64_t begin_boottime_ns;
    /**
     * CLOCK_REALTIME of the same moment.
     */
    uint64_t begin_realtime_ns;
    /**
     * CLOCK_MONOTONIC just after the last record was taken.
     */
    uint64_t end_monotonic_ns;
    /**
     * Name of the source. Strings live as long as the snapshot.
     */
    const char *source;
    /**
     * Host name, "" where unknown.
     */
    const char *host;
    /**
     * Kernel release, "" where unknown.
     */
    const char *release;
};

/**
 * What snapshots hold.
 */
struct taskstats_options {
    /**
     * sizeof(taskstats_options), set by the caller.
     */
    size_t struct_size;
    /**
     * TASKSTATS_THREADS and others.
     */
    uint32_t flags;
    /**
     * Number of `fields`; 0 for all.
     */
    uint32_t field_count;
    /**
     * Numbers of the fields to read. What costs nothing is read as well.
     */
    const uint32_t *fields;
};

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Starts to listen to exits: by "bpf" or "netlink", or with NULL by the better one that works.
 */
enum taskstats_status taskstats_exits_open(const char *name,
                                           struct taskstats_exits **exits,
                                           struct taskstats_error *error);

/**
 * Stops listening. NULL is ignored.
 */
void taskstats_exits_close(struct taskstats_exits *exits);

/**
 * Returns a descriptor that is readable while exits wait; it belongs to the stream. -1 for NULL.
 */
int taskstats_exits_fd(const struct taskstats_exits *exits);

/**
 * Returns the name of the source. It lives for ever.
 */
const char *taskstats_exits_source(const struct taskstats_exits *exits);

/**
 * Waits for exits, at most `timeout_ms` (-1: without an end), and takes all. `snapshot` has a
 * record for each; it is NULL where the time passed or a signal came.
 */
enum taskstats_status taskstats_exits_read(const struct taskstats_exits *exits,
                                           int timeout_ms,
                                           struct taskstats_snapshot **snapshot,
                                           struct taskstats_error *error);

/**
 * Returns the number of lost exits so far.
 */
enum taskstats_status taskstats_exits_lost(const struct taskstats_exits *exits,
                                           uint64_t *lost,
                                           struct taskstats_error *error);

/**
 * Returns the number of fields. Their numbers begin with 0 and never change.
 */
uint32_t taskstats_field_count(void);

/**
 * Returns the number of the field of that name, or -1.
 */
int32_t taskstats_field_find(const char *name);

/**
 * Describes a field.
 */
enum taskstats_status taskstats_field_describe(uint32_t number,
                                               struct taskstats_field_info *info,
                                               struct taskstats_error *error);

/**
 * Makes the interval between two snapshots, which may be freed afterwards.
 */
enum taskstats_status taskstats_interval_begin(const struct taskstats_snapshot *earlier,
                                               const struct taskstats_snapshot *later,
                                               struct taskstats_interval **interval,
                                               struct taskstats_error *error);

/**
 * Makes the interval from the end of another one to a snapshot. The split of a task's time into
 * user and system time goes on, so that neither ever shrinks.
 */
enum taskstats_status taskstats_interval_continue(const struct taskstats_interval *before,
                                                  const struct taskstats_snapshot *later,
                                                  struct taskstats_interval **interval,
                                                  struct taskstats_error *error);

/**
 * Frees an interval. NULL is ignored.
 */
void taskstats_interval_free(struct taskstats_interval *interval);

/**
 * Returns the number of rows.
 */
size_t taskstats_interval_count(const struct taskstats_interval *interval);

/**
 * Returns the length of the interval.
 */
uint64_t taskstats_interval_ns(const struct taskstats_interval *interval);

/**
 * Returns the earlier snapshot, which the interval frees.
 */
const struct taskstats_snapshot *taskstats_interval_earlier(const struct taskstats_interval *interval);

/**
 * Returns the later snapshot, which the interval frees.
 */
const struct taskstats_snapshot *taskstats_interval_later(const struct taskstats_interval *interval);

/**
 * Returns what the task of a row used.
 */
enum taskstats_status taskstats_interval_use(const struct taskstats_interval *interval,
                                             size_t row,
                                             struct taskstats_use *used,
                                             struct taskstats_error *error);

/**
 * Reads the increase of a counter in a row. Returns false where it is unknown: a field that is no
 * counter, that a record does not hold, or that went back.
 */
bool taskstats_interval_delta(const struct taskstats_interval *interval,
                              size_t row,
                              uint32_t number,
                              uint64_t *value);

/**
 * Returns where the CPUs' time went. TASKSTATS_STATUS_UNKNOWN where a snapshot lacks the CPUs'
 * times.
 */
enum taskstats_status taskstats_interval_balance(const struct taskstats_interval *interval,
                                                 struct taskstats_balance *balance,
                                                 struct taskstats_error *error);

/**
 * Finds the records in a datagram of the family TASKSTATS. Sets `count` to their number, and
 * writes the first `capacity` of them to `records`, which may be NULL if that is 0. An error
 * message of the kernel is the error that it says.
 */
enum taskstats_status taskstats_parse_netlink(const void *datagram,
                                              size_t length,
                                              struct taskstats_netlink_record *records,
                                              size_t capacity,
                                              size_t *count,
                                              struct taskstats_error *error);

/**
 * Frees a snapshot. Intervals that were made of it stay valid. NULL is ignored.
 */
void taskstats_snapshot_free(struct taskstats_snapshot *snapshot);

/**
 * Returns the number of records.
 */
size_t taskstats_snapshot_count(const struct taskstats_snapshot *snapshot);

/**
 * Returns the header.
 */
enum taskstats_status taskstats_snapshot_info(const struct taskstats_snapshot *snapshot,
                                              struct taskstats_snapshot_info *info,
                                              struct taskstats_error *error);

/**
 * Returns where a field is in each record, or -1 where these records have no place for it.
 * A record may not hold a field that has a place: taskstats_record_u64() returns whether.
 */
ptrdiff_t taskstats_snapshot_field_offset(const struct taskstats_snapshot *snapshot,
                                          uint32_t number);

/**
 * Returns the address of a record, NULL where there is none. It lives as long as the snapshot.
 */
const void *taskstats_record(const struct taskstats_snapshot *snapshot,
                             size_t row);

/**
 * Reads an unsigned field. Returns false where it is unknown, which is not 0.
 */
bool taskstats_record_u64(const struct taskstats_snapshot *snapshot,
                          size_t row,
                          uint32_t number,
                          uint64_t *value);

/**
 * Reads a field as a signed number: ac_nice may be negative. Returns false where it is
 * unknown or too large.
 */
bool taskstats_record_i64(const struct taskstats_snapshot *snapshot,
                          size_t row,
                          uint32_t number,
                          int64_t *value);

/**
 * Finds the text of a field, in any encoding. Returns its address and sets `length`: it need
 * not end with a NUL. Returns NULL where it is unknown.
 */
const char *taskstats_record_text(const struct taskstats_snapshot *snapshot,
                                  size_t row,
                                  uint32_t number,
                                  size_t *length);

/**
 * Reads the exact CPU time of a task since its start. Returns false where it is unknown.
 */
bool taskstats_record_cpu_ns(const struct taskstats_snapshot *snapshot,
                             size_t row,
                             uint64_t *value);

/**
 * Makes a snapshot of bytes: a copy of /proc/taskstats, or records of struct taskstats of any
 * version one after the other. Records of the other byte order are recognised by their version.
 * `record_size` is the distance of records where the version does not tell, else 0.
 *
 * The bytes are not copied: they have to stay as they are until the snapshot and all intervals
 * that were made of it are freed.
 */
enum taskstats_status taskstats_parse(const void *bytes,
                                      size_t length,
                                      size_t record_size,
                                      struct taskstats_snapshot **snapshot,
                                      struct taskstats_error *error);

/**
 * Opens the source called "proc", "bpf", "netlink" or "procfs"; with NULL the first of these that
 * works. A named source never falls back to another. `options` may be NULL.
 */
enum taskstats_status taskstats_open(const char *name,
                                     const struct taskstats_options *options,
                                     struct taskstats_source **source,
                                     struct taskstats_error *error);

/**
 * Closes a source. Its snapshots stay valid. NULL is ignored.
 */
void taskstats_close(struct taskstats_source *source);

/**
 * Takes a snapshot of the whole machine.
 */
enum taskstats_status taskstats_snapshot(struct taskstats_source *source,
                                         struct taskstats_snapshot **snapshot,
                                         struct taskstats_error *error);

/**
 * Takes a snapshot of one process, from its files in /proc. They stay open until the process ends.
 */
enum taskstats_status taskstats_task(uint32_t pid,
                                     struct taskstats_snapshot **snapshot,
                                     struct taskstats_error *error);

/**
 * Returns the name of the source. It lives for ever.
 */
const char *taskstats_source_name(const struct taskstats_source *source);

/**
 * Returns how exact the CPU times are, in words that live as long as the source.
 */
const char *taskstats_precision(const struct taskstats_source *source);

/**
 * Returns what snapshots lack here, in words that live until the next call; "" if nothing.
 * Known after the first snapshot.
 */
const char *taskstats_notice(struct taskstats_source *source);

/**
 * Returns TASKSTATS_ABI of the library that runs.
 */
uint32_t taskstats_abi(void);

/**
 * Returns the version of the library that runs, such as "0.1.0". It lives for ever.
 */
const char *taskstats_version(void);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* TASKSTATS_H */
