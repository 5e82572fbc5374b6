"""What /proc and a cgroup say of one task: for the pane of the live view.

Design decisions

* Files of text, shown as they are: nothing is measured with them, and they are read only
  while the pane is open. So this is Python, while snapshots are the sources' alone.
* /proc/PID is opened once: whatever is read later is of that task, or fails.
* `sections` is a generator. A caller takes as many steps as it has time for; each is short.
* Nothing is imported later: under sudo the files of the interpreter may be root's alone.
* A file that may not be read is said to need root. An unknown value is left out, never 0.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator

from taskstats.machine import cgroup_files

from ptop.times import TICKS_PER_S, started_s

# Bytes of a file that are read at most, and descriptors that are looked up in one step.
MOST_BYTES = 1 << 20
STEP = 64
# Descriptors and sockets that are listed; more are counted.
MOST_LISTED = 500
_CAP_SYS_PTRACE = 19

# A title, and the lines below it; None for a step that has not finished a section.
Section = tuple[str, list[str]]

_TCP_STATES = (
    "", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT", "CLOSE",
    "CLOSE_WAIT", "LAST_ACK", "LISTEN", "CLOSING", "NEW_SYN_RECV",
)  # fmt: skip
_POLICIES = ("other", "fifo", "rr", "batch", "", "idle", "deadline", "ext")


def _refusal() -> str:
    """What to say of a file that may not be read."""
    capabilities = int(_fields(_read("/proc/self/status")).get("CapEff", "0"), 16)
    return "refused by the kernel" if capabilities >> _CAP_SYS_PTRACE & 1 else "needs --keep-root"


class GoneError(Exception):
    """The task has died, or another one has its pid."""


class TaskFiles:
    """The files of the task that had `pid` at `seen_ns` (CLOCK_BOOTTIME of the machine)."""

    def __init__(self, pid: int, seen_ns: int) -> None:
        """Raises `GoneError` if there is no such task any more."""
        self.pid = pid
        self.refusal = _refusal()
        try:
            self._folder = os.open(f"/proc/{pid}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            raise GoneError from None
        # The task with this pid now has had it since its start, which never changes.
        self.start_ns = self._start_ns()
        if self.start_ns > seen_ns:
            self.close()
            raise GoneError

    def close(self) -> None:
        """Close the descriptor."""
        if self._folder >= 0:
            os.close(self._folder)
            self._folder = -1

    def is_alive(self) -> bool:
        """Whether the task lives."""
        try:
            self.stat()
        except GoneError:
            return False
        return True

    def started_s(self) -> int:
        """When it started, in seconds since 1970."""
        return started_s(int(self.stat()[19]) * 10**9 // TICKS_PER_S)

    def _start_ns(self) -> int:
        ticks = int(self.stat()[19])
        offset_ns = _boottime_offset_ns(_read("/proc/self/timens_offsets"))
        return ticks * 10**9 // TICKS_PER_S - offset_ns

    def text(self, name: str) -> str | None:
        """A file of the task; None if it may not be read. `GoneError` if the task is gone."""
        try:
            descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._folder)
            try:
                data = _all(descriptor)
            finally:
                os.close(descriptor)
        except PermissionError:
            return None
        except OSError as error:
            if name == "stat":
                raise GoneError from error
            return ""
        return data.decode("utf-8", "replace")

    def link(self, name: str) -> str:
        """The target of a link of the task, or why it is unknown."""
        try:
            return os.readlink(name, dir_fd=self._folder)
        except PermissionError:
            return self.refusal
        except OSError:
            # Kernel threads have no program.
            return "-"

    def stat(self) -> list[str]:
        """The fields of proc_pid_stat(5) from the third on, the state."""
        return (self.text("stat") or "").rpartition(")")[2].split() or _gone()

    def sections(self, with_slow: bool) -> Iterator[Section | None]:
        """All sections but the environment; with the slow ones: files, sockets and locks."""
        yield "command", [self._command()]
        yield "program", self._program()
        yield "task", self._task()
        yield "memory", self._memory()
        yield from cgroup_sections(self.text("cgroup") or "")
        yield "limits", _limits(self.text("limits")) or [self.refusal]
        if with_slow:
            yield from self._files()
            yield "locks", _locks(_read("/proc/locks"), self.pid)
        yield "children", self._children()

    def environment(self, shown: bool) -> list[str]:
        """The environment; the values are masked unless `shown`."""
        text = self.text("environ")
        if text is None:
            return [self.refusal]
        pairs = [pair.partition("=") for pair in text.split("\0") if pair]
        return [f"{name}={value if shown else '********'}" for name, _, value in pairs]

    def proportional(self) -> list[str]:
        """Memory where shared pages count in parts; slow, as the kernel walks all pages."""
        text = self.text("smaps_rollup")
        if text is None:
            return [self.refusal]
        values = _fields(text)
        names = ("Pss", "Pss_Anon", "Pss_File", "Pss_Shmem", "SwapPss")
        return ["  ".join(f"{name} {values[name]}" for name in names if name in values)]

    def _command(self) -> str:
        arguments = (self.text("cmdline") or "").rstrip("\0")
        # A kernel thread has a name alone.
        return arguments.replace("\0", " ") or f"[{(self.text('comm') or '').rstrip()}]"

    def _program(self) -> list[str]:
        root = self.link("root")
        lines = [f"exe {self.link('exe')}", f"cwd {self.link('cwd')}"]
        return [*lines, f"root {root}"] if root.startswith("/") and root != "/" else lines

    def _task(self) -> list[str]:
        stat, status = self.stat(), _fields(self.text("status") or "")
        policy = int(stat[38]) if len(stat) > 38 else 0
        # Without a terminal there is none.
        foreground = stat[5] if int(stat[5]) > 0 else "-"
        policy_name = _POLICIES[policy] if policy < len(_POLICIES) else str(policy)
        wchan = self.text("wchan")
        group = (self.text("autogroup") or "").strip()
        tty = int(stat[4])
        return [
            f"group {stat[2]}  session {stat[3]}  tty {_tty(tty)}  foreground group {foreground}",
            f"policy {policy_name}  priority {stat[15]}  nice {stat[16]}  rt priority {stat[37]}"
            f"  CPUs {status.get('Cpus_allowed_list', '?')}{f'  {group}' if group else ''}",
            f"uid {status.get('Uid', '?')}  gid {status.get('Gid', '?')}"
            f"  capabilities {status.get('CapEff', '?')}  seccomp {status.get('Seccomp', '?')}"
            f"  no new privileges {status.get('NoNewPrivs', '?')}",
            f"oom score {_line(self.text('oom_score'))}, adjusted by"
            f" {_line(self.text('oom_score_adj'))}"
            f"  sleeps in {self.refusal if wchan is None else _wchan(wchan)}",
        ]

    def _memory(self) -> list[str]:
        values = _fields(self.text("status") or "")
        names = ("VmRSS", "VmHWM", "RssAnon", "RssFile", "RssShmem", "VmSwap", "VmSize", "VmData",
                 "VmExe", "VmLib", "VmPTE", "VmLck")  # fmt: skip
        known = [f"{name.removeprefix('Vm')} {values[name]}" for name in names if name in values]
        return ["  ".join(known[at : at + 6]) for at in range(0, len(known), 6)]

    def _children(self) -> list[str]:
        children = (self.text(f"task/{self.pid}/children") or "").split()
        more = f" and {len(children) - STEP} more" if len(children) > STEP else ""
        return [f"{len(children)} living: {' '.join(children[:STEP])}{more}"] if children else []

    def _files(self) -> Iterator[Section | None]:
        """Open files, and the sockets among them."""
        try:
            folder = os.open("fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._folder)
        except PermissionError:
            yield "open files", [self.refusal]
            return
        except OSError:
            return
        try:
            names: list[str] = []
            count = 0
            with os.scandir(folder) as entries:
                for entry in entries:
                    # They come in order.
                    if len(names) < MOST_LISTED:
                        names.append(entry.name)
                    count += 1
                    if count % STEP == 0:
                        yield None
            listed, sockets = [], {}
            for number, name in enumerate(names):
                target = _target(name, folder)
                if target is None:
                    listed = [self.refusal]
                    break
                listed.append(f"{name} {target}")
                if target.startswith("socket:["):
                    sockets[target[8:-1]] = name
                if number % STEP == STEP - 1:
                    yield None
        finally:
            os.close(folder)
        more = count - len(names)
        yield f"open files: {count}", [*listed, *([f"{more} more"] if more else [])]
        if sockets:
            yield from self._sockets(sockets)

    def _sockets(self, numbers: dict[str, str]) -> Iterator[Section | None]:
        """The addresses of sockets, from their inodes and the descriptors that they have."""
        found = []
        for kind in ("tcp", "tcp6", "udp", "udp6", "unix"):
            try:
                descriptor = os.open(f"net/{kind}", os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._folder)
            except OSError:
                continue
            with open(descriptor, encoding="utf-8", errors="replace") as lines:
                for number, line in enumerate(lines):
                    if number % STEP == STEP - 1:
                        yield None
                    words = line.split()
                    at = 6 if kind == "unix" else 9
                    if len(words) > at and words[at] in numbers:
                        found.append(f"{numbers[words[at]]} {_socket(kind, words)}")
        yield f"sockets: {len(numbers)}", found


def _gone() -> list[str]:
    raise GoneError


def _read(path: str) -> str:
    """A file, empty if it cannot be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return _all(descriptor).decode("utf-8", "replace")
    except OSError:
        return ""
    finally:
        os.close(descriptor)


