"""Tagging a row of a tree with all that is below it."""

from __future__ import annotations

import subprocess
import sys
import time

from live_view import Live  # type: ignore[import-not-found]

CHILDREN = 3
FAMILY = f"""
import subprocess
children = [subprocess.Popen(["sleep", "100"]) for _ in range({CHILDREN})]
print("ready", flush=True)
try:
    input()
finally:
    for child in children:
        child.kill()
"""


def until_tagged(live: Live, number: int) -> None:
    end = time.monotonic() + 20
    while sum(line.startswith("*") for line in live.screen.display) != number:
        assert time.monotonic() < end, live.text()
        live.pump()


def test_a_row_is_tagged_with_its_children() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", FAMILY], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        condition = f"ac_pid = {parent.pid} | ac_ppid = {parent.pid}"
        live = Live("--tree", "--filter", condition, columns=120, rows=40)
        live.until(f" {parent.pid} ")
        live.child.send(f"/ac_pid={parent.pid}\r")
        live.child.send("c")
        live.until(f"{CHILDREN + 1} rows are tagged")
        until_tagged(live, CHILDREN + 1)
        # Its ancestors have no tags. The second time they are taken away.
        live.child.send("c")
        live.until("0 rows are tagged")
        until_tagged(live, 0)
        # A list has no rows below others.
        live.child.send("t")
        live.until(" Main ")
        live.child.send("c")
        live.until("t shows the tree")
        live.child.send("q")
        assert live.ended() == 0
        parent.communicate(b"\n")
