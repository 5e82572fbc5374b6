"""Values that do not change are named tuples: the first frame waits for them, and a dataclass takes
five times as long to create."""

from __future__ import annotations

# Same value as typing.TYPE_CHECKING.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ParamSpec, Protocol, TypeVar

    Fields = ParamSpec("Fields")
    Value = TypeVar("Value", covariant=True)

    class _Replaceable(Protocol[Fields, Value]):
        def _replace(self, *args: Fields.args, **kwargs: Fields.kwargs) -> Value: ...


def replace(
    value: _Replaceable[Fields, Value], /, *args: Fields.args, **changes: Fields.kwargs
) -> Value:
    """A copy with other values of some fields, as `copy.replace` of Python 3.13 makes."""
    return value._replace(*args, **changes)
