"""`ptop audit`: the books close, but not if a task is left out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import taskstats

from ptop.commands import audit

PTOP = [sys.executable, "-m", "ptop"]
SOURCES = [report.name for report in taskstats.sources() if report.available]


@pytest.fixture
def busy() -> Iterator[list[int]]:
    """One busy loop on each CPU."""
    loops = [
        subprocess.Popen(["taskset", "-c", str(cpu), "sh", "-c", "while :; do :; done"])
        for cpu in sorted(os.sched_getaffinity(0))
    ]
    yield [loop.pid for loop in loops]
    for loop in loops:
        loop.kill()
        loop.wait()


def run(*arguments: str) -> tuple[int, list[dict[str, Any]]]:
    done = subprocess.run(
        [*PTOP, "audit", "--format", "json", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("source", SOURCES)
def test_the_books_of_busy_cpus_close_unless_a_task_is_left_out(
    source: str, busy: list[int]
) -> None:
    status, lines = run("-n", "2", "-d", "0.5", "--source", source)
    assert lines[-1]["closed"] is True, lines[-1]
    # A walk over /proc that takes long on a busy machine widens the bound.
    wide = lines[-1]["bound_ns"] > audit.WIDEST_BOUND * lines[-1]["available_ns"]
    assert (status, lines[-1]["verdict"]) == ((2, "proves nothing") if wide else (0, "closed"))
    assert [bool(line.get("overall")) for line in lines] == [False, False, True]
    for line in lines:
        found = sum(line[name] for name in audit.TERMS) + line["residual_ns"]
        assert found == line["available_ns"]
    whole = lines[-1]
    assert whole["available_ns"] == sum(line["available_ns"] for line in lines[:-1])
    # In a longer interval the duration of a walk over /proc matters less.
    status, lines = run("-n", "2", "-d", "1.5", "--source", source, "--leave-out", *map(str, busy))
    assert status == 1
    assert lines[-1]["closed"] is False
    # The CPU time of the loops is missing: a good part of their CPUs.
    assert lines[-1]["residual_ns"] > 0.05 * lines[-1]["interval_ns"]


@pytest.mark.parametrize(("left_out", "status"), [(False, 0), (True, 1)])
def test_the_table_says_the_verdict(left_out: bool, status: int, busy: list[int]) -> None:
    more = ["--leave-out", *map(str, busy)] if left_out else []
    done = subprocess.run(
        [*PTOP, "audit", "-n", "1", "-d", "0.5", *more],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    last = done.stdout.strip().splitlines()[-1]
    assert done.returncode == status, last
    assert last.strip().startswith("NOT CLOSED; " if left_out else "closed; ")
    assert "over all" in done.stdout


def test_balances_add_up() -> None:
    terms = dict.fromkeys(audit.TERMS, 0)
    one = audit.Balance(10, 1, 10, {**terms, "tasks_ns": 6}, 4, 3, 1, 2, 0)
    two = audit.Balance(10, 1, 10, {**terms, "tasks_ns": 13}, -3, 2, 1, 0, 5)
    both = one.then(two)
    assert (both.available_ns, both.terms["tasks_ns"], both.residual_ns) == (20, 19, 1)
    assert (both.bound_ns, both.exited, both.exits_lost) == (5, 2, 5)
    assert both.closed
    assert one.closed
    assert not audit.Balance(10, 1, 10, terms, 10, 3, 1, 0, 0).closed


@pytest.mark.parametrize(
    ("step_ns", "irq_ns", "bound_of_both"),
    # Clocks of run queues; /proc/stat with interrupts in it, and without.
    [(1, 0, 14), (10_000_000, 3, 14), (10_000_000, 0, 24)],
)
def test_interrupts_that_nothing_counts_add_up(
    step_ns: int, irq_ns: int, bound_of_both: int
) -> None:
    books = {"edge_ns": 10, "bound_ns": 12, "step_ns": step_ns, "irq_ns": irq_ns}
    terms = dict.fromkeys(audit.TERMS, 0)
    one = audit.Balance(50, 2, 100, terms, 0, *audit.errors(books), 0, 0)
    assert one.bound_ns == 12
    assert one.then(one).bound_ns == bound_of_both


@pytest.mark.parametrize(
    ("residual", "bound", "verdict", "status"),
    [(10, 10, "closed", 0), (11, 10, "not closed", 1), (0, 11, "proves nothing", 2)],
)
def test_a_wide_bound_proves_nothing(residual: int, bound: int, verdict: str, status: int) -> None:
    terms = {**dict.fromkeys(audit.TERMS, 0), "idle_ns": 100 - residual}
    balance = audit.Balance(50, 2, 100, terms, residual, 0, bound, 0, 0)
    assert balance.verdict == balance.as_dict()["verdict"] == verdict
    assert audit.VERDICTS[verdict] == status


def test_an_audit_of_a_wide_bound_exits_2() -> None:
    # The bound of each exit is a tick, so a storm of exits makes it wide.
    storm = subprocess.Popen(["sh", "-c", "while :; do /bin/true; done"])
    try:
        status, lines = run("-n", "1", "-d", "0.5", "--source", "procfs")
    finally:
        storm.kill()
        storm.wait()
    assert status == audit.VERDICTS[lines[-1]["verdict"]]
