"""Every command reads dumps with any flags, masks and states, without a traceback."""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import frames as fr  # type: ignore[import-not-found]
import hostile  # type: ignore[import-not-found]
import pytest
import taskstats
from taskstats.recorded import Frames

from ptop import cli
from ptop.columns import COLUMN_SETS, COLUMNS, GROUPINGS, column_set
from ptop.live.state import Limits, State
from ptop.live.tree import Tree
from ptop.live.view import Renderer

ROWS = 6
NO, ALL = 0, (1 << 128) - 1
FORMATS = ("table", "json", "csv")
COMMANDS = [
    ["check"],
    *(["report", "--format", style] for style in FORMATS),
    *(["export", "--format", style] for style in ("csv", "json", "arrow", "parquet")),
    *(["replay", "-b", "--format", style] for style in FORMATS),
    ["replay", "-b", "--view", "snap"],
    *(["replay", "-b", "--fold", by] for by in GROUPINGS if by != "session"),
]


def busy_forms(snapshots: list[taskstats.Snapshot]) -> list[bytes]:
    """The byte forms of two snapshots of the same few tasks, of which this process ran."""
    pids: list[int | None] = [os.getpid()]
    pids += [task.ac_pid for task in snapshots[0] if task.ac_pid != os.getpid()][: ROWS - 1]
    forms = []
    for snapshot in (snapshots[0], snapshots[-1]):
        data = snapshot.to_bytes()
        (begin,) = struct.unpack_from("=Q", data, fr.RECORDS_AT)
        records = [task.to_bytes() for task in snapshot if task.ac_pid in pids]
        assert len(records) == ROWS
        form = bytearray(data[:begin] + b"".join(records))
        struct.pack_into("=Q", form, fr.COUNT_AT, ROWS)
        forms.append(bytes(form))
    return forms


def headers() -> Iterator[dict[str, object]]:
    """All flags, all masks of one bit and without one bit, and mixtures."""
    for flags in [*range(256), 1 << 31, 0xFFFFFFFF]:
        yield {"flags": flags}
    for masks in ([NO], [ALL], [NO, ALL], [ALL, NO]):
        yield {"masks": masks}
    for bit in range(128):
        yield {"masks": [1 << bit]}
        yield {"masks": [ALL & ~(1 << bit)]}
        yield {"masks": [ALL & ~(1 << bit), ALL]}
    for status in range(5):
        yield {"status": status}
    for exited in (0, 1, ROWS):
        yield {"exited": exited}
    numbers = random.Random(28)
    for _ in range(100):
        yield {
            "flags": numbers.randrange(128),
            "masks": [numbers.getrandbits(128) for _ in range(numbers.randint(1, ROWS))],
            "status": numbers.randrange(5),
            "exited": numbers.randint(0, ROWS),
        }


@pytest.fixture
def write(written: list[taskstats.Snapshot], tmp_path: Path) -> Callable[[dict[str, object]], Path]:
    base = hostile.Base(written[0], tmp_path)
    forms = busy_forms(written)

    def write(header: dict[str, object]) -> Path:
        path = tmp_path / "dump.tsd"
        full = [base.full_of(fr.with_header(form, **header), ROWS) for form in forms]
        fr.write(path, base.table, *full)
        return path

    return write


def test_every_command_reads_every_header(
    write: Callable[[dict[str, object]], Path],
    capfd: pytest.CaptureFixture[str],
) -> None:
    for number, header in enumerate(headers()):
        path = write(header)
        # Each header meets some commands; all of them meet each kind of header.
        for command in COMMANDS[number % 3 :: 3]:
            try:
                status = cli.main([*command, str(path)])
            except SystemExit as ended:
                status = int(ended.code or 0)
            except Exception as error:
                pytest.fail(f"{command} with {header}: {error!r}")
            assert status in {0, 1, 2}, (command, header)
            assert "Traceback" not in capfd.readouterr().err


def test_every_view_shows_every_header(write: Callable[[dict[str, object]], Path]) -> None:
    shown = 0
    for header in headers():
        try:
            interval = Frames(taskstats.open(write(header))).interval(1)
        except taskstats.ParseError:
            continue
        if interval is None:
            continue
        for view in COLUMN_SETS:
            keys = tuple(column.key for column in column_set(view))
            for group_by, tree in (("", ""), ("parent", ""), ("user", ""), ("", "task")):
                state = State(columns=keys, group_by=group_by, tree=Tree(tree), recorded=True)
                lines = Renderer(state, COLUMNS, Limits()).lines(interval, (80, 24))
                assert len(lines.texts) == 24, header
                shown += 1
    assert shown > 1000


def test_a_task_without_a_pid_is_reported_by_its_name(
    write: Callable[[dict[str, object]], Path], capfd: pytest.CaptureFixture[str]
) -> None:
    bit = next(at for at, field in enumerate(taskstats.FIELDS) if field["name"] == "ac_pid")
    path = write({"masks": [ALL & ~(1 << bit)]})
    task = taskstats.open(path)[1][0]
    assert task.ac_pid is None
    assert cli.main(["report", "--short", "0", "--by", "cpu", "--group", "tasks", str(path)]) == 0
    name = (Path("/proc/self/comm")).read_text().strip()
    assert f"  {name} [-]\n" in capfd.readouterr().out
