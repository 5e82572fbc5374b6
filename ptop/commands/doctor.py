"""`ptop doctor`: what works on this machine, what does not, and what to type."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence

import taskstats

from ptop.args import Parser
from ptop.text import as_root


def parser() -> Parser:
    """The options of `ptop doctor`."""
    options = Parser(
        prog="ptop doctor",
        description="Reports which sources work on this machine, and what to type to get the"
        " others.",
    )
    options.add_argument(
        "--format", choices=("table", "json"), default="table", help="table (default) or json"
    )
    return options


def main(words: Sequence[str]) -> int:
    """Run `ptop doctor`; returns the exit status."""
    options = parser().parse_args(words)
    sources = taskstats.sources()
    best = next((source.name for source in sources if source.available), None)
    delay_accounting = taskstats.delayacct()
    if options.format == "json":
        report = {
            "auto": best,
            "sources": [_as_dict(source) for source in sources],
            "delayacct": _as_dict(delay_accounting),
        }
        json.dump(report, sys.stdout)
        sys.stdout.write("\n")
        return 0
    lines = [line for source in sources for line in _lines(source, source.precision)]
    lines += _lines(delay_accounting, "")
    lines += ["", f"auto takes {best}" if best else "no source works here"]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 0


def _lines(report: taskstats.SourceReport, precision: str) -> list[str]:
    lines = [f"{report.name:<10} {'yes' if report.available else 'no':<4} {report.reason}"]
    if precision:
        lines.append(f"{'':<15} CPU time: {precision}")
    if hint := _hint(report):
        lines.append(f"{'':<15} -> {hint}")
    return lines


def _hint(report: taskstats.SourceReport) -> str:
    """What to type to get this source; empty if there is nothing."""
    if report.state == "denied" and os.geteuid() != 0:
        return as_root("--source", report.name)
    return report.hint


def _as_dict(report: taskstats.SourceReport) -> dict[str, str | bool]:
    return {
        "name": report.name,
        "available": report.available,
        "state": report.state,
        "reason": report.reason,
        "hint": _hint(report),
        "precision": report.precision,
    }
