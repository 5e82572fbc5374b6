"""Times, lengths of time and sizes that a user types, and the pace of snapshots.

Design decisions

* The live view needs delays only: datetime is imported, and patterns are compiled, where a
  time is parsed, so that the view starts quickly.
"""

from __future__ import annotations

import os
import re
import time

# Same value as typing.TYPE_CHECKING; importing typing would slow down the start.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

# Seconds in a unit; without a unit, a number means seconds.
UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_UNITS_BYTES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
# Limits that no sensible value exceeds; all numbers up to them fit where they are used.
MIN_LENGTH_S, MAX_LENGTH_S = 0.001, 36_500 * 86_400
MAX_SIZE_BYTES = 1 << 50
LENGTH_FORMS = f"one such as 90, 30m, 12h or 7d, from {MIN_LENGTH_S} to {MAX_LENGTH_S // 86_400}d"
SIZE_FORMS = f"one such as 500M or 2G, from 1 to {MAX_SIZE_BYTES >> 30}G"
TIME_FORMS = "12:34:56, '2026-11-23 12:34:56', +90s, -5m or @SECONDS since 1970"

SHORTEST_DELAY_S, LONGEST_DELAY_S = 0.1, 86_400
DELAY_RANGE = f"from {SHORTEST_DELAY_S} to {LONGEST_DELAY_S}"

TICKS_PER_S = os.sysconf("SC_CLK_TCK")

_OFFSET = r"([+-])(\d+(?:\.\d+)?)([smhd]?)"
_CLOCK = r"\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?"


def parse_time(text: str, reference_ns: int, latest_ns: int | None = None) -> int:
    """The time that `text` means, in ns since 1970.

    A clock time is the one nearest to `reference_ns`, of those up to `latest_ns` if that is
    given; +90s and -5m count from it. ValueError, with the valid forms, if it is not a time.
    """
    from datetime import datetime

    text = text.strip()
    try:
        if offset := re.fullmatch(_OFFSET, text):
            seconds = float(offset[2]) * UNITS_S[offset[3]]
            return reference_ns + round(seconds * 1e9) * (1 if offset[1] == "+" else -1)
        if text.startswith("@"):
            return round(float(text[1:]) * 1e9)
        if re.fullmatch(_CLOCK, text):
            return _nearest_clock_time(text, reference_ns, latest_ns)
        return _ns(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is not a time; write {TIME_FORMS}") from None


def parse_end(text: str, reference_ns: int, begin_ns: int | None) -> int:
    """The end of a span, as `parse_time`; a clock time is the first one after its begin."""
    if begin_ns is not None and re.fullmatch(_CLOCK, text.strip()):
        return parse_time(text, begin_ns + 12 * 3600 * 10**9)
    return parse_time(text, reference_ns)


def started_s(start_ns: int, clocks: tuple[int, int] | None = None) -> int:
    """When a task started, in seconds since 1970, from its start since boot. `clocks` are the times
    since 1970 and since boot of one instant, both in ns; without them it is now.

    /proc has the start in clock ticks, a record in ns: both are the same second.
    """
    if clocks is None:
        clocks = time.time_ns(), time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    ticks = start_ns * TICKS_PER_S // 10**9
    return (ticks * 10**9 // TICKS_PER_S + clocks[0] - clocks[1]) // 10**9


def parse_length(text: str) -> float | None:
    """Seconds, with an optional unit; None if it is no length of time."""
    return _with_unit(text, UNITS_S, MIN_LENGTH_S, MAX_LENGTH_S)


def parse_size(text: str) -> int | None:
    """Bytes, with an optional binary unit; None if it is no size."""
    number = _with_unit(text, _UNITS_BYTES, 1, MAX_SIZE_BYTES)
    return None if number is None else int(number)


def parse_history(text: str) -> float | None:
    """Seconds that a history spans: minutes, or with a unit, and 0 for none."""
    if _with_unit(text, UNITS_S, 0, 0) == 0:
        return 0.0
    return parse_length(text if text[-1:].isalpha() else f"{text}m")


def _with_unit(text: str, units: dict[str, int], least: float, most: float) -> float | None:
    match = re.fullmatch(r"([0-9]*\.?[0-9]+)([a-zA-Z]?)", text)
    if match is None or match[2] not in units:
        return None
    number = float(match[1]) * units[match[2]]
    return number if least <= number <= most else None


def is_time(text: str) -> bool:
    """Whether `text` means a time."""
    try:
        parse_time(text, time.time_ns())
    except ValueError:
        return False
    return True


def parse_delay(text: str) -> float | None:
    """The seconds between two snapshots, or None if `text` is not in `DELAY_RANGE`. The mark
    of decimals may be a comma."""
    try:
        seconds = float(text.replace(",", "."))
    except ValueError:
        return None
    return seconds if SHORTEST_DELAY_S <= seconds <= LONGEST_DELAY_S else None


class Pace:
    """When each of many steps is due.

    A step that is a little late does not delay the ones after it. After a stall the next step
    comes a whole delay later: missed ones are not made up for, nor is the next interval short.
    """

    def __init__(self, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._clock = clock
        # Integers, because sums of fractions of seconds are inexact.
        self.last_ns = clock()

    def left_s(self, delay: float) -> float:
        """How long to wait for the step that is due `delay` seconds after the last one."""
        return max(0, self.last_ns + round(delay * 1e9) - self._clock()) / 1e9

    def step(self, delay: float) -> None:
        """Take that step now."""
        now, due = self._clock(), self.last_ns + round(delay * 1e9)
        self.last_ns = due if now - due < delay * 1e9 / 2 else now

    def restart(self) -> None:
        """Count from now on."""
        self.last_ns = self._clock()


def _ns(moment: datetime) -> int:
    return round(moment.timestamp() * 1e6) * 1000


def _nearest_clock_time(text: str, reference_ns: int, latest_ns: int | None) -> int:
    from datetime import datetime, timedelta

    reference = datetime.fromtimestamp(reference_ns / 1e9)
    at = datetime.combine(reference.date(), datetime.strptime("00", "%S").time())
    parts = [float(part) for part in text.split(":")]
    hours, minutes, seconds = (*parts, 0.0)[:3]
    if hours > 24 or minutes >= 60 or seconds >= 60:
        raise ValueError(text)
    at += timedelta(hours=hours, minutes=minutes, seconds=seconds)
    days = (_ns(at + timedelta(days=by)) for by in (-1, 0, 1))
    known = (ns for ns in days if latest_ns is None or ns <= latest_ns)
    return min(known, key=lambda ns: abs(ns - reference_ns))
