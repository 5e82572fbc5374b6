"""`ptop doctor`: what works on this machine, what does not and what to type."""

from __future__ import annotations

import json
from typing import TextIO

import taskstats


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
        if source.hint:
            out.write(f"{'':<15} -> {source.hint}\n")
    out.write(f"\nauto takes {best}\n" if best else "\nno source works here\n")


def _as_dict(report: taskstats.SourceReport) -> dict[str, str | bool]:
    return {
        "name": report.name,
        "available": report.available,
        "reason": report.reason,
        "hint": report.hint,
        "precision": report.precision,
    }
