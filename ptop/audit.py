"""`ptop audit`: whether an interval's CPU time is all accounted for.

Design decisions

* Idle time is measured, so that what nobody measured shows as the residual.
* The verdict goes by the bound that the source's own errors need. The one over all
  intervals is the exit status: 0 closed, 1 not, so that a script can rely on the numbers
  or not. What one interval lacks at its end the next one has, so that theirs are stricter.
* Leaving a task out on purpose (`--leave-out`) has to open the books.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TextIO

import taskstats

from ptop import batch
from ptop.args import Parser, add_delay, add_source, count, pid

# The terms of the identity, in the order in which they are shown.
TERMS = ("tasks_ns", "rowless_ns", "irq_ns", "steal_ns", "idle_ns")
_NAMES = {"rowless_ns": "without row"}


@dataclass(frozen=True, slots=True)
class Account:
    """The books of one interval, or of several that follow one another, in ns."""

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

    def then(self, later: Account) -> Account:
        """Both together. The error of the moment between them counts once."""
        return Account(
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
        }


def account(interval: taskstats.Interval, without: set[int]) -> Account:
    """The books of an interval as if `without` had been overlooked."""
    books = interval.books(without=without or None)
    known = {name: value for name, value in books.items() if value is not None}
    if "available_ns" not in known:
        raise taskstats.Unsupported("the CPUs' times are not known here: /proc/stat is unreadable")
    return Account(
        interval.interval_ns,
        known["cpus"],
        known["available_ns"],
        {name: known[name] for name in TERMS},
        known["residual_ns"],
        known["edge_ns"],
        known["bound_ns"] - known["edge_ns"],
        interval.exited,
        interval.cur.exits_lost - interval.prev.exits_lost,
    )


def _lines(title: str, found: Account) -> list[str]:
    def percent(ns: int) -> float:
        return 100 * ns / found.interval_ns if found.interval_ns else 0.0

    lines = [f"{title}  {found.interval_ns / 1e9:.3f} s x {found.cpus} CPUs"]
    rows = [(_NAMES.get(name, name.removesuffix("_ns")), found.terms[name]) for name in TERMS]
    rows = [row for row in rows if row[0] != "without row" or row[1]]
    rows += [("sum", sum(found.terms.values())), ("residual", found.residual_ns)]
    for name, ns in rows:
        bound = f"  (bound {percent(found.bound_ns):.4f} %)" if name == "residual" else ""
        lines.append(f"  {name:<12} {ns / 1e6:14.3f} ms {percent(ns):10.4f} %{bound}")
    died = f"{found.exited} died" + (f", {found.exits_lost} lost" if found.exits_lost else "")
    lines.append(f"  {'closed' if found.closed else 'NOT CLOSED'}; {died}")
    return lines


def _cpu_line(used: dict[str, int]) -> str:
    whole = used["available_ns"] or 1
    shares = "  ".join(
        f"{name} {100 * used[f'{name}_ns'] / whole:.4f} %"
        for name in ("busy", "irq", "steal", "idle")
    )
    return f"  cpu{used['cpu']:<3} {shares}"


def _parser() -> argparse.ArgumentParser:
    options = Parser(
        prog="ptop audit",
        description="Adds up where the CPUs' time went: tasks + irq + steal + idle + residual ="
        " CPUs x interval, for each interval and over all. Exit status 0 where the residual over"
        " all is inside its bound, else 1.",
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
        help="overlook these processes, to see that the books do not close then",
    )
    return options


def main(arguments: Sequence[str], out: TextIO) -> int:
    """Run `ptop audit`; gives the exit status."""
    options = _parser().parse_args(arguments)
    without = set(options.leave_out)
    total: Account | None = None
    with taskstats.Source(options.source, fields=[], exact=True, cpu_times=True) as source:
        taskstats.drop_privileges(source.name)
        for interval in batch.intervals(source, options.delay, options.intervals):
            found = account(interval, without)
            total = found if total is None else total.then(found)
            if options.format == "json":
                _write_json(interval, found, out)
            else:
                stamp = time.strftime("%H:%M:%S", time.localtime(interval.cur.time_ns / 1e9))
                lines = _lines(f"{stamp} {source.name}", found)
                lines += [_cpu_line(used) for used in interval.cpu_use()]
                out.write("\n".join(lines) + "\n\n")
            out.flush()
    assert total is not None, "there is at least one interval"
    if options.format == "json":
        json.dump({"overall": True, "source": source.name, **total.as_dict()}, out)
        out.write("\n")
    else:
        out.write("\n".join(_lines("over all", total)) + "\n")
    return 0 if total.closed else 1


def _write_json(interval: taskstats.Interval, found: Account, out: TextIO) -> None:
    line = {
        "time": interval.cur.time_ns / 1e9,
        "source": interval.cur.source,
        **found.as_dict(),
        "per_cpu": interval.cpu_use(),
    }
    json.dump(line, out, separators=(",", ":"))
    out.write("\n")
