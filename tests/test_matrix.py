"""The matrix of stock kernels: which release each name stands for, and who is booted when."""

from __future__ import annotations

import datetime
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import debian  # noqa: E402, the path is set just before
import stock_kernels  # noqa: E402
from debian import DebianError  # noqa: E402
from stock_kernels import ImageError, Kernel  # noqa: E402

DAY = datetime.date(2026, 11, 27)


def kernels(*names: str) -> dict[str, Kernel]:
    return {name: Kernel(name, Path(f"vmlinuz-{name}")) for name in names}


def test_the_newest_release_of_a_series_is_offered() -> None:
    packages = [
        *("linux-image-6.1.0-9-cloud-amd64", "linux-image-6.1.0-47-cloud-amd64"),
        "linux-image-6.1.0-47-cloud-amd64-dbg",
        "linux-image-6.1.0-50-cloud-amd64-unsigned",
        "linux-headers-6.1.0-51-cloud-amd64",
        *("linux-image-7.3.4+deb13-cloud-amd64", "linux-binary-7.3.4+deb13-cloud-amd64"),
        *("linux-binary-7.2.12+deb13-cloud-amd64", "linux-binary-7.2.13+deb14-cloud-amd64"),
        "linux-binary-7.3.4+deb13-rt-amd64",
        "linux-image-6.12.117+deb13-cloud-arm64",
        "linux-image-6.12.117+deb13-rt-arm64",
    ]
    assert stock_kernels.offered(packages) == {
        "6.1": "linux-image-6.1.0-47-cloud-amd64",
        "7.2": "linux-binary-7.2.13+deb14-cloud-amd64",
        "7.3": "linux-binary-7.3.4+deb13-cloud-amd64",
        "7.3-rt": "linux-binary-7.3.4+deb13-rt-amd64",
        "6.12-arm64": "linux-image-6.12.117+deb13-cloud-arm64",
    }


def test_a_later_series_is_the_newest_by_itself() -> None:
    wanted = stock_kernels.wanted(["6.17", "7.3", "7.10", "7.10-rt", "7.10-arm64"])
    assert wanted == [*stock_kernels.SERIES, "7.10", "7.10-rt", "6.12-arm64", "7.10-arm64"]


def test_each_kernel_gets_its_turn() -> None:
    cached = kernels("5.10", "6.1", "6.12", "7.2", "7.3", "7.3-rt", "6.12-arm64", "7.3-arm64")
    booted = set()
    for day in range(4):
        chosen, rule = stock_kernels.choose(cached, "", DAY + datetime.timedelta(day))
        names = {kernel.name for kernel in chosen}
        assert names >= {"5.10", "6.12", "7.3", "7.3-arm64"}
        (turn,) = names - {"5.10", "6.12", "7.3", "7.3-arm64"}
        assert rule.endswith(turn)
        booted.add(turn)
    assert booted == {"6.1", "7.2", "7.3-rt", "6.12-arm64"}


def test_kernels_that_are_named_are_booted() -> None:
    cached = kernels("5.10", "6.12", "7.3")
    assert [kernel.name for kernel in stock_kernels.choose(cached, "all", DAY)[0]] == list(cached)
    (named,), _ = stock_kernels.choose(cached, "7.3", DAY)
    assert named.name == "7.3"
    with pytest.raises(stock_kernels.NoKernelError, match=r"6\.1"):
        stock_kernels.choose(cached, "7.3 6.1", DAY)


def test_types_are_found_in_an_image_without_sections() -> None:
    strings = b"\0" + b"name\0" * 30_000
    types = struct.pack("<HBB5I", 0xEB9F, 1, 0, 24, 0, 8, 8, len(strings)) + bytes(8) + strings
    # Code may hold the same bytes as a header.
    image = bytes(0x300) + types[:4] + b"\xff" * 200 + types + b"rest"
    assert stock_kernels.btf(image) == types
    with pytest.raises(ImageError, match="without types"):
        stock_kernels.btf(bytes(0x1000))


def packages(versions: dict[str, str], architecture: str) -> str:
    """A suite's list of packages."""
    return "\n".join(
        f"Package: {name}\nVersion: {version}\nArchitecture: {architecture}\n"
        f"Filename: pool/{name}.deb\nSize: 1\nSHA256: {'0' * 64}\n"
        for name, version in versions.items()
    )


def test_the_compiler_and_the_library_have_one_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest one that the mirror has on both architectures; a rebuild (+b1) changes
    nothing."""
    monkeypatch.setattr(debian, "CACHE", tmp_path)
    rust = debian.Debian(
        "rust", {"testing": ["amd64", "arm64"], "sid": ["amd64", "arm64"]}, "amd64"
    )
    lists = {
        "testing": {
            "amd64": {"rustc": "1.97-1", "libstd": "1.97-1"},
            "arm64": {"libstd": "1.97-1+b1"},
        },
        "sid": {"amd64": {"rustc": "1.98-1", "libstd": "1.98-1"}, "arm64": {"libstd": "1.97-2"}},
    }
    rust.name_suites()
    for suite, listed in lists.items():
        for architecture, versions in listed.items():
            name = f"deb.debian.org_debian_dists_{suite}_main_binary-{architecture}_Packages"
            (rust.root / "lists" / name).write_text(packages(versions, architecture))
    assert rust.same_version(["libstd", "rustc", "libstd:arm64"]) == [
        *("libstd=1.97-1", "rustc=1.97-1", "libstd:arm64=1.97-1+b1"),
    ]
    with pytest.raises(DebianError, match="common to rustc, nothing"):
        rust.same_version(["rustc", "nothing"])


def test_tests_are_found_on_a_machine_without_kernels(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    found = subprocess.run(
        [*command, "-m", "guest or kernel", "tests/guest", "tests/kernel"],
        cwd=ROOT,
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stdout
