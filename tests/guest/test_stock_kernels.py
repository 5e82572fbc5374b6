"""The sources and ptop in machines with Debian's stock kernels.

tools/stock_kernels.py says which kernels; `make test-guest` has fetched them. Each machine
boots once and runs all parts but those that need one of their own; each part is a test. Nothing
is hidden from BPF there, so that the tests of exactness apply in full.
"""

from __future__ import annotations

import datetime
import functools
import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import aarch64  # noqa: E402, the path is set just before
import guest  # noqa: E402
import guest_python  # noqa: E402
import stock_kernels  # noqa: E402
from stock_kernels import Kernel  # noqa: E402

pytestmark = [pytest.mark.guest, pytest.mark.timeout(3600)]

NAMED = os.environ.get("PRECISE_TOP_KERNELS", "")
CHOSEN, _ = stock_kernels.choose(stock_kernels.cached(), NAMED, datetime.date.today())
# Test programs of the crate of sources. "unit" tests their inside.
PROGRAMS = ("live", "exits", "tree", "bpf", "balance", "unit")
PYTEST = "$PYTHON -m pytest -p no:cacheprovider -p pytest_timeout -o timeout=600"
LOADS = {
    "idle": "sleep 600",
    "busy": "for cpu in $(seq 0 $(($(nproc) - 1))); do "
    "taskset $((1 << cpu)) sh -c 'while :; do :; done' & done; wait",
    "storm": "$PYTHON $STORM & $PYTHON $STORM & wait",
}
# Each part is a shell command of the machine; its exit status counts.
PARTS = {
    "doctor": "$PTOP doctor --format json",
    **{
        f"audit-{name}": f"setsid sh -c {shlex.quote(load)} & load=$!; sleep 2; "
        "$PTOP audit -n 5 -d 1 --format json; status=$?; kill -KILL -$load; (exit $status)"
        for name, load in LOADS.items()
    },
    "fields": f"{PYTEST} tests/bpf/test_bpf_fields.py",
    # The tests of these on the host start too many interpreters for an emulated machine.
    "run": "$PYTHON tests/guest/programs/run.py",
    "track": "$PYTHON tests/guest/programs/track_pid.py",
    "exits": "$PYTHON tests/guest/programs/exits.py",
    "cgroups": "$PYTHON tests/guest/programs/cgroups.py",
    "watch": "$PYTHON tests/guest/programs/watch.py cpus_go_and_return the_clock_is_set",
    "sleep": "$PYTHON tests/guest/programs/watch.py the_machine_sleeps",
    **{f"rust-{name}": f"/programs/{name} --test-threads=1 2>&1" for name in PROGRAMS},
}
DEMANDING = {"audit-storm", "rust-balance", "rust-unit"}
# What these do to their machine would stay for the parts that follow: CPUs that went and came back,
# a clock that was set, and devices that slept.
ALONE = {"watch", "sleep"}
BEGIN = re.compile(r"^part (\S+)$", re.MULTILINE)
END = re.compile(r"^part status (\d+) at [\d.]+$", re.MULTILINE)


def parts_of(kernel: Kernel) -> list[str]:
    """The parts that a kernel runs. The inside of the sources is tested once, and no test
    programs are built for arm64. Unless kernels were named, the test programs run under one
    kernel: they take longer than all other parts together. What closes only if the host leaves
    the machine its CPUs (`DEMANDING`) is then left out (docs/warts.md)."""
    asked = os.environ.get("PRECISE_TOP_PARTS", "").split()
    parts = [part for part in PARTS if (part in asked if asked else NAMED or part not in DEMANDING)]
    if kernel.name == stock_kernels.STEADY:
        return parts
    parts = [part for part in parts if part not in ALONE or part in asked]
    if kernel.is_arm or not NAMED:
        return [part for part in parts if not part.startswith("rust-")]
    return [part for part in parts if part != "rust-unit"]


def walks_in_one_call(kernel: Kernel) -> bool:
    """Whether BPF programs can walk all tasks by themselves (open-coded iterators, 6.7)."""
    return stock_kernels.numbers(stock_kernels.series_of(kernel.name)) >= (6, 7)


@dataclass
class Run:
    """What a machine has printed for each part."""

    output: dict[str, str] = field(default_factory=dict)
    status: dict[str, int] = field(default_factory=dict)
    error: str = ""


