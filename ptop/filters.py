"""Filters: conditions on rows that a user types."""

from __future__ import annotations

from functools import lru_cache

from taskstats.screen import RowFilter

from ptop.columns import COLUMNS


def _names() -> dict[str, str]:
    """The names of columns, and the columns that they stand for: keys, and titles and headings that
    no key is equal to."""
    columns = COLUMNS.values()
    names = {column.title: column.source for column in columns}
    names |= {column.heading: column.source for column in columns if column.heading}
    return names | {key: column.source for key, column in COLUMNS.items()}


_NAMES = _names()


@lru_cache(maxsize=64)
def row_filter(text: str) -> RowFilter:
    """The filter that a text means; ValueError with a message for the user."""
    return RowFilter(text, _NAMES)


def what_is_wrong(text: str) -> str:
    """What is wrong with a filter; empty for nothing."""
    try:
        row_filter(text)
    except ValueError as error:
        return str(error)
    return ""


@lru_cache(maxsize=64)
def fields_of_filter(text: str) -> frozenset[str]:
    """The kernel fields that a filter needs."""
    found = row_filter(text)
    sources = set(found.columns)
    needed = {
        field for column in COLUMNS.values() if column.source in sources for field in column.fields
    }
    return frozenset(needed.union(found.fields))
