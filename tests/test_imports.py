"""Which Python module may import which, and which crate may depend on which.

Imports inside functions and under TYPE_CHECKING count as well. Not import-linter: it cannot
see `taskstats._core`, which is compiled, so the rule on private modules would need a second
tool.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# The lowest layer first. A module may import modules of the layers before its own.
LAYERS = (
    ("ptop.values",),
    (
        "ptop.columns",
        "ptop.live.decoder",
        "ptop.live.details",
        "ptop.live.editor",
        "ptop.live.recorded_cgroup",
        "ptop.live.tools",
        "ptop.outputs",
        "ptop.privilege",
        "ptop.signals",
        "ptop.spikes",
        "ptop.streams",
        "ptop.targets",
        "ptop.text",
        "ptop.times",
    ),
    ("ptop.filters", "ptop.live.unknown", "ptop.taskfiles"),
    (
        "ptop.feed",
        "ptop.live.terminal",
        "ptop.live.tree",
        "ptop.logs",
        "ptop.recordings",
        "ptop.tasks",
    ),
    ("ptop.history_feed", "ptop.partitions"),
    ("ptop.live.state",),
    (
        "ptop.config",
        "ptop.live.acting",
        "ptop.live.inspector",
        "ptop.live.looking",
        "ptop.live.setup",
        "ptop.live.tabs",
    ),
    (
        "ptop.args",
        "ptop.live.actor",
        "ptop.live.comparing",
        "ptop.live.guard",
        "ptop.live.history",
        "ptop.live.machine",
    ),
    ("ptop.live.keys",),
    ("ptop.live.pages", "ptop.live.pointing", "ptop.live.theme", "ptop.commands.batch"),
    ("ptop.live.drawing", "ptop.live.view"),
    ("ptop.live.saving", "ptop.live.steady", "ptop.live.table"),
    ("ptop.live.requests",),
    ("ptop.live.app",),
    (
        "ptop.commands.audit",
        "ptop.commands.check",
        "ptop.commands.diff",
        "ptop.commands.doctor",
        "ptop.commands.export",
        "ptop.commands.record",
        "ptop.commands.replay",
        "ptop.commands.report",
        "ptop.commands.run",
        "ptop.commands.signal",
        "ptop.commands.top",
    ),
    ("ptop.cli",),
    ("ptop.__main__",),
)
LAYER = {module: at for at, layer in enumerate(LAYERS) for module in layer}
# These modules hold a docstring only.
PACKAGES = ("ptop", "ptop.commands", "ptop.live")
# Packages other than the standard library and taskstats, and the only module that may import each.
OUTSIDE = {"pyarrow": "ptop.commands.export", "tomli_w": "ptop.config", "tqdm": "ptop.recordings"}
# Modules without a machine behind them, and the pure modules of taskstats that they may import.
PURE = {
    "ptop.columns": (),
    "ptop.filters": ("taskstats.screen",),
    "ptop.live.acting": (),
    "ptop.live.decoder": (),
    "ptop.live.details": ("taskstats.screen",),
    "ptop.live.editor": (),
    "ptop.live.guard": (),
    "ptop.live.keys": (),
    "ptop.live.looking": (),
    "ptop.live.setup": (),
    "ptop.live.pages": (),
    "ptop.live.pointing": ("taskstats.screen",),
    "ptop.live.state": ("taskstats.screen",),
    "ptop.live.tree": ("taskstats.screen",),
    "ptop.outputs": (),
    "ptop.privilege": (),
    "ptop.signals": (),
    "ptop.streams": (),
    "ptop.targets": (),
    "ptop.text": ("taskstats.screen",),
    "ptop.times": (),
    "ptop.values": (),
}
CRATES_MAY = {
    "core": set(),
    "sources": {"precise-top-core"},
    "screen": {"precise-top-core"},
    "python": {"precise-top-core", "precise-top-sources", "precise-top-screen"},
    "capi": {"precise-top-core", "precise-top-sources"},
}


def imports(source: str, package: str) -> set[str]:
    """The dotted names outside the standard library that a module of `package` imports,
    such as taskstats.Source, wherever in the module that is."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            origin = [node.module] if node.module else []
            if node.level:
                parents = package.split(".")
                origin = [*parents[: len(parents) - node.level + 1], *origin]
            found |= {".".join([*origin, name.name]) for name in node.names}
    return {name for name in found if name.split(".")[0] not in sys.stdlib_module_names}


