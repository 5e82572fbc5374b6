"""The command line: the table of commands, dispatch, and error messages.

Design decisions

* The command word is found first. All other words, before and after it, go to the parser
  of that command, so an option means the same on either side.
* An unknown option is reported before the command word is judged: the word after a
  misspelled option may be the value of that option.
* A command's module is imported only when the command is run.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import taskstats

from ptop import streams
from ptop.args import (
    Parser,
    add_acting,
    add_delay,
    add_history,
    add_source,
    add_table,
    add_threads,
    parse_with_config,
)
from ptop.privilege import became
from ptop.text import as_root, safe

EXIT_FAILURE = 1
EXIT_INTERRUPTED = 130


# The commands: the word, a summary for the help, and the module (see `ptop.commands`).
# Plain tuples, because creating a dataclass costs as much as a parser.
_TABLE = (
    ("doctor", "check this machine", "ptop.commands.doctor"),
    ("audit", "check that no CPU time is missing", "ptop.commands.audit"),
    ("run", "run a command and report what it used", "ptop.commands.run"),
    ("record", "write a dump", "ptop.commands.record"),
    ("check", "report which parts of a dump are readable", "ptop.commands.check"),
    ("replay", "show a dump in the live view", "ptop.commands.replay"),
    ("report", "report who used most in dumps", "ptop.commands.report"),
    ("diff", "compare two spans of dumps", "ptop.commands.diff"),
    ("signal", "signal tasks by pid and start", "ptop.commands.signal"),
    ("export", "write dumps as CSV, JSON lines, Arrow or Parquet", "ptop.commands.export"),
)
SUMMARIES = {name: summary for name, summary, _ in _TABLE}
MODULES = {name: module for name, _, module in _TABLE}
# The commands whose files are dumps to read, not files to write.
READERS = {"check", "replay", "report", "diff", "export"}


def parser() -> Parser:
    """The parser for `ptop` without a command word; its help also lists the commands."""
    options = Parser(
        prog="ptop",
        description="Where a Linux machine's CPU time goes, task by task.",
        epilog="`ptop doctor` reports which sources work here and how to get the others.",
    )
    _add_options(options)
    options.add_argument(
        "command",
        nargs="?",
        choices=tuple(SUMMARIES),
        help="; ".join(f"{name}: {summary}" for name, summary in SUMMARIES.items())
        + " (for the options of a command type: ptop COMMAND --help)",
    )
    return options


def _add_options(options: Parser) -> None:
    add_table(options)
    add_delay(options)
    add_source(options)
    add_threads(options)
    add_acting(options)
    add_history(options)


class _Scanner(Parser):
    """Finds the command word: it knows which options of `ptop` take a value, and accepts
    any value. Whether a value is right depends on the command."""

    def add_argument(self, *names: str, **settings: Any) -> argparse.Action:
        for judgement in ("type", "choices"):
            settings.pop(judgement, None)
        if settings.get("action") in {"help", "version"}:
            settings = {"action": "store_true"}
        return super().add_argument(*names, **settings)

    def error(self, message: str) -> NoReturn:
        parser().error(message)


def split(words: Sequence[str]) -> tuple[str, list[str]]:
    """The command word, or "" if there is none, and all other words. Exits with a message if
    there is an unknown option before the command word, or no such command."""
    found = _from_command(words)
    if not found:
        return "", list(words)
    name, *after = found
    if name not in MODULES:
        parser().error(f"no command {name!r}; the commands are: {', '.join(MODULES)}")
    before = words[: len(words) - len(found)]
    return name, [*before, *after]


def _from_command(words: Sequence[str]) -> Sequence[str]:
    """The words from the command word on; empty if there is none."""
    if not words or not words[0].startswith("-"):
        return words
    scanner = _Scanner(prog="ptop")
    _add_options(scanner)
    # PARSER means the first positional word and all words after it.
    rest = scanner.add_argument("rest", nargs=argparse.PARSER, default=[])
    rest.required = False
    found, unknown = scanner.parse_known_args(words)
    if unknown:
        scanner.error(f"unrecognized arguments: {' '.join(unknown)}")
    from_command: list[str] = found.rest
    return from_command


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `ptop`; returns the exit status."""
    streams.prepare()
    words = list(sys.argv[1:] if arguments is None else arguments)
    command = ""
    try:
        try:
            command, rest = split(words)
            status = _run(command, rest)
        finally:
            # --help exits by an exception.
            sys.stdout.flush()
    except BrokenPipeError:
        # The reader is gone.
        streams.discard(sys.stdout)
        return 0
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except (taskstats.TaskstatsError, OSError) as error:
        streams.discard(sys.stdout)
        root_may = _root_may(error, command)
        advice = _advice(error, root_may)
        sys.stderr.write(f"ptop: {safe(_reason(error))}{f'; {advice}' if advice else ''}\n")
        if root_may:
            sys.stderr.write(f"type: {safe(as_root(*words))}\n")
        return EXIT_FAILURE
    return status


def _run(command: str, words: Sequence[str]) -> int:
    if not command:
        from ptop.commands import top

        return top.main(parse_with_config(parser(), words))
    status: int = importlib.import_module(MODULES[command]).main(words)
    return status


# What to do about an error of a file that says nothing about it itself.
ADVICE = {
    errno.ENOENT: "check the name and its directory",
    errno.ENOTDIR: "check the name and its directory",
    errno.EISDIR: "give the name of a file",
    errno.EROFS: "give the name of a file elsewhere",
    errno.ENOSPC: "make room, or write elsewhere",
    errno.EDQUOT: "make room, or write elsewhere",
    errno.EMFILE: "allow more open files: see ulimit -n",
    errno.EFBIG: "write elsewhere, or allow larger files: see ulimit -f",
}


def _reason(error: Exception) -> str:
    if not isinstance(error, OSError) or not error.strerror:
        return str(error)
    if error.filename:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    full = error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
    return f"standard output: {error.strerror}" if full else error.strerror


def _advice(error: Exception, root_may: bool) -> str:
    """What to do about an error of a file; other errors contain their advice."""
    if isinstance(error, taskstats.TaskstatsError) or not isinstance(error, OSError):
        return ""
    if isinstance(error, PermissionError) and not root_may:
        if user := became():
            return (
                f"ptop works as {user}, who called sudo: give the name of a file that {user} may"
                " open, or work as root with: env -u SUDO_UID ptop"
            )
        return "give the name of a file that you may open"
    return ADVICE.get(error.errno or 0, "")


def _root_may(error: Exception, command: str) -> bool:
    """Whether root may do what was denied: use a source, or read a dump of another user.
    Files are written as the user who calls sudo, so root gains nothing there."""
    if os.geteuid() == 0 or not isinstance(error, PermissionError):
        return False
    if isinstance(error, taskstats.AccessDenied) or command not in READERS:
        return isinstance(error, taskstats.AccessDenied)
    # Where the module was not loaded there is no such error, and after sudo it may not be readable.
    outputs = sys.modules.get("ptop.outputs")
    return outputs is None or not isinstance(error, outputs.DeniedOutputError)


if __name__ == "__main__":
    sys.exit(main())
