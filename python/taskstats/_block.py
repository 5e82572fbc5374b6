"""What a `with` block needs to work with `async with`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class Block(ABC):
    """Begins and ends with a `with` block, and in the same way with `async with`."""

    def __repr__(self) -> str:
        return f"<taskstats.{type(self).__name__}: {self._state()}>"

    @abstractmethod
    def _state(self) -> str:
        """What the representation says of it."""

    @abstractmethod
    def __enter__(self) -> Self:
        """Begin."""

    @abstractmethod
    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        """End."""

    async def __aenter__(self) -> Self:
        """Begin."""
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End."""
        self.__exit__(kind, value, traceback)
