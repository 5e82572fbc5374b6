"""The command line: options, their meaning, and which front end they lead to."""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import sys
from collections.abc import Sequence
from dataclasses import replace

import taskstats

from ptop import columns as table
from ptop.args import Parser, add_delay, add_source, add_threads, view_options
from ptop.live.state import Limits, State
from ptop.text import as_root, safe

# mypy's name for "only for type checkers", without the import of typing.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from ptop import batch

EXIT_FAILURE = 1
EXIT_USAGE = 2

# Commands with options of their own, and what they do.
COMMANDS = {
    "audit": "check that no CPU time is missing",
    "run": "run a command and report what it used",
    "record": "write a dump",
    "check": "tell what of a dump can be read",
    "replay": "show a dump as the live view would have",
    "report": "who used most in dumps",
    "export": "dumps as CSV, JSON lines, Arrow or Parquet",
}


def parser() -> argparse.ArgumentParser:
    """The one option table; help and man page are made from it."""
    options = Parser(
        prog="ptop",
        parents=[view_options()],
        description="Where a Linux machine's CPU time goes, task by task.",
        epilog="`ptop doctor` tells which sources work here and how to get the others.",
    )
    options.add_argument(
        "command",
        nargs="?",
        choices=("doctor", *COMMANDS),
        help="doctor: check this machine; "
        + "; ".join(f"{name}: {what}" for name, what in COMMANDS.items())
        + " (ptop audit --help and so on)",
    )
    add_delay(options)
    add_source(options)
    add_threads(options)
    options.add_argument("--version", action="version", version=f"ptop {taskstats.__version__}")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `ptop`; gives the exit status."""
    _open_closed()
    # Names of any encoding are shown, whatever the locale says.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="replace")  # type: ignore[union-attr]
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        own = bool(words) and words[0] in COMMANDS
        status = _command(words) if own else _run(parser().parse_args(words))
        sys.stdout.flush()
    except BrokenPipeError:
        # Nobody reads any more. The interpreter flushes once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    except (taskstats.TaskstatsError, OSError) as error:
        advice = _advice(error, words)
        sys.stderr.write(f"ptop: {safe(_reason(error))}{f'; {advice}' if advice else ''}\n")
        if _root_may(error, words):
            sys.stderr.write(f"type: {safe(as_root(*words))}\n")
        return EXIT_FAILURE
    return status


def _open_closed() -> None:
    """Standard streams that were closed lead nowhere; no other file gets their numbers."""
    if None not in (sys.stdin, sys.stdout, sys.stderr):
        return
    while (opened := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(opened)
    # None is what Python has for a stream that was closed.
    sys.stdin = sys.stdin or os.fdopen(0, closefd=False)
    sys.stdout = sys.stdout or os.fdopen(1, "w", closefd=False)
    sys.stderr = sys.stderr or os.fdopen(2, "w", closefd=False)


# The next step, where there is one that does not depend on what was to be done.
ADVICE = {
    errno.ENOENT: "check the name and its directory",
    errno.ENOTDIR: "check the name and its directory",
    errno.EISDIR: "give the name of a file",
    errno.EROFS: "give the name of a file elsewhere",
    errno.ENOSPC: "make room, or write elsewhere",
    errno.EDQUOT: "make room, or write elsewhere",
    errno.EFBIG: "write elsewhere, or allow larger files: see ulimit -f",
}


def _reason(error: Exception) -> str:
    if not isinstance(error, OSError) or not error.strerror:
        return str(error)
    # An error of the core has the file's name in its text, and the number as Rust shows it.
    text = error.strerror.removesuffix(f" (os error {error.errno})")
    if error.filename:
        return f"{os.fsdecode(error.filename)}: {text}"
    full = error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
    return f"standard output: {text}" if full and text == error.strerror else text


def _advice(error: Exception, words: Sequence[str]) -> str:
    """What to do about an error of a file; other errors say it in their own words."""
    if isinstance(error, taskstats.TaskstatsError) or not isinstance(error, OSError):
        return ""
    if isinstance(error, PermissionError) and not _root_may(error, words):
        return "give the name of a file that you may open"
    return ADVICE.get(error.errno or 0, "")


def _root_may(error: Exception, words: Sequence[str]) -> bool:
    """Whether what was denied here is given to root: sources, and dumps of others to read.
    What is written is written as the user who calls sudo."""
    if os.geteuid() == 0 or not isinstance(error, PermissionError):
        return False
    reads = bool(words) and words[0] != "record" and not error.filename
    return isinstance(error, taskstats.AccessDenied) or reads


def _command(words: Sequence[str]) -> int:
    """A command with options of its own."""
    name, rest = words[0], words[1:]
    if name == "run":
        from ptop import run

        return run.main(rest)
    if name in {"record", "check"}:
        from ptop import record

        return record.main(rest) if name == "record" else record.check(rest)
    if name == "report":
        from ptop import report

        return report.main(rest, sys.stdout)
    if name == "export":
        from ptop import export

        return export.main(rest, sys.stdout)
    if name == "replay":
        return _replay(rest)
    from ptop import audit

    return audit.main(rest, sys.stdout)


def _chosen(options: argparse.Namespace) -> tuple[tuple[table.Column, ...], table.Column]:
    """The columns to show, and the one to sort by."""
    shown = options.columns or table.view(options.view)
    return shown, options.sort or table.COLUMNS[table.VIEWS[options.view].sort]


def _view(options: argparse.Namespace) -> tuple[State, dict[str, table.Column], Limits]:
    """What the options of a view say: its state, its columns, what is left out."""
    shown, sort = _chosen(options)
    known = {**table.COLUMNS, **{column.key: column for column in (*shown, sort)}}
    state = State(
        columns=tuple(column.key for column in shown),
        sort=sort.key,
        descending=sort.descending,
        text=options.filter or "",
        fold=options.fold or "",
    )
    return state, known, Limits(options.pid, options.rows)


def _color(options: argparse.Namespace) -> bool:
    return not options.no_color and not os.environ.get("NO_COLOR")


def _run(options: argparse.Namespace) -> int:
    if options.command == "doctor":
        from ptop import doctor

        doctor.write(options.format or "table", sys.stdout)
        return 0
    if options.batch or options.format:
        return _batch(options)
    refusal = _no_terminal()
    if refusal:
        sys.stderr.write(f"ptop: {refusal}; for plain text type: ptop -b -n 1\n")
        return EXIT_USAGE
    from ptop.live import app

    state, known, limits = _view(options)
    return app.run(
        replace(state, threads=options.threads, delay=options.delay),
        known,
        source=options.source,
        limits=limits,
        intervals=options.intervals,
        color=_color(options),
    )


def _replay(words: Sequence[str]) -> int:
    from ptop import replay

    reader = replay.parser(view_options())
    options = reader.parse_args(words)
    if options.fold == "session":
        reader.error("sessions are not recorded; fold by parent, name, user or cgroup")
    try:
        feed = replay.open_feed(options.file, options.at)
    except taskstats.ParseError:
        raise
    except ValueError as error:
        reader.error(str(error))
    dump = feed.frames.dump

    def user(uid: int) -> str:
        return dump.user(uid) or str(uid)

    if options.batch or options.format:
        from ptop import batch
        from ptop.feed import recorded_intervals

        # With a time that frame is meant, else all.
        number = options.intervals or (1 if options.at else None)
        choice = replace(_choice(options), user=user)
        stream = recorded_intervals(feed, number)
        if feed.notice:
            sys.stderr.write(f"ptop: {options.file}: {feed.notice}\n")
        batch.write(stream, choice, options.format or "table", sys.stdout)
        replay.tell_lost(feed.frames)
        return 0
    refusal = _no_terminal()
    if refusal:
        sys.stderr.write(f"ptop: {refusal}; for plain text type: ptop replay FILE -b\n")
        return EXIT_USAGE
    from ptop.live import app

    state, known, limits = _view(options)
    at = options.at is not None
    # A time was asked for to be looked at.
    state = replace(state, recorded=True, paused=at, speed=options.speed)
    notice = feed.notice or (feed.position() if at else replay.unfinished(feed.frames))
    state = replace(state, notice=notice)
    return app.show(feed, state, known, limits, options.intervals, _color(options), user)


def _no_terminal() -> str | None:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return "standard input and output are no terminal"
    import curses

    # What is not known here cannot either.
    with contextlib.suppress(curses.error):
        curses.setupterm(os.environ.get("TERM") or "dumb", sys.stdout.fileno())
        if curses.tigetstr("cup"):
            return None
    return "this terminal cannot move its cursor"


def _choice(options: argparse.Namespace) -> batch.Choice:
    from ptop import batch

    columns, sort = _chosen(options)
    return batch.Choice(
        columns,
        table.titled(sort, options.fold).source,
        sort.descending,
        options.filter,
        options.pid,
        options.rows,
        options.fold,
    )


def _batch(options: argparse.Namespace) -> int:
    from ptop import batch

    shown, sort = _chosen(options)
    wanted = table.fields((*shown, sort)) | table.folding(options.fold or "")
    with taskstats.Source(
        options.source, threads=options.threads, fields=sorted(wanted), exact=True, cpu_times=True
    ) as source:
        taskstats.drop_privileges(source.name)
        stream = batch.intervals(source, options.delay, options.intervals)
        batch.write(stream, _choice(options), options.format or "table", sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
