#!/usr/bin/env python3
"""Debian's stock kernels that the tests boot: which, fetched from where, and their types.

    tools/stock_kernels.py fetch          # fetches all that are newer than those in the cache
    tools/stock_kernels.py list           # those in the cache
    tools/stock_kernels.py chosen [all]   # those that `make test-guest` boots today

Each kernel has a name: its series, and what is special about it ("6.12", "7.3-rt",
"6.12-arm64"). The newest release of a series is fetched, and kept in the cache with the
types (BTF) taken out of its image. A series that the mirror no longer has is tested as long
as the cache has it.
"""

from __future__ import annotations

import argparse
import datetime
import functools
import lzma
import re
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from debian import CACHE, Debian, DebianError

# The series of the matrix. Later ones are found on the mirror.
SERIES = ("5.10", "6.1", "6.12", "6.16", "6.18", "6.19", "7.0", "7.1", "7.2", "7.3")
SUITES = {
    "bullseye": ["amd64"],
    "bookworm": ["amd64"],
    "trixie": ["amd64", "arm64"],
    "trixie-backports": ["amd64", "arm64"],
    "sid": ["amd64", "arm64"],
}
# From 6.19 on the image is in linux-binary.
PACKAGE = re.compile(
    r"linux-(?:image|binary)-((\d+\.\d+)\S*-(?:cloud|rt)-(?:amd64|arm64))", re.ASCII
)
SUFFIXES = {"cloud-amd64": "", "rt-amd64": "-rt", "cloud-arm64": "-arm64"}
FOLDER = CACHE / "stock-kernels"
# The series that is booted on both architectures each time, beside the newest.
STEADY = "6.12"


class NoKernelError(Exception):
    """A kernel is neither in the cache nor on the mirror."""


class ImageError(Exception):
    """A kernel's image cannot be read."""


@dataclass(frozen=True)
class Kernel:
    """A kernel in the cache."""

    name: str
    image: Path

    @property
    def release(self) -> str:
        """What `uname -r` prints."""
        return self.image.name.removeprefix("vmlinuz-")

    @property
    def is_arm(self) -> bool:
        return self.name.endswith("-arm64")

    @property
    def btf(self) -> Path:
        """The file with the kernel's types."""
        return btf_folder() / f"{self.release}.btf"


def btf_folder() -> Path:
    """The types of all kernels in the cache: RELEASE.btf."""
    return FOLDER / "btf"


def numbers(text: str) -> tuple[int, ...]:
    """The numbers in a name, by which releases are ordered."""
    return tuple(int(found) for found in re.findall(r"\d+", text.partition("+")[0]))


def series_of(name: str) -> str:
    return name.partition("-")[0]


def cached() -> dict[str, Kernel]:
    """The kernels in the cache by name, the oldest first."""
    images = {image.parent.name: image for image in FOLDER.glob("*/vmlinuz-*")}
    return {name: Kernel(name, images[name]) for name in sorted(images, key=_order)}


def _order(name: str) -> tuple[bool, tuple[int, ...], str]:
    return name.endswith("-arm64"), numbers(series_of(name)), name


def offered(packages: Iterable[str]) -> dict[str, str]:
    """The package of the newest release for each name."""
    newest: dict[str, str] = {}
    for package in packages:
        found = PACKAGE.fullmatch(package)
        if not found:
            continue
        release, series = found[1], found[2]
        suffix = SUFFIXES.get("-".join(release.split("-")[-2:]))
        if suffix is None:
            continue
        name = series + suffix

        def rank(each: str) -> tuple[tuple[int, ...], bool]:
            return numbers(each), each.startswith("linux-binary-")

        newest[name] = max(newest.get(name, package), package, key=rank)
    return newest


def wanted(names: Iterable[str]) -> list[str]:
    """The names of the matrix, where `names` are all that can be had."""
    known = {name for name in names if "-" not in name} | set(SERIES)
    series = sorted((name for name in known if _in_matrix(name)), key=numbers)
    newest = series[-1]
    return [*series, f"{newest}-rt", f"{STEADY}-arm64", f"{newest}-arm64"]


def _in_matrix(series: str) -> bool:
    return series in SERIES or numbers(series) > numbers(SERIES[-1])


def choose(
    kernels: Mapping[str, Kernel], asked: str, day: datetime.date
) -> tuple[list[Kernel], str]:
    """The kernels to boot, and the rule in words.

    `asked` is "all", names, or empty: then the oldest, 6.12, the newest and the newest for
    aarch64 are booted each time, and one of the others each day in turn.
    """
    if asked == "all":
        return list(kernels.values()), "all kernels"
    if asked:
        missing = [name for name in asked.split() if name not in kernels]
        if missing:
            raise NoKernelError(f"not in the cache: {', '.join(missing)}")
        return [kernels[name] for name in asked.split()], "the kernels that were named"
    x86 = [name for name in kernels if "-" not in name]
    arm = [name for name in kernels if name.endswith("-arm64")]
    steady = [*x86[:1], *(name for name in x86 if name == STEADY), *x86[-1:], *arm[-1:]]
    others = [name for name in kernels if name not in steady]
    turn = others[day.toordinal() % len(others)] if others else ""
    chosen = [kernels[name] for name in kernels if name in {*steady, turn}]
    rule = f"each time {', '.join(dict.fromkeys(steady))}"
    if turn:
        rule += f"; one a day of {', '.join(others)}: on {day} {turn}"
    return chosen, rule


