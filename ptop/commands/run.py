"""`ptop run`: what a command and all its descendants use.

Design decisions

* The report goes to standard error or a file, the output of the command where it would go
  without `ptop`. The exit status is that of the command.
* Signals sent to `ptop` are forwarded to the command. Signals from keys of the terminal
  reach it directly, because it stays in the same process group.
* Orphans become children of `ptop`, so that they can be waited for and are counted.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import json
import os
import shlex
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, NoReturn, TextIO

import taskstats

from ptop import streams
from ptop.args import Parser
from ptop.outputs import Output
from ptop.signals import wait_for
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
# Exit statuses of a shell (POSIX, 2.8.2).
NOT_FOUND, NOT_EXECUTABLE, SIGNALLED = 127, 126, 128
# Time between two reads of the exit events that gather.
POLL_S = 0.2
# Longest wait for a signal if nothing gathers; it has no other effect.
IDLE_S = 3600
# si_code of a signal that the kernel itself sent: a key of the terminal.
SI_KERNEL = 0x80


def parser() -> Parser:
    """The options of `ptop run`."""
    options = Parser(
        prog="ptop run",
        description="Runs a command and reports what it used with every process it started:"
        " CPU time, elapsed time, memory, I/O and context switches. Under sudo the command is"
        " root's, as with sudo itself.",
    )
    options.add_argument(
        "--format",
        choices=("text", "json"),
        default="text",
        help="format of the report (default text)",
    )
    options.add_argument(
        "-o", "--output", metavar="FILE", help="write the report to FILE; - is standard output"
    )
    options.add_argument(
        "--by-command", action="store_true", help="add a row for each command name (needs root)"
    )
    options.add_argument(
        "--wait-orphans", action="store_true", help="wait until the last descendant exits"
    )
    options.add_argument(
        "command", metavar="CMD", nargs=argparse.REMAINDER, help="the command and its arguments"
    )
    return options


def main(arguments: Sequence[str]) -> int:
    """Run `ptop run`; returns the exit status of the command."""
    options_of = parser()
    options = options_of.parse_args(arguments)
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        options_of.error("give a command, for example: ptop run -- make -j4")
    with contextlib.ExitStack() as opened:
        output = None
        if options.output and options.output != "-":
            # Opened first, so that the command does not run for a report that cannot be written.
            try:
                output = opened.enter_context(Output(options.output))
            except OSError as error:
                options_of.error(f"{options.output}: {error.strerror}: give another file to -o")
        return _run_and_report(options, command, output, as_root("run", *arguments))


def _run_and_report(
    options: argparse.Namespace, command: list[str], output: Output | None, for_rows: str
) -> int:
    """Returns the exit status of the command. `for_rows` is what to type to have rows by
    command."""
    taskstats.adopt_orphans(True)
    children = _Children()
    try:
        with taskstats.track(cgroup=True) as tracker:
            _run(command, tracker, children, options.wait_orphans)
        # Where exec failed, only our own fork ran: there is nothing to report.
        text = "" if children.exec_failed else _report(tracker, children, options, for_rows)
        _write(text, output, options.output)
    except Exception as error:
        # The command has run: no failure to report it may replace its exit status.
        if not children.done(False):
            raise
        _complain(f"ptop: no report: {safe(str(error))}\n")
    return children.exit_status()


def _report(
    tracker: taskstats.Tracker, children: _Children, options: argparse.Namespace, for_rows: str
) -> str:
    """The text of the report."""
    use = tracker.use
    if children.remain:
        use.notes.append("descendants still run: only what the collector saw of them is counted")
    if children.poll_failure:
        use.notes.append(f"exits were read no further than: {children.poll_failure}")
    if options.by_command and use.tasks is None:
        use.notes.append(
            f"no rows by command: they need root, or CAP_BPF and CAP_PERFMON; type: {for_rows}"
        )
    report = report_object(use, children.exit_status(), options.by_command)
    return json.dumps(report) + "\n" if options.format == "json" else _text(report)


class _Children:
    """The command, and the orphans that become children of this process."""

    def __init__(self) -> None:
        self.pid = 0
        self.exec_failed = False
        # Whether any child has not been waited for.
        self.remain = True
        # Why the tracker could not be polled any more; empty if it can.
        self.poll_failure = ""
        self._code: int | None = None

    def reap(self) -> None:
        """Wait for all children that have exited."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                self.remain = False
                return
            if pid == 0:
                return
            if pid == self.pid:
                self._code = os.waitstatus_to_exitcode(status)

    def done(self, wait_orphans: bool) -> bool:
        """Whether the command has exited, and with `wait_orphans` all others too."""
        return self._code is not None and not (wait_orphans and self.remain)

    def exit_status(self) -> int:
        """The exit status of the command, as a shell reports it."""
        assert self._code is not None, "the command has exited"
        return self._code if self._code >= 0 else SIGNALLED - self._code


