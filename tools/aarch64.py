#!/usr/bin/env python3
"""What aarch64 needs on an x86-64 machine: a Rust compiler for it, and Python for a guest.

    RUSTC=$(tools/aarch64.py) cargo build --target aarch64-unknown-linux-gnu

prints the path of a Rust compiler that runs here and knows both architectures. Where rustup
has no other target than this machine's, Debian has: its packages are unpacked in the cache
and run from there with their own loader and libraries. A linker comes from elsewhere (zig).
"""

from __future__ import annotations

import functools
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

from debian import Debian, DebianError
from guest_python import TESTS, stage_packages

# A package of testing has the same version on all architectures, save for hours of a sync; sid
# has newer ones.
SUITES = ("testing", "sid")
RUSTC = """#!/bin/sh
root=$(dirname "$0")
exec "$root/usr/lib64/ld-linux-x86-64.so.2" --library-path "$root/usr/lib/x86_64-linux-gnu" \\
    "$root/usr/bin/rustc" --sysroot "$root/usr" "$@"
"""


def rustc() -> Path:
    """The compiler, fetched if it is not in the cache."""
    debian = Debian("rust-aarch64", {suite: ["amd64", "arm64"] for suite in SUITES}, "amd64")
    debian.update()
    library, compiler, cross_library = debian.same_version(
        ["libstd-rust-dev", "rustc", "libstd-rust-dev:arm64"]
    )
    # The compiler's package wants a whole C compiler, the other library a whole system.
    tree = debian.tree([library], alone=[compiler, cross_library])
    program = tree / "rustc"
    with tempfile.NamedTemporaryFile("w", dir=tree, delete=False) as file:
        file.write(RUSTC)
    Path(file.name).chmod(0o755)
    return Path(file.name).rename(program)


@functools.cache
def userland() -> Path:
    """A folder with Debian's Python and busybox for aarch64, fetched if not in the cache."""
    debian = Debian("python-arm64", {"trixie": ["arm64"]}, "arm64")
    debian.update()
    return debian.tree(["busybox-static", "libpython3-stdlib", "python3-minimal"])


def busybox() -> Path:
    """The shell of a guest."""
    return userland() / "usr/bin/busybox"


def stage(directory: Path, wheel: Path) -> tuple[list[tuple[Path, str]], str]:
    """Gather Debian's Python for aarch64 in `directory`, with a wheel, pytest and the tests.
    Returns the files of a machine, and the words that start Python there."""
    tree = userland()
    (program,) = (path for path in tree.glob("usr/bin/python3.*") if not path.is_symlink())
    packages = stage_packages(directory / "packages")
    shutil.rmtree(packages / "taskstats")
    shutil.rmtree(packages / "ptop")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(packages)
    loader = "lib/ld-linux-aarch64.so.1"
    files = [
        (tree / "usr" / loader, f"/{loader}"),
        (program, f"/usr/bin/{program.name}"),
        (tree / "usr/lib", "/usr/lib"),
        (packages, f"/usr/lib/{program.name}/dist-packages"),
        *TESTS,
    ]
    python = f"env PYTHONPATH=/usr/lib/{program.name}/dist-packages /usr/bin/{program.name}"
    return files, python


def main() -> int:
    try:
        print(rustc())
    except DebianError as error:
        print(f"aarch64: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
