"""What the documents say: examples run, and what they name exists."""

from __future__ import annotations

import ast
import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import duckdb
import pexpect
import pytest
import taskstats
from sybil import Document, Example
from sybil.document import PythonDocStringDocument
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser

ROOT = Path(__file__).parent.parent
STUB = ROOT / "python/taskstats/_core.pyi"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
MODULES = [*sorted((ROOT / "python/taskstats").rglob("*.py")), STUB]

# Keys that end what waits for keys.
KEYS = {"ptop": "q", "ptop replay day.tsd": "q"}
# Statuses of what reports by its status.
STATUSES = {
    "ptop audit -n 3": {0, 1, 2},
    "ptop diff fleet/one.tsd day.tsd --fail-above cpu:20 --min-change cpu:5": {0, 3},
}


def shell(example: Example) -> None:
    """Run each line of an example on a terminal."""
    for line in str(example.parsed).splitlines():
        command = line.split("#")[0].strip()
        child = pexpect.spawn("sh", ["-c", command], timeout=60, dimensions=(24, 80))
        key = KEYS.get(command)
        while key is not None and child.isalive():
            with contextlib.suppress(OSError):
                child.send(key)
            with contextlib.suppress(pexpect.TIMEOUT, pexpect.EOF):
                child.expect(pexpect.EOF, timeout=0.5)
        output = child.read()
        child.close()
        assert child.exitstatus in STATUSES.get(command, {0}), f"{command}: {output!r}"


def sql(example: Example) -> None:
    """Run a query, which has to return rows."""
    found = duckdb.sql(str(example.parsed))
    assert found is not None
    assert found.fetchall()


def parse(path: Path) -> Document:
    """The examples of a page, or of the docstrings of a module."""
    kind = Document if path.suffix == ".md" else PythonDocStringDocument
    return kind.parse(
        str(path),
        CodeBlockParser("sh", shell),
        CodeBlockParser("sql", sql),
        PythonCodeBlockParser(),
    )


def with_examples() -> Iterator[object]:
    """The files that have examples, with what is special about them."""
    for path in [*PAGES, *MODULES]:
        if any(parse(path).examples()):
            name = str(path.relative_to(ROOT))
            # Spark warns of its own streams and of pandas.
            spark = "SparkSession" in path.read_text()
            marks = [pytest.mark.filterwarnings("default")] if spark else []
            yield pytest.param(path, id=name, marks=marks)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what examples take for granted: a recording, a fleet's, a Makefile."""
    with taskstats.Recorder(tmp_path / "day.tsd") as recorder, taskstats.Source() as source:
        for _ in range(4):
            recorder.write(source.snapshot())
            time.sleep(0.1)
    (tmp_path / "fleet").mkdir()
    shutil.copy(tmp_path / "day.tsd", tmp_path / "fleet/one.tsd")
    (tmp_path / "Makefile").write_text("all:\n\t@true\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    return tmp_path


@pytest.mark.timeout(300)
@pytest.mark.parametrize("path", list(with_examples()))
def test_the_examples_run(path: Path, desk: Path, needs: Callable[[bool, str], None]) -> None:
    needs(os.geteuid() == 0, "examples take exits, which needs CAP_NET_ADMIN or CAP_BPF")
    # A name of its own: `__init__.py` would make the folder a package.
    page = desk / f"page_of_{path.parent.name}_{path.stem.strip('_')}{path.suffix}"
    # An example's day takes a second here. Spark's workers keep the folder they began in.
    here = path.read_text().replace("--for 1d", "--for 1s").replace("/mnt/fleet", f"{desk}/fleet")
    page.write_text(here)
    document = parse(page)
    try:
        for example in document.examples():
            example.evaluate()
    finally:
        if "spark" in document.namespace:
            document.namespace["spark"].stop()


@pytest.mark.parametrize("text", ["```python\n1 / 0\n```\n", "```sh\nfalse\n```\n"])
def test_a_wrong_example_fails(text: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    (example,) = parse(page).examples()
    with pytest.raises((ZeroDivisionError, AssertionError)):
        example.evaluate()


def targets() -> set[str]:
    """The targets of the Makefile."""
    return set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M))


