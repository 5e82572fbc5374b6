"""The C library: its files, and programs that are built from these alone."""

from __future__ import annotations

import re
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import taskstats
from library import ROOT, Library, installed

CRATE = ROOT / "rust/capi"
DATA = ROOT / "tests/data"
COMPILERS = ("gcc", "clang-14")
VALGRIND = (
    *("valgrind", "--quiet", "--leak-check=full", "--error-exitcode=9"),
    "--errors-for-leak-kinds=definite,indirect,possible",
)
# A first build takes minutes.
pytestmark = pytest.mark.timeout(1800)


def header() -> str:
    """The header without its comments."""
    return re.sub(r"/\*.*?\*/", "", (CRATE / "include/taskstats.h").read_text(), flags=re.DOTALL)


def prototypes() -> dict[str, str]:
    """The declarations of the header by function, on one line each."""
    found = re.findall(r"^((?:\w+ )+\**(taskstats_\w+)\([^;]*\);)", header(), re.MULTILINE)
    return {name: re.sub(r"\s+", " ", text) for text, name in found}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    return installed(tmp_path_factory.mktemp("installed"))


@pytest.fixture(scope="module", params=COMPILERS)
def check(
    request: pytest.FixtureRequest, library: Library, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """tests/capi/check.c, built with each compiler."""
    return library.program("check", tmp_path_factory.mktemp("check"), request.param)


def run(*command: str | Path) -> str:
    done = subprocess.run(command, check=False, text=True, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_function_has_a_version_and_a_page(library: Library) -> None:
    functions = prototypes()
    listed = re.findall(r"^ +(taskstats_\w+);", (CRATE / "libtaskstats.map").read_text(), re.M)
    assert sorted(functions) == listed
    pages = {path.name for path in (library.usr / "share/man/man3").iterdir()}
    assert pages == {f"{name}.3" for name in functions} | {"libtaskstats.3"}


def test_pages_show_the_header() -> None:
    text = "".join(path.read_text() for path in sorted((CRATE / "man").glob("*.3")))
    flat = re.sub(r"\s+", " ", text.replace("\\-", "-"))
    for prototype in prototypes().values():
        assert prototype.replace("( ", "(") in flat.replace("( ", "(")
    constants = set(re.findall(r"\bTASKSTATS_(?:STATUS|USE)_[A-Z_]+\b", header()))
    assert constants <= set(re.findall(r"\bTASKSTATS_[A-Z_]+\b", text))
    for body in re.findall(r"^struct taskstats_\w+ \{(.*?)^\};", header(), re.DOTALL | re.M):
        members = re.findall(r"(\w+)(?:\[\w+\])?;", body)
        assert all(re.search(rf"\b{member}(?:\[\w+\])?;", text) for member in members), members


@pytest.mark.parametrize("page", sorted((CRATE / "man").glob("*.3")), ids=lambda page: page.name)
def test_pages_are_well_formed(page: Path) -> None:
    done = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", "-z", page], check=True, text=True, capture_output=True
    )
    assert done.stderr == ""


def test_symbols_have_versions(library: Library) -> None:
    shared = library.lib / "libtaskstats.so.1"
    dynamic = run("readelf", "-W", "-d", shared)
    assert "soname: [libtaskstats.so.1]" in dynamic
    needed = set(re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic))
    assert needed <= {"libgcc_s.so.1", "libc.so.6", "libm.so.6", "ld-linux-x86-64.so.2"}
    symbols = run("readelf", "-W", "--dyn-syms", shared)
    defined = re.findall(r" FUNC +GLOBAL DEFAULT +\d+ (\S+)$", symbols, re.MULTILINE)
    assert sorted(defined) == sorted(f"{name}@@LIBTASKSTATS_1" for name in prototypes())
    assert (library.lib / "libtaskstats.so").readlink() == Path("libtaskstats.so.1")


def test_the_static_library_defines_nothing_else(library: Library) -> None:
    symbols = run("nm", "--extern-only", "--defined-only", library.lib / "libtaskstats.a")
    assert sorted(re.findall(r" \w (\w+)$", symbols, re.MULTILINE)) == sorted(prototypes())


