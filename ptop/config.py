"""The setup file of the live view: `$XDG_CONFIG_HOME/ptop/config.toml`.

Design decisions

* Only the setup page (F2) writes it. It has what differs from the defaults, so that those of a
  later version apply.
* A wrong line costs itself alone, and is told with its number; the view starts all the same.
* Text for programs (`ptop -b`, `--format`) does not depend on it.
* A file that others may have written, or led to by a directory or link, is not read. While ptop
  is root by sudo, a child that has become the user who called sudo reads that user's file; with
  --keep-root it is not read at all.
"""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import pwd
import re
import shlex
import stat
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from ptop.columns import COLUMN_SETS, METERS
from ptop.live.state import LAYOUTS, THEMES, Setup
from ptop.privilege import sudo_user
from ptop.times import (
    DELAY_RANGE,
    LENGTH_FORMS,
    SIZE_FORMS,
    parse_delay,
    parse_history,
    parse_length,
    parse_size,
)

# Grows when a key changes its meaning or goes.
SCHEMA = 1
NAME = "ptop/config.toml"
# A larger file is no setup.
_MOST_BYTES = 1 << 16
# As many links as the kernel follows.
_MOST_LINKS = 40


class Screen(NamedTuple):
    """The columns of a view, and how it is sorted; None is the view's own."""

    columns: tuple[str, ...] | None = None
    sort: str | None = None
    descending: bool | None = None


class Config(NamedTuple):
    """What a setup file says; `values` has keys of `VALUES`. `path` is where F2 writes it, empty
    where it must not, and `why` says why not. `warnings` say what is wrong in it."""

    path: str = ""
    values: Mapping[str, Any] = MappingProxyType({})
    screens: Mapping[str, Screen] = MappingProxyType({})
    warnings: tuple[str, ...] = ()
    why: str = Setup().why


def _one_of(names: Sequence[str]) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if value not in names:
            raise ValueError(f"choose {', '.join(names)}")
        return str(value)

    return check


def _some_of(names: Sequence[str], none: bool = False) -> Callable[[Any], tuple[str, ...]]:
    def check(value: Any) -> tuple[str, ...]:
        is_list = isinstance(value, list) and (none or bool(value))
        if not is_list or not set(map(str, value)) <= set(names):
            raise ValueError(f"give a list of {', '.join(names)}")
        return tuple(dict.fromkeys(map(str, value)))

    return check


