"""Reading a dump at memory speed, and what recording costs.

    python -m tests.bench.dumps [MEGABYTES]     (default 1000)

A dump of snapshots of 1,000 processes, whole and uncompressed, is read by each reader in
a process of its own, from memory (it is read once before). Times are wall-clock, the
best of three runs; readers that are slow read a part, and are compared by the record.
Machines are shared: compare the ratios. Then `ptop record` and top run at the same time
for a while, at one snapshot a second.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import taskstats

from tests.bench import load

# Each reads the file `path` and sets the number of records it read. `bare` is an array of
# the same records without frames, `part` the first hundredth of it.
PRELUDE = """
import ctypes, struct, sys, time
import numpy as np
import taskstats
path, bare, part = sys.argv[1:]
first = taskstats.open(path)[0]
SIZE, FIELDS = first.record_size, first.fields
NAMED = first.numpy().dtype
def read_bare(name=part): return open(name, "rb").read()
"""
READERS = {
    "NumPy sums every byte as u64": """
def run():
    np.memmap(bare, np.uint64, "r").sum()
    return len(np.memmap(bare, NAMED, "r"))
""",
    "taskstats, one field": """
def run(): return len(taskstats.read(path, ["ac_sum_exec_ns"]))
""",
    "taskstats, one field of those of uid 0": """
def run():
    columns = taskstats.read(path, ["ac_uid", "ac_sum_exec_ns"])
    used = np.asarray(columns["ac_sum_exec_ns"])[np.asarray(columns["ac_uid"]) == 0]
    return len(columns) if used.sum() else 0
""",
    "taskstats, all fields": """
def run(): return len(taskstats.read(path))
""",
    "numpy.frombuffer, one field": """
def run():
    records = np.memmap(bare, NAMED, "r")
    return len(np.ascontiguousarray(records["ac_sum_exec_ns"]))
""",
    "struct.iter_unpack, one field": """
offset = NAMED.fields["ac_sum_exec_ns"][1]
one = struct.Struct(f"<{offset}xQ{SIZE - offset - 8}x")
def run(): return len([value for value, in one.iter_unpack(read_bare(bare))])
""",
    "struct.iter_unpack, all fields": """
codes = {"u1": "B", "i1": "b", "u2": "H", "u4": "I", "u8": "Q"}
text, at = "<", 0
for name, (kind, offset) in sorted(NAMED.fields.items(), key=lambda field: field[1][1]):
    text += f"{offset - at}x" + codes.get(kind.str[1:], f"{kind.itemsize}s")
    at = offset + kind.itemsize
whole = struct.Struct(f"{text}{SIZE - at}x")
def run(): return len(list(zip(*whole.iter_unpack(read_bare())))[0])
""",
    "ctypes, one field": """
offset = NAMED.fields["ac_sum_exec_ns"][1]
class Record(ctypes.LittleEndianStructure):
    _pack_ = 1
    _fields_ = [("a", ctypes.c_char * offset), ("used", ctypes.c_uint64),
                ("z", ctypes.c_char * (SIZE - offset - 8))]
def run():
    data = read_bare()
    records = (Record * (len(data) // SIZE)).from_buffer_copy(data)
    return len([record.used for record in records])
""",
    "pyroute2's decoder, all fields": """
from pyroute2.netlink.taskstats import taskstatsmsg
def run():
    data, count = read_bare()[:200 * SIZE], 0
    for at in range(0, len(data), SIZE):
        message = taskstatsmsg.tstats_vB(data[at : at + SIZE])
        message.decode()
        count += message["ac_ppid"] >= 0
    return count
""",
}
TIMING = """
best = 1e9
for _ in range(3):
    start = time.perf_counter()
    records = run()
    best = min(best, time.perf_counter() - start)
# VmHWM is the program's own: ru_maxrss starts with its parent's value.
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(best, records, peak.split()[1])
"""


def write(directory: Path, megabytes: int) -> int:
    """Writes the files to read; returns the number of records."""
    with load.sleepers(1000), taskstats.Source() as source:
        taken = [source.snapshot().to_bytes() for _ in range(20)]
    snapshots = [taskstats.parse(form) for form in taken]
    size = sum(len(form) for form in taken)
    rounds = max(1, megabytes * 10**6 // size)
    with (
        taskstats.Recorder(directory / "dump.tsd", level=None, full_every=1) as recorder,
        open(directory / "bare", "wb") as bare,
    ):
        for _ in range(rounds):
            for snapshot in snapshots:
                recorder.write(snapshot)
                bare.write(memoryview(snapshot).cast("B"))
    records = rounds * sum(len(snapshot) for snapshot in snapshots)
    width = snapshots[0].record_size
    with open(directory / "bare", "rb") as bare:
        (directory / "part").write_bytes(bare.read(records // 100 * width))
    return records


def reading(directory: Path, records: int) -> None:
    names = [str(directory / name) for name in ("dump.tsd", "bare", "part")]
    width = (directory / "bare").stat().st_size // records
    head = f"{'':<42}{'M records/s':>12}{'GB/s':>8}{'times':>9}{'MB':>8}"
    print(f"{records:,} records of {width} bytes\n{head}")
    base = 0.0
    for name, reader in READERS.items():
        script = [sys.executable, "-c", PRELUDE + reader + TIMING, *names]
        done = subprocess.run(script, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"{name:<42}  {done.stderr.splitlines()[-1]}")
            continue
        seconds, count, peak_kb = (float(word) for word in done.stdout.split())
        each = seconds / count
        base = base or each
        print(
            f"{name:<42}{1 / each / 1e6:>12.3f}{width / each / 1e9:>8.3f}"
            f"{each / base:>9.2f}{peak_kb / 1024:>8.0f}"
        )


def recording(directory: Path, seconds: int = 20) -> None:
    """CPU time of a recorder and of top, running side by side for the same time."""
    ptop = str(Path(sys.executable).parent / "ptop")
    path = directory / "recorded.tsd"
    commands = {
        "ptop record": [ptop, "record", "-d", "1", "--for", str(seconds), "-o", str(path)],
        "top -b": ["top", "-b", "-d", "1", "-n", str(seconds + 1)],
    }
    with load.sleepers(1000):
        running = {
            name: subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            for name, command in commands.items()
        }
        used = {}
        for name, process in running.items():
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = status
            used[name] = 1000 * (usage.ru_utime + usage.ru_stime)
    print(f"\nCPU time of {seconds} s at one snapshot a second, 1,000 sleeping processes")
    for name, spent in used.items():
        print(f"{name:<42}{spent:>12.0f} ms{spent / used['ptop record']:>9.1f}")
    size = path.stat().st_size
    print(f"{'bytes a snapshot':<42}{size / len(taskstats.open(path)):>12.0f}")


def main() -> None:
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        directory = Path(name)
        start = time.perf_counter()
        records = write(directory, megabytes)
        print(f"written in {time.perf_counter() - start:.1f} s")
        for path in directory.iterdir():
            path.read_bytes()
        reading(directory, records)
        recording(directory)


if __name__ == "__main__":
    main()
