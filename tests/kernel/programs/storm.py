"""Exercises every way in which a task's time can get lost; runs until it is killed."""

import os
import signal
import threading


def work(count: int) -> None:
    while count:
        count -= 1


def child(then: str = "") -> int:
    pid = os.fork()
    if pid:
        return pid
    work(3000)
    if then == "orphan":
        if os.fork():
            os._exit(0)
        work(6000)
    if then == "exec":
        # exec by another thread kills the leader.
        execute = ("true", ["true"])
        threading.Thread(target=os.execvp, args=execute).start()
        work(1 << 40)
    os._exit(0)


def main() -> None:
    while True:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.waitpid(child(), 0)
        os.waitpid(child("orphan"), 0)
        os.waitpid(child("exec"), 0)
        # Nobody waits for this child: the kernel reaps it at once.
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        child()
        threads = [threading.Thread(target=work, args=(4000,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


main()
