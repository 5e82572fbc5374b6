/* Checks the library: check interface | live SOURCE | exits SOURCE | file PATH | datagram PATH */
/* The kernel's header goes with the library's. */
#include <linux/taskstats.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <taskstats.h>
#include <unistd.h>

#define CHECK(condition)                                                              \
	do {                                                                          \
		if (!(condition)) {                                                   \
			fprintf(stderr, "%d: %s: %s\n", __LINE__, #condition, error.message); \
			exit(1);                                                      \
		}                                                                     \
	} while (0)
#define ENOUGH_NS 50000000
#define BAD ((void *)1)

static struct taskstats_error error;

static void *read_file(const char *path, size_t *length)
{
	size_t room = 1 << 24;
	char *bytes = malloc(room);
	FILE *file = fopen(path, "r");

	CHECK(file && bytes);
	*length = 0;
	for (size_t got = 1; got > 0 && *length < room; *length += got)
		got = fread(bytes + *length, 1, room - *length, file);
	fclose(file);
	return bytes;
}

/* The signals that have a handler, as in /proc/self/status, without those of libc itself. */
static unsigned long long caught(void)
{
	unsigned long long signals = 0;
	char line[256];
	FILE *file = fopen("/proc/self/status", "r");

	CHECK(file);
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "SigCgt: %llx", &signals) == 1)
			break;
	fclose(file);
	return signals & ~(3ULL << 31);
}

