#!/usr/bin/env python3
"""Builds kernels with this project's series, for tests in a virtual machine.

    tools/kernel.py                    # the newest version, unless the cache has it
    tools/kernel.py --version 6.12     # another one
    tools/kernel.py --version today    # those whose turn it is, as CI does; or all
    tools/kernel.py --plain            # the same kernel without the series, to compare with
    tools/kernel.py --checks debug     # with lockdep, KASAN and DEBUG_ATOMIC_SLEEP; or kcsan
    tools/guest.py --kernel "$(tools/kernel.py)" -- cat /proc/version

Prints the paths. The sources are Debian's linux-source packages. Each build unpacks one
again, so that no build leaves anything behind. The cache keeps image and selftests, keyed by
the hash of the source's version, patches and configuration.
"""

from __future__ import annotations

import argparse
import datetime
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import debian

CACHE = debian.CACHE / "kernels"
SOURCES = CACHE / "sources"
PATCHES = Path(__file__).resolve().parent.parent / "kernel-patches"
# Each has a directory of patches; the newest first.
VERSIONS = ("7.3", "6.12")
SUITES = {"trixie": ["amd64"], "trixie-backports": ["amd64"]}
SELFTESTS = "tools/testing/selftests/taskstats"
CHECKS = ("debug", "kcsan")
# Messages of a kernel that found a fault in itself.
COMPLAINTS = re.compile(r"WARNING:|BUG:|Oops|possible .* detected|INFO: .*lock|general prot")
# All emulated CPUs read one counter. On a busy machine the kernel may find it unstable, and its
# CPUs' clocks then stand still or run ahead for milliseconds.
STABLE_CLOCK = "tsc=reliable"
# Keep place and time of the build out of the image.
ENVIRONMENT = {
    **os.environ,
    "KBUILD_BUILD_TIMESTAMP": "Thu Jan  1 00:00:00 UTC 2026",
    "KBUILD_BUILD_USER": "user",
    "KBUILD_BUILD_HOST": "host",
}


class KernelError(Exception):
    """The kernel could not be built."""


@dataclass(frozen=True)
class Kernel:
    """A kernel that is built here: without the series if `plain`; `checks` of itself."""

    version: str = VERSIONS[0]
    plain: bool = False
    checks: str = ""

    @property
    def patches(self) -> Path:
        """The directory of the version's patches."""
        return PATCHES / self.version

    def series(self) -> list[Path]:
        """The patches in order; the steal clock for tests is always the last."""
        names = [] if self.plain else (self.patches / "series").read_text().splitlines()
        listed = [self.patches / name for name in names if name and not name.startswith("#")]
        return [*listed, *sorted((self.patches / "test").glob("*.patch"))]

    def configuration(self) -> str:
        """The options set on top of allnoconfig."""
        files = [PATCHES / "config", self.patches / "config"]
        if self.checks:
            files.append(PATCHES / f"config.{self.checks}")
        return "".join(file.read_text() for file in files)

    def kept_source(self) -> Path | None:
        """The kernel's source in the cache; the newest of this version."""
        found = SOURCES.glob(f"linux-source-{self.version}.*.tar.xz")
        return max(found, key=lambda path: path.stat().st_mtime, default=None)

    def source(self) -> Path:
        """The kernel's source; fetched if the cache has none of this version."""
        return self.kept_source() or _fetch(f"linux-source-{self.version}")

    def kept(self) -> Path:
        """The cache directory."""
        digest = hashlib.sha256(self.source().name.encode())
        for patch in self.series():
            digest.update(patch.read_bytes())
        digest.update(self.configuration().encode())
        return CACHE / digest.hexdigest()[:16]

    def is_kept(self) -> bool:
        """Whether the cache has the image."""
        return self.kept_source() is not None and (self.kept() / "vmlinuz").exists()

    def image(self) -> Path:
        """The image; builds it where the cache lacks it."""
        target = self.kept()
        if not self.is_kept():
            CACHE.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix="building-", dir=CACHE) as scratch:
                made = _build(self, Path(scratch))
                shutil.rmtree(target, ignore_errors=True)
                made.rename(target)
        return target / "vmlinuz"

    def selftests(self) -> list[Path]:
        """The series' selftests, linked statically."""
        return sorted((self.image().parent / "selftests").iterdir())


def is_turn(version: str, day: datetime.date) -> bool:
    """Whether a version is built that day where the cache lacks it: the newest always, the
    others every third day, each on its own."""
    return day.toordinal() % 3 == VERSIONS.index(version) or version == VERSIONS[0]


def chosen(words: str = os.environ.get("PRECISE_TOP_SERIES") or "today") -> list[str]:
    """The versions that words name: "all", versions, or "today": those whose turn it is, and
    those that the cache has, which cost no build."""
    if words == "all":
        return list(VERSIONS)
    if words == "today":
        today = datetime.datetime.now(datetime.UTC).date()
        return [each for each in VERSIONS if is_turn(each, today) or Kernel(each).is_kept()]
    unknown = [word for word in words.split() if word not in VERSIONS]
    if unknown:
        raise KernelError(f"no version {unknown[0]}; there are {', '.join(VERSIONS)}, today, all")
    return words.split()


