"""Packages of Debian releases and architectures other than this machine's.

apt works here with sources, lists and a package state of its own, which are kept in the
cache. It resolves dependencies as for an empty system, and nothing gets installed.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "precise-top"
MIRROR = "http://deb.debian.org/debian"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


class DebianError(Exception):
    """apt or dpkg failed."""


class Debian:
    """The packages of some suites.

    `suites` maps each suite to its architectures; `architecture` is the native one.
    """

    def __init__(self, name: str, suites: Mapping[str, Sequence[str]], architecture: str) -> None:
        self.root = CACHE / "debian" / name
        self.suites = suites
        foreign = {each for listed in suites.values() for each in listed} - {architecture}
        self._options = [
            f"-oDir::Etc::SourceList={self.root}/sources.list",
            "-oDir::Etc::SourceParts=/dev/null",
            "-oDir::Etc::Preferences=/dev/null",
            "-oDir::Etc::PreferencesParts=/dev/null",
            f"-oDir::State={self.root}",
            "-oDir::State::Status=/dev/null",
            f"-oDir::Cache={self.root}",
            f"-oAPT::Architecture={architecture}",
            *(f"-oAPT::Architectures::={each}" for each in (architecture, *sorted(foreign))),
            "-oAPT::Sandbox::User=root",
        ]

    def name_suites(self) -> None:
        """Write apt's list of sources."""
        for folder in ("lists/partial", "archives/partial"):
            (self.root / folder).mkdir(parents=True, exist_ok=True)
        lines = [
            f"deb [signed-by={KEYRING} arch={','.join(listed)} target=Packages]"
            f" {MIRROR} {suite} main\n"
            for suite, listed in self.suites.items()
        ]
        with self._locked():
            (self.root / "sources.list").write_text("".join(lines))

    def update(self) -> bool:
        """Read the mirror's lists again. Returns whether all suites could be read; the
        lists that could not be read stay as they are."""
        self.name_suites()
        with self._locked():
            done = _run(["apt-get", *self._options, "-qq", "update"], check=False)
        if done.returncode or done.stderr:
            print(f"apt-get update: {done.stderr.strip()}", file=sys.stderr)
        return not done.returncode

    def names(self, prefix: str) -> list[str]:
        """Names of the packages that start with `prefix`."""
        done = _run(["apt-cache", *self._options, "pkgnames", prefix])
        return done.stdout.split()

    def same_version(self, packages: Sequence[str]) -> list[str]:
        """Each package with its newest version that all of them have, as PACKAGE=VERSION. A
        rebuild for one architecture (+b1) is the same version."""
        offers = [self._offers(package) for package in packages]
        shared = (version for version in offers[0] if all(version in each for each in offers))
        version = next(shared, None)
        if version is None:
            raise DebianError(f"no version on the mirror is common to {', '.join(packages)}")
        return [
            f"{package}={offer[version]}" for package, offer in zip(packages, offers, strict=True)
        ]

    def _offers(self, package: str) -> dict[str, str]:
        """Versions of a package on the mirror, the newest first, by their names without a
        rebuild."""
        done = _run(["apt-cache", *self._options, "madison", package])
        versions = [line.split("|")[1].strip() for line in done.stdout.splitlines()]
        return {re.sub(r"\+b\d+$", "", version): version for version in versions}

    def unpack(self, package: str, target: Path) -> None:
        """Download one package and unpack it into `target`."""
        with tempfile.TemporaryDirectory() as scratch:
            with self._locked():
                _run(["apt-get", *self._options, "-qq", "download", package], cwd=scratch)
            _unpack(Path(scratch), target)

    def tree(self, packages: Sequence[str], alone: Sequence[str] = ()) -> Path:
        """A folder of the cache with these packages and all they depend on, and those of
        `alone` without what they depend on. No script of theirs runs. The folder's name is
        the hash of what is in it."""
        contents = "\n".join([*self._versions(packages), *alone])
        target = self.root / hashlib.sha256(contents.encode()).hexdigest()[:16]
        if not target.is_dir():
            for older in self.root.glob("[0-9a-f]" * 16):
                shutil.rmtree(older)
            partial = self.root / "unpacking"
            shutil.rmtree(partial, ignore_errors=True)
            self._unpack_all(packages, partial)
            for package in alone:
                self.unpack(package, partial)
            partial.rename(target)
        return target

    def _versions(self, packages: Sequence[str]) -> list[str]:
        """Names and versions of these packages and all they depend on."""
        simulated = ["--simulate", "--no-install-recommends", "install", *packages]
        done = _run(["apt-get", *self._options, "-qq", *simulated])
        return sorted(line for line in done.stdout.splitlines() if line.startswith("Inst "))

    def _unpack_all(self, packages: Sequence[str], target: Path) -> None:
        install = ["--download-only", "--yes", "--no-install-recommends", "install", *packages]
        with tempfile.TemporaryDirectory() as scratch:
            (Path(scratch) / "partial").mkdir()
            archives = f"-oDir::Cache::Archives={scratch}"
            with self._locked():
                _run(["apt-get", *self._options, archives, "-qq", *install])
            _unpack(Path(scratch), target)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One apt at a time: a second one would fail instead of waiting."""
        with (self.root / "in-use").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _unpack(folder: Path, target: Path) -> None:
    archives = sorted(folder.glob("*.deb"))
    if not archives:
        raise DebianError("apt-get downloaded nothing")
    for archive in archives:
        _run(["dpkg-deb", "-x", str(archive), str(target)])


def _run(
    command: Sequence[str], *, cwd: str | None = None, check: bool = True
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, check=False, text=True, capture_output=True, cwd=cwd)
    if check and done.returncode:
        raise DebianError(f"{command[0]} failed: {done.stderr.strip()[-500:]}")
    return done
