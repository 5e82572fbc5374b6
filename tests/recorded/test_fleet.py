"""docs/fleet.md on several machines: all its readers give the same sums."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import taskstats
from sybil import Document, Example
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser
from taskstats.recorded import Frames

PAGE = Path(__file__).parent.parent.parent / "docs/fleet.md"
HOSTS = ["db1", "db2", "web1", "web2"]


def shell(example: Example) -> None:
    for line in str(example.parsed).splitlines():
        subprocess.run(["sh", "-c", line], check=True, timeout=100)


@pytest.mark.timeout(400)
@pytest.mark.filterwarnings("default")
def test_all_readers_give_the_same_sums(
    recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = tmp_path / "fleet"
    fleet.mkdir()
    frames = Frames(taskstats.open(recording))
    used = sum(interval.sum(["total_ns"])[0] or 0 for interval in frames.intervals())
    assert used
    # The first has two files, the second the later part of the recording alone.
    dump = taskstats.open(recording)
    parts = [("db1", dump[:4]), ("db1", dump[3:]), ("db2", dump[3:])]
    parts += [(host, dump[:]) for host in HOSTS[2:]]
    for number, (host, part) in enumerate(parts):
        with taskstats.Recorder(
            fleet / f"{host}-{number}.tsd", host=host, full_every=3
        ) as recorder:
            for snapshot in part:
                recorder.write(snapshot)
    late = sum(interval.sum(["total_ns"])[0] or 0 for interval in frames.intervals(4))
    expected = dict.fromkeys(HOSTS, used) | {"db2": late}

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    monkeypatch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    monkeypatch.setenv("PYSPARK_SUBMIT_ARGS", "--master local[3] pyspark-shell")
    text = PAGE.read_text().replace("--for 1d", "--for 1s").replace("/mnt/fleet", str(fleet))
    text = text.replace('"framesPerPartition", "600"', '"framesPerPartition", "2"')
    (tmp_path / "page.md").write_text(text)
    page = Document.parse(
        str(tmp_path / "page.md"), CodeBlockParser("sh", shell), PythonCodeBlockParser()
    )
    found: dict[str, Any] = page.namespace
    try:
        for example in page.examples():
            example.evaluate()
    finally:
        if "spark" in found:
            found["spark"].stop()
    for reader in ("scanned", "exported", "batched", "streamed"):
        assert found[reader] == expected, reader
