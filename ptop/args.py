"""Command-line options that several commands share: their definition and meaning."""

from __future__ import annotations

import argparse
import math
import os
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import taskstats

from ptop.columns import COLUMN_SETS, COLUMNS, GROUPINGS, TableColumn, column_set, parse_columns
from ptop.filters import what_is_wrong
from ptop.live.state import LAYOUTS, THEMES, Keeping, Limits, Setup, State
from ptop.live.tree import first
from ptop.text import safe
from ptop.times import (
    DELAY_RANGE,
    LENGTH_FORMS,
    MAX_LENGTH_S,
    SIZE_FORMS,
    parse_delay,
    parse_history,
    parse_length,
    parse_size,
)
from ptop.values import replace

# Same value as typing.TYPE_CHECKING.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from ptop.config import Config

# Limits that no sensible value exceeds; all numbers up to them fit where they are used.
MAX_COUNT = 10**9
MAX_PID = 2**32 - 1

# Keys of the setup file that are options of the history.
_KEEPING = Keeping._fields

# The exit status of argparse for wrong options.
EXIT_USAGE = 2


class Parser(argparse.ArgumentParser):
    """A parser of `ptop` or one of its commands. No word of the command line gets to the
    terminal as an escape sequence."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.add_argument("--version", action="version", version=f"ptop {taskstats.__version__}")

    def error(self, message: str) -> NoReturn:
        super().error(safe(message))


def delay(text: str) -> float:
    """The seconds between two snapshots."""
    number = parse_delay(text)
    if number is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds {DELAY_RANGE}")
    return number


def count(text: str) -> int:
    """A whole number from 1 up."""
    number = _digits(text)
    if number is None or not 0 < number <= MAX_COUNT:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to {MAX_COUNT}")
    return number


def pid(text: str) -> int:
    """A process id."""
    number = _digits(text)
    if number is None or not 0 < number <= MAX_PID:
        raise argparse.ArgumentTypeError(f"{text!r} is not a pid, a number from 1 to {MAX_PID}")
    return number


def _digits(text: str) -> int | None:
    """A number of ASCII digits alone; Python refuses to convert thousands of them."""
    return int(text) if re.fullmatch(r"[0-9]{1,20}", text) else None


def seconds(text: str) -> float:
    """Seconds, from 0 up."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= MAX_LENGTH_S:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number of seconds from 0 to {MAX_LENGTH_S}"
        )
    return number


def size(text: str) -> int:
    """Bytes, with an optional binary unit."""
    number = parse_size(text)
    if number is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size: give {SIZE_FORMS}")
    return number


def length(text: str) -> float:
    """Seconds, with an optional unit."""
    number = parse_length(text)
    if number is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a length of time: give {LENGTH_FORMS}")
    return number


def _columns(text: str) -> tuple[TableColumn, ...]:
    try:
        return parse_columns(text, _raw_units())
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _raw_units() -> dict[str, str]:
    """The units of all columns of an interval that have the name of a kernel field."""
    units = {field["name"]: field["unit"] for field in taskstats.FIELDS}
    for field in taskstats.FIELDS:
        if field["kind"] == "counter":
            units[f"{field['name']}_delta"] = field["unit"]
            units[f"{field['name']}_per_sec"] = "/s"
    return units


def _sort_column(text: str) -> TableColumn:
    columns = _columns(text)
    if len(columns) > 1:
        raise argparse.ArgumentTypeError(f"{text!r} are several columns: sort by one")
    return columns[0]


def _filter(text: str) -> str:
    """A condition on rows. The arguments are UTF-8, whatever the locale says; bytes that are not
    become surrogates."""
    text = os.fsencode(text).decode("utf-8", "surrogateescape")
    if wrong := what_is_wrong(text):
        raise argparse.ArgumentTypeError(wrong)
    return text


def _pids(text: str) -> tuple[int, ...]:
    try:
        return tuple(pid(word.strip()) for word in text.split(","))
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a list of pids such as 1,4711, from 1 to {MAX_PID}"
        ) from None


