/* Makes as many sleeping processes as the first argument says, says so, and waits. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int count = argc > 1 ? atoi(argv[1]) : 0;

	for (int i = 0; i < count; i++) {
		switch (fork()) {
		case -1:
			perror("fork");
			return 1;
		case 0:
			for (;;)
				pause();
		}
	}
	puts("asleep");
	fflush(stdout);
	for (;;)
		pause();
}
