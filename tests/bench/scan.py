"""What reading recordings costs: rows of intervals, a window, a report and an export.

    python -m tests.bench.scan DIRECTORY [PYTHON]

DIRECTORY holds the recordings, which are made if they are missing (`tests.bench.recordings`: some
minutes). With PYTHON, the interpreter of another environment, such as one with an earlier release,
both do the same work, one after the other, in one run. Machines are shared: compare CPU times.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.bench import recordings

# Each sets `count`, the number of rows. `fleet` has the files of the fleet, `scan` is None in
# releases without it.
PRELUDE = """
import sys
import taskstats
from taskstats.recorded import Frames
fleet = sys.argv[1:]
scan = getattr(taskstats, "scan", None)
def frames(path): return Frames(taskstats.open(path))
"""
WORK = {
    "one column of all intervals": """
if scan:
    count = sum(len(batch) for batch in scan(fleet, columns=["total_ns"]))
else:
    count = sum(len(i.columns(["total_ns"])) for path in fleet for i in frames(path).intervals())
""",
    "the last 10 s of each file": """
count = 0
for path in fleet[:1] if scan else fleet:
    times = taskstats.open(path).times_ns
    if scan:
        count += sum(map(len, scan(fleet, columns=["total_ns"], begin=times[-10])))
    else:
        last = len(times)
        count += sum(len(i.columns(["total_ns"])) for i in frames(path).intervals(last - 10))
""",
    "all columns of all intervals": """
if scan:
    count = sum(map(len, scan(fleet)))
else:
    names = list(__import__("taskstats.recorded").recorded.COLUMNS)
    count = sum(len(i.columns(names)) for path in fleet for i in frames(path).intervals())
""",
}


def measure(name: str, command: list[str]) -> None:
    begin = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        lines = process.stdout.read().decode().splitlines()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = status
    wall = time.perf_counter() - begin
    cpu = usage.ru_utime + usage.ru_stime
    rows = lines[-1] if lines and lines[-1].isdigit() else ""
    print(f"{name:<54}{rows:>10}{cpu:>9.2f}{wall:>9.2f}{usage.ru_maxrss / 1024:>8.0f}", flush=True)


def main() -> None:
    directory = Path(sys.argv[1])
    pythons = [*sys.argv[2:], sys.executable]
    fleet, day = directory / "fleet", directory / "day" / "day.tsd"
    if not fleet.exists():
        fleet.mkdir(parents=True)
        recordings.fleet(fleet)
    if not day.exists():
        day.parent.mkdir(parents=True)
        recordings.write(day, 86_400)
    files = sorted(map(str, fleet.iterdir()))
    print(f"{'':<54}{'rows':>10}{'CPU s':>9}{'wall s':>9}{'MB':>8}")
    for name, script in WORK.items():
        for python in pythons:
            which = "before" if python is not sys.executable else "now"
            measure(f"{name}, {which}", [python, "-c", f"{PRELUDE}{script}\nprint(count)", *files])
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        for python in pythons:
            which = "before" if python is not sys.executable else "now"
            ptop = str(Path(python).parent / "ptop")
            measure(f"ptop report of a day, {which}", [ptop, "report", str(day)])
            rows = [ptop, "export", *files[:10], "-o", f"{name}/rows.parquet"]
            measure(f"ptop export of 1.7 million rows, {which}", rows)


if __name__ == "__main__":
    main()