class Machines:
    """Boots each kernel once for those of its parts that are to run, and again for each of those
    that need a machine of their own."""

    def __init__(self, scratch: Path, parts: dict[str, list[str]]) -> None:
        self._scratch = scratch
        self._parts = parts
        self._files: dict[bool, tuple[list[tuple[Path, str]], str]] = {}
        self._runs: dict[tuple[str, str], Run] = {}

    def run(self, kernel: Kernel, part: str) -> Run:
        alone = part if part in ALONE else ""
        if (kernel.name, alone) not in self._runs:
            together = [part for part in self._parts[kernel.name] if part not in ALONE]
            self._runs[kernel.name, alone] = self._boot(kernel, [alone] if alone else together)
        return self._runs[kernel.name, alone]

    def _staged(self, kernel: Kernel) -> tuple[list[tuple[Path, str]], str]:
        """The files of a machine, and the words that start Python there."""
        if kernel.is_arm not in self._files:
            if kernel.is_arm:
                (wheel,) = (ROOT / "dist").glob("*aarch64.whl")
                self._files[True] = aarch64.stage(self._scratch / "aarch64", wheel)
            else:
                files, python = guest_python.stage(self._scratch / "x86")
                files += [(program, f"/programs/{name}") for name, program in programs().items()]
                self._files[False] = files, python
        return self._files[kernel.is_arm]

    def _boot(self, kernel: Kernel, parts: list[str]) -> Run:
        files, python = self._staged(kernel)
        way = "one call" if walks_in_one_call(kernel) else "iterator"
        lines = [
            "export PRECISE_TOP_NO_SKIP=1 PRECISE_TOP_OWN_MACHINE=1",
            f"export PRECISE_TOP_WAY='{way}' STORM=tests/kernel/programs/storm.py",
            f"export PYTHON='{python}' PTOP='{python} -m ptop'; cd /checkout",
        ]
        for name in parts:
            lines += [f"echo; echo part {name}", PARTS[name], "status=$?"]
            lines += ["echo; echo part status $status at $(cut -d' ' -f1 /proc/uptime)"]
        run = Run()
        try:
            _, output = guest.boot(
                kernel.image,
                files,
                "\n".join(lines),
                memory="2G",
                timeout=1500,
                one_thread=not walks_in_one_call(kernel),
                show=False,
            )
        except guest.GuestError as error:
            run.error = str(error)
            output = error.output
        # A serial terminal ends lines with two characters.
        _, *parts = BEGIN.split(output.replace("\r", ""))
        for name, text in zip(parts[::2], parts[1::2], strict=True):
            ended = END.search(text)
            run.output[name] = text[: ended.start()] if ended else text
            if ended:
                run.status[name] = int(ended[1])
        return run


@functools.cache
def programs() -> dict[str, Path]:
    return {name: path for name, path in guest.rust_tests().items() if name in PROGRAMS}


@pytest.fixture(scope="session")
def machines(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Machines:
    parts: dict[str, list[str]] = {}
    for item in request.session.items:
        if isinstance(item, pytest.Function) and item.function is test_stock_kernel:
            chosen: dict[str, Any] = dict(item.callspec.params)
            parts.setdefault(chosen["kernel"].name, []).append(chosen["part"])
    return Machines(tmp_path_factory.mktemp("machines"), parts)


@pytest.mark.parametrize(
    ("kernel", "part"),
    [
        pytest.param(kernel, part, id=f"{kernel.name}-{part}")
        for kernel in CHOSEN
        for part in parts_of(kernel)
    ],
)
def test_stock_kernel(kernel: Kernel, part: str, machines: Machines) -> None:
    run = machines.run(kernel, part)
    # With the end of the machine where that came too early.
    output = run.output.get(part, "") + run.error[-2000:]
    if part.startswith("audit-") and not walks_in_one_call(kernel):
        check_audit_of_ticks(lines(output))
        return
    assert run.status.get(part) == 0, output
    if part == "doctor":
        check_doctor(kernel, lines(output)[-1])
    elif part.startswith("audit-"):
        check_audit(kernel, part, lines(output))
    elif part.startswith("rust-"):
        assert "test result: ok" in output
    else:
        assert "passed" in output, output


def lines(output: str) -> list[Any]:
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")]


def check_doctor(kernel: Kernel, report: dict[str, Any]) -> None:
    assert report["auto"] == "bpf"
    (bpf,) = (source for source in report["sources"] if source["name"] == "bpf")
    assert ("one system call" in bpf["reason"]) == walks_in_one_call(kernel), bpf
    assert ("not at one instant" in bpf["precision"]) != walks_in_one_call(kernel), bpf
    # On from boot where there is no switch; else the machine switches it on.
    assert report["delayacct"]["available"], report["delayacct"]


def check_audit(kernel: Kernel, part: str, accounts: list[dict[str, Any]]) -> None:
    *intervals, whole = accounts
    assert len(intervals) == 5
    for account in accounts:
        assert account["source"] == "bpf"
        assert account["closed"], "\n".join(map(json.dumps, accounts))
    if part == "audit-storm":
        assert whole["exited"] > 0
    share = 100 * whole["residual_ns"] / whole["interval_ns"]
    print(f"{kernel.name} {part}: residual {share:.6f} %")
    assert abs(share) < 0.001, accounts


def check_audit_of_ticks(accounts: list[dict[str, Any]]) -> None:
    """Every interval closes by /proc/stat, and all of them together."""
    assert len(accounts) == 6
    for account in accounts:
        assert account["source"] == "bpf"
        assert account["closed"], "\n".join(map(json.dumps, accounts))


def test_the_bpf_objects_fit_the_types_of_every_kernel() -> None:
    """All kernels of the matrix, with those that are not booted today."""
    name = "the_objects_fit_every_kernel_of_the_matrix"
    done = subprocess.run(
        [programs()["unit"], name, "--nocapture"],
        env={**os.environ, "PRECISE_TOP_BTF": str(stock_kernels.btf_folder())},
        text=True,
        capture_output=True,
    )
    print(done.stderr)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
    # It reads all files of the folder.
    assert all(kernel.btf.exists() for kernel in stock_kernels.cached().values())


@pytest.mark.parametrize(
    "kernel",
    # The first and the last: both architectures, where both are chosen.
    [pytest.param(kernel, id=kernel.name) for kernel in dict.fromkeys(CHOSEN[:1] + CHOSEN[-1:])],
)
def test_the_harness_sees_a_failure(kernel: Kernel) -> None:
    status, output = guest.boot(kernel.image, [], "echo seen; exit 3", show=False)
    assert status == 3
    assert "seen" in output
