"""Which task has a pid now, and the calls to act on a task that Python lacks.

A pid is reused; a pid and a start name one task. Python has the rest: `os.pidfd_open`,
`signal.pidfd_send_signal`, `os.setpriority` and `os.sched_setaffinity`.
"""

from __future__ import annotations

from taskstats._core import TaskNow, ioprio, set_ioprio, task_now, tgkill

__all__ = ["TaskNow", "ioprio", "set_ioprio", "task_now", "tgkill"]
