"""`ptop run`: what a command and all that it starts use.

Design decisions

* The report goes to standard error or a file, the command's output where it would go
  without us; its exit status is ours.
* Signals sent to us go on to the command; those of the terminal's keys reach it by
  themselves, as it stays in our process group.
* Orphans become our children, so that they can be waited for and are counted.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import json
import os
import resource
import shlex
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, NoReturn, TextIO

import taskstats
from taskstats import _track as tracking

from ptop.args import Parser
from ptop.text import as_root, safe

FORWARDED = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGCONT,
)
NOT_FOUND, NOT_EXECUTABLE = 127, 126
# What tells of each task that died by its name.
NAMING = (tracking.BpfCollector, tracking.ExitCollector)
# How long exits may gather before they are taken.
POLL_S = 0.2
# si_code of a signal that the kernel itself sent: a key of the terminal.
SI_KERNEL = 0x80


def _parser() -> argparse.ArgumentParser:
    options = Parser(
        prog="ptop run",
        description="Runs a command and reports what it used with every process it started:"
        " CPU time, elapsed time, memory, I/O and context switches.",
    )
    options.add_argument(
        "--format", choices=("text", "json"), default="text", help="of the report (default text)"
    )
    options.add_argument("-o", "--output", metavar="FILE", help="write the report there")
    options.add_argument(
        "--by-command", action="store_true", help="a row for each command name (needs root)"
    )
    options.add_argument(
        "--wait-orphans", action="store_true", help="end when the last descendant ends"
    )
    options.add_argument(
        "command", metavar="CMD", nargs=argparse.REMAINDER, help="the command and its arguments"
    )
    return options


def _become(command: list[str], found: Sequence[tracking.Collector], failed: int) -> NoReturn:
    """In the new child: joins the collectors and becomes the command; else `failed`, which
    is closed then, tells of it."""
    status, why = NOT_EXECUTABLE, ""
    try:
        for collector in found:
            collector.join()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {*FORWARDED, signal.SIGCHLD})
        # Python ignores these; the command would go on doing so.
        for ignored in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(ignored, signal.SIG_DFL)
        os.execvp(command[0], command)
    except FileNotFoundError:
        if os.path.dirname(command[0]) and os.path.exists(command[0]):
            why = f"{command[0]}: what its first line names is not there: check that line"
        else:
            status = NOT_FOUND
            why = f"no command {command[0]!r}: check its name or give its path"
    except OSError as error:
        why = f"{command[0]}: {error.strerror}: {_remedy(command, error)}"
    sys.stderr.write(f"ptop: {safe(why)}\n")
    sys.stderr.flush()
    os.write(failed, b"x")
    os._exit(status)


def _remedy(command: list[str], error: OSError) -> str:
    """What to do where a file cannot be executed."""
    if error.errno == errno.ENOEXEC:
        return f"give its interpreter, as in: ptop run -- sh {shlex.join(command)}"
    if os.path.isfile(command[0]):
        return f"make it executable: chmod +x {shlex.quote(command[0])}"
    return "give the path of a program"


class _Family:
    """The command and the orphans that become ours."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.status: int | None = None
        self.usages: list[resource.struct_rusage] = []
        self.left = True

    def reap(self) -> None:
        """Waits for those that have died."""
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                self.left = False
                return
            if pid == 0:
                return
            self.usages.append(usage)
            if pid == self.pid:
                self.status = os.waitstatus_to_exitcode(status)

    def over(self, wait_orphans: bool) -> bool:
        return self.status is not None and not (wait_orphans and self.left)


def _forward(pid: int, arrived: signal.struct_siginfo) -> None:
    if arrived.si_code != SI_KERNEL:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, arrived.si_signo)


def _follow(family: _Family, found: Sequence[tracking.Collector], wait_orphans: bool) -> None:
    awaited = {*FORWARDED, signal.SIGCHLD}
    while True:
        family.reap()
        if family.over(wait_orphans):
            return
        arrived = signal.sigtimedwait(awaited, POLL_S if found else 3600)
        if arrived is not None and arrived.si_signo != signal.SIGCHLD:
            _forward(family.pid, arrived)
        for collector in found:
            collector.poll()


