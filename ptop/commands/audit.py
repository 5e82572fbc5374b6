"""`ptop audit`: whether all CPU time of an interval is accounted for.

Design decisions

* Idle time is measured, so that time which nobody measured shows as the residual.
* The verdict compares the residual with the bound, which is made of the known errors of the
  source. A bound above `WIDEST_BOUND` of the CPUs' time explains anything: such a residual
  proves nothing. The exit status is that of all intervals together: 0 closed, 1 not closed,
  2 nothing proven, so that a script can rely on it. Time that one interval lacks at its end
  may be in the next one, so the verdicts of single intervals are stricter.
* Leaving out a task on purpose (`--leave-out`) must open the books.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

import taskstats

from ptop.args import Parser, add_delay, add_source, count, pid
from ptop.feed import live_intervals

# The terms of the balance, in the order in which they are shown.
TERMS = ("tasks_ns", "rowless_ns", "irq_ns", "steal_ns", "idle_ns")

# The widest bound, as a part of the CPUs' time, within which closed books prove anything.
WIDEST_BOUND = 0.1
# The exit statuses, and the words of the table.
VERDICTS = {"closed": 0, "not closed": 1, "proves nothing": 2}


@dataclass(frozen=True, slots=True)
class Balance:
    """The balance of one interval, or of several that follow one another, in ns.

    The bound is the sum of `edge_ns`, the error at the ends of the interval, and
    `within_ns`, the error between them.
    """

    interval_ns: int
    cpus: int
    available_ns: int
    terms: dict[str, int]
    residual_ns: int
    edge_ns: int
    within_ns: int
    exited: int
    exits_lost: int

    @property
    def bound_ns(self) -> int:
        return self.edge_ns + self.within_ns

    @property
    def closed(self) -> bool:
        return abs(self.residual_ns) <= self.bound_ns

    @property
    def verdict(self) -> str:
        """One of `VERDICTS`."""
        if not self.closed:
            return "not closed"
        wide = self.bound_ns > WIDEST_BOUND * self.available_ns
        return "proves nothing" if wide else "closed"

    def then(self, later: Balance) -> Balance:
        """The balance of this and the next interval together. Their common end counts once
        for the error."""
        return Balance(
            self.interval_ns + later.interval_ns,
            later.cpus,
            self.available_ns + later.available_ns,
            {name: self.terms[name] + later.terms[name] for name in TERMS},
            self.residual_ns + later.residual_ns,
            max(self.edge_ns, later.edge_ns),
            self.within_ns + later.within_ns,
            self.exited + later.exited,
            self.exits_lost + later.exits_lost,
        )

    def as_dict(self) -> dict[str, Any]:
        return {
            "interval_ns": self.interval_ns,
            "cpus": self.cpus,
            "available_ns": self.available_ns,
            **self.terms,
            "residual_ns": self.residual_ns,
            "bound_ns": self.bound_ns,
            "exited": self.exited,
            "exits_lost": self.exits_lost,
            "closed": self.closed,
            "verdict": self.verdict,
        }


def balance_of(interval: taskstats.Interval, without: set[int]) -> Balance:
    """The balance of an interval as if the processes `without` had been missed. Unsupported
    if the times of the CPUs are unknown."""
    books = interval.books(without=without or None)
    known = {name: value for name, value in books.items() if value is not None}
    if "available_ns" not in known:
        raise taskstats.Unsupported("the CPUs' times are not known here: /proc/stat is unreadable")
    return Balance(
        interval.interval_ns,
        known["cpus"],
        known["available_ns"],
        {name: known[name] for name in TERMS},
        known["residual_ns"],
        *errors(known),
        interval.exited or 0,
        interval.cur.exits_lost - interval.prev.exits_lost,
    )


def errors(books: Mapping[str, int]) -> tuple[int, int]:
    """The error at the ends of an interval, and between them, in ns.

    A kernel without CONFIG_IRQ_TIME_ACCOUNTING counts the interrupts of an idle CPU nowhere, and
    /proc/stat has no interrupt time then. What hides within the bound of one interval adds up.
    """
    edge_ns, bound_ns = books["edge_ns"], books["bound_ns"]
    by_ticks = books["step_ns"] > 1 and books["irq_ns"] == 0
    return (0, bound_ns) if by_ticks else (edge_ns, bound_ns - edge_ns)


def parser() -> Parser:
    """The options of `ptop audit`."""
    options = Parser(
        prog="ptop audit",
        description="Adds up where the CPUs' time went: tasks + irq + steal + idle + residual ="
        " CPUs x interval, for each interval and over all. Exit status 0 if the residual over"
        " all is within its bound, 1 if it is not, 2 if the bound is above"
        f" {WIDEST_BOUND:.0%} of the CPUs' time and so proves nothing.",
    )
    options.add_argument(
        "-n", "--intervals", type=count, default=10, metavar="N", help="intervals (default 10)"
    )
    add_delay(options)
    add_source(options)
    options.add_argument(
        "--format", choices=("table", "json"), default="table", help="table (default) or json"
    )
    options.add_argument(
        "--leave-out",
        type=pid,
        nargs="+",
        default=[],
        metavar="PID",
        help="leave out these processes, to see that the books do not close then",
    )
    return options


def main(words: Sequence[str]) -> int:
    """Run `ptop audit`; returns the exit status."""
    options = parser().parse_args(words)
    without = set(options.leave_out)
    write = _write_json if options.format == "json" else _write_table
    total: Balance | None = None
    with taskstats.Source(options.source, fields=[], exact=True, cpu_times=True) as source:
        taskstats.drop_privileges(source.name)
        for interval in live_intervals(source, options.delay, options.intervals):
            balance = balance_of(interval, without)
            total = balance if total is None else total.then(balance)
            write(interval, balance, sys.stdout)
            sys.stdout.flush()
        notice = source.notice
    assert total is not None, "there is at least one interval"
    if options.format == "json":
        over_all = {"overall": True, "source": source.name, "notice": notice, **total.as_dict()}
        json.dump(over_all, sys.stdout)
        sys.stdout.write("\n")
    else:
        lines = _lines("over all", total) + ([f"  {notice}"] if notice else [])
        sys.stdout.write("\n".join(lines) + "\n")
    return VERDICTS[total.verdict]


def _write_table(interval: taskstats.Interval, balance: Balance, out: TextIO) -> None:
    clock = time.strftime("%H:%M:%S", time.localtime(interval.cur.time_ns / 1e9))
    lines = _lines(f"{clock} {interval.cur.source}", balance)
    lines += [_cpu_line(used) for used in interval.cpu_use()]
    out.write("\n".join(lines) + "\n\n")


def _lines(title: str, balance: Balance) -> list[str]:
    def percent(ns: int) -> float:
        return 100 * ns / balance.interval_ns if balance.interval_ns else 0.0

    rows = []
    for name in TERMS:
        if name != "rowless_ns":
            rows.append((name.removesuffix("_ns"), balance.terms[name]))
        elif balance.terms[name]:
            rows.append(("without row", balance.terms[name]))
    rows += [("sum", sum(balance.terms.values())), ("residual", balance.residual_ns)]
    lines = [f"{title}  {balance.interval_ns / 1e9:.3f} s x {balance.cpus} CPUs"]
    for name, ns in rows:
        bound = f"  (bound {percent(balance.bound_ns):.4f} %)" if name == "residual" else ""
        lines.append(f"  {name:<12} {ns / 1e6:14.3f} ms {percent(ns):10.4f} %{bound}")
    lost = f", {balance.exits_lost} lost" if balance.exits_lost else ""
    verdict = balance.verdict.upper() if balance.verdict == "not closed" else balance.verdict
    lines.append(f"  {verdict}; {balance.exited} died{lost}")
    return lines


def _cpu_line(used: dict[str, int]) -> str:
    whole = used["available_ns"] or 1
    shares = "  ".join(
        f"{name} {100 * used[f'{name}_ns'] / whole:.4f} %"
        for name in ("busy", "irq", "steal", "idle")
    )
    return f"  cpu{used['cpu']:<3} {shares}"


def _write_json(interval: taskstats.Interval, balance: Balance, out: TextIO) -> None:
    line = {
        "time": interval.cur.time_ns / 1e9,
        "source": interval.cur.source,
        **balance.as_dict(),
        "per_cpu": interval.cpu_use(),
    }
    json.dump(line, out, separators=(",", ":"))
    out.write("\n")
