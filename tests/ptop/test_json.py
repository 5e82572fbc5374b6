"""JSON and CSV are as docs/json.md describes them."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ptop.columns import COLUMN_SETS, COLUMNS
from ptop.commands.batch import SCHEMA

DOCUMENT = Path(__file__).parents[2] / "docs/json.md"
TYPES: dict[str, tuple[type, ...]] = {
    "integer": (int,),
    "number": (int, float),
    "string": (str,),
    "object": (dict,),
    "array": (list,),
    "null": (type(None),),
    "true": (bool,),
    '"max"': (str,),
}
# The keys of a task that it has with some options, or if it died.
SOMETIMES = {"exited", "cmdline", "title", "tasks", "depth", "parent"}
SOMETIMES |= {"container", "pod", "unit", "cgroup"}


def documented(section: str) -> dict[str, tuple[type, ...]]:
    """The keys of a section's table, and their types."""
    text = DOCUMENT.read_text().split(f"## {section}\n")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (`[\w`, ]+`) \| ([a-z, \"]+) \|", text, re.MULTILINE)
    return {
        key: sum((TYPES[name] for name in re.split(" or |, ", words)), ())
        for keys, words in rows
        for key in re.findall(r"\w+", keys)
    }


def check(found: dict[str, Any], keys: dict[str, tuple[type, ...]]) -> None:
    for key, value in found.items():
        assert type(value) in keys[key], (key, value)


def run(*words: str) -> str:
    command = [sys.executable, "-m", "ptop", "-n", "1", "-d", "0.2", *words]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.mark.parametrize("options", [(), ("--view", "waits"), ("--fold", "user"), ("--threads",)])
def test_json_is_as_documented(options: tuple[str, ...]) -> None:
    interval = json.loads(run("--format", "json", *options))
    assert interval["schema"] == SCHEMA
    assert interval.keys() == documented("The interval").keys()
    check(interval, documented("The interval"))
    assert interval["sum"].keys() == documented("The sum").keys()
    check(interval["sum"], documented("The sum"))
    view = options[1] if "--view" in options else "live"
    columns = [COLUMNS[key] for key in COLUMN_SETS[view].columns]
    keys = documented("A task")
    for task in interval["tasks"]:
        check({key: value for key, value in task.items() if key in keys}, keys)
        others = {column.source for column in columns if column.form != "command"} - {"ac_pid"}
        assert task.keys() - keys.keys() <= others
        assert keys.keys() - task.keys() <= SOMETIMES
        assert ("title" in task) == ("--fold" in options)
    if "--fold" not in options:
        (own,) = [task for task in interval["tasks"] if "--format json" in (task["cmdline"] or "")][
            :1
        ]
        assert own["cmdline"].startswith(sys.executable)
        kernel = [task for task in interval["tasks"] if task["ppid"] == 2]
        assert {task["cmdline"] for task in kernel} <= {""}
    if view == "waits":
        assert own["cpu_delay_total_pct"] is not None


def test_a_tree_is_as_documented() -> None:
    tasks = json.loads(run("--format", "json", "--tree"))["tasks"]
    keys = documented("A task")
    for task in tasks:
        check({key: value for key, value in task.items() if key in keys}, keys)
        parent = task["parent"]
        assert task["depth"] == (0 if parent is None else tasks[parent]["depth"] + 1)
    assert any(task["parent"] is not None for task in tasks)


def test_cgroups_are_as_documented() -> None:
    tasks = json.loads(run("--format", "json", "--view", "cgroups"))["tasks"]
    keys = documented("A cgroup")
    shown = {COLUMNS[key].source for key in COLUMN_SETS["cgroups"].columns}
    assert keys.keys() - shown <= {"cgroup", "nr_periods_delta", "memory_high"}
    for task in tasks:
        check({key: value for key, value in task.items() if key in keys}, keys)
        assert {"title", "tasks", "depth", "parent", "cgroup"} <= task.keys()


def test_csv_has_the_keys_of_a_task() -> None:
    rows = list(csv.DictReader(run("--format", "csv").splitlines()))
    assert {"time", "interval_ns", "cmdline"} <= rows[0].keys()
    assert documented("A task").keys() - rows[0].keys() <= SOMETIMES - {"exited", "cmdline"}
    assert any("--format csv" in row["cmdline"] for row in rows)
