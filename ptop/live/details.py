"""The pane that shows one task: its state, and its text. Pure."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Literal, NamedTuple

from taskstats.screen import bytes_rate, percent, safe
from taskstats.screen import width as cells

StyledLine = tuple[str, Literal["plain", "bold", "reverse"]]

Environment = Literal["", "names", "values"]

# Modes in which the pane is on the screen.
MODES = ("details", "strace")
# Lines of the table above the pane, at least and at most.
LEAST_TABLE, MOST_TABLE = 4, 12
# Width of a graph with its label and value.
_GRAPH, _LABEL, _VALUE = 38, 9, 8
_STEPS, _ASCII_STEPS = "▁▂▃▄▅▆▇█", "_.:-=+*#"


class Details(NamedTuple):
    """What the pane shows: `top` is its first line of text, `environment` is empty, names or
    values, `memory` whether proportional memory is read, `tool` strace or lsof, if one runs.
    `followed` is whether the list followed the row before."""

    top: int = 0
    environment: Environment = ""
    memory: bool = False
    tool: str = ""
    followed: bool = False


class Series(NamedTuple):
    """Values of one kind, the newest last; None is unknown. `form` is percent, bytes or number.
    `bars` are drawn in place of the values, if there are any."""

    label: str
    form: str
    values: Sequence[float | None]
    bars: Sequence[float | None] = ()


class Pane(NamedTuple):
    """What is known of the task, or what a tool has written about it."""

    title: str
    series: Sequence[Series] = ()
    sections: Mapping[str, Sequence[str]] = MappingProxyType({})
    output: Sequence[str] | None = None


def table_lines(height: int) -> int:
    """Lines of a screen that the table keeps above the pane."""
    return max(LEAST_TABLE, min(MOST_TABLE, height // 3))


def lines(
    pane: Pane, details: Details, size: tuple[int, int], bar: str, notice: str, ascii_only: bool
) -> tuple[list[StyledLine], int]:
    """The pane on `size` (columns, lines): title, graphs, text, and keys or a message; and from
    which line on its text is shown."""
    width, height = size
    room = max(0, height - 2)
    if pane.output is not None:
        # The end, from which the user scrolls back.
        top = min(details.top, max(0, len(pane.output) - room))
        end = len(pane.output) - top
        body: list[StyledLine] = [
            (safe(line), "plain") for line in pane.output[max(0, end - room) : end]
        ]
        shown, more = body, ""
    else:
        body = [(text, "plain") for text in _graphs(pane.series, width, ascii_only)]
        body += _text(pane.sections, width)
        top = min(details.top, max(0, len(body) - room))
        shown = body[top : top + room]
        more = f"  {top + room} of {len(body)} lines" if top + room < len(body) else ""
    shown += [("", "plain")] * (room - len(shown))
    foot = safe(notice) if notice else f"{bar}{more}"
    return [(safe(pane.title), "reverse"), *shown, (foot, "bold")][:height], top


def _text(sections: Mapping[str, Sequence[str]], width: int) -> Iterable[StyledLine]:
    """Each section: its title, and its lines, wrapped."""
    for title, texts in sections.items():
        if texts:
            yield safe(title), "bold"
        for text in texts:
            for line in _wrapped(safe(text), max(8, width - 2)):
                yield f"  {line}", "plain"


def _wrapped(text: str, width: int) -> Iterable[str]:
    """The lines of a text, broken between words where that is possible."""
    if cells(text) != len(text):
        # A character may take two cells.
        width = max(1, width // 2)
    while len(text) > width:
        cut = text.rfind(" ", width // 2, width + 1)
        cut = width if cut < 0 else cut
        yield text[:cut].rstrip()
        text = text[cut:].lstrip()
    yield text


def _graphs(series: Sequence[Series], width: int, ascii_only: bool) -> Iterable[str]:
    """The graphs, in as many columns as fit."""
    columns = max(1, width // _GRAPH)
    room = width // columns - 1
    texts = [graph(one, room, ascii_only) for one in series]
    for at in range(0, len(texts), columns):
        yield " ".join(text.ljust(room) for text in texts[at : at + columns])


def graph(series: Series, width: int, ascii_only: bool = False) -> str:
    """A label, the last value and the values before it, scaled to the largest of them."""
    room = max(0, width - _LABEL - _VALUE - 1)
    values = list(series.bars or series.values)[-room:] if room else []
    last = series.values[-1] if series.values else None
    highest = max((value for value in values if value is not None), default=0.0)
    steps = _ASCII_STEPS if ascii_only else _STEPS
    bars = "".join(_bar(value, highest, steps) for value in values)
    return f"{series.label:<{_LABEL}}{_number(last, series.form):>{_VALUE}} {bars:>{room}}"


def _bar(value: float | None, highest: float, steps: str) -> str:
    if value is None:
        return " "
    if highest <= 0 or value <= 0:
        return steps[0]
    return steps[min(len(steps) - 1, int(value / highest * len(steps)))]


def _number(value: float | None, form: str) -> str:
    if value is None:
        return "-"
    if form == "number":
        return f"{value:.2f}"
    return f"{percent(value)}%" if form == "percent" else bytes_rate(value)


def exit_words(status: int | None) -> str:
    """A wait status in words (wait(2))."""
    if status is None:
        return "died"
    number = status & 0x7F
    if number == 0:
        return f"exit {status >> 8 & 0xFF}"
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    return f"killed by {name}{' with a core dump' if status & 0x80 else ''}"
