"""The intervals of a recorded file, and their rows.

    frames = Frames(taskstats.open("day.tsd"))
    for interval in frames.intervals():
        ...

Design decisions

* A frame is the interval that ends with a snapshot, and has its index. There is none
  where nobody was watching: at the first snapshot, after a reboot, where the recorder was
  started anew, at a change between processes and threads, beside a snapshot that cannot
  be read.
* What plays forward continues the interval before, as a live view does; what jumps begins
  anew with two snapshots.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import TypeAlias

from taskstats._core import FIELDS, Columns, Dump, Interval, Snapshot, usage
from taskstats._errors import ParseError

Cell: TypeAlias = int | float | str | None


class Frames:
    """The intervals of a dump, by the index of the snapshot that ends each."""

    def __init__(self, dump: Dump) -> None:
        self.dump = dump
        #: When each snapshot was begun, in ns since 1970.
        self.times_ns = dump.times_ns
        #: Why a snapshot cannot be read, by its index; those that were asked for.
        self.lost: dict[int, str] = {}
        self._last: tuple[int, Interval] | None = None

    def __len__(self) -> int:
        """Snapshots in all; frames go from 1 to one less."""
        return len(self.times_ns)

    def snapshot(self, index: int) -> Snapshot | None:
        """The snapshot `index`; None where it is damaged, see `lost`. OSError where the
        file was cut short meanwhile."""
        if index in self.lost:
            return None
        try:
            return self.dump[index]
        except ParseError as error:
            self.lost[index] = str(error).removeprefix(f"{self.dump.path}: ")
            return None

    def interval(self, index: int) -> Interval | None:
        """The frame `index`; None where there is no interval (see the module's text)."""
        if not 1 <= index < len(self):
            return None
        last = self._last
        if last is not None and last[0] == index:
            return last[1]
        goes_on = last is not None and last[0] == index - 1
        before = last[1].cur if last is not None and goes_on else self.snapshot(index - 1)
        cur = self.snapshot(index)
        if before is None or cur is None or not _watched(before, cur):
            return None
        found = usage(last[1] if last is not None and goes_on else before, cur)
        self._last = index, found
        return found

    def step(self, index: int, by: int) -> int | None:
        """The nearest frame after (`by` 1) or before (-1) `index` that has an interval."""
        index += by
        while 1 <= index < len(self):
            if self.interval(index) is not None:
                return index
            index += by
        return None

    def at(self, time_ns: int) -> int | None:
        """The frame in which `time_ns` lies: the first that ends at or after it, else the
        last. None where no snapshot has an interval."""
        found = bisect_left(self.times_ns, time_ns)
        after = self.step(max(found, 1) - 1, 1)
        return after if after is not None else self.step(len(self), -1)

    def intervals(self, start: int = 1, stop: int | None = None) -> Iterator[Interval]:
        """All frames from `start` up to but without `stop`."""
        for index in range(max(start, 1), len(self) if stop is None else min(stop, len(self))):
            found = self.interval(index)
            if found is not None:
                yield found


def _watched(before: Snapshot, cur: Snapshot) -> bool:
    """Whether one recorder took both, so that who died in between is known."""
    same = all(
        getattr(before, name) == getattr(cur, name)
        for name in ("boot_id", "host", "source", "threads")
    )
    # A recorder that was started anew has used less than the one before.
    return same and before.own_cpu_ns <= cur.own_cpu_ns


# What a row has beside the kernel's fields and names.
_HEAD = ("time_ns", "host", "boot_id", "source", "interval_ns")
_USED = ("user_ns", "system_ns", "steal_ns", "total_ns", "exited")
_NAMES = ("user", "cgroup", "cmdline")
_TEXTS = frozenset(("host", "boot_id", "source", *_NAMES))

#: The columns of `rows` and their kinds: integer (0 to 2^64 - 1), signed, text or flag.
COLUMNS: dict[str, str] = {
    name: "text" if name in _TEXTS else "flag" if name == "exited" else "integer"
    for name in (*_HEAD, *_USED, *_NAMES)
} | {
    # The nice value is the only field with a sign.
    field["name"]: "text"
    if field["kind"] == "text"
    else "signed"
    if field["name"] == "ac_nice"
    else "integer"
    for field in FIELDS
}


def check(names: Sequence[str]) -> None:
    """ValueError that lists the columns where one is none of `COLUMNS`."""
    for name in names:
        if name not in COLUMNS:
            raise ValueError(f"no column {name!r}; the columns are: {', '.join(COLUMNS)}")


def rows(interval: Interval, names: Sequence[str]) -> list[tuple[Cell, ...]]:
    """A row for each task of an interval of a dump: when and where, what it used, its names
    and fields, as far as `names` says.

    Times are in ns; `user`, `cgroup` (its path) and `cmdline` (quoted as for a shell) are
    those of the recorded machine. None is unknown.
    """
    found = interval.columns(names)
    return list(zip(*(_cells(found, name) for name in names), strict=True))


def _cells(found: Columns, name: str) -> Sequence[Cell]:
    values = found[name]
    if isinstance(values, list):
        return values
    numbers, known = values.tolist(), found.valid(name)
    if all(known):
        return numbers
    return [number if valid else None for number, valid in zip(numbers, known, strict=True)]
