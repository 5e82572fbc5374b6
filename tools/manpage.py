"""Writes docs/man/ptop.1 and docs/keys.md; with --check, fails if one is out of date.

Design decisions

* The page has the same sources as `--help` and the help page of the live view: the argument
  parsers of ptop and of each command in its table, the keys and the columns. A new option
  or command needs no entry here.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import taskstats

from ptop import cli, config
from ptop.columns import COLUMNS
from ptop.live import keys

DOCS = Path(__file__).parent.parent / "docs"

EXAMPLES = (
    ("ptop", "the live view; ? shows the keys"),
    ("ptop -b -n 3 -d 2", "three intervals of two seconds as plain tables"),
    ("ptop --format json -n 1 --rows 10", "the ten busiest tasks, for a program to read"),
    ("ptop -b -n 1 --columns pid,name,cpu_delay_total_delta", "any field of the kernel"),
    ("ptop replay day.tsd --at 14:30", "the screen of half past two; the arrow keys step"),
    ("ptop report day.tsd --from 14:00 --to 15:00", "who used most in that hour"),
    ("ptop export day.tsd -o day.parquet", "rows for pandas, Polars, DuckDB or Spark"),
    ("ptop doctor", "which sources work here, and how to get the others"),
)
STATUS = (
    ("0", "success, also if the reader of a pipe closed it"),
    (
        "1",
        "an error: the reason is on standard error; also if ptop audit does not close, or if"
        " ptop check finds damage",
    ),
    (
        "2",
        "the options are wrong, there is no terminal for the live view, or the error bound of"
        " ptop audit is so wide that it proves nothing",
    ),
    ("130", "interrupted (SIGINT) in batch mode"),
    ("128+N", "signal N ended the live view; SIGINT and SIGQUIT quit it with 0"),
)
SUDO = (
    (
        "ptop, ptop record, ptop audit",
        "become the user who called sudo, once the source is open; a recording is that user's",
    ),
    (
        "ptop check, ptop report, ptop replay, ptop export",
        "open their files as root, and read them as the user who called sudo",
    ),
    (
        "ptop run",
        "stays root: a line for ptop in sudoers lets its user run any command as root",
    ),
)
ENVIRONMENT = (
    ("SUDO_UID, SUDO_GID", "the user whom ptop becomes under sudo; without them root stays root"),
    ("NO_COLOR", "if set and not empty, the same as --no-color"),
    ("TERM", "the type of the terminal; the live view refuses one that cannot move its cursor"),
)

FILES = (
    (
        "$XDG_CONFIG_HOME/ptop/config.toml, else ~/.config/ptop/config.toml",
        "the setup of the live view, which the key F2 shows and writes; its keys are "
        + ", ".join(config.VALUES)
        + ", and in [screen.VIEW] columns, sort and descending; docs/setup.md describes them",
    ),
)

# Options of ptop and all commands, listed once.
EVERYWHERE = {"help", "version"}


def escaped(text: str) -> str:
    """`text` with the characters escaped that roff interprets."""
    shown = text.replace("\\", "\\e").replace("-", "\\-").replace("`", "\\(ga")
    return "\\&" + shown if shown.startswith((".", "'")) else shown


def section(title: str) -> Iterator[str]:
    yield f'.SH "{title.upper()}"'


def entries(pairs: Iterator[tuple[str, str]] | tuple[tuple[str, str], ...]) -> Iterator[str]:
    """Tagged paragraphs: a bold head and its meaning."""
    for head, meaning in pairs:
        yield ".TP"
        yield f"\\fB{escaped(head)}\\fR"
        yield escaped(meaning)


def commands() -> Iterator[argparse.ArgumentParser]:
    """The parsers of all commands."""
    for module in cli.MODULES.values():
        parser: argparse.ArgumentParser = importlib.import_module(module).parser()
        yield parser


def synopsis(parser: argparse.ArgumentParser) -> Iterator[str]:
    usage = " ".join(parser.format_usage().removeprefix("usage: ").split())
    name, rest = usage[: len(parser.prog)], usage[len(parser.prog) :]
    yield ".PP"
    yield f"\\fB{escaped(name)}\\fR{escaped(rest)}"


def options(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Every argument with its metavariable or choices, and its help."""
    for action in parser._actions:
        if parser.prog != "ptop" and action.dest in EVERYWHERE:
            continue
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
    parser = cli.parser()
    own = list(commands())
    name = parser.description or parser.prog
    lines = [
        '.\\" Generated by tools/manpage.py from the tables of ptop; `make man` updates it.',
        f'.TH PTOP 1 "" "precise\\-top {taskstats.__version__}" "User Commands"',
        *section("name"),
        f"ptop \\- {escaped(name[0].lower() + name[1:].rstrip('.'))}",
        *section("synopsis"),
        *(line for each in (parser, *own) for line in synopsis(each)),
        *section("description"),
        "The live view shows the CPU time of each task in each interval, from the nanosecond",
        "counters of the scheduler, and how much of the CPUs' time that leaves unexplained. An",
        "unknown value is shown as \\-, never as 0. Without a terminal, \\fB\\-b\\fR and",
        "\\fB\\-\\-format\\fR write the same as text.",
        ".PP",
        escaped(parser.epilog or ""),
        ".PP",
        "Options that ptop and a command share may stand before or after the command word.",
        "\\fB\\-\\-help\\fR and \\fB\\-\\-version\\fR work with every command.",
        *section("options"),
        *options(parser),
    ]
    for each in own:
        lines += [*section(each.prog), escaped(each.description or ""), *options(each)]
    lines += [
        *section("keys"),
        "The keys of the layout htop. Those of the layout vim follow where they differ.",
        *key_entries(),
        *section("columns"),
        "Every field of struct taskstats is also a column under its own name; for a counter,",
        "its growth (_delta) and rate (_per_sec) are as well.",
        *entries(
            (column.key, f"{column.doc} {column.unit}".rstrip()) for column in COLUMNS.values()
        ),
        *section("sudo"),
        *entries(SUDO),
        *section("exit status"),
        *entries(STATUS),
        *section("environment"),
        *entries(ENVIRONMENT),
        *section("files"),
        *entries(FILES),
        *section("examples"),
        *entries(EXAMPLES),
        *section("see also"),
        "\\fBtop\\fR(1), \\fBproc\\fR(5), \\fBcapabilities\\fR(7)",
    ]
    return "\n".join(lines) + "\n"


