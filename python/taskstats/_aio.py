"""Exits for `async for`: the event loop waits for their descriptor."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

from taskstats._core import Exits, Task


async def exits(source: Exits) -> AsyncIterator[Task]:
    """Yield tasks as they die, until `source` is closed: then ValueError."""
    loop = asyncio.get_running_loop()
    # A loop knows each descriptor once; another iterator may wait for the same exits.
    descriptor = os.dup(source.fileno())
    ready = asyncio.Event()
    loop.add_reader(descriptor, ready.set)
    try:
        while True:
            for task in source.read():
                yield task
            ready.clear()
            await ready.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
