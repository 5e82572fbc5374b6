"""The intervals of a recorded file, and their rows.

```python
import taskstats
from taskstats.recorded import Frames

frames = Frames(taskstats.open("day.tsd"))
for interval in frames.intervals():
    print(interval.interval_ns, len(interval))
```

Design decisions

* A frame is the interval that ends with a snapshot, and has that snapshot's index. No interval
  spans a gap in the recording: the first snapshot, a reboot, a restart of the recorder, a
  change between processes and threads have no frame.
* A damaged snapshot is an error, as everywhere. With `errors="skip"` it has no frame, and is
  listed.
* A step forward continues the previous interval, as the live view does. A jump computes the
  interval from two snapshots.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Literal, TypeAlias, TypedDict

from taskstats._core import (
    Columns,
    Dump,
    Interval,
    RecordedIntervals,
    ScanReader,
    Snapshot,
    recorded_columns,
    same_start,
    sum_tasks,
)
from taskstats._errors import warn_of

__all__ = [
    "COLUMNS",
    "LABEL",
    "TIMES",
    "Cell",
    "Frames",
    "Lost",
    "ScanReader",
    "check",
    "kind",
    "rows",
    "same_start",
    "sum_tasks",
    "tuples",
]

Cell: TypeAlias = int | float | str | None


class Lost(TypedDict):
    """What a reader left out; as of `Columns.lost`."""

    path: os.PathLike[str]
    snapshot: int | None
    offset: int | None
    reason: str


class Frames:
    """The intervals of a dump, by the index of the snapshot that ends each of them.

    Damaged snapshots raise ParseError; with `errors="skip"` they are left out, and `lost` says why.
    """

    def __init__(self, dump: Dump, *, errors: Literal["raise", "skip"] = "raise") -> None:
        if errors not in {"raise", "skip"}:
            raise ValueError(f'errors is "raise" or "skip", not {errors!r}')
        self.dump = dump
        #: Begin of each snapshot, in ns since 1970.
        self.times_ns = dump.times_ns
        self._recorded = RecordedIntervals(dump, skip=errors == "skip")

    def __len__(self) -> int:
        """Return the number of snapshots. Frames have indices from 1 to that number less one."""
        return len(self.times_ns)

    @property
    def lost(self) -> dict[int, str]:
        """Why a snapshot could not be read, by its index; only snapshots that were requested."""
        return self._recorded.lost

    def snapshot(self, index: int) -> Snapshot | None:
        """Return the snapshot at `index`, or None where it is damaged and left out.

        Raises ParseError where it is damaged, OSError where the file was truncated after it was
        opened.
        """
        return self._recorded.snapshot(index)

    def interval(self, index: int) -> Interval | None:
        """Return the frame at `index`, or None where there is no interval (see the module).

        Raises ParseError where a snapshot of it is damaged, OSError where the file was truncated
        after it was opened.
        """
        return self._recorded.interval(index) if 1 <= index < len(self) else None

    def step(self, index: int, by: int) -> int | None:
        """Return the nearest index with an interval, after (`by` 1) or before (-1) `index`."""
        index += by
        while 1 <= index < len(self):
            if self.interval(index) is not None:
                return index
            index += by
        return None

    def at(self, time_ns: int) -> int | None:
        """Return the index of the frame that holds `time_ns` (since 1970).

        This is the frame with the earliest end at or after it, else the one with the latest
        end. Times need not ascend: the clock may have been set back. None where the file has no
        interval.
        """
        later = [(end_ns, index) for index, end_ns in enumerate(self.times_ns) if end_ns >= time_ns]
        if later:
            after = self.step(max(min(later)[1], 1) - 1, 1)
            if after is not None:
                return after
        latest = max(range(len(self)), key=lambda index: (self.times_ns[index], index), default=0)
        return self.step(latest + 1, -1)

    def intervals(self, start: int = 1, stop: int | None = None) -> Iterator[Interval]:
        """Yield the intervals with indices from `start` to `stop`, without `stop`.

        At the end a `DamageWarning` reports what was left out (`errors="skip"`).
        """
        for index in range(max(start, 1), len(self) if stop is None else min(stop, len(self))):
            found = self.interval(index)
            if found is not None:
                yield found
        warn_of([{"path": self.dump.path, "reason": reason} for reason in self.lost.values()])


# The kinds of the types other than unsigned integers.
_KINDS = {"text": "text", "bool": "flag", "i8": "signed"}

#: The columns of `rows` by name, with their kind: integer (0 to 2^64 - 1), signed, text, flag.
COLUMNS: dict[str, str] = {
    name: _KINDS.get(value_type, "integer") for name, value_type in recorded_columns().items()
}


#: The columns that are times since 1970, with their units. Arrow consumers get timestamps in UTC;
#: 0 is no time.
TIMES: dict[str, str] = {"time_ns": "ns", "ac_btime": "s", "ac_btime64": "s"} | {
    name: "ns" for name in COLUMNS if name.endswith("_max_ts")
}


# What the names of labels begin with, as in `Dump.metadata`.
LABEL = "label."


def kind(name: str) -> str:
    """Return the kind of a column of `COLUMNS`, or of a label, such as `label.rack`.

    Raises ValueError, with a list of the columns, for another name.
    """
    if name.startswith(LABEL) and name != LABEL:
        return "text"
    if name not in COLUMNS:
        names = ", ".join(COLUMNS)
        raise ValueError(f"no column {name!r}; the columns are: {names}, and label.NAME")
    return COLUMNS[name]


def check(names: Sequence[str]) -> None:
    """Raise ValueError, with a list of the columns, for a name that `kind` does not know."""
    for name in names:
        kind(name)


def rows(interval: Interval, names: Sequence[str]) -> list[tuple[Cell, ...]]:
    """Return a row of the columns `names` for each task of a recorded interval.

    `time_ns` is the interval's end, in ns since 1970; `user_ns` and so on are the CPU time in
    the interval, in ns. `user`, `cgroup` (its path) and `cmdline` (quoted for a shell) are those
    of the recorded machine. None is unknown. Raises ValueError for an unknown column.
    """
    return tuples(interval.columns(names))


def tuples(found: Columns) -> list[tuple[Cell, ...]]:
    """Return the rows of columns as tuples; None is unknown."""
    return list(zip(*(_cells(found, name) for name in found.names), strict=True))


def _cells(found: Columns, name: str) -> Sequence[Cell]:
    values: memoryview[int] | memoryview[float] | list[str | None] = found[name]
    if isinstance(values, list):
        return values
    numbers, known = values.tolist(), found.valid(name)
    if all(known):
        return numbers
    return [number if valid else None for number, valid in zip(numbers, known, strict=True)]