def key_entries() -> Iterator[str]:
    """The sections of the table of keys."""
    for title, bound in keys.SECTIONS.items():
        yield f'.SS "{title}"'
        for key in bound:
            only = f" (in a {key.views[0]})" if key.views == ("replay",) else ""
            vim = f" [vim: {key.vim}]" if key.vim else ""
            yield from entries(((f"{key.names}{vim}", key.doc + only),))


def keys_page() -> str:
    """docs/keys.md: the keys beside those of other programs."""
    lines = [
        "# Keys",
        "",
        "`make man` writes this page from the table in `ptop/live/keys.py`. Help (F1) has the",
        "same keys. Where programs differ, ptop has the keys of htop; `--keys vim` moves with",
        "h j k l. A space separates keys that do the same; the space bar is Space.",
        "",
        "htop is 3.4, top is that of procps 4.0, 0.1.0 is the first version of ptop.",
    ]
    for title, bound in keys.SECTIONS.items():
        lines += ["", f"## {title[0].upper()}{title[1:]}", ""]
        peers = any(key.htop or key.top or key.old for key in bound)
        heads = ["ptop", "--keys vim", *(("htop", "top", "0.1.0") if peers else ()), ""]
        lines += ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
        for key in bound:
            only = " (replay)" if key.views == ("replay",) else ""
            others = (key.htop, key.top, key.old) if peers else ()
            cells = [code(names) for names in (key.names, key.shown("vim"), *others)]
            lines.append("| " + " | ".join([*cells, key.doc + only]) + " |")
    return "\n".join(lines) + "\n"


def code(names: str) -> str:
    """Keys as code in a cell of a table."""
    return f"`{names}`".replace("|", "\\|") if names else ""


def main() -> int:
    # Newer Pythons color usage lines.
    os.environ["NO_COLOR"] = "1"
    for path, text in ((DOCS / "man/ptop.1", page()), (DOCS / "keys.md", keys_page())):
        if sys.argv[1:] != ["--check"]:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        elif not path.is_file() or path.read_text() != text:
            sys.stderr.write(f"{path.relative_to(DOCS.parent)} is out of date; type: make man\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
