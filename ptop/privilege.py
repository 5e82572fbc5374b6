"""The user who called sudo, as whom `ptop` goes on once its sources and files are open."""

from __future__ import annotations

import os
import pwd


def sudo_user() -> int | None:
    """The user who called sudo, while this process still is root."""
    if os.geteuid() != 0:
        return None
    return _named_by_sudo()


def has_given_up_root() -> bool:
    """Whether this process goes on as the user who called sudo."""
    user = _named_by_sudo()
    return bool(user) and os.geteuid() == user


def became() -> str:
    """The name of the user who called sudo, if this process goes on as that user; else
    empty."""
    if not has_given_up_root():
        return ""
    user = os.geteuid()
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"user {user}"


def _named_by_sudo() -> int | None:
    names = (os.environ.get(name, "") for name in ("SUDO_UID", "SUDO_GID"))
    numbers = [int(name) for name in names if name.isascii() and name.isdecimal()]
    return numbers[0] if len(numbers) == 2 else None
