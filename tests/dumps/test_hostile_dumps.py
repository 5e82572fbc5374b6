"""Small dumps that claim to be large are refused or read in bounded memory and time."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hostile  # type: ignore[import-not-found]
import pytest
import taskstats

# Memory in addition to the interpreter and its libraries.
MEMORY = 256 << 20
# CPU time. A second is what it may take; this is for machines with other work.
CPU_SECONDS = 10

# Reads a small dump, measures what that took, and then asks everything of the file argv[1].
READ = f"""
import json, os, resource, sys
import taskstats

def everything(path):
    result = {{"opened": 0, "lost": [], "rows": [], "columns": None, "check": None}}
    def attempt(what, act):
        try:
            result[what] = act()
        except (taskstats.TaskstatsError, OSError, MemoryError) as error:
            result[what] = f"{{type(error).__name__}}: {{error}}"
    dump = []
    attempt("opened", lambda: dump.append(taskstats.open(path)) or len(dump[0]))
    for opened in dump:
        for index in range(len(opened)):
            try:
                snapshot = opened[index]
                result["rows"].append(len(snapshot))
                assert snapshot.fields and snapshot.cpu_clocks is not None
                del snapshot
            except (taskstats.ParseError, MemoryError) as error:
                result["lost"].append(f"{{type(error).__name__}}: {{error}}")
        attempt("columns", lambda: len(opened.read(["ac_pid", "cmdline"], errors="skip")))
        attempt("check", lambda: len(opened.check()))
        opened.user(0)
    return result

everything(sys.argv[2])
with open("/proc/self/statm") as file:
    size = int(file.read().split()[0]) * os.sysconf("SC_PAGESIZE")
resource.setrlimit(resource.RLIMIT_AS, (size + {MEMORY}, size + {MEMORY}))
used = resource.getrusage(resource.RUSAGE_SELF)
limit = int(used.ru_utime + used.ru_stime) + {CPU_SECONDS}
resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
print(json.dumps(everything(sys.argv[1])))
"""


@pytest.fixture(scope="session")
def base(
    written: list[taskstats.Snapshot], tmp_path_factory: pytest.TempPathFactory
) -> hostile.Base:
    return hostile.Base(written[0], tmp_path_factory.mktemp("base"))


def read(path: Path, small: Path) -> dict[str, Any]:
    """What comes of reading a file within the limits."""
    command = [sys.executable, "-c", READ, str(path), str(small)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, (done.returncode, done.stderr[-2000:])
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def limited() -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))


@pytest.mark.parametrize("make", hostile.DAMAGED, ids=lambda make: make.__name__)
def test_damage_is_refused_with_little_memory(
    base: hostile.Base, recorded: Path, tmp_path: Path, make: Callable[[hostile.Base, Path], None]
) -> None:
    path = tmp_path / "hostile.tsd"
    make(base, path)
    assert path.stat().st_blocks * 512 < 10 << 20
    result = read(path, recorded)
    errors = [result["opened"], *result["lost"]]
    refused = isinstance(result["opened"], str)
    assert refused or result["check"], result
    assert not any("Memory" in str(error) for error in errors), errors
    # What is whole is read.
    if "base.full" in make.__code__.co_names:
        assert result["rows"][:1] == [hostile.ROWS]
    for command in ("check", "report"):
        done = subprocess.run(
            [Path(sys.executable).with_name("ptop"), command, path],
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
            preexec_fn=limited,
        )
        assert done.returncode in (1, 2), (command, done)
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("make", "count", "rows"), hostile.WHOLE, ids=lambda value: getattr(value, "__name__", "")
)
def test_whole_dumps_that_look_alike_are_read(
    base: hostile.Base,
    recorded: Path,
    tmp_path: Path,
    make: Callable[[hostile.Base, Path], None],
    count: int,
    rows: int,
) -> None:
    path = tmp_path / "whole.tsd"
    make(base, path)
    result = read(path, recorded)
    assert result["opened"] == count
    assert result["lost"] == []
    assert result["rows"] == [rows] * count
    assert result["check"] == 0
    assert result["columns"] == rows * count


def test_a_day_of_idle_tasks_is_read(base: hostile.Base, tmp_path: Path) -> None:
    path = tmp_path / "day.tsd"
    hostile.a_day_of_idle_tasks(base, path)
    opened = taskstats.open(path)
    assert len(opened) == 86_400
    for index in (0, 86_399, 43_205):
        snapshot = opened[index]
        assert len(snapshot) == 15_000
        assert snapshot.numpy()["ac_pid"][-1] == 15_000


@pytest.mark.parametrize(
    "act", ["sum(map(len, dump))", "dump[-1]", "dump.check()", "dump.read(['ac_pid'])"]
)
def test_long_reads_are_interrupted(base: hostile.Base, tmp_path: Path, act: str) -> None:
    """Each takes minutes: a day of 15,000 tasks after one full frame."""
    path = tmp_path / "day.tsd"
    hostile.one_run_of_idle_tasks(base, path)
    script = f"""
import sys, taskstats
dump = taskstats.open(sys.argv[1])
dump[0]
print("reading", flush=True)
try:
    {act}
except KeyboardInterrupt:
    print("interrupted", len(dump[0]))
"""
    command = [sys.executable, "-c", script, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "reading\n"
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        try:
            out, _ = process.communicate(timeout=60)
        finally:
            process.kill()
    assert out == "interrupted 15000\n"
    assert process.returncode == 0
