"""Files that commands write: exports and reports.

Design decisions

* A regular file gets its name when it is complete. Until then it has none (O_TMPFILE), so a
  process that is killed leaves nothing. Where the file system cannot do that, it has a hidden
  name and is locked; the next file that is made in the directory removes those of the caller
  that nobody has locked.
* A file is replaced, never continued. In a directory that others may write to, no link is
  followed, and a new file replaces nothing.
* A pipe or device is opened as it is. /dev/stdout and the like are the descriptor itself, so
  that the file of a shell's `>>` is appended to.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import signal
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import BinaryIO, NoReturn, Self

_WRITABLE_BY_OTHERS = 0o022
_MOST_LINKS = 40
_IGNORED = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)
# The errors of kernels and file systems that have no files without a name.
_NO_TMPFILE = (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL)
# The errors of file systems without hard links.
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP)
_HIDDEN = re.compile(r"\.ptop-[0-9a-f]{16}\.part")


@dataclass(frozen=True, slots=True)
class Audience:
    """Who may read a file beside its owner: by the bits of a mode, and the group that those
    of the group are about."""

    mode: int
    group: int | None

    @staticmethod
    def of(paths: Sequence[str]) -> Audience:
        """Who may read all these files."""
        mode, groups = 0o777, set()
        for path in paths:
            about = os.stat(path)
            mode &= about.st_mode
            groups.add(about.st_gid)
        return Audience(mode, groups.pop() if len(groups) == 1 else None)

    def bits(self, group: int) -> int:
        """The bits of the mode that a file of this group may have."""
        return (self.mode | 0o700) & (0o777 if group == self.group else 0o707)


class DeniedOutputError(PermissionError):
    """A file may not be written."""


def not_written(error: OSError, path: str) -> OSError:
    """The error of a write, which names the file as the user typed it."""
    number = error.errno or errno.EIO
    kind = DeniedOutputError if isinstance(error, PermissionError) else OSError
    return kind(number, error.strerror or os.strerror(number), path)


class Output:
    """A file to write. Leaving the block without `finish` leaves no regular file."""

    def __init__(self, path: str, audience: Audience | None = None) -> None:
        """Open the file; OSError, with `path`, if that fails. A regular file is readable by
        its owner, and of others by the `audience` at most."""
        self._path = path
        self._file: _NewFile | None = None
        # A pipe to the process that names the file, and its pid.
        self._namer: tuple[int, int] | None = None
        with self._named_errors():
            found = _find(path)
            if isinstance(found, int):
                self.stream: BinaryIO = os.fdopen(os.dup(found), "wb")
            elif found.there is None or stat.S_ISREG(found.there.st_mode):
                self._file = _NewFile(found, audience)
                self.stream = self._file.stream
            else:
                self.stream = _opened_as_it_is(found)

    def keep_right(self) -> None:
        """Call this before privileges are dropped: a process that keeps them names the file,
        and does nothing else."""
        if self._file is None:
            return
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(writing)
            _serve(self._file, reading)
        os.close(reading)
        self._namer = (writing, pid)

    def finish(self) -> None:
        """Complete the file; OSError, with its path, if that fails."""
        with self._named_errors():
            self.stream.flush()
            self._settle(True)
            self.stream.close()

    def _settle(self, complete: bool) -> None:
        """Name the file, or leave none. A second call does nothing."""
        file, self._file = self._file, None
        if self._namer:
            (writing, pid), self._namer = self._namer, None
            if complete:
                os.write(writing, b"1")
            os.close(writing)
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            if complete and status:
                raise OSError(status if status > 0 else errno.EIO, None)
        elif file is not None:
            file.settle(complete)

    @contextlib.contextmanager
    def _named_errors(self) -> Iterator[None]:
        """Errors name the file as the user typed it."""
        try:
            yield
        except OSError as error:
            raise not_written(error, self._path) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        with contextlib.suppress(OSError):
            self._settle(False)
        with contextlib.suppress(OSError):
            self.stream.close()


@dataclass(frozen=True, slots=True)
class _Place:
    """A name in a directory, and the file that has it."""

    directory: int
    name: str
    there: os.stat_result | None
    # Whether others than the caller and root may put files into the directory.
    shared: bool


def _find(path: str) -> _Place | int:
    """Where a path leads to, or the number of the own descriptor that it stands for."""
    for _ in range(_MOST_LINKS):
        head, name = os.path.split(path)
        if name.isdecimal() and os.path.realpath(head) == os.path.realpath("/proc/self/fd"):
            return int(name)
        if not name:
            raise OSError(errno.EISDIR if head else errno.ENOENT, None)
        directory = os.open(head or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        about = os.fstat(directory)
        shared = bool(about.st_mode & _WRITABLE_BY_OTHERS) or about.st_uid not in {0, os.geteuid()}
        try:
            there = os.stat(name, dir_fd=directory, follow_symlinks=False)
        except FileNotFoundError:
            return _Place(directory, name, None, shared)
        if not stat.S_ISLNK(there.st_mode):
            return _Place(directory, name, there, shared)
        target = os.readlink(name, dir_fd=directory)
        os.close(directory)
        if shared:
            raise PermissionError(errno.EACCES, "is a link in a directory that others may write to")
        path = os.path.join(head, target)
    raise OSError(errno.ELOOP, None)


def _opened_as_it_is(place: _Place) -> BinaryIO:
    """A pipe or a device; opening a directory is an error."""
    flags = os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NOCTTY
    number = os.open(place.name, flags, dir_fd=place.directory)
    os.close(place.directory)
    if place.shared and os.fstat(number).st_uid not in {0, os.geteuid()}:
        os.close(number)
        raise PermissionError(
            errno.EACCES, "belongs to another user, in a directory that others may write to"
        )
    return os.fdopen(number, "wb")


class _NewFile:
    """A regular file that has no name, or a hidden one, until it is complete."""

    def __init__(self, place: _Place, audience: Audience | None) -> None:
        self._place = place
        # The hidden name, while there is one.
        self._part = ""
        flags = os.O_WRONLY | os.O_CLOEXEC
        try:
            # A nameless file is named through /proc.
            os.stat("/proc/self/fd")
            number = os.open(".", flags | os.O_TMPFILE, 0o666, dir_fd=place.directory)
        except OSError as error:
            if error.errno not in _NO_TMPFILE:
                raise
            _remove_left_behind(place.directory)
            self._part, number = _hidden_file(place.directory, flags)
        there, made = place.there, os.fstat(number)
        # The mode of another user's file is not the caller's choice.
        is_own = there is not None and there.st_uid == os.geteuid()
        mode = there.st_mode if there is not None and is_own else made.st_mode
        os.fchmod(number, mode & (0o777 if audience is None else audience.bits(made.st_gid)))
        self.stream: BinaryIO = os.fdopen(number, "wb")

    def settle(self, complete: bool) -> None:
        """Give the file its name, or leave none."""
        try:
            if complete:
                self._give_name()
        finally:
            if self._part:
                os.unlink(self._part, dir_fd=self._place.directory)
            os.close(self._place.directory)

    def _give_name(self) -> None:
        # Unlike a rename, a link replaces nothing.
        if self._place.there is None:
            try:
                self._link(self._place.name)
                return
            except FileExistsError:
                if self._place.shared:
                    raise
            except OSError as error:
                if not self._part or error.errno not in _NO_LINKS:
                    raise
                # A file that is made meanwhile is found by this.
                self._reserve()
        if not self._part:
            name = _hidden_name()
            self._link(name)
            self._part = name
        directory = self._place.directory
        os.replace(self._part, self._place.name, src_dir_fd=directory, dst_dir_fd=directory)
        self._part = ""

    def _reserve(self) -> None:
        """Make an empty file of the name; a file that is there may be replaced if the directory
        is not shared."""
        flags = os.O_WRONLY | os.O_CLOEXEC | os.O_CREAT | os.O_EXCL
        try:
            os.close(os.open(self._place.name, flags, 0o600, dir_fd=self._place.directory))
        except FileExistsError:
            if self._place.shared:
                raise

    def _link(self, name: str) -> None:
        # With a directory's descriptor os.link is linkat(2), which can follow the link in /proc.
        directory = self._place.directory
        own = self._part or f"/proc/self/fd/{self.stream.fileno()}"
        os.link(own, name, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=True)


def _hidden_name() -> str:
    return f".ptop-{os.urandom(8).hex()}.part"


def _hidden_file(directory: int, flags: int) -> tuple[str, int]:
    """A new file with a hidden name, locked if the file system has locks; its descriptor."""
    while True:
        name = _hidden_name()
        number = os.open(name, flags | os.O_CREAT | os.O_EXCL, 0o666, dir_fd=directory)
        with contextlib.suppress(OSError):
            fcntl.flock(number, fcntl.LOCK_EX)
        # It may have been taken for one left behind before it was locked.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.stat(name, dir_fd=directory), os.fstat(number)):
                return name, number
        os.close(number)


def _remove_left_behind(directory: int) -> None:
    """Remove the caller's files of hidden names whose process was killed: nobody locks them."""
    with contextlib.suppress(OSError):
        listing = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
        try:
            names = os.listdir(listing)
        finally:
            os.close(listing)
        for name in filter(_HIDDEN.fullmatch, names):
            _remove_if_left_behind(name, directory)


def _remove_if_left_behind(name: str, directory: int) -> None:
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    with contextlib.suppress(OSError):
        number = os.open(name, flags, dir_fd=directory)
        try:
            about = os.fstat(number)
            if stat.S_ISREG(about.st_mode) and about.st_uid == os.geteuid():
                fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(name, dir_fd=directory)
        finally:
            os.close(number)


def _serve(file: _NewFile, reading: int) -> NoReturn:
    """In a child: name the file when a byte arrives. The end of the pipe without a byte says
    that the file is not complete."""
    status = errno.EIO
    try:
        for number in _IGNORED:
            signal.signal(number, signal.SIG_IGN)
        file.settle(bool(os.read(reading, 1)))
        status = 0
    except OSError as error:
        status = error.errno or status
    finally:
        os._exit(status)