def report(use: taskstats.TreeUse, status: int, by_command: bool) -> dict[str, Any]:
    """The report as the object of a JSON line."""
    line: dict[str, Any] = {
        "user_ns": use.user_ns,
        "system_ns": use.system_ns,
        "total_ns": use.total_ns,
        "elapsed_ns": use.elapsed_ns,
        "exit_status": status,
        **{key: value for key, value in asdict(use).items() if not key.endswith("commands")},
        "split": "estimated by ticks",
    }
    if by_command:
        line["commands"] = {
            name: asdict(row)
            for name, row in sorted(use.commands.items(), key=lambda item: -item[1].cpu_ns)
        }
    return line


def _text(line: dict[str, Any]) -> str:
    def seconds(name: str) -> str:
        return f"{line[name] / 1e9:.6f} s"

    def known(name: str) -> str:
        return "-" if line[name] is None else str(line[name])

    share = 100 * line["total_ns"] / line["elapsed_ns"] if line["elapsed_ns"] else 0.0
    exact = "exact" if line["exact"] else "not exact"
    rows = [
        f"CPU time   {seconds('total_ns')}  {share:.2f} %  ({exact}, by {line['collector']})",
        f"  user     {seconds('user_ns')}  system {seconds('system_ns')}  ({line['split']})",
        f"elapsed    {seconds('elapsed_ns')}",
        f"memory     {known('max_rss_kb')} KiB at most in a process;"
        f" page faults {known('minflt')} minor, {known('majflt')} major",
        f"switches   {known('nvcsw')} voluntary, {known('nivcsw')} involuntary",
        f"storage    {known('read_bytes')} bytes read, {known('write_bytes')} written",
        f"tasks      {known('tasks')}",
    ]
    for name, row in line.get("commands", {}).items():
        shown = name if name.isprintable() else ascii(name)
        rows.append(f"  {shown:<16} {row['tasks']:>6} tasks {row['cpu_ns'] / 1e9:12.6f} s")
    rows += [f"note: {note}" for note in line["notes"]]
    return "\n".join(rows) + "\n"


def main(arguments: Sequence[str]) -> int:
    """Run `ptop run`; gives the command's exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        parser.error("give a command, for example: ptop run -- make -j4")
    # Before the command, so that nothing is run in vain.
    out = sys.stderr
    if options.output:
        try:
            out = open(options.output, "w", encoding="utf-8")  # noqa: SIM115, closed by _write
        except OSError as error:
            parser.error(f"{options.output}: {error.strerror}: give another file to -o")
    taskstats.adopt_orphans(True)
    found = tracking.collectors(os.getpid(), whole=True)
    signal.pthread_sigmask(signal.SIG_BLOCK, {*FORWARDED, signal.SIGCHLD})
    began = time.monotonic_ns()
    # The command has neither end: both close on exec.
    executed, failed = os.pipe()
    pid = os.fork()
    if pid == 0:
        _become(command, found, failed)
    os.close(failed)
    family = _Family(pid)
    _follow(family, found, options.wait_orphans)
    use = taskstats.TreeUse(elapsed_ns=time.monotonic_ns() - began)
    tracking.add_rusage(use, family.usages)
    tracking.complete(use, found)
    if family.left:
        use.notes.append("descendants still run: only what the collector saw of them is counted")
    assert family.status is not None, "the command has ended"
    status = family.status if family.status >= 0 else 128 - family.status
    with open(executed, "rb") as pipe:
        ran = not pipe.read()
    if not ran:
        # Nothing ran but our own fork: there is nothing to report.
        return status
    if options.by_command and not any(isinstance(each, NAMING) for each in found):
        use.notes.append(
            "no rows by command: they need root, or CAP_BPF and CAP_PERFMON;"
            f" type: {as_root('run', *arguments)}"
        )
    line = report(use, status, options.by_command)
    text = json.dumps(line) + "\n" if options.format == "json" else _text(line)
    _write(text, out, options.output)
    return status


def _write(text: str, out: TextIO, name: str | None) -> None:
    """Writes the report; where its file does not take it, to standard error."""
    try:
        out.write(text)
        out.flush()
    except OSError as error:
        shown = safe(name or "standard error")
        sys.stderr.write(f"ptop: {shown}: {error.strerror}: here is the report\n{text}")
    if name:
        with contextlib.suppress(OSError):
            out.close()
