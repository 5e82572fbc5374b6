"""The package's exceptions; each is also the built-in exception for its case."""


class TaskstatsError(Exception):
    """Base class of the exceptions of this package."""


class NoSuchTask(TaskstatsError, ProcessLookupError):
    """No task has this id. `errno` is ESRCH."""


class AccessDenied(TaskstatsError, PermissionError):
    """The caller lacks a privilege. The message says which, and how to get it."""


class Unsupported(TaskstatsError, OSError):
    """The kernel or this machine lacks what was requested."""


class ParseError(TaskstatsError, ValueError):
    """Bytes are damaged or of an unknown format, at `offset` bytes from the begin."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message, offset)
        self.offset = offset

    def __str__(self) -> str:
        return str(self.args[0])


class DamageWarning(UserWarning):
    """Parts of recordings were left out, because that was requested and they cannot be read."""