def _yes_or_no(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("give true or false")
    return value


def _delay(value: Any) -> float:
    number = parse_delay(str(value))
    if number is None or isinstance(value, bool):
        raise ValueError(f"give a number of seconds {DELAY_RANGE}")
    return number


def _amount(parse: Callable[[str], float | None], forms: str) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if isinstance(value, bool) or parse(str(value)) is None:
            raise ValueError(f"give {forms}")
        return str(value)

    return check


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= 10**9:
        raise ValueError("give a whole number from 1 up")
    return value


def _folder(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("give a directory")
    return os.path.expanduser(value)


def _triggers(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise ValueError("give a list of COLUMN:VALUE or sum:COLUMN:VALUE")
    for text in value:
        number = re.fullmatch(r"[^:]+:([0-9]+(\.[0-9]+)?)", text.removeprefix("sum:"))
        if number is None:
            raise ValueError(f"{text!r} is not COLUMN:VALUE or sum:COLUMN:VALUE")
    return tuple(value)


def _texts(what: str) -> Callable[[Any], tuple[str, ...]]:
    def check(value: Any) -> tuple[str, ...]:
        is_list = isinstance(value, list) and bool(value)
        if not is_list or not all(isinstance(text, str) for text in value):
            raise ValueError(f"give a list of {what}")
        return tuple(value)

    return check


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("give a column")
    return value


# What a setup file may have at its top, and in each [screen.NAME]; what checks each value.
VALUES: Mapping[str, Callable[[Any], Any]] = {
    "theme": _one_of(THEMES),
    "keys": _one_of(LAYOUTS),
    "view": _one_of(tuple(COLUMN_SETS)),
    "views": _some_of(tuple(COLUMN_SETS)),
    "delay": _delay,
    "ascii": _yes_or_no,
    "key_bar": _yes_or_no,
    "history": _amount(parse_history, f"0 or {LENGTH_FORMS}"),
    "history_size": _amount(parse_size, SIZE_FORMS),
    "on_spike": _triggers,
    "spike_dir": _folder,
    "spike_files": _count,
    "spike_gap": _amount(parse_length, LENGTH_FORMS),
    "tabs": _yes_or_no,
    "meters": _some_of(METERS, none=True),
    "disks": _texts("names of disks, such as sda"),
    "networks": _texts("names of interfaces, such as eth0"),
}
_SCREEN: Mapping[str, Callable[[Any], Any]] = {
    "columns": _texts("columns"),
    "sort": _text,
    "descending": _yes_or_no,
}


def _unused(why: str, warning: str) -> Config:
    """A file that is neither used nor written over."""
    return Config(why=why, warnings=(warning,))


def parse(text: str, path: str, is_column: Callable[[str], bool]) -> Config:
    """What the text of a setup file says. `is_column` is whether a column has a name."""
    import tomllib

    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        # What was written by hand is to be repaired, not replaced.
        return _unused(f"{path}: {error}", f"{path}: {error}: none of it is used")
    schema = document.pop("schema", 1)
    if schema != SCHEMA:
        why = f"schema {schema!r} is not {SCHEMA}, which this version reads: none of it is used"
        why = f"{path}:{_line(text, 'schema')}: {why}"
        return _unused(why, why)
    warnings: list[str] = []

    def take(table: Mapping[str, Any], checks: Mapping[str, Any], section: str) -> dict[str, Any]:
        taken = {}
        for key, value in table.items():
            where = f"{path}:{_line(text, key, section)}: "
            if key not in checks:
                warnings.append(f"{where}unknown key {key!r}; there are {', '.join(checks)}")
                continue
            try:
                taken[key] = checks[key](value)
            except ValueError as error:
                warnings.append(f"{where}{key}: {error}")
        return taken

    screens = document.pop("screen", {})
    values = take(document, VALUES, "")
    triggers = values.get("on_spike", ())
    columns = [text.removeprefix("sum:").rpartition(":")[0] for text in triggers]
    if wrong := [column for column in columns if not is_column(column)]:
        where = f"{path}:{_line(text, 'on_spike')}: "
        warnings.append(f"{where}no column {', '.join(map(repr, wrong))}")
        values.pop("on_spike")
    if not isinstance(screens, dict):
        where = f"{path}:{_line(text, 'screen')}: "
        warnings.append(f"{where}screen: give a section for a view, such as [screen.live]")
        screens = {}
    found = {}
    for name, table in screens.items():
        section = f"screen.{name}"
        if name not in COLUMN_SETS or not isinstance(table, dict):
            where = f"{path}:{_line(text, section)}: "
            warnings.append(f"{where}no view {name!r}; there are {', '.join(COLUMN_SETS)}")
            continue
        taken = take(table, _SCREEN, section)
        for key in ("columns", "sort"):
            named = [taken[key]] if key == "sort" and key in taken else taken.get(key, ())
            if wrong := [column for column in named if not is_column(column)]:
                where = f"{path}:{_line(text, key, section)}: "
                warnings.append(f"{where}no column {', '.join(map(repr, wrong))}")
                taken.pop(key)
        found[name] = Screen(**taken)
    return Config(path, values, found, tuple(warnings))


def _line(text: str, key: str, section: str = "") -> int:
    """The number of the line that has a key of a section, or the head of the section `key`."""
    now = ""
    for number, line in enumerate(text.splitlines(), 1):
        if head := re.match(r"\s*\[\s*([^\]]+?)\s*\]", line):
            now = head[1].replace('"', "")
            if now == key:
                return number
        elif now == section and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[=.]", line):
            return number
    return 1


def load(is_column: Callable[[str], bool], keep_root: bool = False) -> Config:
    """The setup file of the user; one without values where there is none."""
    user = sudo_user()
    if user is not None:
        if keep_root:
            # What a user wrote must not steer root.
            return Config()
        # Once privilege is given up, the files of the interpreter may be out of reach.
        with contextlib.suppress(ImportError):
            importlib.import_module("tomli_w")
    path = _path(user)
    if not path:
        return Config()
    try:
        data = _read(path) if user is None else _read_as(user, path)
    except FileNotFoundError:
        return Config(path)
    except AnothersError as error:
        # A home that is another's, as after su: nobody expects its settings. In a user namespace
        # it may be the user's own, of whose directories some belong to nobody.
        if not (error.of_nobody and os.path.exists(path)):
            return Config()
        return _unused(str(error), f"{path}: {error}: not read")
    except (OSError, ValueError) as error:
        if isinstance(error, PermissionError) and not os.access(os.path.dirname(path), os.X_OK):
            # A home that is another's, as after su: nobody expects its settings.
            return Config()
        if user is None and not os.path.exists(path):
            # Nothing is lost; F2 cannot write it.
            return Config()
        reason = error.strerror if isinstance(error, OSError) else str(error)
        return _unused(f"{path}: {reason}", f"{path}: {reason}: not read")
    return parse(data.decode("utf-8", "replace"), path, is_column)


def _path(sudo: int | None) -> str:
    """Where the setup file is; empty where there is no home."""
    try:
        home = os.environ.get("HOME", "") if sudo is None else pwd.getpwuid(sudo).pw_dir
    except KeyError:
        return ""
    given = os.environ.get("XDG_CONFIG_HOME", "") if sudo is None else ""
    # A relative path is to be ignored (XDG Base Directory Specification).
    folder = given if os.path.isabs(given) else os.path.join(home, ".config")
    return os.path.join(folder, NAME) if os.path.isabs(folder) else ""


class AnothersError(ValueError):
    """A directory or link on the way to a file belongs to another user; `of_nobody` is whether
    that is the one which stands for users that a namespace does not have."""

    def __init__(self, path: str, uid: int) -> None:
        super().__init__(f"{path} belongs to user {uid}")
        self.of_nobody = uid == _overflow_uid()


def _overflow_uid() -> int:
    """The user of files whose owner a user namespace does not have (user_namespaces(7))."""
    with open("/proc/sys/kernel/overflowuid", encoding="ascii") as file:
        return int(file.read())


def _check_way(path: str) -> None:
    """ValueError if others than this user and root can change which file `path` leads to: every
    directory and link that it goes through counts, those of the targets of links too."""
    names, at, links = path.split("/")[::-1], "/", 0
    while True:
        found = os.lstat(at)
        is_link = stat.S_ISLNK(found.st_mode)
        if not names and not is_link:
            return
        if found.st_uid not in {0, os.geteuid()}:
            raise AnothersError(at, found.st_uid)
        if is_link:
            links += 1
            if links > _MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            target = os.readlink(at)
            names += target.split("/")[::-1]
            at = "/" if target.startswith("/") else os.path.dirname(at)
            continue
        # In a directory such as /tmp nobody changes entries of others.
        is_shared = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        if is_shared and not found.st_mode & stat.S_ISVTX:
            raise ValueError(f"others may write to {at}; type: chmod go-w {shlex.quote(at)}")
        at = os.path.normpath(os.path.join(at, names.pop()))


def _read(path: str) -> bytes:
    """A file that nobody but this user and root can have written; ValueError for another."""
    _check_way(path)
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise ValueError("it is no regular file")
        if found.st_uid not in {0, os.geteuid()}:
            raise ValueError(f"it belongs to user {found.st_uid}")
        if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise ValueError("others may write to it; type: chmod go-w")
        data = os.read(descriptor, _MOST_BYTES + 1)
        if len(data) > _MOST_BYTES:
            raise ValueError(f"it is larger than {_MOST_BYTES} bytes")
        return data
    finally:
        os.close(descriptor)


def _read_as(user: int, path: str) -> bytes:
    """The same, read by a child that has become `user`; no privilege is used for it."""
    # The user's own group, whatever the environment says.
    group = pwd.getpwuid(user).pw_gid
    output, written = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresgid(group, group, group)
            os.setresuid(user, user, user)
            try:
                answer = b"+" + _read(path)
            except FileNotFoundError:
                answer = b"0"
            except (OSError, ValueError) as error:
                reason = error.strerror if isinstance(error, OSError) else str(error)
                answer = b"-" + str(reason).encode()
            with os.fdopen(written, "wb") as out:
                out.write(answer)
        finally:
            os._exit(0)
    os.close(written)
    with os.fdopen(output, "rb") as answers:
        answer = answers.read()
    os.waitpid(child, 0)
    if answer[:1] == b"0":
        raise FileNotFoundError
    if answer[:1] != b"+":
        raise ValueError(answer[1:].decode() or "it could not be read")
    return answer[1:]


def dumps(document: Mapping[str, Any]) -> str:
    """The text of a setup file."""
    import tomli_w

    return "# Written by the setup page of ptop (F2).\n" + tomli_w.dumps(
        {"schema": SCHEMA, **document}
    )


def write(path: str, document: Mapping[str, Any], why: str = Setup().why) -> str:
    """Write a setup file, whole or not at all; returns what to tell the user. Without a path that
    is `why`."""
    if not path:
        return f"not written: {why}"
    try:
        text = dumps(document)
    except ImportError:
        return "not written: tomli-w is missing; type: pip install tomli-w"
    try:
        with contextlib.suppress(FileNotFoundError):
            _check_way(path)
        _make_folder(os.path.dirname(path))
        with contextlib.suppress(FileNotFoundError):
            _check_way(path)
        # A link stays one: dotfiles may be kept elsewhere, on another file system too.
        _replace(os.path.realpath(path), text)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        return f"not written: {path}: {reason}"
    return f"written: {path}"


def _replace(path: str, text: str) -> None:
    """Write a file that keeps its mode; a new one is this user's alone."""
    try:
        mode = stat.S_IMODE(os.stat(path).st_mode)
    except FileNotFoundError:
        mode = 0o600
    unfinished = f"{path}.new"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with open(os.open(unfinished, flags, 0o600), "w", encoding="utf-8") as out:
            out.write(text)
            os.fchmod(out.fileno(), mode)
        os.replace(unfinished, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(unfinished)
        raise


def _make_folder(path: str) -> None:
    """A directory of this user alone, and those that it is in."""
    if not os.path.isdir(path):
        _make_folder(os.path.dirname(path))
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o700)