def is_private(name: str) -> bool:
    """Whether a part of a dotted name is private; names such as __version__ are not."""
    return any(part.startswith("_") and not part.endswith("__") for part in name.split("."))


def refusals(module: str, names: set[str]) -> Iterator[str]:
    """Those of the imported `names` that a module of ptop may not import."""
    for name in names:
        root, _, _ = name.partition(".")
        if is_private(name):
            yield name
        elif root == "ptop":
            # The name is a module, or something in one.
            target = name if name in LAYER else name.rpartition(".")[0]
            if LAYER.get(target, len(LAYERS)) >= LAYER[module]:
                yield name
        elif root == "taskstats":
            if module in PURE and not name.startswith(PURE[module] or "nothing"):
                yield name
        elif OUTSIDE.get(root) != module:
            yield name


def modules(folder: Path) -> dict[str, Path]:
    """Every module below a folder by its dotted name; a package has its folder's name."""
    found = {}
    for path in folder.rglob("*.py"):
        parts = path.relative_to(folder.parent).with_suffix("").parts
        found[".".join(parts).removesuffix(".__init__")] = path
    return found


@pytest.mark.parametrize("module", sorted(modules(ROOT / "ptop")))
def test_ptop_modules_import_what_they_may(module: str) -> None:
    source = modules(ROOT / "ptop")[module].read_text()
    if module in PACKAGES:
        (docstring,) = ast.parse(source).body
        assert isinstance(docstring, ast.Expr)
        return
    assert module in LAYER, "a new module needs a layer"
    names = imports(source, module.rpartition(".")[0])
    assert list(refusals(module, names)) == []


def test_every_module_with_a_rule_exists() -> None:
    named = {*LAYER, *PACKAGES, *OUTSIDE.values(), *PURE}
    assert named == set(modules(ROOT / "ptop"))


@pytest.mark.parametrize(
    ("module", "statement"),
    [
        ("ptop.text", "import tqdm"),
        ("ptop.columns", "import taskstats"),
        ("ptop.text", "from taskstats import Source"),
        ("ptop.live.state", "from ptop.live.pages import prompt"),
        ("ptop.columns", "from ptop import text"),
        ("ptop.columns", "from .text import safe"),
        ("ptop.columns", "from . import text"),
        ("ptop.columns", "import ptop.text"),
        ("ptop.commands.run", "from taskstats import _track as tracking"),
        ("ptop.commands.run", "from taskstats._core import Tree"),
        ("ptop.commands.run", "import taskstats._core"),
        ("ptop.cli", "from ptop.live.app import _Loop"),
        ("ptop.cli", "import numpy"),
    ],
)
@pytest.mark.parametrize("indented", [False, True])
def test_a_forbidden_import_is_seen(module: str, statement: str, indented: bool) -> None:
    source = f"def late():\n    {statement}\n" if indented else statement
    assert len(list(refusals(module, imports(source, "ptop")))) == 1


def test_allowed_imports_are_not_refused() -> None:
    source = """
import json
from ptop import columns
from ptop.text import safe
from taskstats import __version__
from .times import parse_time
"""
    assert list(refusals("ptop.cli", imports(source, "ptop"))) == []


def test_the_package_does_not_know_the_tool() -> None:
    # Spark hosts the data source; no other module imports it. Consumers of scans are imported
    # when they are asked for.
    may = {
        "_files.py": {"taskstats", "fsspec"},
        "_polars.py": {"taskstats", "polars"},
        "_scan.py": {"taskstats", "duckdb", "pandas", "polars", "pyarrow"},
        "arrow.py": {"taskstats", "pyarrow"},
        "spark.py": {"taskstats", "pyarrow", "pyspark"},
    }
    for path in (ROOT / "python").rglob("*.py"):
        names = imports(path.read_text(), "taskstats")
        assert {name.split(".")[0] for name in names} <= may.get(path.name, {"taskstats"}), path
        assert not any(name.startswith("taskstats.spark") for name in names), path


