"""The recordings that a caller names: files, patterns, directories, URLs, bytes."""

from __future__ import annotations

import errno
import glob
import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeAlias

from taskstats._core import Dump
from taskstats._core import open as open_dump

Recording: TypeAlias = str | os.PathLike[str] | IO[bytes] | bytes | bytearray | memoryview | Dump

# The names of the recordings of a directory.
_NAMES = "*.tsd"
_RECORDINGS = "give a path, a binary file, bytes, or a list of these"
_NO_MATCH = "no file matches this pattern"
_EMPTY = f"no recording ({_NAMES}) in this directory"


@dataclass
class Found:
    """A recording that was found, and where."""

    #: A path, or what was given instead.
    place: object
    #: The file system of fsspec that has it.
    remote: Any = None
    #: Why there is none.
    lacks: FileNotFoundError | None = None

    @property
    def is_remote(self) -> bool:
        """Whether the file has to be fetched."""
        return self.remote is not None

    @property
    def path(self) -> Path:
        """Its name in messages."""
        name = self.place if isinstance(self.place, str) else getattr(self.place, "name", "<bytes>")
        return Path(str(name))

    def open(self, **options: Any) -> Dump:
        """Open it, with the options of `open`. Raises what `open` raises."""
        if self.lacks:
            raise self.lacks
        if isinstance(self.place, Dump):
            return self.place
        if self.remote is None:
            return open_dump(self.place, **options)  # type: ignore[arg-type]
        # A file without a name: its pages need not stay in memory.
        with tempfile.TemporaryFile() as copy:
            try:
                with self.remote.open(self.place, "rb") as file:
                    while block := file.read(1 << 20):
                        copy.write(block)
            except FileNotFoundError:
                # That of a file system may have the name alone.
                raise _none(os.strerror(errno.ENOENT), str(self.place)) from None
            copy.flush()
            return open_dump(str(self.place), descriptor=copy.fileno(), **options)


def recordings(
    src: Recording | Iterable[Recording], storage_options: dict[str, Any]
) -> Iterator[Found]:
    """Yield the recordings that `src` stands for.

    A pattern, or a directory, without a recording is one that cannot be opened.
    """
    for one in each(src):
        if isinstance(one, str | os.PathLike):
            yield from _named(os.fspath(one), storage_options)
        else:
            yield Found(one)


def each(src: Recording | Iterable[Recording]) -> Iterable[Recording]:
    """Return one recording as several."""
    single = isinstance(src, str | os.PathLike | bytes | bytearray | memoryview | Dump)
    if single or hasattr(src, "read"):
        return [src]  # type: ignore[list-item]
    if not isinstance(src, Iterable):
        raise TypeError(f"{src!r} is no recording: {_RECORDINGS}")
    return src  # type: ignore[return-value]


def _named(name: str, storage_options: dict[str, Any]) -> Iterator[Found]:
    name = name.removeprefix("file://").removeprefix("file:")
    if "://" in name:
        yield from _remote(name, storage_options)
        return
    if os.path.isdir(name):
        paths = sorted(str(path) for path in Path(name).rglob(_NAMES) if path.is_file())
        if not paths:
            yield Found(name, lacks=_none(_EMPTY, name))
    elif glob.has_magic(name) and not os.path.lexists(name):
        paths = sorted(glob.glob(name, recursive=True))
        if not paths:
            yield Found(name, lacks=_none(_NO_MATCH, name))
    else:
        paths = [name]
    yield from map(Found, paths)


def _remote(url: str, storage_options: dict[str, Any]) -> Iterator[Found]:
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise ImportError(f"{url} needs fsspec: pip install 'precise-top[remote]'") from None
    system, path = url_to_fs(url, **storage_options)
    lacks = _NO_MATCH
    if glob.has_magic(path):
        paths = sorted(system.glob(path))
    elif system.isdir(path):
        paths = sorted(system.glob(f"{path.rstrip('/')}/**/{_NAMES}"))
        lacks = _EMPTY
    else:
        paths = [path]
    if not paths:
        yield Found(url, lacks=_none(lacks, url))
    yield from (Found(path, system) for path in paths)


def _none(reason: str, name: str) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, reason, name)
