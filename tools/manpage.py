"""Writes docs/man/ptop.1, or with --check fails where it is out of date.

Design decisions

* The page is made from what `--help` is made from: the argument parsers (of ptop and of
  each command), the key table and the column table. A parser is taken when it is about
  to print its help, so a command that gets options of its own needs no entry here.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import taskstats

from ptop import cli
from ptop.columns import COLUMNS
from ptop.live import state

PAGE = Path(__file__).parent.parent / "docs/man/ptop.1"

EXAMPLES = (
    ("ptop", "the live view; ? shows the keys"),
    ("ptop -b -n 3 -d 2", "three intervals of two seconds as plain tables"),
    ("ptop --format json -n 1 --rows 10", "the ten busiest tasks for a program"),
    ("ptop -b -n 1 --columns pid,name,cpu_delay_total_delta", "any field of the kernel"),
    ("ptop replay day.tsd --at 14:30", "the screen of half past two; arrows step"),
    ("ptop report day.tsd --from 14:00 --to 15:00", "who used most in that hour"),
    ("ptop export day.tsd -o day.parquet", "rows for pandas, Polars, DuckDB or Spark"),
    ("ptop doctor", "which sources work here, and how to get the others"),
)
STATUS = (
    ("0", "done; also where the reader of a pipe went away"),
    ("1", "the system refused, or the source does not work here: the reason is on standard error"),
    ("2", "the options are wrong, or there is no terminal for the live view"),
    ("130", "interrupted in batch mode"),
    ("128+N", "the live view was ended by signal N"),
)
ENVIRONMENT = (
    ("NO_COLOR", "if set and not empty, as --no-color"),
    ("TERM", "the kind of terminal; the live view refuses dumb ones"),
)


def escaped(text: str) -> str:
    """`text` so that roff shows it as it is."""
    shown = text.replace("\\", "\\e").replace("-", "\\-").replace("`", "\\(ga")
    return "\\&" + shown if shown.startswith((".", "'")) else shown


def section(title: str) -> Iterator[str]:
    yield f'.SH "{title.upper()}"'


def entries(pairs: Iterator[tuple[str, str]] | tuple[tuple[str, str], ...]) -> Iterator[str]:
    """Tagged paragraphs of a bold head and what it means."""
    for head, meaning in pairs:
        yield ".TP"
        yield f"\\fB{escaped(head)}\\fR"
        yield escaped(meaning)


def help_parser(words: list[str]) -> argparse.ArgumentParser:
    """The parser that prints the help of `ptop WORDS --help`."""
    seen: list[argparse.ArgumentParser] = []

    def keep(parser: argparse.ArgumentParser, _file: object = None) -> None:
        seen.append(parser)

    with (
        mock.patch.object(argparse.ArgumentParser, "print_help", keep),
        contextlib.suppress(SystemExit),
    ):
        cli.main([*words, "--help"])
    return seen[0]


def commands(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """Parsers of the commands that have options of their own."""
    for action in parser._get_positional_actions():
        for name in action.choices or ():
            own = help_parser([str(name)])
            if own.prog != parser.prog:
                yield own


def synopsis(parser: argparse.ArgumentParser) -> Iterator[str]:
    usage = " ".join(parser.format_usage().removeprefix("usage: ").split())
    name, rest = usage[: len(parser.prog)], usage[len(parser.prog) :]
    yield ".PP"
    yield f"\\fB{escaped(name)}\\fR{escaped(rest)}"


def options(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Every argument with its metavariable or choices, and its help."""
    for action in parser._actions:
        value = action.metavar or ""
        if not value and action.choices:
            value = "|".join(str(choice) for choice in action.choices)
        heads = [f"\\fB{escaped(option)}\\fR" for option in action.option_strings]
        shown = f"\\fI{escaped(str(value))}\\fR" if value else ""
        yield ".TP"
        yield ", ".join(heads) + (" " if heads and shown else "") + shown
        if not action.help:
            raise SystemExit(f"{parser.prog}: {action.dest} has no help text")
        yield escaped(action.help)


def page() -> str:
    """The whole page."""
    parser = help_parser([])
    own = list(commands(parser))
    name = parser.description or parser.prog
    lines = [
        '.\\" Made by tools/manpage.py from the tables of ptop; `make man` writes it anew.',
        f'.TH PTOP 1 "" "precise\\-top {taskstats.__version__}" "User Commands"',
        *section("name"),
        f"ptop \\- {escaped(name[0].lower() + name[1:].rstrip('.'))}",
        *section("synopsis"),
        *(line for each in (parser, *own) for line in synopsis(each)),
        *section("description"),
        "The live view shows for each interval what each task used of the CPUs, from the",
        "scheduler's own count of nanoseconds, and what part of the CPUs' time that leaves",
        "unexplained. An unknown value is shown as \\-, never as 0. Without a terminal,",
        "\\fB\\-b\\fR and \\fB\\-\\-format\\fR write the same as text.",
        ".PP",
        escaped(parser.epilog or ""),
        *section("options"),
        *options(parser),
    ]
    for each in own:
        lines += [*section(each.prog), escaped(each.description or ""), *options(each)]
    lines += [
        *section("keys"),
        *entries(state.HELP),
        ".PP",
        "In a replay besides:",
        *entries((key.shown, key.doc) for key in state.REPLAY_KEYS),
        *section("columns"),
        "Besides these, every field of struct taskstats is a column under its own name; of a",
        "counter also its growth (_delta) and rate (_per_sec).",
        *entries((column.key, f"{column.doc} ({column.unit})") for column in COLUMNS.values()),
        *section("exit status"),
        *entries(STATUS),
        *section("environment"),
        *entries(ENVIRONMENT),
        *section("examples"),
        *entries(EXAMPLES),
        *section("see also"),
        "\\fBtop\\fR(1), \\fBproc\\fR(5), \\fBcapabilities\\fR(7)",
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    # Usage lines are coloured by newer Pythons.
    os.environ["NO_COLOR"] = "1"
    made = page()
    if sys.argv[1:] == ["--check"]:
        if PAGE.is_file() and PAGE.read_text() == made:
            return 0
        sys.stderr.write("docs/man/ptop.1 is out of date; write it anew with:  make man\n")
        return 1
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
