"""Writes the reference of the Python package to dist/reference, from its docstrings.

The docstrings and types of the compiled module are those of its stub. A warning is an error.
"""

import shutil
import sys
import tempfile
import warnings
from pathlib import Path

import pdoc
import taskstats

ROOT = Path(__file__).parent.parent
STUB = ROOT / "python/taskstats/_core.pyi"
OUTPUT = ROOT / "dist/reference"
# The public modules that `taskstats` does not export itself.
MODULES = [f"taskstats.{name}" for name in ("machine", "recorded", "screen", "arrow", "spark")]


def write(output: Path) -> None:
    """Write the pages to `output`, which is emptied first."""
    # pdoc documents what is in the module's dictionary: load what is imported on first use.
    for name in taskstats.__all__:
        setattr(taskstats, name, getattr(taskstats, name))
    with tempfile.TemporaryDirectory() as folder:
        # pdoc looks for the stub of the module that exports a name, not of the one that has it,
        # and executes it; only a stub may use a name before it is defined.
        stub = f"from __future__ import annotations\n{STUB.read_text()}"
        stubs = Path(folder) / "taskstats-stubs"
        stubs.mkdir()
        for module in ("__init__", "screen"):
            (stubs / f"{module}.pyi").write_text(stub)
        sys.path.insert(0, folder)
        shutil.rmtree(output, ignore_errors=True)
        pdoc.pdoc("taskstats", *MODULES, output_directory=output)


if __name__ == "__main__":
    warnings.simplefilter("error")
    # Before Python 3.14; the annotation is then shown as it is written.
    warnings.filterwarnings("ignore", "(?s).*type 'memoryview' is not subscriptable")
    write(OUTPUT)
    print(f"{OUTPUT.relative_to(ROOT)}/taskstats.html")