@functools.cache
def _debian() -> Debian:
    debian = Debian("kernels", SUITES, "amd64")
    debian.update()
    return debian


def find(name: str) -> Kernel:
    """A kernel of the cache, fetched if it is not there."""
    if name not in cached():
        packages = offered(_debian().names("linux-"))
        if name not in packages:
            raise NoKernelError(f"no kernel {name}: Debian's mirror does not have it")
        fetch_package(name, packages[name])
    return cached()[name]


def fetch() -> list[str]:
    """Fetch each kernel of the matrix whose newest release is not in the cache. Returns a
    line for each kernel. What the mirror does not have is not tested; raises ImageError for a
    kernel that it has, but that cannot be read."""
    have = cached()
    packages = offered(_debian().names("linux-"))
    lines = []
    for name in wanted({*packages, *have}):
        package = packages.get(name)
        try:
            if package is None:
                source = "gone from the mirror"
            elif name in have and package.endswith(f"-{have[name].release}"):
                source = "newest"
            else:
                fetch_package(name, package)
                source = "fetched"
        except DebianError as error:
            source = f"not fetched: {error}"
        kernel = cached().get(name)
        lines.append(f"{name:<12} {kernel.release if kernel else 'NOT TESTED':<28} {source}")
    return lines


def fetch_package(name: str, package: str) -> None:
    """Put the kernel of a package and its types into the cache, in place of an older one."""
    found = PACKAGE.fullmatch(package)
    assert found, package
    release = found[1]
    architecture = release.rpartition("-")[2]
    with tempfile.TemporaryDirectory() as scratch:
        _debian().unpack(f"{package}:{architecture}", Path(scratch))
        places = (f"boot/vmlinuz-{release}", f"usr/lib/modules/{release}/vmlinuz")
        image = next((path for path in map(Path(scratch).joinpath, places) if path.is_file()), None)
        if image is None:
            raise ImageError(f"{package} has none of {', '.join(places)}")
        btf_folder().mkdir(parents=True, exist_ok=True)
        folder = FOLDER / name
        folder.mkdir(exist_ok=True)
        older = {path for path in folder.iterdir() if path.name != f"vmlinuz-{release}"}
        _keep(btf(image.read_bytes()), btf_folder() / f"{release}.btf")
        _keep(image.read_bytes(), folder / f"vmlinuz-{release}")
    for path in older:
        Kernel(name, path).btf.unlink(missing_ok=True)
        path.unlink()


def _keep(data: bytes, path: Path) -> None:
    """Write a file of the cache so that it is never there in part."""
    with tempfile.NamedTemporaryFile(dir=FOLDER, delete=False) as partial:
        partial.write(data)
    shutil.move(partial.name, path)


def unpacked(image: bytes) -> bytes:
    """The kernel in an image: that of x86 is compressed behind a program that unpacks it
    (Documentation/arch/x86/boot.rst), that of arm64 is plain."""
    if image[0x202:0x206] != b"HdrS":
        return image
    sectors = image[0x1F1] or 4
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = (sectors + 1) * 512 + offset
    # The size of what is packed stands behind it.
    packed = image[start : start + length - 4]
    if packed.startswith(b"\xfd7zXZ\0"):
        return lzma.LZMADecompressor().decompress(packed)
    for magic, program in ((b"\x28\xb5\x2f\xfd", "zstd"), (b"\x02\x21\x4c\x18", "lz4")):
        if packed.startswith(magic):
            return subprocess.run(
                [program, "-dcq"], input=packed, stdout=subprocess.PIPE, check=True
            ).stdout
    raise ImageError(f"a kernel packed in an unknown way: {packed[:6].hex()}")


def btf(image: bytes) -> bytes:
    """The kernel's types (include/uapi/linux/btf.h), found by their header: an arm64 image
    has no table of sections."""
    data = unpacked(image)
    for found in re.finditer(rb"\x9f\xeb\x01\x00", data):
        start = found.start()
        head, types, types_size, strings, strings_size = struct.unpack_from("<5I", data, start + 4)
        end = start + head + strings + strings_size
        whole = head >= 24 and types == 0 and types_size <= strings and end <= len(data)
        # The string table starts with the empty string. The kernel's own types are large.
        if whole and strings_size > 100_000 and data[start + head + strings] == 0:
            return data[start:end]
    raise ImageError("a kernel without types (CONFIG_DEBUG_INFO_BTF)")


def main(arguments: Sequence[str] | None = None) -> int:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("command", choices=("fetch", "list", "chosen"))
    options.add_argument("kernels", nargs="*", help='for "chosen": names, or "all"')
    given = options.parse_args(arguments)
    if given.command == "fetch":
        try:
            print("\n".join(fetch()), flush=True)
        except ImageError as error:
            print(f"stock_kernels: {error}", file=sys.stderr)
            return 1
        if not cached():
            print("stock_kernels: no kernel could be fetched", file=sys.stderr)
            return 1
    elif given.command == "list":
        for kernel in cached().values():
            print(f"{kernel.name:<12} {kernel.image}")
    else:
        chosen, rule = choose(cached(), " ".join(given.kernels), datetime.date.today())
        print(f"boots {', '.join(kernel.name for kernel in chosen)} ({rule})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
