"""`ptop doctor`: what works on this machine, what does not and what to type."""

from __future__ import annotations

import json
import os
from typing import TextIO

import taskstats

from ptop.text import as_root


def write(style: str, out: TextIO) -> None:
    """A report on every source and on delay accounting, as table or json."""
    sources = taskstats.sources()
    best = next((report.name for report in sources if report.available), None)
    delays = taskstats.delayacct()
    if style == "json":
        report = {
            "auto": best,
            "sources": [_as_dict(source) for source in sources],
            "delayacct": _as_dict(delays),
        }
        json.dump(report, out)
        out.write("\n")
        return
    for source in (*sources, delays):
        state = "yes" if source.available else "no"
        out.write(f"{source.name:<10} {state:<4} {source.reason}\n")
        if source.precision:
            out.write(f"{'':<15} CPU time: {source.precision}\n" if source is not delays else "")
        if hint := _hint(source):
            out.write(f"{'':<15} -> {hint}\n")
    out.write(f"\nauto takes {best}\n" if best else "\nno source works here\n")


def _hint(report: taskstats.SourceReport) -> str:
    """What to type."""
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
