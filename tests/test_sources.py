"""What every source has in common, seen from Python."""

from __future__ import annotations

import os

import taskstats


def test_a_forked_child_cannot_use_its_parents_source(source: taskstats.Source) -> None:
    """Parent and child would take each other's answers from one socket or file."""
    source.snapshot()
    pid = os.fork()
    if not pid:
        status = 1
        try:
            source.snapshot()
        except taskstats.Unsupported as error:
            status = 7 if "open another one after the fork" in str(error) else 2
        source.close()
        with taskstats.Source(source.name) as own:
            pids = [task.ac_pid for task in own.snapshot()]
        os._exit(status if len(pids) == len(set(pids)) else 3)
    assert os.waitpid(pid, 0)[1] == 7 << 8
    pids = [task.ac_pid for task in source.snapshot()]
    assert pids
    assert len(pids) == len(set(pids))
