"""The tools of the pane: what they write is read in time, and they end beside the view."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import pytest

from ptop.live import tools
from ptop.live.tools import Tool


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_tool_does_not_wait_for_the_view(monkeypatch: pytest.MonkeyPatch) -> None:
    """`seq` stands for strace, which holds up its task while it waits."""
    monkeypatch.setitem(tools.ARGUMENTS, "seq", ())
    # Its number takes the place of a pid: 589 kB.
    tool = Tool("seq", 100_000)
    done = os.P_PID, tool._process, os.WEXITED | os.WNOWAIT | os.WNOHANG
    until(lambda: os.waitid(*done) is not None)
    while tool.is_running:
        tool.take()
    assert list(tool.lines) == [*map(str, range(99_002, 100_001)), "seq has ended"]
    until(tool.has_ended)
    assert tool.wait_s() is None


def test_more_than_a_pipe_is_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(tools.ARGUMENTS, "seq", ())
    monkeypatch.setattr(tools, "_BUDGET_S", 20.0)
    monkeypatch.setattr(tools, "_CHUNK", 1 << 12)
    tool = Tool("seq", 10_000)
    done = os.P_PID, tool._process, os.WEXITED | os.WNOWAIT | os.WNOHANG
    until(lambda: os.waitid(*done) is not None)
    assert tool.take()
    assert tool.lines[-1] == "seq has ended"
    tool.finish()


def test_a_tool_that_is_closed_ends_later(monkeypatch: pytest.MonkeyPatch) -> None:
    stubborn = "trap '' TERM; echo ready; exec sleep 600"
    monkeypatch.setitem(tools.ARGUMENTS, "sh", ("-c", stubborn))
    tool = Tool("sh", 1)
    process = tool._process
    until(lambda: tool.take() and "ready" in tool.lines)
    tool.close()
    assert not tool.is_running
    # It ignores SIGTERM, and nobody waits.
    assert not tool.has_ended()
    assert (tool.wait_s() or 0) > 0
    tool.finish()
    until(tool.has_ended)
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)
