"""The page of the machine's graphs: CPUs, memory, pressure, disks and networks in the last minutes.

Design decisions

* The values are those of intervals, so that the live view, its history and a replay show the same
  graphs. They end at the interval that is shown.
* Intervals before it are fetched between keys, one at a time, the oldest first.
* Where there are more intervals than cells, a bar is the mean of several.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal, TypeVar

import taskstats
from taskstats.machine import Disk, Machine, Network, Pressure

from ptop.live.details import Series, graph
from ptop.live.state import PAGE_FRAME, State
from ptop.text import stamp
from ptop.values import replace

StyledLine = tuple[str, Literal["plain", "bold", "reverse"]]

MODE = "machine"
# Intervals that the graphs remember.
REMEMBERED = 300
# Cells of a graph that are not bars.
_FRAME = 19

Values = tuple[float | None, ...]
Device = TypeVar("Device", Disk, Network)
_LABELS = (
    ("cpu", "percent"), ("load", "number"), ("memory", "bytes"), ("swap", "bytes"),
    ("PSI cpu", "percent"), ("PSI io", "percent"), ("PSI mem", "percent"), ("disk r", "bytes"),
    ("disk w", "bytes"), ("disk busy", "percent"), ("net in", "bytes"), ("net out", "bytes"),
)  # fmt: skip


def values(
    interval: taskstats.Interval, disks: Sequence[str] = (), networks: Sequence[str] = ()
) -> Values:
    """The values of the graphs in an interval; None is unknown. `disks` and `networks` are the
    names of those that count, all without any."""
    before, now = interval.prev.machine, interval.cur.machine
    length_ns = interval.interval_ns
    memory, load = interval.cur.memory, interval.cur.load
    cpus = interval.cpu_pct()
    used = [100.0 - cpu["idle"] - cpu["iowait"] for cpu in cpus]
    return (
        sum(used) / len(used) if used else None,
        load[0] if load else None,
        1024.0 * (memory["mem_total_kb"] - memory["mem_available_kb"]) if memory else None,
        1024.0 * (memory["swap_total_kb"] - memory["swap_free_kb"]) if memory else None,
        *(_pressure(of(before), of(now), length_ns) for of in _PRESSURES),
        *_disks(before, now, disks, length_ns),
        *_networks(before, now, networks, length_ns),
    )


_PRESSURES: tuple[Callable[[Machine], Pressure | None], ...] = (
    lambda machine: machine.cpu_pressure,
    lambda machine: machine.io_pressure,
    lambda machine: machine.memory_pressure,
)


def _pressure(before: Pressure | None, now: Pressure | None, length_ns: int) -> float | None:
    if before is None or now is None or length_ns <= 0:
        return None
    return min(100.0, 1e5 * (now.some.total_us - before.some.total_us) / length_ns)


def _pairs(
    before: Sequence[Device], now: Sequence[Device], wanted: Sequence[str]
) -> list[tuple[Device, Device]]:
    """The devices that were there before too, as they were and as they are."""
    earlier = {device.name: device for device in before}
    return [
        (earlier[device.name], device)
        for device in now
        if device.name in earlier and (not wanted or device.name in wanted)
    ]


def _disks(before: Machine, now: Machine, wanted: Sequence[str], length_ns: int) -> Values:
    """Bytes per second read and written, and the share of time with requests."""
    if before.disks is None or now.disks is None or length_ns <= 0:
        return (None,) * 3
    pairs = _pairs(before.disks, now.disks, wanted)
    busy_ms = sum(max(0, disk.busy_ms - last.busy_ms) for last, disk in pairs)
    return (
        _per_s(sum(max(0, disk.read_bytes - last.read_bytes) for last, disk in pairs), length_ns),
        _per_s(
            sum(max(0, disk.written_bytes - last.written_bytes) for last, disk in pairs), length_ns
        ),
        min(100.0, 1e8 * busy_ms / length_ns / max(1, len(pairs))),
    )


def _networks(before: Machine, now: Machine, wanted: Sequence[str], length_ns: int) -> Values:
    """Bytes per second received and sent."""
    if before.networks is None or now.networks is None or length_ns <= 0:
        return (None,) * 2
    pairs = _pairs(before.networks, now.networks, wanted)
    received = sum(max(0, now.received_bytes - last.received_bytes) for last, now in pairs)
    sent = sum(max(0, now.sent_bytes - last.sent_bytes) for last, now in pairs)
    return _per_s(received, length_ns), _per_s(sent, length_ns)


def _per_s(count: int, length_ns: int) -> float:
    return count * 1e9 / length_ns


class Graphs:
    """Collects what the page shows while it is open."""

    def __init__(self) -> None:
        self._chosen: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
        self.close()

    def close(self) -> None:
        """Forget all."""
        # By the ends of the intervals; and the end of the one that is shown.
        self._frames: dict[int, Values] = {}
        self._now_ns = 0
        self._earlier: Iterator[taskstats.Interval] | None = None

    def follow(
        self, state: State, interval: taskstats.Interval, earlier: Iterator[taskstats.Interval]
    ) -> None:
        """Take the interval that is shown. `earlier` are those before it."""
        chosen = (state.setup.disks, state.setup.networks)
        if chosen != self._chosen:
            self.close()
            self._chosen = chosen
        now_ns = interval.cur.time_ns
        newest = max(self._frames, default=0)
        if now_ns not in self._frames:
            is_next = interval.prev.time_ns <= newest < now_ns
            self._frames[now_ns] = values(interval, *chosen)
            if not is_next:
                self._earlier = earlier
        self._now_ns = now_ns

    @property
    def is_open(self) -> bool:
        """Whether it has collected something."""
        return bool(self._frames)

    @property
    def has_work(self) -> bool:
        """Whether there are intervals to fetch."""
        return self._earlier is not None

    def work(self) -> bool:
        """Fetch an interval; returns whether it was the last."""
        if self._earlier is None:
            return False
        interval = next(self._earlier, None)
        if interval is None:
            self._earlier = None
            while len(self._frames) > 2 * REMEMBERED:
                del self._frames[min(self._frames)]
            return True
        if interval.cur.time_ns not in self._frames:
            self._frames[interval.cur.time_ns] = values(interval, *self._chosen)
        return False

    def series(self) -> list[Series]:
        """The graphs that have a value, up to the interval that is shown."""
        ends = sorted(end for end in self._frames if end <= self._now_ns)[-REMEMBERED:]
        frames = [self._frames[end] for end in ends]
        every = (
            Series(label, form, [frame[at] for frame in frames])
            for at, (label, form) in enumerate(_LABELS)
        )
        return [one for one in every if any(value is not None for value in one.values)]

    def page(self, state: State, place: str, ascii_only: bool) -> list[StyledLine]:
        """The page on a screen of the state's size."""
        room = max(1, state.height - PAGE_FRAME)
        cells = max(1, state.width - _FRAME)
        series = self.series()
        longest = max((len(one.values) for one in series), default=0)
        by = max(1, -(-longest // cells))
        lines: list[StyledLine] = [
            (graph(merged(one, by), state.width - 1, ascii_only), "plain") for one in series
        ]
        lines += [("", "plain")] * (room - len(lines))
        each = f", a bar is the mean of {by} intervals" if by > 1 else ""
        when = place or stamp(self._now_ns)
        title = f"the machine up to {when}: {longest} intervals{each}"
        foot = state.notice or ", . go back and forth, Esc returns"
        return [(title, "bold"), *lines[:room], (foot, "bold")]


def merged(series: Series, by: int) -> Series:
    """The series with bars that are the means of so many values each, counted from the newest."""
    if by == 1:
        return series
    ends = range(len(series.values), 0, -by)
    groups = [series.values[max(0, end - by) : end] for end in reversed(ends)]
    means = [_mean([value for value in group if value is not None]) for group in groups]
    return replace(series, bars=means)


def _mean(known: Sequence[float]) -> float | None:
    return sum(known) / len(known) if known else None
