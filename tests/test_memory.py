"""Memory after a burst of tasks."""

from __future__ import annotations

import subprocess
import sys

import taskstats

# Many threads in a process.
BURST = """
import sys, threading
threading.stack_size(65536)
wait = threading.Event()
for _ in range(8000):
    threading.Thread(target=wait.wait, daemon=True).start()
print("ready", flush=True)
sys.stdin.read()
"""

# Prints the memory before the burst, in it, and afterwards.
WATCHED = """
import subprocess, sys, taskstats
def rss_kb():
    text = open("/proc/self/status").read()
    return int(text.split("VmRSS:")[1].split()[0])
taskstats.share_heap()
source = taskstats.Source(sys.argv[1], threads=True, exact=True, changed=True)
last = source.snapshot()
def intervals(number):
    global last
    for _ in range(number):
        last = taskstats.usage(last, source.snapshot()).cur
    return rss_kb()
before = intervals(200)
words = [sys.executable, "-c", sys.argv[2]]
with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as burst:
    burst.stdout.readline()
    during = intervals(10)
    assert source.totals() is None or source.totals()["tasks"] > 8000
    burst.communicate(b"")
print(before, during, intervals(200))
"""


def test_memory_shrinks_after_a_burst_of_tasks(source: taskstats.Source) -> None:
    words = [sys.executable, "-c", WATCHED, source.name, BURST]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True, timeout=300)
    before, during, after = map(int, done.stdout.split())
    assert during > before + 3_000
    assert after - before < (during - before) / 4
