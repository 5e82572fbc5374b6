"""The portable wheel: its contents, its requirements, and its installation.

`make check-wheel` builds it and runs these.
"""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
pytestmark = pytest.mark.wheel

# Parts of glibc; any other library would have to be in the wheel.
GLIBC = {"libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1"}
LOADER = re.compile(r"ld-linux-.*\.so\.\d|ld64\.so\.\d")
# The glibc version of manylinux2014.
NEWEST_GLIBC = (2, 17)


# This machine's wheel has to be there; one for aarch64 is tested where it was built.
ARCHITECTURES = sorted(
    {platform.machine(), *("aarch64" for _ in (ROOT / "dist").glob("*_aarch64.whl"))}
)


@pytest.fixture(scope="module", params=ARCHITECTURES)
def wheel(request: pytest.FixtureRequest) -> Path:
    (found,) = (ROOT / "dist").glob(f"precise_top-*_{request.param}.whl")
    return found


@pytest.fixture(scope="module")
def own_wheel() -> Path:
    """The wheel for this machine."""
    (found,) = (ROOT / "dist").glob(f"precise_top-*_{platform.machine()}.whl")
    return found


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def sources(folder: Path, package: str) -> set[str]:
    kinds = {".py", ".pyi", ".typed"}
    return {
        f"{package}/{path.relative_to(folder)}"
        for path in folder.rglob("*")
        if path.suffix in kinds or path.name == "py.typed"
    }


def test_it_holds_the_packages_and_nothing_else(names: set[str]) -> None:
    (info,) = {name.split("/")[0] for name in names if ".dist-info/" in name}
    expected = sources(ROOT / "ptop", "ptop") | sources(ROOT / "python/taskstats", "taskstats")
    # Lets Spark find the format by its name.
    expected |= sources(ROOT / "pyspark_taskstats", "pyspark_taskstats")
    expected |= {
        f"{info}/{name}"
        for name in (
            *("METADATA", "WHEEL", "RECORD", "entry_points.txt"),
            *("licenses/LICENSE-APACHE", "licenses/LICENSE-MIT"),
        )
    }
    expected.add("taskstats/_core.abi3.so")
    assert {"ptop/py.typed", "taskstats/py.typed", "taskstats/_core.pyi"} <= names
    # maturin adds the list of Rust crates that are in the library.
    assert {name for name in names - expected if "/sboms/" not in name} == set()
    assert expected - names == set()


def test_it_is_for_every_python_from_3_11_and_old_systems(wheel: Path) -> None:
    assert "-cp311-abi3-" in wheel.name
    assert "manylinux2014" in wheel.name or "manylinux_2_17" in wheel.name


def test_its_metadata(wheel: Path, names: set[str]) -> None:
    with zipfile.ZipFile(wheel) as archive:

        def read(name: str) -> str:
            (member,) = (found for found in names if found.endswith(f".dist-info/{name}"))
            return archive.read(member).decode()

        metadata = Parser().parsestr(read("METADATA"))
        assert read("entry_points.txt").split() == [
            *("[console_scripts]", "ptop=ptop.cli:main"),
        ]
    assert metadata["Name"] == "precise-top"
    assert metadata["License-Expression"] == "Apache-2.0 OR MIT"
    needs = metadata.get_all("Requires-Dist") or []
    plain = {re.split(r"[^\w-]", need)[0] for need in needs if "extra ==" not in need}
    # It writes the setup file.
    assert plain == {"tomli-w"}


def test_its_library_needs_glibc_alone(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        library = archive.extract("taskstats/_core.abi3.so", tmp_path)
    dynamic = subprocess.run(
        ["readelf", "-d", library], check=True, capture_output=True, text=True
    ).stdout
    needed = set(re.findall(r"\(NEEDED\).*\[(.*)\]", dynamic))
    assert "libc.so.6" in needed
    assert {name for name in needed - GLIBC if not LOADER.fullmatch(name)} == set()
    assert not re.search(r"\(R(UN)?PATH\)", dynamic)
    versions = subprocess.run(
        ["readelf", "-V", library], check=True, capture_output=True, text=True
    ).stdout
    wanted = {
        tuple(map(int, found.split("."))) for found in re.findall(r"GLIBC_([\d.]+)", versions)
    }
    assert wanted
    assert max(wanted) <= NEWEST_GLIBC


def test_it_installs_into_an_empty_environment(own_wheel: Path, tmp_path: Path) -> None:
    # Keep the tests' environment out.
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in {"PYTHONPATH", "VIRTUAL_ENV", "PYTHONHOME"}
    }

    def done(*command: str) -> str:
        ran = subprocess.run(
            command,
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert (ran.returncode, ran.stderr) == (0, ""), command
        return ran.stdout

    done(sys.executable, "-m", "venv", str(tmp_path / "venv"))
    binaries = tmp_path / "venv/bin"
    python, ptop = str(binaries / "python"), str(binaries / "ptop")
    # pip resolves the versions that a user would get.
    done(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", str(own_wheel))
    version = own_wheel.name.split("-")[1]
    assert done(ptop, "--version") == f"ptop {version}\n"
    table = done(ptop, "-b", "-n", "1", "-d", "0.1")
    assert "Command" in table
    script = (
        "import sys, taskstats; s = taskstats.snapshot('procfs');"
        "print(s.by_pid(1).ac_pid, taskstats.__file__, 'numpy' in sys.modules)"
    )
    pid, file, numpy = done(python, "-c", script).split()
    assert (pid, numpy) == ("1", "False")
    assert Path(file).is_relative_to(tmp_path)
