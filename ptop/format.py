"""Names and times as text. What the values of a screen look like is the core's matter
(`taskstats.screen`); its forms that other reports share have their names here."""

from __future__ import annotations

import time

from taskstats.screen import bytes_rate, percent, safe

__all__ = ["UNKNOWN", "bytes_rate", "offset_s", "percent", "safe", "stamp"]

UNKNOWN = "-"


def offset_s(time_s: int) -> int:
    """By how much local time is ahead of UTC at a time in seconds since 1970."""
    return time.localtime(time_s).tm_gmtoff


def stamp(time_ns: int) -> str:
    """Local date and time to the second, as they may be typed, of ns since 1970."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time_ns / 1e9))
