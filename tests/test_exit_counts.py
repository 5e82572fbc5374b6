"""What exit events of taskstats count of a tree of processes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import taskstats
from taskstats._track import ExitCollector, TreeUse

THREADS = """
import threading
def work():
    open("/proc/thread-self/comm", "w").write("worker")
threads = [threading.Thread(target=work) for _ in range(5)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def test_the_threads_of_a_process_are_one_task(needs: Callable[[bool, str], None]) -> None:
    available = {source.name: source.available for source in taskstats.sources()}
    needs(os.geteuid() == 0 and available["netlink"], "reads exit events")
    collector = ExitCollector(os.getpid())
    subprocess.run([sys.executable, "-c", THREADS], check=True)
    subprocess.run(["true"], check=True)
    use = TreeUse()
    collector.finish(use)
    assert use.exits_lost == 0
    assert use.tasks == 2
    tasks = {name: row.tasks for name, row in use.commands.items()}
    assert tasks.pop("true") == 1
    assert list(tasks.values()) == [1], tasks
    assert "worker" not in tasks