def test_pkg_config_has_the_version(library: Library) -> None:
    assert library.pkg_config("--modversion") == [taskstats.__version__]
    assert library.pkg_config("--variable=prefix") == [f"{library.root}/usr"]


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("language", ["c", "c++"])
def test_the_header_stands_alone(library: Library, compiler: str, language: str) -> None:
    standard = "-std=c99" if language == "c" else "-std=c++17"
    command = [compiler, "-x", language, standard, "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    header_file = library.usr / "include/taskstats.h"
    done = subprocess.run(
        [*command, "-fsyntax-only", "-"],
        input=f'#include "{header_file}"\n',
        check=False,
        text=True,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr


def test_the_interface(check: Path) -> None:
    assert run(check, "interface") == f"{taskstats.__version__}\n"


@pytest.mark.parametrize("source", ["bpf", "netlink", "procfs"])
def test_live_sources(check: Path, source: str, needs: Callable[[bool, str], None]) -> None:
    report = next(report for report in taskstats.sources() if report.name == source)
    needs(report.available, f"{source}: {report.reason}")
    run(check, "live", source)
    if source != "procfs":
        run(check, "exits", source)


@pytest.mark.parametrize("static", [False, True])
def test_nothing_is_lost_or_misread(library: Library, static: bool, tmp_path: Path) -> None:
    check = library.program("check", tmp_path, static=static)
    for arguments in (["interface"], ["live", "netlink"], ["live", "procfs"], ["exits", "netlink"]):
        run(*VALGRIND, check, *arguments)


def test_the_example_runs(library: Library, tmp_path: Path) -> None:
    printed = run(library.program("top", tmp_path), "netlink")
    assert re.search(r"^ +\d+ +\d+\.\d{6} ms$", printed, re.MULTILINE)
    assert "the books" in printed


@pytest.mark.parametrize("swapped", [False, True])
def test_a_file_of_records(check: Path, tmp_path: Path, swapped: bool) -> None:
    snapshot = taskstats.Source("procfs", exact=False).snapshot()
    path = tmp_path / "taskstats"
    path.write_bytes(bytes(memoryview(snapshot).cast("B")))
    expected = taskstats.parse(path.read_bytes())
    if swapped:
        path.write_bytes(swapped_v1(len(expected)))
        expected = taskstats.parse(path.read_bytes())
    pids = sum(task.ac_pid or 0 for task in expected)
    cpu_ns = sum(task.cpu_ns or 0 for task in expected)
    order = "swapped" if swapped else "native"
    assert cpu_ns > 0
    assert run(check, "file", path) == (
        f"{len(expected)} records, pids {pids}, cpu_ns {cpu_ns}, {order}\n"
    )


def swapped_v1(count: int) -> bytes:
    """Records of version 1, which has eight numbers, in big-endian byte order."""
    return b"".join(struct.pack(">H6x8Q", 1, *range(at, at + 8)) for at in range(count))


@pytest.mark.parametrize("name", ["pid", "tgid", "exit-last", "esrch"])
def test_datagrams(check: Path, name: str) -> None:
    path = DATA / f"netlink-{name}-v16.bin"
    try:
        records = taskstats.parse_netlink(path.read_bytes())
    except taskstats.NoSuchTask as error:
        expected = f"status 3, errno {error.errno}: no such task\n"
    else:
        expected = "".join(f"{kind} {of} cpu_ns {task.cpu_ns}\n" for kind, of, task in records)
    assert run(check, "datagram", path) == expected


@pytest.mark.parametrize(
    ("content", "status"), [(b"", 6), (b"\0" * 64, 6), (b"\1\0" + bytes(70), 0)]
)
def test_damaged_files(check: Path, tmp_path: Path, content: bytes, status: int) -> None:
    path = tmp_path / "damaged"
    path.write_bytes(content)
    done = subprocess.run([check, "file", path], check=False, text=True, capture_output=True)
    assert done.returncode == (1 if status else 0)
    assert ("byte 0" in done.stderr) == (status != 0)