def _all(descriptor: int) -> bytes:
    """What a file has; one read returns a page of most files of /proc."""
    parts, left = [], MOST_BYTES
    while left > 0 and (part := os.read(descriptor, left)):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _target(name: str, folder: int) -> str | None:
    try:
        return os.readlink(name, dir_fd=folder)
    except PermissionError:
        return None
    except OSError:
        return "closed meanwhile"


def _line(text: str | None) -> str:
    return "?" if text is None else text.strip() or "?"


def _wchan(text: str) -> str:
    return "-" if text in {"", "0"} else text


def _tty(number: int) -> str:
    """The name of a terminal from its device number (proc_pid_stat(5))."""
    if number == 0:
        return "-"
    major, minor = os.major(number), os.minor(number)
    if 136 <= major <= 143:
        return f"pts/{(major - 136) * 256 + minor}"
    return f"tty{minor}" if major == 4 and minor < 64 else f"{major}:{minor}"


def _fields(text: str) -> dict[str, str]:
    """The lines `Name: value` of a file."""
    pairs = (line.partition(":") for line in text.splitlines())
    return {name: " ".join(value.split()) for name, _, value in pairs}


def _boottime_offset_ns(text: str) -> int:
    """What a time namespace adds to CLOCK_BOOTTIME (time_namespaces(7))."""
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["boottime"]:
            return int(words[1]) * 10**9 + int(words[2])
    return 0


