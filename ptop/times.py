"""Times that a user types, as ns since 1970. Pure but for the local time zone."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

_STEP = re.compile(r"([+-])(\d+(?:\.\d+)?)([smhd]?)")
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}

FORMS = "12:34, 12:34:56, '2026-11-23 12:34:56', +90s, -5m, or @ and seconds since 1970"


def parse_time(text: str, now_ns: int) -> int:
    """What `text` means beside the time `now_ns`: a clock time is the one nearest to it,
    +90s and -5m count from it. ValueError that lists the forms."""
    text = text.strip()
    try:
        if step := _STEP.fullmatch(text):
            seconds = float(step[2]) * _UNITS[step[3]]
            return now_ns + round(seconds * 1e9) * (1 if step[1] == "+" else -1)
        if text.startswith("@"):
            return round(float(text[1:]) * 1e9)
        if re.fullmatch(r"\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?", text):
            return _clock(text, now_ns)
        return _ns(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is no time; write {FORMS}") from None


def _ns(moment: datetime) -> int:
    return round(moment.timestamp() * 1e6) * 1000


def _clock(text: str, now_ns: int) -> int:
    now = datetime.fromtimestamp(now_ns / 1e9)
    at = datetime.combine(now.date(), datetime.strptime("00", "%S").time())
    parts = [float(part) for part in text.split(":")]
    hours, minutes, seconds = (*parts, 0.0)[:3]
    if hours > 24 or minutes >= 60 or seconds >= 60:
        raise ValueError(text)
    at += timedelta(hours=hours, minutes=minutes, seconds=seconds)
    days = (at + timedelta(days=by) for by in (-1, 0, 1))
    return min((_ns(day) for day in days), key=lambda ns: abs(ns - now_ns))
