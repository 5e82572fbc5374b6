/* Prints who used most CPU time in a second, and whether the books close. */
#include <stdio.h>
#include <stdlib.h>
#include <taskstats.h>
#include <unistd.h>

static int descending(const void *a, const void *b)
{
	const struct taskstats_use *one = a, *other = b;

	return (one->total_ns < other->total_ns) - (one->total_ns > other->total_ns);
}

static void print_top(const struct taskstats_interval *interval)
{
	size_t count = taskstats_interval_count(interval);
	struct taskstats_use *rows = calloc(count + 1, sizeof(*rows));
	struct taskstats_balance balance = { .struct_size = sizeof(balance) };

	if (!rows)
		return;
	for (size_t i = 0; i < count; i++) {
		rows[i].struct_size = sizeof(*rows);
		taskstats_interval_use(interval, i, &rows[i], NULL);
	}
	qsort(rows, count, sizeof(*rows), descending);
	for (size_t i = 0; i < count && i < 10; i++)
		printf("%8u %12.6f ms\n", rows[i].pid, (double)rows[i].total_ns / 1e6);
	free(rows);
	if (taskstats_interval_balance(interval, &balance, NULL) == TASKSTATS_STATUS_OK)
		printf("residual %lld ns of %llu: the books %s\n", (long long)balance.residual_ns,
		       (unsigned long long)balance.available_ns,
		       balance.closed ? "close" : "do not close");
}

int main(int argc, char **argv)
{
	struct taskstats_source *source = NULL;
	struct taskstats_snapshot *before = NULL, *after = NULL;
	struct taskstats_interval *interval = NULL;
	struct taskstats_error error;
	int failed = 1;

	if (taskstats_open(argc > 1 ? argv[1] : NULL, NULL, &source, &error) ||
	    taskstats_snapshot(source, &before, &error))
		goto out;
	sleep(1);
	if (taskstats_snapshot(source, &after, &error) ||
	    taskstats_interval_begin(before, after, &interval, &error))
		goto out;
	print_top(interval);
	failed = 0;
out:
	if (failed)
		fprintf(stderr, "%s\n", error.message);
	taskstats_interval_free(interval);
	taskstats_snapshot_free(after);
	taskstats_snapshot_free(before);
	taskstats_close(source);
	return failed;
}
