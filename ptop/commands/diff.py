"""`ptop diff`: what changed between two spans of one or two recordings.

Design decisions

* Pids, starts and cgroup ids differ from boot to boot and from machine to machine. Rows are tasks
  of one name in cgroups of one path.
* Values are rates, so that spans of any length compare. Each span is cut into parts; the standard
  deviation of their rates says how much a rate changes by itself.
* A change counts as a regression by its percentage and by a least absolute change: of what uses
  next to nothing, any change is large.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import taskstats
from taskstats.recorded import Lost, sum_tasks

from ptop.args import Parser, count
from ptop.recordings import Span, add_skip, ends_in, extent, open_dumps, report_damage, spans
from ptop.text import UNKNOWN, bytes_rate, percent, safe, stamp

# The exit status where a value has grown by more than --fail-above.
EXIT_GROWN = 3
# The parts of a span whose rates are compared with each other.
PARTS = 10
KEYS = ("name", "cgroup", "user")


@dataclass(frozen=True, slots=True)
class Column:
    """A rate, and the least change of it that counts."""

    unit: str
    least: float
    shown: Callable[[float | None], str]


def _share(value: float | None) -> str:
    return percent(value)


_MEBIBYTE = float(1 << 20)
# The columns, in the order of the sums of `sum_tasks`.
COLUMNS = {
    "cpu": Column("% of a CPU", 1.0, _share),
    "delay": Column("% of a CPU", 1.0, _share),
    "read": Column("bytes/s", _MEBIBYTE, bytes_rate),
    "write": Column("bytes/s", _MEBIBYTE, bytes_rate),
}
TOTAL = "total"

# What a row is of: a value for each key of --by.
Key = tuple[str, ...]
# The sums of a part by row: a value for each column, in ns or bytes.
Sums = dict[Key, list[int | None]]


@dataclass(slots=True)
class Side:
    """One of the two spans."""

    path: str
    first_ns: int = 0
    last_ns: int = 0
    interval_ns: int = 0
    # The length and the sums of each part.
    parts: list[tuple[int, Sums]] = field(default_factory=list)

    def rate(self, key: Key, column: int) -> tuple[float | None, float | None]:
        """The rate of a row over the span, and the standard deviation of its parts' rates. A row
        that did not run used nothing; None is unknown."""
        rates, total, known = [], 0.0, True
        for length_ns, sums in self.parts:
            value = sums[key][column] if key in sums else 0
            if value is None:
                known = False
                continue
            # ns of a second are per cent of a CPU; bytes are a second's.
            scale = 100.0 if column < 2 else 1e9
            rates.append(scale * value / length_ns)
            total += scale * value
        if not known:
            return None, None
        spread = statistics.stdev(rates) if len(rates) > 1 else None
        return total / (self.interval_ns or 1), spread


@dataclass(frozen=True, slots=True)
class Change:
    """A value of a row in both spans."""

    a: float | None
    b: float | None
    a_spread: float | None
    b_spread: float | None

    @property
    def change(self) -> float | None:
        return None if self.a is None or self.b is None else self.b - self.a

    @property
    def percent(self) -> float | None:
        """None where it was nothing before."""
        return None if not self.a or self.change is None else 100 * self.change / self.a

    def has_grown(self, above: float, least: float) -> bool:
        """Whether it has grown by more than `above` per cent, and by `least` at least."""
        if self.a is None or self.change is None or self.change < max(least, 1e-9):
            return False
        return self.change > self.a * above / 100


def side(span: Span, by: Sequence[str]) -> tuple[Side, list[Lost]]:
    """The sums of a span, and what of it could not be read."""
    frames, start, stop = span
    found = Side(str(frames.dump.path))
    lost: list[Lost] = []
    size = max((stop - start + PARTS - 1) // PARTS, 1)
    for begin in range(start, stop, size):
        sums = sum_tasks(frames.dump, begin, min(begin + size, stop))
        lost += sums["lost"]
        if sums["span_ns"] is None or not sums["interval_ns"]:
            continue
        first_ns, found.last_ns = sums["span_ns"]
        found.first_ns = found.first_ns or first_ns
        found.interval_ns += sums["interval_ns"]
        rows: Sums = defaultdict(lambda: [None] * len(COLUMNS))
        for who, _, used in sums["tasks"]:
            key = _key(frames.dump, who, by)
            for row in (key, (TOTAL,)):
                rows[row] = [_plus(a, b) for a, b in zip(rows[row], used, strict=True)]
        found.parts.append((sums["interval_ns"], dict(rows)))
    return found, lost


def _key(
    dump: taskstats.Dump,
    who: tuple[str | None, str | None, int | None, int | None, str, int | None, int | None],
    by: Sequence[str],
) -> Key:
    _, _, _, _, name, uid, cgroup = who
    values = {
        "name": name,
        "user": UNKNOWN if uid is None else dump.user(uid) or f"uid {uid}",
        "cgroup": UNKNOWN if cgroup is None else dump.cgroup(cgroup) or UNKNOWN,
    }
    return tuple(values[key] for key in by)


def _plus(one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return one if other is None else other
    return one + other


def changes(a: Side, b: Side) -> dict[Key, dict[str, Change]]:
    """The changes of each row that ran in one of the spans."""
    keys = {key for one in (a, b) for _, sums in one.parts for key in sums} | {(TOTAL,)}
    found = {}
    for key in keys:
        row = {}
        for at, name in enumerate(COLUMNS):
            (before, before_spread), (after, after_spread) = a.rate(key, at), b.rate(key, at)
            row[name] = Change(before, after, before_spread, after_spread)
        found[key] = row
    return found


def parser() -> Parser:
    """The options of `ptop diff`."""
    options = Parser(
        prog="ptop diff",
        description="Compares two spans of one or two dumps: the CPU time, delays and I/O of tasks"
        " of one name in one cgroup, also across boots and machines.",
        epilog=f"The exit status is {EXIT_GROWN} where a value has grown by more than"
        " --fail-above.",
    )
    options.add_argument("files", metavar="FILE", nargs="+", help="a dump, or two: A and B")
    for name in ("a", "b"):
        options.add_argument(
            f"--{name}",
            type=_times,
            metavar="TIME..TIME",
            help=f"the span {name.upper()} (default: all of its dump); each TIME may be missing,"
            " and has the forms of ptop replay --at",
        )
    options.add_argument(
        "--by",
        type=_keys,
        default=("name", "cgroup"),
        metavar="KEYS",
        help="what a row is of: name, cgroup and user, separated by commas (default name,cgroup)",
    )
    options.add_argument(
        "--sort", choices=tuple(COLUMNS), default="cpu", help="the compared column (default cpu)"
    )
    options.add_argument(
        "--rows", type=count, default=20, metavar="N", help="rows of the table (default 20)"
    )
    options.add_argument(
        "--format", choices=("table", "json"), default="table", help="default: table"
    )
    options.add_argument(
        "--fail-above",
        type=_limit,
        action="append",
        default=[],
        metavar="COLUMN:PERCENT",
        help=f"end with status {EXIT_GROWN} where the column of a row or of all has grown by more"
        f" than PERCENT; may be repeated; columns: {', '.join(COLUMNS)}",
    )
    options.add_argument(
        "--min-change",
        type=_limit,
        action="append",
        default=[],
        metavar="COLUMN:VALUE",
        help="the least change that counts for --fail-above: per cent of a CPU (default 1) or"
        " bytes a second (default 1048576)",
    )
    add_skip(options)
    return options


def _span(dump: taskstats.Dump, begin: str, end: str) -> Span:
    """The intervals that end after `begin` and not after `end`: of two spans that meet, each
    interval is in one. ValueError where there is none."""
    ((frames, start, stop),) = spans([dump], begin or None, end or None)
    begin_ns, end_ns = ends_in(frames, begin or None, end or None)
    while start < stop and begin_ns is not None and frames.times_ns[start] <= begin_ns:
        start += 1
    while start < stop and end_ns is not None and frames.times_ns[stop - 1] > end_ns:
        stop -= 1
    if start == stop:
        asked = f"between {begin or 'the beginning'} and {end or 'the end'}"
        raise ValueError(f"{dump.path}: no interval ends {asked}; {extent([frames])}")
    return frames, start, stop


def _times(text: str) -> tuple[str, str]:
    begin, dots, end = text.partition("..")
    if not dots:
        raise argparse.ArgumentTypeError(f"{text!r} is no span: give TIME..TIME, as +0s..+60s")
    return begin, end


def _keys(text: str) -> tuple[str, ...]:
    keys = tuple(key.strip() for key in text.split(","))
    if not set(keys) <= set(KEYS) or len(set(keys)) < len(keys):
        raise argparse.ArgumentTypeError(f"{text!r}: give some of {', '.join(KEYS)}")
    return keys


def _limit(text: str) -> tuple[str, float]:
    name, _, number = text.partition(":")
    try:
        value = float(number)
    except ValueError:
        value = -1.0
    if name not in COLUMNS or not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no limit: give COLUMN:NUMBER, as cpu:20; columns: {', '.join(COLUMNS)}"
        )
    return name, value


def _grown(
    rows: Mapping[Key, Mapping[str, Change]],
    limits: Iterable[tuple[str, float]],
    least: dict[str, float],
) -> list[tuple[Key, str]]:
    found = ((key, column, above) for key in rows for column, above in limits)
    return sorted(
        {
            (key, column)
            for key, column, above in found
            if rows[key][column].has_grown(above, least[column])
        }
    )


def main(words: Sequence[str]) -> int:
    """Run `ptop diff`; returns the exit status."""
    options_of = parser()
    options = options_of.parse_args(words)
    if len(options.files) > 2:
        options_of.error("give one dump, or two")
    if len(options.files) == 1 and None in (options.a, options.b):
        options_of.error("name the spans of one dump: --a TIME..TIME --b TIME..TIME")
    dumps = list(open_dumps(options.files))
    sides, damaged = [], False
    for dump, times in ((dumps[0], options.a), (dumps[-1], options.b)):
        try:
            span = _span(dump, *(times or ("", "")))
        except taskstats.ParseError:
            raise
        except ValueError as error:
            options_of.error(str(error))
        found, lost = side(span, options.by)
        report_damage(span[0], lost)
        damaged = damaged or bool(lost)
        sides.append(found)
    if damaged and not options.skip_damaged:
        sys.stderr.write("ptop: nothing is compared; --skip-damaged leaves out what is damaged\n")
        return 1
    rows = changes(*sides)
    least = {name: column.least for name, column in COLUMNS.items()} | dict(options.min_change)
    grown = _grown(rows, options.fail_above, least)
    if options.format == "json":
        _write_json(sides, options.by, rows, grown)
    else:
        _write_table(sides, options, rows)
    for key, column in grown:
        change = rows[key][column]
        name = " ".join(key)
        above = "from nothing" if change.percent is None else f"by {change.percent:.1f} %"
        sys.stderr.write(f"ptop: {column} of {safe(name)} has grown {above}\n")
    return EXIT_GROWN if grown else 0


def _write_table(
    sides: Sequence[Side],
    options: argparse.Namespace,
    rows: Mapping[Key, Mapping[str, Change]],
) -> None:
    for name, one in zip("AB", sides, strict=True):
        sys.stdout.write(
            f"{name}  {safe(one.path)}  {stamp(one.first_ns)} to {stamp(one.last_ns)},"
            f" {one.interval_ns / 1e9:.1f} s\n"
        )
    column = COLUMNS[options.sort]
    sys.stdout.write(
        f"\n{options.sort}, {column.unit}\n"
        f"{'A':>8} {'±':>7} {'B':>8} {'±':>7} {'change':>8} {'%':>8}  {' '.join(options.by)}\n"
    )

    def order(item: tuple[Key, Mapping[str, Change]]) -> tuple[float, Key]:
        return -abs(item[1][options.sort].change or 0.0), item[0]

    tasks = [item for item in rows.items() if item[0] != (TOTAL,)]
    for key, row in [((TOTAL,), rows[(TOTAL,)]), *sorted(tasks, key=order)[: options.rows]]:
        change = row[options.sort]
        cells = [
            f"{column.shown(change.a):>8} {column.shown(change.a_spread):>7}",
            f"{column.shown(change.b):>8} {column.shown(change.b_spread):>7}",
            f"{_signed(change.change, column):>8}",
            f"{UNKNOWN if change.percent is None else format(change.percent, '+.1f'):>8}",
        ]
        sys.stdout.write(f"{' '.join(cells)}  {safe(' '.join(key))}\n")


def _signed(value: float | None, column: Column) -> str:
    sign = "" if value is None or value == 0 else "+" if value > 0 else "-"
    return sign + column.shown(None if value is None else abs(value))


def _write_json(
    sides: Sequence[Side],
    by: Sequence[str],
    rows: Mapping[Key, Mapping[str, Change]],
    grown: Sequence[tuple[Key, str]],
) -> None:
    spans_of = {
        name: {
            "file": one.path,
            "from": one.first_ns / 1e9,
            "to": one.last_ns / 1e9,
            "interval_ns": one.interval_ns,
        }
        for name, one in zip("ab", sides, strict=True)
    }
    lines = []
    for key, row in sorted(rows.items()):
        names = {} if key == (TOTAL,) else dict(zip(by, key, strict=True))
        values = {
            name: {
                "a": change.a,
                "b": change.b,
                "a_spread": change.a_spread,
                "b_spread": change.b_spread,
                "change": change.change,
                "percent": change.percent,
                "grown": (key, name) in grown,
            }
            for name, change in row.items()
        }
        lines.append({**names, "total": key == (TOTAL,), **values})
    units = {name: column.unit for name, column in COLUMNS.items()}
    json.dump({**spans_of, "units": units, "rows": lines}, sys.stdout, separators=(",", ":"))
    sys.stdout.write("\n")
