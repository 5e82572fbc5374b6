"""The unit that records: what it may do is enough, and little."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import taskstats

DOCS = Path(__file__).parent.parent.parent / "docs"
UNIT = DOCS / "ptop-record.service"
DROP_INS = sorted((DOCS / "ptop-record.d").glob("*.conf"))
PTOP = [sys.executable, "-m", "ptop"]
NOBODY = 65534
LIMIT = 1.5

Needs = Callable[[bool, str], None]


def setting(path: Path, name: str) -> list[str]:
    """The values of a setting."""
    lines = path.read_text().splitlines()
    return [line.partition("=")[2] for line in lines if line.startswith(f"{name}=")]


def capabilities(path: Path) -> list[str]:
    """What a unit or drop-in holds; it may hold nothing else."""
    (held,) = setting(path, "AmbientCapabilities")
    assert setting(path, "CapabilityBoundingSet") == [held]
    return held.split()


def as_service(directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command as the unit does, but as a user that each machine has."""
    held = ",".join(name.lower().replace("cap_", "+") for name in capabilities(UNIT))
    sets = [f"--{kind}=-all,{held}" for kind in ("inh-caps", "ambient-caps", "bounding-set")]
    user = [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs"]
    command = ["setpriv", *user, *sets, *words]
    environment = {**os.environ, "LOGS_DIRECTORY": str(directory)}
    environment = {name: value for name, value in environment.items() if "SUDO" not in name}
    (umask,) = setting(UNIT, "UMask")
    return subprocess.run(
        command,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        umask=int(umask, 8),
        # The modules of this directory may be root's alone.
        cwd="/",
    )


@pytest.fixture
def logs(needs: Needs) -> Path:
    """The unit's directory. That of pytest is root's alone."""
    needs(os.geteuid() == 0 and shutil.which("setpriv") is not None, "needs root and setpriv")
    path = Path("/tmp", f"ptop-logs-{os.getpid()}")
    path.mkdir()
    os.chown(path, NOBODY, NOBODY)
    path.chmod(0o750)
    return path


@pytest.fixture(autouse=True)
def no_logs_stay() -> object:
    yield
    shutil.rmtree(Path("/tmp", f"ptop-logs-{os.getpid()}"), ignore_errors=True)


def test_the_unit_exposes_little(needs: Needs) -> None:
    needs(shutil.which("systemd-analyze") is not None, "needs systemd-analyze")
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(UNIT)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    level = re.search(r"Overall exposure level for \S+: ([0-9.]+)", shown)
    assert level is not None, shown
    assert float(level[1]) <= LIMIT, shown


def test_systemd_takes_the_unit(tmp_path: Path, needs: Needs) -> None:
    needs(shutil.which("systemd-analyze") is not None, "needs systemd-analyze")
    unit = tmp_path / UNIT.name
    command = ["systemd-analyze", "verify", "--man=no", str(unit)]
    # ptop is not installed where the unit has it.
    text = UNIT.read_text().replace("/usr/local/bin/ptop", "/bin/true")
    for added, complaint in (("", ""), ("Nonsense=all\n", "Unknown key")):
        unit.write_text(text.replace("[Service]\n", f"[Service]\n{added}"))
        run = subprocess.run(command, capture_output=True, text=True)
        assert (complaint in run.stderr) if added else (run.returncode, run.stderr) == (0, "")


def test_the_units_capabilities_are_enough(logs: Path) -> None:
    assert capabilities(UNIT) == ["CAP_BPF", "CAP_PERFMON"]
    (start,) = setting(UNIT, "ExecStart")
    program, *words = shlex.split(start)
    assert program.endswith("/ptop")
    done = as_service(logs, *PTOP, *words, "-d", "0.1", "--for", "1", "--min-free", "1M")
    assert done.returncode == 0, done.stderr
    file = logs / "ptop.tsd"
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert (file.stat().st_uid, file.stat().st_gid) == (NOBODY, NOBODY)
    recorded = list(taskstats.open(file))
    assert len(recorded) > 2
    assert {snapshot.source for snapshot in recorded} == {"bpf"}
    assert all(snapshot.one_instant for snapshot in recorded)
    last = taskstats.usage(recorded[-2], recorded[-1])
    assert last.books()["residual_ns"] is not None
    assert recorded[-1].machine.cpu_pressure is not None
    # Other users' tasks have all columns that root's recording has.
    with taskstats.Source("bpf") as source:
        fields = source.snapshot().fields
    assert recorded[-1].fields == fields
    one = recorded[-1].by_pid(os.getpid())
    assert one is not None
    assert one.read_bytes is not None
    assert one.cmdline
    # The newest recording is shown where none is named.
    shown = as_service(logs, *PTOP, "replay", "-b", "-n", "1")
    assert shown.returncode == 0, shown.stderr
    assert "source bpf" in shown.stdout


def test_its_system_calls_are_allowed(tmp_path: Path, needs: Needs) -> None:
    needs(shutil.which("systemd-analyze") is not None, "needs systemd-analyze")
    needs(shutil.which("strace") is not None, "needs strace")
    allowed: set[str] = set()
    for line in setting(UNIT, "SystemCallFilter"):
        for name in line.removeprefix("~").split():
            found = members(name) if name.startswith("@") else {name}
            allowed = allowed - found if line.startswith("~") else allowed | found
    trace = tmp_path / "trace"
    tracer = ["strace", "-f", "-qq", "-o", str(trace)]
    command = [*PTOP, "record", "-o", str(tmp_path / "a.tsd"), "-d", "0.1", "--for", "0.5"]
    command += ["--rotate-size", "1", "--keep", "1"]
    done = subprocess.run([*tracer, *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    calls = set(re.findall(r"^\d+ +([a-z_0-9]+)\(", trace.read_text(), re.MULTILINE))
    assert "bpf" in calls
    assert calls <= allowed, calls - allowed


def members(group: str) -> set[str]:
    """The system calls of a group of systemd."""
    command = ["systemd-analyze", "syscall-filter", "--no-pager", group]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    names = [line.strip() for line in lines[1:]]
    found = {name for name in names if name and not name.startswith(("#", "@"))}
    return found.union(*(members(name) for name in names if name.startswith("@")))


@pytest.mark.parametrize("path", DROP_INS, ids=lambda path: path.stem)
def test_a_drop_in_names_what_its_capabilities_buy(path: Path) -> None:
    comment = " ".join(line for line in path.read_text().splitlines() if line.startswith("#"))
    assert capabilities(path)
    assert all(name in comment for name in capabilities(path))
    columns = {field["name"] for field in taskstats.FIELDS}
    named = set(re.findall(r"\b[a-z]+_[a-z_]+\b", comment))
    assert named
    assert named <= columns, named - columns


def test_the_units_user_is_made() -> None:
    (user,) = setting(UNIT, "User")
    lines = (DOCS / "ptop-record.sysusers").read_text().splitlines()
    assert [line.split()[:2] for line in lines if not line.startswith("#")] == [["u", user]]
    assert setting(UNIT, "Group") == [user]