def crates() -> set[str]:
    """The names of the crates."""
    manifests = (ROOT / "rust").glob("*/Cargo.toml")
    return {tomllib.loads(path.read_text())["package"]["name"] for path in manifests}


def known(module: str, name: str) -> bool:
    """Whether `module.name` exists, if `module` is the package or one of its classes."""
    owner = taskstats if module == "taskstats" else getattr(taskstats, module, None)
    return (
        owner is None
        or hasattr(owner, name)
        or (owner is taskstats and find_spec(f"taskstats.{name}") is not None)
    )


def missing(page: Path) -> set[str]:
    """What a page names that does not exist."""
    text = page.read_text()
    top = "|".join(re.escape(path.name) for path in ROOT.iterdir() if path.is_dir())
    paths = re.findall(rf"(?<![\w/.-])((?:{top})/[\w./-]*\w)", text)
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)
    words = re.findall(r"(?:`|^)make ((?:[\w-]+ ?)+)(?:`|$| +#)", text, re.M)
    names = re.findall(r"`(\w+)\.(\w+)(?:\(|`)", text)
    return (
        {path for path in paths if not (ROOT / path).exists()}
        | {link for link in links if not (page.parent / link).exists()}
        | {f"make {target}" for target in set(" ".join(words).split()) - targets()}
        | {f"-p {crate}" for crate in set(re.findall(r" -p ([\w-]+)", text)) - crates()}
        | {f"{module}.{name}" for module, name in names if not known(module, name)}
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_names_exists(page: Path) -> None:
    assert missing(page) == set()


def test_what_does_not_exist_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "`rust/core/gone.rs`, [a page](gone.md), `make gone`, `cargo test -p gone`,"
        " `taskstats.gone`, `Source.gone`; `rust/core`, `make test`, `Source.close`"
    )
    assert missing(page) == {
        "rust/core/gone.rs",
        "gone.md",
        "make gone",
        "-p gone",
        "taskstats.gone",
        "Source.gone",
    }


def test_the_sources_name_pages_that_exist() -> None:
    lines = subprocess.run(
        ["git", "grep", "-ohE", r"\bdocs/[a-z/-]+\.(md|1)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert {name for name in lines.split() if not (ROOT / name).exists()} == set()


def undocumented(path: Path) -> set[str]:
    """Public classes, functions, methods and properties of a module without a docstring."""
    found = set()

    def look(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if not isinstance(node, ast.ClassDef | ast.FunctionDef) or node.name.startswith("_"):
                continue
            # The last of several signatures has the text.
            overload = any(
                isinstance(by, ast.Name) and by.id == "overload" for by in node.decorator_list
            )
            if not overload and ast.get_docstring(node) is None:
                found.add(prefix + node.name)
            if isinstance(node, ast.ClassDef):
                look(node.body, f"{prefix}{node.name}.")

    look(ast.parse(path.read_text()).body, "")
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_every_public_name_has_a_docstring(path: Path) -> None:
    assert undocumented(path) == set()


def test_the_stub_has_the_units_of_the_fields() -> None:
    (task,) = (
        node
        for node in ast.parse(STUB.read_text()).body
        if isinstance(node, ast.ClassDef) and node.name == "Task"
    )
    docs = {
        node.name: ast.get_docstring(node) or ""
        for node in task.body
        if isinstance(node, ast.FunctionDef)
    }
    words = {"": "", "count": "", "bytes": "Bytes", "s": "seconds", "MiB*us": "MiB * us"}
    wrong = {
        field["name"]
        for field in taskstats.FIELDS
        if words.get(field["unit"], f"in {field['unit']}") not in docs[field["name"]]
    }
    assert wrong == set()
