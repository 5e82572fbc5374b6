"""Why a column that was asked for is not shown, in words. Pure."""

from __future__ import annotations

from collections.abc import Callable

from ptop.columns import WAIT_COLUMNS, TableColumn

DELAYS_OFF = "delay accounting is off; type: sudo sysctl kernel.task_delayacct=1"
_WHY = {
    "off": DELAYS_OFF,
    "denied": "unknown without more privilege",
    "unsupported": "unknown: this kernel or source lacks it",
}


def why_unknown(column: TableColumn, status: Callable[[str], str]) -> str:
    """Why a column is not shown; empty where it is. `status` returns that of a kernel field (see
    `Snapshot.status`)."""
    fields = column.fields
    if column.key in WAIT_COLUMNS:
        # A wait for a CPU is known where any is.
        fields = tuple(field for field in fields if field.startswith("cpu_delay"))
    reasons = [_WHY[state] for state in map(status, fields) if state in _WHY]
    return f"{column.title}: {reasons[0]}" if reasons else ""
