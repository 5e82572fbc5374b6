"""Spikes: frames in which a column stands out from the frames before.

Design decisions

* A frame has two numbers for a column, the highest cell and the sum of all: a task and the
  machine may have a spike each.
* Medians, so that other spikes among the frames before have no influence.
"""

from __future__ import annotations

import math
from collections.abc import Callable, MutableMapping, Sequence

import taskstats

# The highest cell of a column and its sum; NaN where unknown.
Peak = tuple[float, float]
UNKNOWN: Peak = (math.nan, math.nan)

# A spike stands out from this many frames before it: it is at least SPIKE_FACTOR times their
# median, and more than SPIKE_SPREADS times their median deviation above it.
SPIKE_FRAMES = 30
SPIKE_FACTOR, SPIKE_SPREADS = 2.0, 5.0
# Frames that a backward search measures in one forward pass.
PASS_FRAMES = 300


def peak(interval: taskstats.Interval | None, column: str) -> Peak:
    """The peak of a column in an interval."""
    if interval is None:
        return UNKNOWN
    rows = interval.select([column], sort=column, limit=1)
    return _number(rows[0][0] if rows else None), _number(interval.sum([column])[0])


def _number(cell: object) -> float:
    return float(cell) if isinstance(cell, (int, float)) else math.nan


def find(
    frames: range,
    first: int,
    peaks: MutableMapping[int, Peak],
    measure: Callable[[int], Peak],
    is_late: Callable[[], bool],
) -> int | None:
    """The first spike among `frames`, whose step is 1 or -1; `first` is the oldest frame of all.
    Frames that have no peak yet are measured. Raises TimeoutError, with the number of the frame
    that was reached, if that takes too long."""
    for index in frames:
        oldest = max(first, index - SPIKE_FRAMES)
        if any(at not in peaks for at in range(oldest, index + 1)):
            if is_late():
                raise TimeoutError(index)
            # Reading frames is cheap forwards and expensive backwards.
            begin = oldest if frames.step > 0 else max(first, index - PASS_FRAMES)
            for at in range(begin, index + 1):
                if at not in peaks:
                    peaks[at] = measure(at)
        before = [peaks[at] for at in range(oldest, index)]
        for which, value in enumerate(peaks[index]):
            if stands_out(value, [other[which] for other in before]):
                return index
    return None


def stands_out(value: float, before: Sequence[float]) -> bool:
    """Whether a value is the start of a spike: far above the values before it, the last of
    which is not far above its own predecessors."""
    known = [other for other in before if not math.isnan(other)]
    if math.isnan(value) or not known:
        return False
    return _far_above(value, known) and not (len(known) > 1 and _far_above(known[-1], known[:-1]))


def _far_above(value: float, others: Sequence[float]) -> bool:
    usual = _median(others)
    # Most values are ordinary: they need no second median.
    if value <= usual * SPIKE_FACTOR:
        return False
    return value > usual + SPIKE_SPREADS * _median([abs(other - usual) for other in others])


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]
