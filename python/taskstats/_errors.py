"""The package's exceptions, each with the built-in one that it also is."""


class TaskstatsError(Exception):
    """Anything that this package raises on purpose."""


class NoSuchTask(TaskstatsError, ProcessLookupError):
    """No task has that id (any more)."""


class AccessDenied(TaskstatsError, PermissionError):
    """The caller lacks a privilege; the message says which, and how to get it."""


class Unsupported(TaskstatsError, OSError):
    """The kernel or this machine does not have what was asked for."""


class ParseError(TaskstatsError, ValueError):
    """Bytes that could not be understood; `offset` says where."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message, offset)
        self.offset = offset

    def __str__(self) -> str:
        return str(self.args[0])
