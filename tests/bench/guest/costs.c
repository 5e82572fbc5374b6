/* What a fork, an exit and a switch take, in ns: the least of many rounds, for what else
 * happens on a machine only adds. Everything is on one CPU. */
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS 40
#define FORKS 50
#define SWITCHES 2000

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1e9 + time.tv_nsec;
}

static void least(double *best, double value)
{
	if (!*best || value < *best)
		*best = value;
}

int main(void)
{
	double *exiting = mmap(NULL, sizeof(*exiting), PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	double fork_ns = 0, exit_ns = 0, switch_ns = 0;
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(0, &one);
	if (exiting == MAP_FAILED || sched_setaffinity(0, sizeof(one), &one))
		return 1;
	for (int round = 0; round < ROUNDS; round++) {
		double forks = 0, exits = 0;

		for (int i = 0; i < FORKS; i++) {
			double start = now();
			pid_t pid = fork();

			if (!pid) {
				*exiting = now();
				_exit(0);
			}
			forks += now() - start;
			waitpid(pid, NULL, 0);
			/* The exit, the switch to the parent, and the reaping. */
			exits += now() - *exiting;
		}
		least(&fork_ns, forks / FORKS);
		least(&exit_ns, exits / FORKS);
	}
	pid_t other = fork();

	if (!other)
		for (;;)
			sched_yield();
	for (int round = 0; round < ROUNDS; round++) {
		double start = now();

		for (int i = 0; i < SWITCHES; i++)
			sched_yield();
		/* To the other one and back. */
		least(&switch_ns, (now() - start) / SWITCHES / 2);
	}
	kill(other, 9);
	printf("costs fork %.0f exit %.0f switch %.0f\n", fork_ns, exit_ns, switch_ns);
	return 0;
}
