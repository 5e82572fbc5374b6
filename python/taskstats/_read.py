"""The records of recordings as columns: `read`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, overload

from taskstats._core import FIELDS, Columns
from taskstats._core import read as read_all
from taskstats._errors import ParseError
from taskstats._files import Recording, each, recordings
from taskstats._scan import Scan, When


@overload
def read(
    paths: Recording | Iterable[Recording],
    columns: Sequence[str] | None = None,
    *,
    begin_ns: When | None = None,
    end_ns: When | None = None,
    errors: Literal["raise", "skip"] = "raise",
    mmap: bool = True,
    record_size: int | None = None,
    batches: Literal[False] = False,
) -> Columns: ...
@overload
def read(
    paths: Recording | Iterable[Recording],
    columns: Sequence[str] | None = None,
    *,
    begin_ns: When | None = None,
    end_ns: When | None = None,
    errors: Literal["raise", "skip"] = "raise",
    mmap: bool = True,
    record_size: int | None = None,
    batches: Literal[True],
) -> Iterator[Columns]: ...
def read(
    paths: Recording | Iterable[Recording],
    columns: Sequence[str] | None = None,
    *,
    begin_ns: When | None = None,
    end_ns: When | None = None,
    errors: Literal["raise", "skip"] = "raise",
    mmap: bool = True,
    record_size: int | None = None,
    batches: bool = False,
) -> Columns | Iterator[Columns]:
    """Return the records of all snapshots of one or more recordings as columns.

    `paths` is what `scan` takes: paths, patterns, directories, URLs, binary files, bytes and Dumps.
    All CPUs read in parallel, without the GIL, and all rows are in memory then. With `batches` the
    rows come in batches of some MB, a few of which are in memory at a time. `scan` returns what
    each task used in each interval.

    `columns` are names of `FIELDS`, and `time_ns` and `monotonic_ns` (the snapshot's begin),
    `exited`, `host`, `boot_id`, `source`, `path`, `user`, `cgroup`, `cmdline`, and labels such as
    `label.rack`; None reads all fields that the files hold, with time, host, boot id and `exited`.
    Only snapshots that began at or after `begin_ns` and before `end_ns` are read. `mmap` and
    `record_size` are as in `open`.

    Raises OSError, ValueError for an unknown column, and ParseError for what is damaged or no
    recording. With `errors="skip"` all that cannot be read is left out, listed in `Columns.lost`
    (without `batches`), and reported by a `DamageWarning`; damaged names are None.
    """
    options: dict[str, Any] = {"mmap": mmap, "record_size": record_size}
    if not batches:
        places: list[Any] = []
        for found in recordings(paths, {}):
            if found.lacks and errors == "raise":
                raise found.lacks
            places.append(found.open(**options) if found.is_remote else found.place)
        return read_all(places, columns, begin_ns=begin_ns, end_ns=end_ns, errors=errors, **options)
    src = list(each(paths))
    if columns is None:
        columns = _held(src, options)
    scan = Scan(src, "record", columns, begin_ns, end_ns, errors, None)
    scan._open_options = options
    return iter(scan)


def _held(src: Sequence[Recording], options: dict[str, Any]) -> list[str]:
    """Time and place, and all fields of the first snapshot of each file."""
    held: set[str] = set()
    for found in recordings(src, {}):
        try:
            dump = found.open(**options)
            held.update(dump[0].fields if len(dump) else ())
        except (OSError, ParseError):
            # The scan raises it, or leaves it out.
            continue
    return ["time_ns", "host", "boot_id", "exited", *(name for name in _FIELDS if name in held)]


_FIELDS = [field["name"] for field in FIELDS]
