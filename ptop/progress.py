"""A progress bar on a terminal, where tqdm is installed; nothing on a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

# The bar is for work that takes longer.
PATIENCE_S = 1.0


def shown(items: Iterable[T], total: int, what: str) -> Iterator[T]:
    """`items`, of which there are about `total`, with a bar while they are worked on."""
    if not sys.stderr.isatty():
        return iter(items)
    try:
        from tqdm import tqdm
    except ImportError:
        return iter(items)
    bar = tqdm(items, total=total, desc=what, unit="frame", delay=PATIENCE_S, leave=False)
    return iter(bar)