def _fetch(name: str) -> Path:
    say(f"fetching {name}")
    try:
        packages = debian.Debian("kernel-sources", SUITES, "amd64")
        packages.update()
        package = packages.same_version([name])[0]
        target = SOURCES / f"linux-source-{package.partition('=')[2]}.tar.xz"
        SOURCES.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="fetching-", dir=CACHE) as scratch:
            packages.unpack(package, Path(scratch))
            (Path(scratch) / f"usr/src/{name}.tar.xz").rename(target)
    except debian.DebianError as error:
        raise KernelError(str(error)) from error
    return target


def unpack(kernel: Kernel, tree: Path) -> None:
    """Unpacks the source of a kernel."""
    say(f"unpacking {kernel.source().name}")
    run(["tar", "-xJf", str(kernel.source()), "--strip-components=1"], tree)


def _build(kernel: Kernel, scratch: Path) -> Path:
    unpack(kernel, scratch)
    for patch in kernel.series():
        say(f"applying {patch.name}")
        with patch.open() as text:
            run(["patch", "-p1", "-s", "-N", "--no-backup-if-mismatch"], scratch, stdin=text)
    (scratch / "fragment").write_text(kernel.configuration())
    make = make_command()
    run([*make, "KCONFIG_ALLCONFIG=fragment", "allnoconfig"], scratch)
    _check_config(scratch, plain=kernel.plain)
    _make(make, scratch)
    made = scratch / "made"
    (made / "selftests").mkdir(parents=True)
    shutil.copy(scratch / "arch/x86/boot/bzImage", made / "vmlinuz")
    shutil.copy(scratch / ".config", made / "config")
    if not kernel.plain:
        say("building the selftests")
        run([*make, "headers"], scratch)
        for source in sorted((scratch / SELFTESTS).glob("*.c")):
            program = made / "selftests" / source.stem
            run(
                [
                    *("gcc", "-static", "-pthread", "-O2", "-Wall", "-Wextra", "-Werror"),
                    *("-isystem", "usr/include", "-o", str(program), str(source)),
                ],
                scratch,
            )
    return made


def make_command() -> list[str]:
    """The make command: on all CPUs, through ccache where it is installed."""
    make = ["make", "-s", f"-j{os.cpu_count()}"]
    return [*make, "CC=ccache gcc"] if shutil.which("ccache") else make


def _check_config(scratch: Path, *, plain: bool) -> None:
    """Raises KernelError where Kconfig dropped an option; it does so silently."""
    chosen = set((scratch / ".config").read_text().splitlines())
    wanted = (scratch / "fragment").read_text().splitlines()
    lost = [
        line
        for line in wanted
        if line.startswith("CONFIG_")
        and line not in chosen
        and not (plain and ("TASKSTATS_EXACT" in line or "TASKSTATS_PROC" in line))
    ]
    if lost:
        raise KernelError(f"not in the kernel's configuration: {', '.join(lost)}")


def _make(make: Sequence[str], scratch: Path) -> None:
    """Builds the image, and reports progress every 30 s."""
    say("building; this takes some 5 to 10 minutes on two CPUs")
    begun = time.monotonic()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            [*make, "bzImage"], cwd=scratch, env=ENVIRONMENT, stdout=output, stderr=output
        )
        while True:
            try:
                process.wait(30)
                break
            except subprocess.TimeoutExpired:
                # Unlike rglob, walk ignores directories that vanish.
                names = (name for _, _, files in os.walk(scratch) for name in files)
                objects = sum(name.endswith(".o") for name in names)
                say(f"{objects} objects after {time.monotonic() - begun:.0f} s")
        if process.returncode:
            output.seek(0)
            raise KernelError("the build failed:\n" + output.read()[-3000:])


def run(command: Sequence[str], scratch: Path, stdin: IO[str] | None = None) -> str:
    """Runs a command in a directory and returns its output; KernelError where it fails."""
    try:
        done = subprocess.run(
            command,
            cwd=scratch,
            env=ENVIRONMENT,
            stdin=stdin,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
    except FileNotFoundError as error:
        raise KernelError(
            f"{command[0]} is missing; install what is needed with:  make kernel  as root"
        ) from error
    if done.returncode:
        raise KernelError(f"{' '.join(command[:4])} failed:\n{done.stdout[-3000:]}")
    return done.stdout


def say(text: str) -> None:
    """Reports progress on standard error."""
    print(f"kernel: {text}", file=sys.stderr, flush=True)


def say_turn(versions: Sequence[str]) -> None:
    """Reports which versions are left out, and what runs them."""
    left = [version for version in VERSIONS if version not in versions]
    if left:
        say(
            f"{', '.join(versions)} today; {', '.join(left)} every third day, or where the cache"
            " has it; SERIES=all runs all"
        )


def main() -> int:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument(
        "--version", default=VERSIONS[0], help="today, all, or versions (default the newest)"
    )
    options.add_argument("--plain", action="store_true", help="without the series")
    options.add_argument("--checks", default="", choices=["", *CHECKS], help="of the kernel itself")
    wanted = options.parse_args()
    try:
        versions = chosen(wanted.version)
        say_turn(versions)
        for version in versions:
            print(Kernel(version, plain=wanted.plain, checks=wanted.checks).image())
    except KernelError as error:
        print(f"kernel: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