def add_delay(options: argparse.ArgumentParser) -> None:
    """Add -d, the time between two snapshots."""
    options.add_argument(
        "-d",
        "--delay",
        type=delay,
        default=1.0,
        metavar="S",
        help="seconds from snapshot to snapshot (default 1)",
    )


def add_source(options: argparse.ArgumentParser) -> None:
    """Add --source."""
    options.add_argument(
        "--source",
        choices=("auto", "proc", "bpf", "netlink", "procfs"),
        default="auto",
        help="where the numbers come from (default auto: the best source that works)",
    )


def add_threads(options: argparse.ArgumentParser) -> None:
    """Add --threads."""
    options.add_argument("--threads", action="store_true", help="threads, not processes")


def add_acting(options: argparse.ArgumentParser) -> None:
    """Add the options of the live view that say what it may do to tasks."""
    which = options.add_mutually_exclusive_group()
    which.add_argument(
        "--read-only", action="store_true", help="no key of the live view changes a task"
    )
    which.add_argument(
        "--keep-root",
        action="store_true",
        help="run as root all the time, to act on the tasks of all users; else ptop gives its"
        " privilege up once its source is open",
    )


def _history(text: str) -> float:
    """Seconds of a history: a length of time, or 0 for none."""
    number = parse_history(text)
    return length(text) if number is None else number


def _trigger(text: str) -> tuple[TableColumn, float, bool]:
    """A column, the value that it has to reach, and whether its sum has to."""
    name, _, number = text.removeprefix("sum:").rpartition(":")
    try:
        value = float(number)
    except ValueError:
        value = math.nan
    if not name or not math.isfinite(value):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not COLUMN:VALUE or sum:COLUMN:VALUE, such as total_pct:90"
        )
    return _sort_column(name), value, text.startswith("sum:")


def add_history(options: argparse.ArgumentParser) -> None:
    """Add the options of what the live view keeps."""
    usual = Keeping()
    options.add_argument(
        "--history",
        type=_history,
        default=usual.history,
        metavar="TIME",
        help="how far back the live view can step, in minutes or with a unit (default 60);"
        " 0 keeps nothing",
    )
    options.add_argument(
        "--history-size",
        type=size,
        default=usual.history_size,
        metavar="SIZE",
        help="memory for that (default 64M): where it does not suffice, short-lived tasks of the"
        " oldest intervals are merged by name and parent, then the oldest are forgotten",
    )
    options.add_argument(
        "--no-cmdline",
        action="store_true",
        help="write no command lines to files of the history",
    )
    options.add_argument(
        "--on-spike",
        type=_trigger,
        action="append",
        metavar="COLUMN:VALUE",
        help="write the history to a file when a row's COLUMN reaches VALUE, or with"
        " sum:COLUMN:VALUE the sum of all rows; may be given several times",
    )
    options.add_argument(
        "--spike-dir",
        default=usual.spike_dir,
        metavar="DIR",
        help="directory of these files (default .)",
    )
    options.add_argument(
        "--spike-files",
        type=count,
        default=usual.spike_files,
        metavar="N",
        help="write none where DIR has N of these files (default 10)",
    )
    options.add_argument(
        "--spike-gap",
        type=length,
        default=usual.spike_gap,
        metavar="TIME",
        help="shortest time between two of these files (default 5m)",
    )


def add_quote_formulas(options: argparse.ArgumentParser) -> None:
    """Add --quote-formulas."""
    options.add_argument(
        "--quote-formulas",
        action="store_true",
        help="in CSV, put an apostrophe before names that a spreadsheet would evaluate: those"
        " that begin with = + - @, a tab or a carriage return",
    )


def add_filter(options: argparse.ArgumentParser) -> None:
    """Add --filter."""
    options.add_argument(
        "--filter",
        type=_filter,
        metavar="TEXT",
        help="show only tasks that match: words in name or command line, a pid, /a regex/,"
        " column>10M, user=root, cgroup:docker, state=R; ! is not, | is or",
    )