def _limits(text: str | None) -> list[str]:
    """The limits that are not unlimited: soft and hard."""
    lines = []
    for line in (text or "").splitlines()[1:]:
        # Names have blanks; columns have fixed places (fs/proc/base.c).
        name, rest = line[:26].strip().removeprefix("Max "), line[26:].split()
        if rest[:2] != ["unlimited", "unlimited"]:
            lines.append(f"{name} {' / '.join(rest[:2])} {' '.join(rest[2:])}".rstrip())
    return [",  ".join(lines[at : at + 3]) for at in range(0, len(lines), 3)]


def _locks(text: str, pid: int) -> list[str]:
    """The file locks of a process (proc_locks(5))."""
    found = [line.split() for line in text.splitlines()]
    own = [words for words in found if len(words) > 7 and words[4] == str(pid)]
    return [f"{w[1]} {w[3]} device:inode {w[5]} bytes {w[6]} to {w[7]}" for w in own]


def _socket(kind: str, words: list[str]) -> str:
    """A line of proc_pid_net(5) in words."""
    if kind == "unix":
        return f"unix {words[7]}" if len(words) > 7 else "unix"
    local, remote = _address(words[1]), _address(words[2])
    if kind.startswith("udp"):
        return f"{kind} {local} {remote}" if int(words[2].split(":")[1], 16) else f"{kind} {local}"
    state = int(words[3], 16)
    name = _TCP_STATES[state] if state < len(_TCP_STATES) else str(state)
    return f"{kind} {local} {name}" if name == "LISTEN" else f"{kind} {local} {remote} {name}"


