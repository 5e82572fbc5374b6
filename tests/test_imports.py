"""Who may import whom, read from the sources."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PTOP_MAY = {
    "__init__": set(),
    "__main__": {"ptop.cli"},
    "format": {"taskstats.screen"},
    "csvout": set(),
    "columns": set(),
    "state": {"ptop.columns"},
    "render": {"ptop.columns", "ptop.state"},
    "invocation": set(),
    "doctor": {"ptop.invocation", "taskstats"},
    "args": {"ptop.columns", "ptop.format", "ptop.state", "taskstats"},
    "audit": {"ptop.batch", "ptop.args", "taskstats"},
    "record": {"ptop.format", "ptop.args", "taskstats"},
    "run": {"ptop.format", "ptop.invocation", "ptop.args", "taskstats"},
    "batch": {"ptop.columns", "ptop.csvout", "ptop.format", "taskstats", "taskstats.screen"},
    "times": set(),
    "view": {
        "ptop.columns",
        "ptop.format",
        "ptop.render",
        "ptop.state",
        "taskstats",
        "taskstats.screen",
    },
    "feed": {"taskstats", "taskstats.recorded"},
    "replay": {
        "ptop.feed",
        "ptop.format",
        "ptop.args",
        "ptop.state",
        "ptop.times",
        "taskstats",
        "taskstats.recorded",
    },
    "progress": {"tqdm"},
    "report": {
        "ptop.csvout",
        "ptop.format",
        "ptop.args",
        "ptop.progress",
        "ptop.replay",
        "taskstats",
        "taskstats.recorded",
    },
    "export": {
        "ptop.csvout",
        "ptop.args",
        "ptop.progress",
        "ptop.replay",
        "pyarrow",
        "taskstats",
        "taskstats.recorded",
    },
    "app": {
        "ptop.columns",
        "ptop.feed",
        "ptop.state",
        "ptop.view",
        "ptop.times",
        "taskstats",
        "taskstats.screen",
        "blessed",
        "blessed.keyboard",
    },
    "cli": {
        "ptop.app",
        "ptop.audit",
        "ptop.batch",
        "ptop.columns",
        "ptop.doctor",
        "ptop.export",
        "ptop.feed",
        "ptop.format",
        "ptop.invocation",
        "ptop.args",
        "ptop.record",
        "ptop.replay",
        "ptop.report",
        "ptop.run",
        "ptop.state",
        "taskstats",
    },
}
CRATES_MAY = {
    "core": set(),
    "sources": {"precise-top-core"},
    "screen": {"precise-top-core"},
    "python": {"precise-top-core", "precise-top-sources", "precise-top-screen"},
}


def imports(path: Path) -> set[str]:
    """Modules outside the standard library that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "ptop":
                found |= {f"ptop.{name.name}" for name in node.names}
            else:
                found.add(node.module)
    return {name for name in found if name.split(".")[0] not in sys.stdlib_module_names}


@pytest.mark.parametrize("path", sorted((ROOT / "ptop").glob("*.py")), ids=lambda path: path.stem)
def test_ptop_modules_import_what_they_may(path: Path) -> None:
    assert imports(path) <= PTOP_MAY[path.stem]


def test_the_package_does_not_know_the_tool() -> None:
    # Spark is a data source's host; nothing else imports that module.
    may = {
        "arrow.py": {"taskstats", "pyarrow"},
        "spark.py": {"taskstats", "pyarrow", "pyspark"},
    }
    for path in (ROOT / "python").rglob("*.py"):
        roots = {name.split(".")[0] for name in imports(path)}
        assert roots <= may.get(path.name, {"taskstats"}), path
        assert "taskstats.spark" not in imports(path), path


@pytest.mark.parametrize("crate", sorted(CRATES_MAY))
def test_crates_depend_on_what_they_may(crate: str) -> None:
    manifest = tomllib.loads((ROOT / "rust" / crate / "Cargo.toml").read_text())
    ours = {name for name in manifest.get("dependencies", {}) if name.startswith("precise-top")}
    assert ours == CRATES_MAY[crate]


def test_unsafe_stands_only_where_it_may() -> None:
    may = {
        "rust/sources/src/sys.rs",
        "rust/sources/src/sys/bpf.rs",
        "rust/sources/src/sys/map.rs",
        "rust/sources/src/sys/shared.rs",
        "rust/sources/src/sys/taskstats.rs",
        "rust/sources/src/sys/thread.rs",
        "rust/python/src/snapshot.rs",
        "rust/python/src/lib.rs",
    }
    holds = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "rust").glob("*/src/**/*.rs")
        if re.search(r"\bunsafe (\{|fn|impl)", path.read_text())
    }
    assert holds == may


def test_the_harness_sees_a_forbidden_import(tmp_path: Path) -> None:
    bad = tmp_path / "format.py"
    bad.write_text("def late():\n    from blessed import Terminal\n    return Terminal\n")
    assert imports(bad) == {"blessed"}
