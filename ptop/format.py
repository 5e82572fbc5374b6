"""Numbers and names as text. Nothing here knows where a value comes from.

Design decisions

* Names are untrusted: whatever could steer a terminal is shown as a visible stand-in.
* Unknown is `-`, never 0.
"""

from __future__ import annotations

import time
import unicodedata
from functools import lru_cache

UNKNOWN = "-"

_BINARY_UNITS = "KMGTPE"


def safe(text: str) -> str:
    """`text` with everything that could steer a terminal made visible.

    Control characters become their picture (U+2400 …), other invisible and
    direction-changing characters U+FFFD.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_safe_character(character) for character in text)


def _safe_character(character: str) -> str:
    code = ord(character)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    return character if character.isprintable() else "\ufffd"


def width(text: str) -> int:
    """Terminal cells that `text`, which must be `safe`, takes."""
    if text.isascii():
        return len(text)
    return sum(_cells(character) for character in text)


def _cells(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def fit(text: str, cells: int, *, right: bool = False) -> str:
    """`text` cut or padded to exactly `cells` terminal cells."""
    if text.isascii():
        return text[:cells].rjust(cells) if right else text[:cells].ljust(cells)
    kept, used = [], 0
    for character in text:
        needs = _cells(character)
        if used + needs > cells:
            break
        kept.append(character)
        used += needs
    padding = " " * (cells - used)
    return padding + "".join(kept) if right else "".join(kept) + padding


def percent(value: float | None, digits: int = 2) -> str:
    """A share in per cent."""
    return UNKNOWN if value is None else f"{value:.{digits}f}"


def integer(value: int | None) -> str:
    """A whole number."""
    return UNKNOWN if value is None else str(value)


def kibibytes(value: int | None) -> str:
    """KiB with a binary unit: `512K`, `1.5G`."""
    return UNKNOWN if value is None else _binary(float(value), 0)


def rate(value: float | None) -> str:
    """Events a second."""
    if value is None:
        return UNKNOWN
    if value < 10:
        return f"{value:.1f}" if value else "0"
    return f"{value:.0f}" if value < 100_000 else f"{value / 1000:.0f}k"


def bytes_rate(value: float | None) -> str:
    """Bytes a second with a binary unit."""
    if value is None:
        return UNKNOWN
    return f"{value:.0f}" if value < 1024 else _binary(value / 1024, 0)


def _binary(value: float, unit: int) -> str:
    while value >= 1024 and unit < len(_BINARY_UNITS) - 1:
        value /= 1024
        unit += 1
    digits = 0 if value >= 100 or unit == 0 else 1
    return f"{value:.{digits}f}{_BINARY_UNITS[unit]}"


@lru_cache(maxsize=16)
def _offset_s(quarter: int) -> int:
    """By how much local time is ahead of UTC in a quarter of an hour since 1970: zones
    change at none shorter."""
    return time.localtime(quarter * 900).tm_gmtoff


def time_of_day(time_ns: int) -> str:
    """The local time, as `23:59:59`, of ns since 1970."""
    seconds = time_ns // 1_000_000_000
    seconds += _offset_s(seconds // 900)
    return f"{seconds // 3600 % 24:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def stamp(time_ns: int) -> str:
    """Local date and time to the second, as they may be typed, of ns since 1970."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time_ns / 1e9))


def elapsed(seconds: float | None) -> str:
    """A duration: `4.25s`, `3m12`, `5h07`, `12d03`."""
    if seconds is None:
        return UNKNOWN
    if seconds < 60:
        return f"{seconds:.2f}s"
    whole = int(seconds)
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}"
    if whole < 86_400:
        return f"{whole // 3600}h{whole % 3600 // 60:02}"
    return f"{whole // 86_400}d{whole % 86_400 // 3600:02}"