def _address(text: str) -> str:
    """An address and port, hexadecimal words in the order of this machine's bytes."""
    digits, _, port = text.partition(":")
    words = (bytes.fromhex(digits[at : at + 8]) for at in range(0, len(digits), 8))
    little = sys.byteorder == "little"
    data = b"".join(word[::-1] if little else word for word in words)
    if len(data) == 4:
        return f"{'.'.join(map(str, data))}:{int(port, 16)}"
    groups = ":".join(f"{data[at] << 8 | data[at + 1]:x}" for at in range(0, len(data), 2))
    # The longest row of zeros is left out (RFC 5952).
    zeros = max(re.findall(r"(?:(?<=:)|^)0(?::0)+(?=:|$)", groups), key=len, default="")
    before, _, after = groups.partition(zeros) if zeros else (groups, "", "")
    short = f"{before.rstrip(':')}::{after.lstrip(':')}" if zeros else groups
    return f"[{short}]:{int(port, 16)}"


# The files of a cgroup that the pane shows, by the controller that has them (cgroup-v2).
_CGROUP_FILES = {
    "cpu": ("cpu.max", "cpu.weight", "cpu.stat", "cpu.pressure"),
    "memory": ("memory.current", "memory.high", "memory.max", "memory.swap.current",
               "memory.swap.max", "memory.events", "memory.pressure"),
    "io": ("io.max", "io.weight", "io.stat", "io.pressure"),
    "pids": ("pids.current", "pids.max"),
}  # fmt: skip
# Of files with several lines or words those that say of throttling, limits and pressure.
_WORDS = {
    "cpu.stat": ("nr_periods", "nr_throttled", "throttled_usec"),
    "memory.events": ("high", "max", "oom", "oom_kill"),
}


def cgroup_sections(text: str, mount: str | None = None) -> Iterator[Section]:
    """The cgroup of /proc/PID/cgroup `text`: limits, throttling and pressure."""
    lines = text.splitlines()
    path = next((line[3:] for line in lines if line.startswith("0::")), None)
    if path is None:
        yield "cgroup", [*lines, "not on v2"] if lines else []
        return
    names = [name for files in _CGROUP_FILES.values() for name in files]
    texts = cgroup_files(path, names, mount)
    shown = [f"path {path}"]
    for controller, files in _CGROUP_FILES.items():
        known = [_cgroup_file(name, texts[name].strip()) for name in files if texts.get(name)]
        # Without the controller there may still be pressure and times.
        v1 = [line for line in lines if controller in line.split(":")[1].split(",")]
        if v1 and files[0] not in texts:
            known = [f"not on v2 ({v1[0].split(':', 2)[2]} on v1)", *known]
        if known:
            shown.append(f"{controller}: {'  '.join(known)}")
    yield "cgroup", shown


def _cgroup_file(name: str, text: str) -> str:
    """A file of a cgroup on one line."""
    short = name.partition(".")[2]
    if name in _WORDS:
        pairs = dict(line.split(maxsplit=1) for line in text.splitlines())
        return "  ".join(f"{word} {pairs[word]}" for word in _WORDS[name] if word in pairs)
    if name.endswith(".pressure"):
        # The share of the last 10 s in which some or all tasks waited.
        words = [line.split() for line in text.splitlines()]
        return f"{short} " + " ".join(f"{w[0]} {w[1].removeprefix('avg10=')}%" for w in words)
    return f"{short} {'; '.join(text.splitlines())}"
