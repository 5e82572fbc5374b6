#!/usr/bin/env python3
"""Builds a kernel with this project's series, for tests in a virtual machine.

    tools/kernel.py            # builds it unless the cache has it; prints its path
    tools/kernel.py --plain    # the same kernel without the series, to compare with
    tools/kernel.py --debug    # with lockdep, KASAN and DEBUG_ATOMIC_SLEEP
    tools/guest.py --kernel "$(tools/kernel.py)" -- cat /proc/version

The source is Debian's linux-source-6.12. Each build unpacks it again, so that no build leaves
anything behind. The cache keeps image and selftests, keyed by the hash of source version,
patches and configuration.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "precise-top" / "kernels"
PATCHES = Path(__file__).resolve().parent.parent / "kernel-patches"
SOURCE = Path("/usr/src/linux-source-6.12.tar.xz")
SELFTESTS = "tools/testing/selftests/taskstats"
# Messages of a kernel that found a fault in itself.
COMPLAINTS = re.compile(r"WARNING:|BUG:|Oops|possible .* detected|INFO: .*lock|general prot")
# Keep place and time of the build out of the image.
ENVIRONMENT = {
    **os.environ,
    "KBUILD_BUILD_TIMESTAMP": "Thu Jan  1 00:00:00 UTC 2026",
    "KBUILD_BUILD_USER": "user",
    "KBUILD_BUILD_HOST": "host",
}


class KernelError(Exception):
    """The kernel could not be built."""


def series(*, plain: bool = False) -> list[Path]:
    """The patches of a variant, in order; the steal clock for tests is always the last."""
    names = [] if plain else (PATCHES / "series").read_text().splitlines()
    listed = [PATCHES / name for name in names if name and not name.startswith("#")]
    return [*listed, *sorted((PATCHES / "test").glob("*.patch"))]


def configuration(*, debug: bool = False) -> str:
    """The options set on top of allnoconfig."""
    text = (PATCHES / "config").read_text()
    return text + (PATCHES / "config.debug").read_text() if debug else text


def kept(*, plain: bool = False, debug: bool = False) -> Path:
    """The cache directory of a variant."""
    version = subprocess.run(
        ["dpkg-query", "--show", "--showformat=${Version}", "linux-source-6.12"],
        check=False,
        text=True,
        capture_output=True,
    ).stdout
    if not version or not SOURCE.is_file():
        raise KernelError(
            "the kernel's source is missing; install with:  sudo apt-get install linux-source-6.12"
        )
    digest = hashlib.sha256(version.encode())
    for patch in series(plain=plain):
        digest.update(patch.read_bytes())
    digest.update(configuration(debug=debug).encode())
    return CACHE / digest.hexdigest()[:16]


def image(*, plain: bool = False, debug: bool = False) -> Path:
    """The image of a variant; builds it where the cache lacks it."""
    target = kept(plain=plain, debug=debug)
    if not (target / "vmlinuz").exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="building-", dir=CACHE) as scratch:
            made = _build(Path(scratch), plain=plain, debug=debug)
            shutil.rmtree(target, ignore_errors=True)
            made.rename(target)
    return target / "vmlinuz"


def selftests() -> list[Path]:
    """The series' selftests, linked statically."""
    return sorted((image().parent / "selftests").iterdir())


def _build(scratch: Path, *, plain: bool, debug: bool) -> Path:
    say("unpacking the source")
    run(["tar", "-xJf", str(SOURCE), "--strip-components=1"], scratch)
    for patch in series(plain=plain):
        say(f"applying {patch.name}")
        with patch.open() as text:
            run(["patch", "-p1", "-s", "-N", "--no-backup-if-mismatch"], scratch, stdin=text)
    (scratch / "fragment").write_text(configuration(debug=debug))
    make = make_command()
    run([*make, "KCONFIG_ALLCONFIG=fragment", "allnoconfig"], scratch)
    _check_config(scratch, plain=plain)
    _make(make, scratch)
    made = scratch / "made"
    (made / "selftests").mkdir(parents=True)
    shutil.copy(scratch / "arch/x86/boot/bzImage", made / "vmlinuz")
    shutil.copy(scratch / ".config", made / "config")
    if not plain:
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


def main() -> int:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--plain", action="store_true", help="without the series")
    options.add_argument("--debug", action="store_true", help="with the kernel's own checks")
    chosen = options.parse_args()
    try:
        print(image(plain=chosen.plain, debug=chosen.debug))
    except KernelError as error:
        print(f"kernel: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
