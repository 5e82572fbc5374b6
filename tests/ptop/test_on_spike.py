"""Values that --on-spike waits for: also those of tasks that sleep."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import taskstats
from live_view import PTOP, Live  # type: ignore[import-not-found]
from taskstats.recorded import Frames

from ptop.columns import COLUMNS
from ptop.live.history import OnSpike, Trigger

# More memory than any other task of the machine is likely to have, which then sleeps.
MIB = 600
PROGRAM = f"""
import time
held = bytearray({MIB} << 20)
print("ready", flush=True)
time.sleep(600)
"""


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", PROGRAM]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as started:
        assert started.stdout is not None
        assert started.stdout.readline() == b"ready\n"
        yield started
        started.kill()


def test_memory_of_a_sleeper_is_a_spike(sleeper: subprocess.Popen[bytes], tmp_path: Path) -> None:
    trigger = f"rss_kb:{MIB << 10}"
    live = Live("--on-spike", trigger, "--spike-dir", str(tmp_path), columns=110)
    live.until(f"written for rss_kb:{MIB << 10}; type: ptop replay")
    live.child.send("q")
    assert live.ended() == 0
    (path,) = tmp_path.iterdir()
    interval = Frames(taskstats.open(path)).interval(1)
    assert interval is not None
    ((rss_kb,),) = interval.select(["rss_kb"], pids=[sleeper.pid])
    assert int(rss_kb or 0) >= MIB << 10


def test_only_levels_need_the_tasks_that_did_not_run() -> None:
    def needs(*keys: str) -> bool:
        triggers = tuple(Trigger(COLUMNS[key], 1.0) for key in keys)
        return OnSpike(triggers, ".", 1, 1.0).needs_sleepers

    assert not needs("total_pct", "read", "nvcsw", "cpu_delay")
    assert needs("total_pct", "rss_kb")
    assert needs("num_threads")


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
def test_a_value_that_nothing_reaches_is_refused(value: str) -> None:
    done = subprocess.run(
        [*PTOP, "--on-spike", f"total_pct:{value}"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "is not COLUMN:VALUE" in done.stderr


@pytest.mark.parametrize("length", ["0", "0m", "0s", "0.0h"])
def test_no_history_in_any_unit(length: str) -> None:
    live = Live("--history", length)
    live.until("◉ LIVE")
    live.child.send("W")
    live.until("nothing is kept")
    live.child.send("q")
    assert live.ended() == 0