def add_table(options: argparse.ArgumentParser) -> None:
    """Add the options that say what a table shows, on a terminal or as text."""
    options.add_argument(
        "-b", "--batch", action="store_true", help="write plain text to standard output"
    )
    options.add_argument(
        "-n", "--intervals", type=count, metavar="N", help="stop after N intervals"
    )
    options.add_argument(
        "--sort", type=_sort_column, metavar="COLUMN", help="sort by COLUMN (default total_pct)"
    )
    options.add_argument(
        "--columns",
        type=_columns,
        metavar="LIST",
        help="columns to show, separated by commas: " + ", ".join(COLUMNS),
    )
    options.add_argument(
        "--view",
        choices=tuple(COLUMN_SETS),
        default="live",
        help="live (default); snap: with the time of dead children, as in the tool of 2010;"
        " waits: what tasks wait for; io: storage; tree: tasks under what started them;"
        " cgroups: the tree of cgroups; dead: those that died, by name",
    )
    options.add_argument(
        "--fold",
        dest="group_by",
        choices=GROUPINGS,
        help="group rows: threads by process, exited tasks with their nearest living parent,"
        " or all tasks by session, command name, user, cgroup, or its container, pod or unit",
    )
    options.add_argument(
        "--tree",
        action="store_true",
        help="show tasks under what started them, each with the sums of all below it",
    )
    add_filter(options)
    options.add_argument(
        "--pid", type=_pids, metavar="PIDS", help="show only these pids, separated by commas"
    )
    options.add_argument(
        "--rows", type=count, metavar="N", help="show at most N tasks (default in batch mode: all)"
    )
    options.add_argument(
        "--format",
        choices=("table", "json", "csv"),
        help="batch mode as table (default), json (a line for each interval) or csv",
    )
    add_quote_formulas(options)
    options.add_argument(
        "--plain",
        action="store_true",
        help="write sentences for screen readers, of the first 10 tasks or --rows",
    )
    options.add_argument(
        "--keys",
        choices=LAYOUTS,
        default="htop",
        help="the layout of the keys: htop (default), or vim, where h j k l move and scroll",
    )
    options.add_argument(
        "--theme",
        choices=THEMES,
        help="colours of the live view: 16 (default) has those of the terminal, dark and light"
        " have their own, mono has none",
    )
    options.add_argument(
        "--no-color", action="store_true", help="the same as --theme mono; so is NO_COLOR"
    )
    options.add_argument(
        "--no-meters", action="store_true", help="no meters above the table of the live view"
    )
    options.add_argument("--no-mouse", action="store_true", help="leave the mouse to the terminal")
    options.add_argument(
        "--ascii",
        action="store_true",
        help="ASCII characters alone; the default where the locale is not UTF-8",
    )
    options.add_argument(
        "--no-config",
        action="store_true",
        help="do not use the setup file of the live view, $XDG_CONFIG_HOME/ptop/config.toml",
    )


def _is_column(name: str) -> bool:
    try:
        return len(parse_columns(name, _raw_units())) == 1
    except ValueError:
        return False


def is_text(options: argparse.Namespace) -> bool:
    """Whether the table options ask for text, not for the live view."""
    return bool(options.batch or options.format or options.plain)


def parse_with_config(parser: argparse.ArgumentParser, words: Sequence[str]) -> argparse.Namespace:
    """The options of a view: those of the command line, else of the setup file, else the
    defaults. Text for programs does not depend on the file."""
    options = parser.parse_args(words)
    if is_text(options):
        return options
    from ptop.config import Config, load

    options.config = Config()
    if options.no_config:
        return options
    config = load(_is_column, getattr(options, "keep_root", False))
    if config.values:
        known = {"keys", "view", "ascii", "delay", *_KEEPING} - {"on_spike"}
        values = {key: config.values[key] for key in known if key in config.values}
        parser.set_defaults(**{key: values[key] for key in values if hasattr(options, key)})
        options = parser.parse_args(words)
        if getattr(options, "on_spike", ()) is None:
            # Options of the command line would be added to a default.
            options.on_spike = [_trigger(text) for text in config.values.get("on_spike", ())]
    options.config = config
    for warning in config.warnings:
        sys.stderr.write(f"ptop: warning: {safe(warning)}\n")
    return options