@pytest.mark.parametrize("crate", sorted(CRATES_MAY))
def test_crates_depend_on_what_they_may(crate: str) -> None:
    manifest = tomllib.loads((ROOT / "rust" / crate / "Cargo.toml").read_text())
    ours = {name for name in manifest.get("dependencies", {}) if name.startswith("precise-top")}
    assert ours == CRATES_MAY[crate]


def test_unsafe_stands_only_where_it_may() -> None:
    may = {
        "rust/sources/src/sys.rs",
        "rust/sources/src/sys/acting.rs",
        "rust/sources/src/sys/bpf.rs",
        "rust/sources/src/sys/map.rs",
        "rust/sources/src/sys/shared.rs",
        "rust/sources/src/sys/taskstats.rs",
        "rust/sources/src/sys/thread.rs",
        "rust/python/src/snapshot.rs",
        "rust/python/src/memory.rs",
        "rust/capi/src/error.rs",
        "rust/capi/src/exits.rs",
        "rust/capi/src/field.rs",
        "rust/capi/src/interval.rs",
        "rust/capi/src/netlink.rs",
        "rust/capi/src/raw.rs",
        "rust/capi/src/snapshot.rs",
        "rust/capi/src/source.rs",
    }
    holds = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "rust").glob("*/src/**/*.rs")
        if re.search(r"\bunsafe (\{|fn|impl)", path.read_text())
    }
    assert holds == may


def _paths(use: str) -> list[str]:
    """The paths of a `use` declaration, with its braces expanded."""
    opened = use.find("{")
    if opened < 0:
        return [use]
    parts, depth, part = [], 0, ""
    for letter in use[opened + 1 : use.rindex("}")]:
        depth += (letter == "{") - (letter == "}")
        if letter == "," and depth == 0:
            parts.append(part)
            part = ""
        else:
            part += letter
    return [path for part in (*parts, part) if part for path in _paths(use[:opened] + part)]


def rust_imports(source: Path) -> dict[str, set[str]]:
    """For each module of a crate, the other files of the crate that it uses.

    A parent that declares and exports its children does not count as using them.
    """
    files = {
        ".".join(path.relative_to(source).with_suffix("").parts): path
        for path in source.rglob("*.rs")
        if "tests" not in path.stem
    }
    graph: dict[str, set[str]] = {module: set() for module in files}
    for module, path in files.items():
        text = path.read_text().partition("#[cfg(test)]")[0]
        here = module.split(".")
        for use in re.findall(r"^(?:pub(?:\([^)]*\))? )?use ([^;]+);", text, re.MULTILINE):
            for name in _paths(re.sub(r"\s", "", use)):
                first, *rest = name.split("::")
                bases = {"crate": [], "self": here, "super": here[:-1]}
                if first not in bases:
                    continue
                target = [*bases[first], *rest]
                known = (".".join(target[:n]) for n in range(len(target), 0, -1))
                found = next((other for other in known if other in files), module)
                if found != module and not found.startswith(f"{module}."):
                    graph[module].add(found)
    return graph


@pytest.mark.parametrize("crate", ["core", "sources", "screen", "python", "capi"])
def test_modules_of_a_crate_form_no_circle(crate: str) -> None:
    TopologicalSorter(rust_imports(ROOT / "rust" / crate / "src")).prepare()


def test_a_circle_of_modules_is_seen(tmp_path: Path) -> None:
    (tmp_path / "one.rs").write_text("use crate::{two::{A, B}, three};\n")
    (tmp_path / "two.rs").write_text("use super::three::C;\n")
    (tmp_path / "three.rs").write_text("use super::one;\n")
    with pytest.raises(CycleError):
        TopologicalSorter(rust_imports(tmp_path)).prepare()
