"""Join a cgroup, then lose a child in one of the ways in which a process can:

    descendants.py CGROUP KIND

The ways are a double fork, a new session, CLONE_PARENT, an ignored SIGCHLD, threads, and an exec
by a thread. Prints the CPU time used before the cgroup counts, as its least and most, in ns.
Without a cgroup ('') it joins none.
"""

import ctypes
import os
import signal
import sys
import threading
import time

CLONE_PARENT, SIGCHLD = 0x8000, 17
CLONE = {"x86_64": 56, "aarch64": 220}


def burn(seconds: float = 0.05) -> None:
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def twice() -> None:
    if not os.fork():
        if not os.fork():
            time.sleep(0.1)
            burn()
            os._exit(0)
        os._exit(0)


def session() -> None:
    if not os.fork():
        os.setsid()
        burn()
        os._exit(0)


def sibling() -> None:
    call = CLONE[os.uname().machine]
    if not ctypes.CDLL(None).syscall(call, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0):
        burn()
        os._exit(0)


def ignored() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    if not os.fork():
        burn()
        os._exit(0)


def threads() -> None:
    if not os.fork():
        several = [threading.Thread(target=burn, args=(0.02 * i,)) for i in range(1, 5)]
        for thread in several:
            thread.start()
        for thread in several:
            thread.join()
        os._exit(0)


def another() -> None:
    if not os.fork():
        burn()
        loop = "import time\nwhile time.process_time() < 0.2: pass"
        command = [sys.executable, "-S", "-c", loop]
        threading.Thread(target=os.execv, args=(command[0], command)).start()
        time.sleep(60)


KINDS = {kind.__name__: kind for kind in (twice, session, sibling, ignored, threads, another)}


def main() -> None:
    cgroup, kind = sys.argv[1:]
    if cgroup:
        with open(f"{cgroup}/cgroup.procs", "w") as procs:
            least = time.process_time_ns()
            procs.write("0")
            procs.flush()
            most = time.process_time_ns()
        print(least, most, flush=True)
    KINDS[kind]()


if __name__ == "__main__":
    main()
