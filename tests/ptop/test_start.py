"""What the first frame waits for: counts, as times depend on the machine."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from live_view import Live  # type: ignore[import-not-found]

# Modules of the standard library that take milliseconds to import, and those of other packages.
SLOW = {"dataclasses", "inspect", "ast", "asyncio", "json", "logging", "pathlib", "subprocess"}
FOREIGN = {"numpy", "pyarrow", "pandas", "polars", "tqdm", "tomli_w"}
# As many as it takes now, and a few.
MOST_MODULES = 145


@pytest.mark.parametrize("source", ["procfs", "bpf"])
def test_the_first_frame_imports_little(source: str, tmp_path: Path) -> None:
    listed = tmp_path / "modules"
    script = (
        "import sys; from ptop.cli import main; main(sys.argv[2:]);"
        "open(sys.argv[1], 'w').write(' '.join(sys.modules))"
    )
    command = [sys.executable, "-c", script, str(listed)]
    live = Live("-n", "1", "--source", source, command=command)
    live.child.expect_exact("\x1b[?1049l")
    live.child.wait()
    imported = set(listed.read_text().split())
    assert not (SLOW | FOREIGN) & imported
    assert len(imported) <= MOST_MODULES, sorted(imported)
