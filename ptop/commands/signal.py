"""`ptop signal`: signal tasks that a pid and a start name, whoever has the pid by now."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from ptop import tasks
from ptop.args import Parser
from ptop.targets import SIGNALS, Target, parse_signal, parse_target, signal_name
from ptop.text import as_root, safe

EXIT_FAILURE = 1


def _signal(text: str) -> int:
    try:
        return parse_signal(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _target(text: str) -> Target:
    try:
        return parse_target(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def parser() -> Parser:
    """The options of `ptop signal`."""
    options = Parser(
        prog="ptop signal",
        description="Sends a signal to tasks. Each is named by its pid and its start, so that a"
        " task which has the pid later is never reached: the live view writes such commands. The"
        " exit status is 0 if all were signalled, 1 if not.",
    )
    options.add_argument(
        "signal", metavar="SIGNAL", type=_signal, help="a name or number: " + ", ".join(SIGNALS)
    )
    options.add_argument(
        "targets",
        metavar="PID@START",
        type=_target,
        nargs="+",
        help="a process, or a thread by its own id, and its start in clock ticks since boot:"
        " field 22 of proc_pid_stat(5)",
    )
    return options


def main(words: Sequence[str]) -> int:
    """Run `ptop signal`; returns the exit status."""
    options = parser().parse_args(words)
    status = 0
    for target in options.targets:
        if reason := _refusal(target, options.signal):
            sys.stderr.write(f"ptop: {safe(reason)}\n")
            status = EXIT_FAILURE
    return status


def _refusal(target: Target, number: int) -> str:
    """Why a task was not signalled; empty if it was."""
    try:
        tasks.send(target, number)
    except tasks.GoneError as error:
        return f"{error}: not signalled"
    except PermissionError:
        command = as_root("signal", signal_name(number), str(target))
        return f"{target.pid} may not be signalled; type: {command}"
    except OSError as error:
        return f"{target.pid} was not signalled: {error.strerror}"
    return ""