static unsigned long long own_cpu_ns(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000000ULL +
	       (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000ULL;
}

static size_t row_of(const struct taskstats_snapshot *snapshot, uint64_t pid)
{
	uint64_t found;

	for (size_t row = 0; row < taskstats_snapshot_count(snapshot); row++)
		if (taskstats_record_u64(snapshot, row, TASKSTATS_FIELD_ac_pid, &found) &&
		    found == pid)
			return row;
	CHECK(!"the pid has a record");
	return 0;
}

static void check_fields(void)
{
	struct taskstats_field_info info = { .struct_size = sizeof(info) };

	CHECK(taskstats_field_count() > TASKSTATS_FIELD_irq_delay_max_ts);
	CHECK(taskstats_field_find("nvcsw") == TASKSTATS_FIELD_nvcsw);
	CHECK(taskstats_field_find("nothing") == -1);
	CHECK(taskstats_field_find(NULL) == -1);
	for (uint32_t field = 0; field < taskstats_field_count(); field++) {
		CHECK(!taskstats_field_describe(field, &info, &error));
		CHECK(taskstats_field_find(info.name) == (int32_t)field);
		CHECK(info.size > 0 && info.unit && *info.description);
	}
	CHECK(!taskstats_field_describe(TASKSTATS_FIELD_ac_utime, &info, &error));
	CHECK(!strcmp(info.unit, "us") && info.kind == TASKSTATS_FIELD_KIND_COUNTER);
	CHECK(info.field_type == TASKSTATS_FIELD_TYPE_U64 && info.size == 8);
	CHECK(taskstats_field_describe(1000, &info, &error) == TASKSTATS_STATUS_ARGUMENT);
	CHECK(error.status == TASKSTATS_STATUS_ARGUMENT && strstr(error.message, "1000"));
	/* A caller of an older version has a smaller structure. */
	memset(&info, 0x5a, sizeof(info));
	info.struct_size = offsetof(struct taskstats_field_info, unit);
	CHECK(!taskstats_field_describe(0, &info, &error) && !strcmp(info.name, "version"));
	CHECK(((unsigned char *)&info.unit)[0] == 0x5a);
	info.struct_size = 0;
	CHECK(taskstats_field_describe(0, &info, &error) == TASKSTATS_STATUS_ARGUMENT);
	/* As on a stack that was not initialised. */
	info.struct_size = 0x5a5a5a5a;
	CHECK(taskstats_field_describe(0, &info, &error) == TASKSTATS_STATUS_ARGUMENT);
	CHECK(strstr(error.message, "struct_size"));
}

static void check_null(void)
{
	struct taskstats_snapshot *snapshot = BAD;
	struct taskstats_interval *interval = BAD;
	uint64_t value;

	CHECK(taskstats_open(NULL, NULL, NULL, &error) == TASKSTATS_STATUS_ARGUMENT);
	CHECK(taskstats_snapshot(NULL, &snapshot, NULL) == TASKSTATS_STATUS_ARGUMENT);
	CHECK(taskstats_snapshot_info(NULL, NULL, NULL) == TASKSTATS_STATUS_ARGUMENT);
	CHECK(taskstats_interval_begin(NULL, NULL, &interval, &error) == TASKSTATS_STATUS_ARGUMENT);
	CHECK(taskstats_parse(NULL, 8, 0, &snapshot, &error) == TASKSTATS_STATUS_ARGUMENT);
	CHECK(taskstats_parse(NULL, 0, 0, &snapshot, &error) == TASKSTATS_STATUS_PARSE);
	CHECK(taskstats_parse("\1", 2, 0, &snapshot, &error) == TASKSTATS_STATUS_PARSE);
	CHECK(taskstats_snapshot_count(NULL) == 0 && taskstats_interval_count(NULL) == 0);
	CHECK(!taskstats_record(NULL, 0) && !taskstats_record_u64(NULL, 0, 0, &value));
	CHECK(taskstats_snapshot_field_offset(NULL, 0) == -1 && taskstats_exits_fd(NULL) == -1);
	CHECK(!snapshot && !interval);
	taskstats_snapshot_free(NULL);
	taskstats_interval_free(NULL);
	taskstats_exits_close(NULL);
	taskstats_close(NULL);
}

static void check_errors(void)
{
	struct taskstats_source *source;
	struct taskstats_snapshot *snapshot;
	struct taskstats_exits *exits;
	struct taskstats_options options = { .struct_size = sizeof(options), .flags = 0x80000000 };
	struct {
		struct taskstats_options known;
		uint64_t newer;
	} grown = { .known = { .struct_size = sizeof(grown) }, .newer = 1 };

	/* A handle that could not be made is NULL, whatever was there. */
	source = BAD;
	CHECK(taskstats_open("nothing", NULL, &source, &error) == TASKSTATS_STATUS_ARGUMENT);
	CHECK(strstr(error.message, "procfs") && !source);
	exits = BAD;
	CHECK(taskstats_exits_open("nothing", &exits, &error) == TASKSTATS_STATUS_ARGUMENT);
	CHECK(!exits);
	snapshot = BAD;
	CHECK(taskstats_exits_read(NULL, 0, &snapshot, &error) == TASKSTATS_STATUS_ARGUMENT);
	CHECK(!snapshot);
	snapshot = BAD;
	CHECK(taskstats_parse("short", 5, 0, &snapshot, &error) == TASKSTATS_STATUS_PARSE);
	CHECK(!snapshot);
	CHECK(taskstats_open("procfs", &options, &source, &error) == TASKSTATS_STATUS_ARGUMENT);
	CHECK(taskstats_open("procfs", &grown.known, &source, &error) == TASKSTATS_STATUS_ARGUMENT);
	grown.newer = 0;
	CHECK(!taskstats_open("procfs", &grown.known, &source, &error));
	taskstats_close(source);
	snapshot = BAD;
	CHECK(taskstats_task(0x7fffffff, &snapshot, &error) == TASKSTATS_STATUS_NO_TASK);
	CHECK(error.os_errno == 3 && !snapshot);
	CHECK(!taskstats_task(getpid(), &snapshot, &error));
	CHECK(taskstats_snapshot_count(snapshot) == 1 && row_of(snapshot, getpid()) == 0);
	taskstats_snapshot_free(snapshot);
}

static void check_interface(void)
{
	CHECK(taskstats_abi() == TASKSTATS_ABI);
	CHECK(strchr(taskstats_version(), '.'));
	check_fields();
	check_null();
	check_errors();
	printf("%s\n", taskstats_version());
}

static void check_snapshot(const struct taskstats_snapshot *snapshot, const char *source)
{
	struct taskstats_snapshot_info info = { .struct_size = sizeof(info) };
	size_t length = 0, row = row_of(snapshot, getpid());
	ptrdiff_t offset = taskstats_snapshot_field_offset(snapshot, TASKSTATS_FIELD_ac_pid);
	const char *name = taskstats_record_text(snapshot, row, TASKSTATS_FIELD_ac_comm, &length);
	const char *record = taskstats_record(snapshot, row);
	uint32_t pid;
	int64_t nice;

	CHECK(!taskstats_snapshot_info(snapshot, &info, &error));
	CHECK(info.count == taskstats_snapshot_count(snapshot) && !strcmp(info.source, source));
	CHECK(record == (const char *)info.records + row * info.record_size);
	CHECK(!taskstats_record(snapshot, info.count));
	memcpy(&pid, record + offset, sizeof(pid));
	CHECK(pid == (uint32_t)getpid());
	/* No copy: the name is inside the record. */
	CHECK(name > record && name < record + info.record_size);
	CHECK(length == 5 && !memcmp(name, "check", 5));
	CHECK(taskstats_record_i64(snapshot, row, TASKSTATS_FIELD_ac_nice, &nice) && nice == -3);
	CHECK(info.begin_monotonic_ns > 0 && info.begin_monotonic_ns <= info.end_monotonic_ns);
	CHECK(*info.release && info.cpus_online > 0);
}

static void check_interval(const struct taskstats_interval *interval, unsigned long long least)
{
	const struct taskstats_snapshot *later = taskstats_interval_later(interval);
	struct taskstats_use use = { .struct_size = sizeof(use) };
	struct taskstats_balance balance = { .struct_size = sizeof(balance) };
	uint64_t cpu_ns, delta;
	size_t row = row_of(later, getpid());

	CHECK(taskstats_interval_ns(interval) > 0);
	CHECK(taskstats_interval_count(interval) == taskstats_snapshot_count(later));
	CHECK(taskstats_snapshot_count(taskstats_interval_earlier(interval)) > 0);
	CHECK(!taskstats_interval_use(interval, row, &use, &error));
	CHECK((use.flags & TASKSTATS_USE_KNOWN) && !(use.flags & TASKSTATS_USE_BORN));
	CHECK(use.pid == (uint32_t)getpid() && use.user_ns + use.system_ns + use.steal_ns == use.total_ns);
	/* Over netlink the time of a running task is up to a tick old. */
	CHECK(use.total_ns + 10000000 >= least && use.total_ns <= own_cpu_ns());
	CHECK(taskstats_record_cpu_ns(later, row, &cpu_ns) && cpu_ns >= use.total_ns);
	CHECK(taskstats_interval_delta(interval, row, TASKSTATS_FIELD_ac_utime, &delta));
	CHECK(!taskstats_interval_delta(interval, row, TASKSTATS_FIELD_ac_pid, &delta));
	CHECK(taskstats_interval_use(interval, 1 << 30, &use, &error) == TASKSTATS_STATUS_ARGUMENT);
	CHECK(!taskstats_interval_balance(interval, &balance, &error));
	CHECK(balance.cpus > 0 && balance.tasks_ns + 10000000 >= least);
	CHECK(balance.available_ns ==
	      balance.tasks_ns + balance.rowless_ns + balance.idle_ns + balance.irq_ns +
	      balance.steal_ns + balance.residual_ns);
}

static void check_live(const char *name)
{
	struct taskstats_options options = {
		.struct_size = sizeof(options), .flags = TASKSTATS_CPU_TIMES,
	};
	struct taskstats_source *source;
	struct taskstats_snapshot *before, *after, *last;
	struct taskstats_interval *interval, *next, *wrong = NULL;
	unsigned long long signals = caught(), begin, used;

	CHECK(!setpriority(PRIO_PROCESS, 0, -3) && !prctl(PR_SET_NAME, "check"));
	CHECK(!taskstats_open(name, &options, &source, &error));
	CHECK(!strcmp(taskstats_source_name(source), name) && *taskstats_precision(source));
	CHECK(!taskstats_snapshot(source, &before, &error));
	CHECK(taskstats_notice(source));
	begin = own_cpu_ns();
	do
		used = own_cpu_ns() - begin;
	while (used < ENOUGH_NS);
	CHECK(!taskstats_snapshot(source, &after, &error));
	CHECK(caught() == signals);
	check_snapshot(after, name);
	CHECK(!taskstats_interval_begin(before, after, &interval, &error));
	CHECK(taskstats_interval_begin(after, before, &wrong, &error) == TASKSTATS_STATUS_ARGUMENT);
	CHECK(!taskstats_snapshot(source, &last, &error));
	/* What was made of a snapshot or an interval does not need it. */
	taskstats_close(source);
	taskstats_snapshot_free(before);
	taskstats_snapshot_free(after);
	check_interval(interval, used);
	CHECK(!taskstats_interval_continue(interval, last, &next, &error));
	taskstats_interval_free(interval);
	taskstats_snapshot_free(last);
	check_interval(next, 0);
	taskstats_interval_free(next);
}

static void check_exits(const char *name)
{
	struct taskstats_exits *exits;
	struct taskstats_snapshot *dead;
	uint64_t lost, pid;
	pid_t child;
	int found = 0;

	CHECK(!taskstats_exits_open(name, &exits, &error));
	CHECK(!strcmp(taskstats_exits_source(exits), name) && taskstats_exits_fd(exits) >= 0);
	child = fork();
	if (!child)
		_exit(0);
	CHECK(waitpid(child, NULL, 0) == child);
	while (!found) {
		CHECK(!taskstats_exits_read(exits, 10000, &dead, &error) && dead);
		for (size_t row = 0; row < taskstats_snapshot_count(dead); row++)
			found |= taskstats_record_u64(dead, row, TASKSTATS_FIELD_ac_pid, &pid) &&
				 pid == (uint64_t)child;
		taskstats_snapshot_free(dead);
	}
	CHECK(!taskstats_exits_lost(exits, &lost, &error) && lost == 0);
	taskstats_exits_close(exits);
}

/* Prints what a copy of /proc/taskstats holds. */
static void check_file(const char *path)
{
	struct taskstats_snapshot_info info = { .struct_size = sizeof(info) };
	struct taskstats_snapshot *snapshot;
	unsigned long long cpu_ns = 0, pids = 0;
	uint64_t value;
	size_t length;
	void *bytes = read_file(path, &length);

	CHECK(!taskstats_parse(bytes, length, 0, &snapshot, &error));
	CHECK(!taskstats_snapshot_info(snapshot, &info, &error));
	CHECK(info.records == bytes && info.count * info.record_size == length);
	for (size_t row = 0; row < info.count; row++) {
		if (taskstats_record_u64(snapshot, row, TASKSTATS_FIELD_ac_pid, &value))
			pids += value;
		if (taskstats_record_cpu_ns(snapshot, row, &value))
			cpu_ns += value;
	}
	printf("%zu records, pids %llu, cpu_ns %llu, %s\n", info.count, pids, cpu_ns,
	       info.flags & TASKSTATS_SNAPSHOT_SWAPPED ? "swapped" : "native");
	taskstats_snapshot_free(snapshot);
	free(bytes);
}

/* Prints the records of a netlink datagram, or its error. */
static void check_datagram(const char *path)
{
	struct taskstats_netlink_record records[4];
	struct taskstats_snapshot *snapshot;
	size_t length, count, none;
	uint64_t cpu_ns;
	char *bytes = read_file(path, &length);

	if (taskstats_parse_netlink(bytes, length, records, 4, &count, &error)) {
		printf("status %d, errno %d: %s\n", error.status, error.os_errno, error.message);
		count = 0;
	} else {
		CHECK(!taskstats_parse_netlink(bytes, length, NULL, 0, &none, &error) && none == count);
	}
	for (size_t i = 0; i < count; i++) {
		CHECK(!taskstats_parse(bytes + records[i].offset, records[i].size, records[i].size,
				       &snapshot, &error));
		CHECK(taskstats_record_cpu_ns(snapshot, 0, &cpu_ns));
		printf("%s %u cpu_ns %llu\n",
		       records[i].kind == TASKSTATS_RECORD_PID ? "pid" : "tgid", records[i].id,
		       (unsigned long long)cpu_ns);
		taskstats_snapshot_free(snapshot);
	}
	free(bytes);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "", *argument = argc > 2 ? argv[2] : "";

	if (!strcmp(what, "interface"))
		check_interface();
	else if (!strcmp(what, "live"))
		check_live(argument);
	else if (!strcmp(what, "exits"))
		check_exits(argument);
	else if (!strcmp(what, "file"))
		check_file(argument);
	else if (!strcmp(what, "datagram"))
		check_datagram(argument);
	else
		return 2;
	return 0;
}
