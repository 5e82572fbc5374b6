"""Python for a virtual machine: the interpreter, the installed package and the tests."""

from __future__ import annotations

import shutil
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Parts of Python's library that no program here needs; half of its size.
UNUSED = ("__pycache__", "test", "tests", "idlelib", "ensurepip", "lib2to3", "site-packages")
PACKAGE = ("taskstats", "ptop")
PYTEST = (
    "pytest",
    "_pytest",
    "pluggy",
    "iniconfig",
    "packaging",
    "pygments",
    "py.py",
    "pytest_timeout.py",
)


def stage(directory: Path) -> tuple[list[tuple[Path, str]], str]:
    """Gather this Python in `directory` with the installed package, pytest and the tests.
    Returns the files of a machine, and the words that start Python there."""
    paths = sysconfig.get_paths()
    ignore = shutil.ignore_patterns(*UNUSED, "config-*")
    library = directory / "library"
    shutil.copytree(paths["stdlib"], library, ignore=ignore)
    if paths["platstdlib"] != paths["stdlib"]:
        shutil.copytree(paths["platstdlib"], library, ignore=ignore, dirs_exist_ok=True)
    # Where the interpreter looks for its library, below its prefix.
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    program = Path(sys.executable).resolve()
    files = [
        (program, f"/usr/bin/{version}"),
        (library, f"/usr/lib/{version}"),
        (stage_packages(directory / "packages"), f"/usr/lib/{version}/site-packages"),
        *TESTS,
    ]
    return files, f"env PYTHONHOME=/usr /usr/bin/{version}"


TESTS = [(ROOT / "tests", "/checkout/tests"), (ROOT / "pyproject.toml", "/checkout/pyproject.toml")]


def stage_packages(target: Path) -> Path:
    """Copy the packages that are installed beside the running Python."""
    installed = Path(sysconfig.get_paths()["purelib"])
    target.mkdir(parents=True)
    for name in (*PACKAGE, *PYTEST):
        source = installed / name
        if source.is_dir():
            shutil.copytree(source, target / name, ignore=shutil.ignore_patterns(*UNUSED))
        elif source.is_file():
            shutil.copy(source, target)
    return target