def shown_columns(options: argparse.Namespace) -> tuple[tuple[TableColumn, ...], TableColumn]:
    """The columns that the table options ask for, and the one to sort by."""
    columns = options.columns or column_set(options.view, on_screen=not is_text(options))
    return columns, options.sort or COLUMNS[COLUMN_SETS[options.view].sort]


def tree_of(options: argparse.Namespace) -> str:
    """What the table options ask for a tree of; empty for a list."""
    if options.group_by and not options.tree:
        return ""
    return COLUMN_SETS[options.view].tree or ("task" if options.tree else "")


def first_state(options: argparse.Namespace) -> tuple[State, dict[str, TableColumn], Limits]:
    """The state in which a view starts with these options, all columns that it knows by key,
    and its limits."""
    shown, sort = shown_columns(options)
    config: Config = options.config
    own = config.screens.get(options.view)
    descending = sort.descending
    if own is not None and own.columns and not options.columns:
        shown = parse_columns(",".join(own.columns), _raw_units())
    if own is not None and not options.sort:
        (sort,) = parse_columns(own.sort, _raw_units()) if own.sort else (sort,)
        descending = sort.descending if own.descending is None else own.descending
    known = {**COLUMNS, **{column.key: column for column in (*shown, sort)}}
    views = {}
    for name, screen in config.screens.items():
        usual = COLUMN_SETS[name]
        columns = parse_columns(",".join(screen.columns or usual.shown), _raw_units())
        known |= {column.key: column for column in columns if column.key not in known}
        (by,) = parse_columns(screen.sort or usual.sort, _raw_units())
        known |= {by.key: by} if by.key not in known else {}
        order = by.descending if screen.descending is None else screen.descending
        tree = first(usual.tree)
        views[name] = (tuple(column.key for column in columns), by.key, order, tree)
    values = config.values
    setup = Setup(
        theme=theme(options),
        key_bar=values.get("key_bar", True),
        ascii=options.ascii,
        view=values.get("view", "live"),
        views=values.get("views", Setup().views),
        keeping=Keeping(**{key: values[key] for key in _KEEPING if key in values}),
        tabs=values.get("tabs", Setup().tabs),
        meters=() if options.no_meters else values.get("meters", Setup().meters),
        disks=values.get("disks", ()),
        networks=values.get("networks", ()),
        path=config.path,
        why=config.why,
    )
    state = State(
        view=options.view,
        views=views,
        columns=tuple(column.key for column in shown),
        known=tuple(known),
        layout=options.keys,
        sort=sort.key,
        descending=descending,
        filter=options.filter or "",
        group_by="" if tree_of(options) else options.group_by or "",
        tree=first(tree_of(options)),
        setup=setup,
        mouse=not options.no_mouse,
    )
    if config.warnings:
        state = replace(state, notice=config.warnings[0])
    return state, known, Limits(options.pid, options.rows)


def theme(options: argparse.Namespace) -> str:
    """The theme of the live view: an option, else the environment, else the setup file."""
    if options.no_color:
        return "mono"
    if options.theme is None and os.environ.get("NO_COLOR"):
        return "mono"
    chosen: str = options.theme or options.config.values.get("theme", Setup().theme)
    return chosen


def needs_ascii() -> bool:
    """Whether the locale has ASCII alone. Python itself writes UTF-8 also where it is C."""
    names = ("LC_ALL", "LC_CTYPE", "LANG")
    locale = next(filter(None, map(os.environ.get, names)), "C")
    return "utf8" not in locale.lower().replace("-", "")
