"""Options that several commands have, and what their values may be."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Mapping
from typing import NoReturn

import taskstats

from ptop import columns as table
from ptop.text import safe
from ptop.times import DELAY_RANGE, parse_delay

# More is meant by nobody, and all below can count as far.
MOST = 10**9
SHORTEST_S, LONGEST_S = 0.001, 36_500 * 86_400
LARGEST = 1 << 50

_SIZES: Mapping[str, float] = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_TIMES: Mapping[str, float] = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class Parser(argparse.ArgumentParser):
    """Says what is wrong so that no word that was given steers the terminal."""

    def error(self, message: str) -> NoReturn:
        super().error(safe(message))


def delay(text: str) -> float:
    """Seconds of an interval."""
    number = parse_delay(text)
    if number is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds {DELAY_RANGE}")
    return number


def count(text: str) -> int:
    """A whole number from 1 up."""
    number = _whole(text)
    if number is None or not 0 < number <= MOST:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 to {MOST}")
    return number


def pid(text: str) -> int:
    """A process id."""
    number = _whole(text)
    if number is None or not 0 < number < 2**32:
        raise argparse.ArgumentTypeError(f"{text!r} is no pid, a number from 1 to {2**32 - 1}")
    return number


def _whole(text: str) -> int | None:
    """A number of digits alone, and not of so many that Python refuses them."""
    return int(text) if re.fullmatch(r"[0-9]{1,20}", text) else None


def seconds(text: str) -> float:
    """Seconds, from 0."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= LONGEST_S:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds from 0 to {LONGEST_S}")
    return number


def _scaled(text: str, units: Mapping[str, float], least: float, most: float) -> float | None:
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([a-zA-Z]?)", text)
    if match is None or match[2] not in units:
        return None
    number = float(match[1]) * units[match[2]]
    return number if least <= number <= most else None


def size(text: str) -> int:
    """Bytes, with a binary unit."""
    number = _scaled(text, _SIZES, 1, LARGEST)
    if number is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not understood: give a size such as 500M or 2G,"
            f" from 1 to {LARGEST >> 30}G"
        )
    return int(number)


def span(text: str) -> float:
    """Seconds, with a unit."""
    number = _scaled(text, _TIMES, SHORTEST_S, LONGEST_S)
    if number is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not understood: give a time such as 90, 30m, 12h or 7d,"
            f" from {SHORTEST_S} to {LONGEST_S // 86_400}d"
        )
    return number


def _columns(text: str) -> tuple[table.Column, ...]:
    try:
        return table.parse(text, _interval_columns())
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _interval_columns() -> dict[str, str]:
    """Every column an interval has by the kernel's names, with its unit."""
    units = {field["name"]: field["unit"] for field in taskstats.FIELDS}
    for field in taskstats.FIELDS:
        if field["kind"] == "counter":
            units[f"{field['name']}_delta"] = field["unit"]
            units[f"{field['name']}_per_sec"] = "/s"
    return units


def _sort(text: str) -> table.Column:
    columns = _columns(text)
    if len(columns) > 1:
        raise argparse.ArgumentTypeError(f"{text!r} are several columns: sort by one")
    return columns[0]


def _filter(text: str) -> str:
    """A part of a name; what was typed is UTF-8, whatever the locale says."""
    try:
        return os.fsencode(text).decode()
    except UnicodeError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no UTF-8: give a part of the name that is"
        ) from None


def _pids(text: str) -> tuple[int, ...]:
    try:
        return tuple(pid(word.strip()) for word in text.split(","))
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no list of pids such as 1,4711, from 1 to {2**32 - 1}"
        ) from None


def add_delay(options: argparse.ArgumentParser) -> None:
    """-d: the time from snapshot to snapshot."""
    options.add_argument(
        "-d",
        "--delay",
        type=delay,
        default=1.0,
        metavar="S",
        help="seconds from snapshot to snapshot (default 1)",
    )


def add_source(options: argparse.ArgumentParser) -> None:
    """--source: where the numbers come from."""
    options.add_argument(
        "--source",
        choices=("auto", "proc", "bpf", "netlink", "procfs"),
        default="auto",
        help="where to get the numbers (default auto: the best that works)",
    )


def add_threads(options: argparse.ArgumentParser) -> None:
    """--threads: a row a thread."""
    options.add_argument("--threads", action="store_true", help="threads, not processes")


def view_options() -> argparse.ArgumentParser:
    """What to show and how: of the live view and of `ptop replay`."""
    options = argparse.ArgumentParser(add_help=False)
    options.add_argument(
        "-b", "--batch", action="store_true", help="write plain text to standard output"
    )
    options.add_argument(
        "-n", "--intervals", type=count, metavar="N", help="stop after N intervals"
    )
    options.add_argument(
        "--sort", type=_sort, metavar="COLUMN", help="sort by this column (default total_pct)"
    )
    options.add_argument(
        "--columns",
        type=_columns,
        metavar="LIST",
        help="columns to show, separated by commas: " + ", ".join(table.COLUMNS),
    )
    options.add_argument(
        "--view",
        choices=tuple(table.VIEWS),
        default="live",
        help="live (default) or snap: with the time of dead children, as in the tool of 2010",
    )
    options.add_argument(
        "--fold",
        choices=table.FOLDS,
        help="gather rows: what died into its nearest living parent, or all tasks by session,"
        " command name, user or cgroup",
    )
    options.add_argument(
        "--filter",
        type=_filter,
        metavar="TEXT",
        help="show only tasks with TEXT in the name, or that pid",
    )
    options.add_argument(
        "--pid", type=_pids, metavar="PIDS", help="show only these pids, separated by commas"
    )
    options.add_argument(
        "--rows", type=count, metavar="N", help="show at most N tasks (default in batch: all)"
    )
    options.add_argument(
        "--format",
        choices=("table", "json", "csv"),
        help="in batch mode: table (default), json (a line an interval) or csv",
    )
    options.add_argument("--no-color", action="store_true", help="no bold, no reverse video")
    return options
