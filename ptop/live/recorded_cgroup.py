"""What a recording or the history says of a task's cgroup: for the pane, and the view `cgroups`."""

from __future__ import annotations

from collections.abc import Mapping

import taskstats
from taskstats.machine import recorded_cgroup

Value = int | float | str | None

# Said above the view `cgroups` of a frame that is not live.
OF_LAST_MINUTE = "cgroups are read once a minute: their increases are of the last one"
# Words of the pane and their columns, by controller. Those of a time span come last.
_LEVELS = {
    "cpu": (("max", "cpu_max_pct", " %"),),
    "memory": (("current", "memory_current", ""), ("high", "memory_high", ""),
               ("max", "memory_max", "")),
}  # fmt: skip
_INCREASES = {
    "cpu": (("nr_periods", "nr_periods_delta", ""), ("nr_throttled", "nr_throttled_delta", ""),
            ("throttled_usec", "throttled_usec_delta", "")),
    "io": (("rbytes", "rbytes_delta", ""), ("wbytes", "wbytes_delta", "")),
    "pressure": tuple((f"{of} {who}", f"{of}_{who}_pct", " %")
                      for of in ("cpu", "io", "memory") for who in ("some", "full")),
}  # fmt: skip


def lines(
    interval: taskstats.Interval, path: str, kept: taskstats.KeptInterval | None
) -> list[str]:
    """What is recorded of a cgroup; empty where nothing is."""
    values = recorded_cgroup(interval, path, kept)
    if values is None:
        return []
    shown = [f"path {path}, as it was recorded last"]
    shown += _words(values, _LEVELS, "")
    elapsed_ns = values["elapsed_ns"]
    if isinstance(elapsed_ns, int):
        shown += _words(values, _INCREASES, f" in the {elapsed_ns / 1e9:.0f} s before that")
    return shown


def _words(
    values: Mapping[str, Value], of: Mapping[str, tuple[tuple[str, str, str], ...]], when: str
) -> list[str]:
    """A line for each controller of which something is known."""
    found = []
    for controller, words in of.items():
        known = [
            f"{word} {_text(value, unit)}"
            for word, key, unit in words
            if (value := values[key]) is not None
        ]
        if known:
            found.append(f"{controller}{when}: {'  '.join(known)}")
    return found


def _text(value: int | float | str, unit: str) -> str:
    if isinstance(value, str):
        return value
    return f"{value:.1f}{unit}" if isinstance(value, float) else f"{value}{unit}"
