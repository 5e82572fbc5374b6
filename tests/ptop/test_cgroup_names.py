"""Names in the paths of cgroups, of processes in cgroups of the test's own."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import taskstats
from live_view import Live  # type: ignore[import-not-found]

ID = "3f2a1b4c5d6e" + "0123456789abcdef" * 3 + "0123"
POD = "8d9f7a52-1c2b-4e0d-9a3f-0b1c2d3e4f50"
DIRECTORY = f"kubepods.slice/kubepods-pod{POD.replace('-', '_')}.slice/cri-containerd-{ID}.scope"
UNIT = f"cri-containerd-{ID}.scope"
PATH = f"/{DIRECTORY}"


@pytest.fixture
def member(cgroups: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a cgroup with the path of a container in a pod."""
    path = cgroups / DIRECTORY
    # A run that was killed may have left it.
    path.mkdir(parents=True, exist_ok=True)
    loop = "import time\nwhile True: time.sleep(0.01)"
    child = subprocess.Popen([sys.executable, "-c", loop])
    try:
        (path / "cgroup.procs").write_text(str(child.pid))
        yield child
    finally:
        child.kill()
        child.wait()
        for folder in (path, *path.parents[:2]):
            while folder.exists():
                try:
                    folder.rmdir()
                except OSError:
                    time.sleep(0.01)


def run(*words: str) -> str:
    command = [sys.executable, "-m", "ptop", *words]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def check_tables(command: tuple[str, ...], pid: int) -> None:
    columns = ("--columns", "pid,container,pod,unit,cgroup", "--pid", str(pid))
    (row,) = csv.DictReader(run(*command, *columns, "--format", "csv").splitlines())
    assert (row["container"], row["pod"], row["unit"]) == (ID[:12], POD, UNIT)
    assert row["cgroup"] == PATH
    interval = json.loads(run(*command, *columns, "--format", "json").splitlines()[0])
    (task,) = interval["tasks"]
    assert task["container"] == ID[:12]
    assert "container" not in interval["unavailable"]
    assert ID[:12] in run(*command, *columns, "-b")
    for by, title in (("container", ID[:12]), ("pod", POD), ("unit", UNIT)):
        (interval,) = map(json.loads, run(*command, "--fold", by, "--format", "json").splitlines())
        (group,) = [task for task in interval["tasks"] if task["title"] == title]
        assert (group["tasks"], group["pid"]) == (1, pid)
        assert {f"no {by}", title} & {task["title"] for task in interval["tasks"]}


def test_a_container_has_columns_and_groups(member: subprocess.Popen[bytes]) -> None:
    check_tables(("-n", "1", "-d", "0.3"), member.pid)


def test_a_recording_has_them_too(member: subprocess.Popen[bytes], tmp_path: Path) -> None:
    path = tmp_path / "one.tsd"
    with taskstats.Recorder(path) as recorder, taskstats.Source() as source:
        for _ in range(2):
            recorder.write(source.snapshot())
            time.sleep(0.1)
    member.kill()
    check_tables(("replay", str(path), "-n", "1"), member.pid)
    columns = taskstats.read(path, ["ac_pid", "container", "pod", "unit"])
    rows = zip(*(columns[name] for name in ("ac_pid", "container", "pod", "unit")), strict=True)
    assert (member.pid, ID[:12], POD, UNIT) in list(rows)


def test_rows_and_columns_of_the_library_have_them(member: subprocess.Popen[bytes]) -> None:
    with taskstats.Source() as source:
        before = source.snapshot()
        time.sleep(0.1)
        interval = taskstats.usage(before, source.snapshot())
    row = interval.by_pid(member.pid)
    assert row is not None
    assert (row.cgroup, row.container, row.pod, row.unit) == (PATH, ID[:12], POD, UNIT)
    names = interval.columns(["ac_pid", "container"])
    assert (member.pid, ID[:12]) in list(zip(names["ac_pid"], names["container"], strict=True))
    (group,) = [row for row in interval.group("pod") if row.title == POD]
    assert group.tasks == 1
    assert group.unit == UNIT


def test_the_live_view_shows_and_groups_them(member: subprocess.Popen[bytes]) -> None:
    live = Live("--columns", "pid,total_pct,container,command", "--pid", str(member.pid))
    live.until(ID[:12])
    live.child.send("q")
    assert live.ended() == 0
    live = Live("--pid", str(member.pid), rows=40, columns=120)
    live.until(f" {member.pid} ")
    live.child.send("\r")
    live.until(f"container {ID[:12]}  pod {POD}  unit")
    live.child.send("\x1b")
    live.until("F1Help")
    live.child.send("q")
    assert live.ended() == 0
    live = Live("--fold", "container", "--filter", ID[:12])
    live.until(ID[:12])
    live.child.send("q")
    assert live.ended() == 0