def _run(
    command: list[str], tracker: taskstats.Tracker, children: _Children, wait_orphans: bool
) -> None:
    """Run the command to its end."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {*FORWARDED, signal.SIGCHLD})
    # Both ends close on exec: a byte arrives only if exec fails.
    readable, writable = os.pipe()
    pid = os.fork()
    if pid == 0:
        _become(command, tracker, writable)
    os.close(writable)
    children.pid = pid
    _follow(children, tracker, wait_orphans)
    with open(readable, "rb") as pipe:
        children.exec_failed = bool(pipe.read())


def _become(command: list[str], tracker: taskstats.Tracker, failed: int) -> NoReturn:
    """In the new child: exec the command. On any failure, write to the descriptor `failed` and
    exit: no code of the parent may run here."""
    status = NOT_EXECUTABLE
    try:
        status, why = _exec(command, tracker)
        sys.stderr.write(f"ptop: {safe(why)}\n")
        sys.stderr.flush()
    finally:
        with contextlib.suppress(OSError):
            os.write(failed, b"x")
        os._exit(status)


def _exec(command: list[str], tracker: taskstats.Tracker) -> tuple[int, str]:
    """Join the tracker and exec the command; returns the exit status and the reason if that
    fails."""
    if not command[0]:
        return NOT_FOUND, "the command is an empty word: give its name or path"
    try:
        tracker.join()
        # A signal that arrives before exec ends this process, not Python code.
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {*FORWARDED, signal.SIGCHLD})
        # Python ignores these signals, and exec would keep that.
        for ignored in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(ignored, signal.SIG_DFL)
        os.execvp(command[0], command)
    except FileNotFoundError:
        if os.path.dirname(command[0]) and os.path.exists(command[0]):
            why = f"{command[0]}: its interpreter does not exist: check its first line"
            return NOT_EXECUTABLE, why
        return NOT_FOUND, f"no command {command[0]!r}: check its name or give its path"
    except OSError as error:
        why = f"{command[0]}: {error.strerror}: {_exec_advice(command, error)}"
        return NOT_EXECUTABLE, why
    except Exception as error:
        return NOT_EXECUTABLE, f"{command[0]}: {error}: check the command"


def _exec_advice(command: list[str], error: OSError) -> str:
    """What to type if a file cannot be executed."""
    if error.errno == errno.ENOEXEC:
        return f"give its interpreter, as in: ptop run -- sh {shlex.join(command)}"
    if os.path.isfile(command[0]):
        return f"make it executable: chmod +x {shlex.quote(command[0])}"
    return "give the path of a program"


def _follow(children: _Children, tracker: taskstats.Tracker, wait_orphans: bool) -> None:
    """Reap children and forward signals until all that is waited for has exited."""
    awaited = {*FORWARDED, signal.SIGCHLD}
    while True:
        children.reap()
        if children.done(wait_orphans):
            return
        polls = tracker.needs_poll and not children.poll_failure
        arrived = wait_for(awaited, POLL_S if polls else IDLE_S)
        if arrived is not None and arrived.si_signo != signal.SIGCHLD:
            _forward(children.pid, arrived)
        if polls:
            try:
                tracker.poll()
            except (taskstats.TaskstatsError, OSError) as error:
                # The command still runs, and is waited for.
                children.poll_failure = str(error)


def _forward(pid: int, arrived: signal.struct_siginfo) -> None:
    if arrived.si_code != SI_KERNEL:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, arrived.si_signo)


def report_object(use: taskstats.TreeUse, status: int, by_command: bool) -> dict[str, Any]:
    """The report as the object of a JSON line."""
    report: dict[str, Any] = {
        "user_ns": use.user_ns,
        "system_ns": use.system_ns,
        "total_ns": use.total_ns,
        "elapsed_ns": use.elapsed_ns,
        "exit_status": status,
        **{key: value for key, value in asdict(use).items() if not key.endswith("commands")},
        "split": "estimated by ticks",
    }
    if by_command:
        report["commands"] = {
            name: asdict(row)
            for name, row in sorted(use.commands.items(), key=lambda item: -item[1].cpu_ns)
        }
    return report


def _text(report: dict[str, Any]) -> str:
    """The report for people."""

    def seconds(name: str) -> str:
        return f"{report[name] / 1e9:.6f} s"

    def known(name: str) -> str:
        return "-" if report[name] is None else str(report[name])

    share = 100 * report["total_ns"] / report["elapsed_ns"] if report["elapsed_ns"] else 0.0
    exact = "exact" if report["exact"] else "not exact"
    lines = [
        f"CPU time   {seconds('total_ns')}  {share:.2f} %  ({exact}, by {report['collector']})",
        f"  user     {seconds('user_ns')}  system {seconds('system_ns')}  ({report['split']})",
        f"elapsed    {seconds('elapsed_ns')}",
        f"memory     {known('max_rss_kb')} KiB at most in a process;"
        f" page faults {known('minflt')} minor, {known('majflt')} major",
        f"switches   {known('nvcsw')} voluntary, {known('nivcsw')} involuntary",
        f"storage    {known('read_bytes')} bytes read, {known('write_bytes')} written",
        f"tasks      {known('tasks')}",
    ]
    for name, row in report.get("commands", {}).items():
        shown = name if name.isprintable() else ascii(name)
        lines.append(f"  {shown:<16} {row['tasks']:>6} tasks {row['cpu_ns'] / 1e9:12.6f} s")
    lines += [f"note: {note}" for note in report["notes"]]
    return "\n".join(lines) + "\n"


def _write(text: str, output: Output | None, name: str | None) -> None:
    """Write the report to its file, or to standard error if there is none or that fails."""
    if output is None:
        _show(text, sys.stdout if name == "-" else sys.stderr)
        return
    try:
        output.stream.write(text.encode(errors="replace"))
        output.finish()
    except OSError as error:
        _complain(f"ptop: {safe(name or '')}: {error.strerror}: here is the report\n{text}")


def _complain(text: str) -> None:
    """Write to standard error, if that can be done."""
    _show(text, sys.stderr)


def _show(text: str, stream: TextIO) -> None:
    """Write to a stream, if that can be done."""
    try:
        stream.write(text)
        stream.flush()
    except OSError:
        streams.discard(stream)
