"""Options that several commands have, and what their values may be."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping

import taskstats

from ptop import columns as table
from ptop.state import SHORTEST_DELAY, parse_delay

_SIZES: Mapping[str, float] = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_TIMES: Mapping[str, float] = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def delay(text: str) -> float:
    """Seconds of an interval."""
    seconds = parse_delay(text)
    if seconds is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no number of seconds from {SHORTEST_DELAY} to 86400"
        )
    return seconds


def count(text: str) -> int:
    """A whole number from 1 up."""
    if text.isascii() and text.isdigit() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 up")


def _scaled(text: str, units: Mapping[str, float], example: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([a-zA-Z]?)", text)
    if match is None or match[2] not in units or float(match[1]) <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not understood: give {example}")
    return float(match[1]) * units[match[2]]


def size(text: str) -> int:
    """Bytes, with a binary unit."""
    return int(_scaled(text, _SIZES, "a size such as 500M or 2G"))


def span(text: str) -> float:
    """Seconds, with a unit."""
    return _scaled(text, _TIMES, "a time such as 90, 30m, 12h or 7d")


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
    return _columns(text)[0]


def _pids(text: str) -> tuple[int, ...]:
    try:
        pids = tuple(int(word) for word in text.split(","))
    except ValueError:
        pids = (-1,)
    if any(not 0 < pid < 2**32 for pid in pids):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of pids such as 1,4711")
    return pids


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
        "--filter", metavar="TEXT", help="show only tasks with TEXT in the name, or that pid"
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
