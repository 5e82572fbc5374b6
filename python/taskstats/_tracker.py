"""Blocks and functions whose processes are tracked: `track`."""

from __future__ import annotations

import functools
import inspect
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, Self, TypeVar, cast, overload

from taskstats._block import Block
from taskstats._track import (
    Collector,
    CommandUse,
    ExitCollector,
    TreeUse,
    add_rusage,
    collectors,
    complete,
    ended,
    state_of,
)

if TYPE_CHECKING:
    from taskstats._track_pid import PidTracker

_P = ParamSpec("_P")
_R = TypeVar("_R")
_R_co = TypeVar("_R_co", covariant=True)


class Tracker(Block):
    """What the processes started in a `with` block used, including all their descendants.

    At the end of the block `use` holds the report, which is exact if the bpf source is
    available. Without it, processes that still run then are not counted; without
    CAP_NET_ADMIN, children that nobody waited for are not counted either. `notes` of the
    report says so. Processes that other threads of this process start meanwhile are counted.

    With `cgroup`, and without the bpf source, the tracker makes a cgroup (v2) of its own if
    it may, whose total is exact. A child belongs to it if it calls `join` before it execs.
    With `own` the report includes what this process itself used.
    """

    def __init__(self, *, cgroup: bool = False, own: bool = False) -> None:
        self._use: TreeUse | None = None
        self._cgroup = cgroup
        self._own = own
        self._own_before: _Own | None = None
        self._began = 0
        self._found: list[Collector] = []
        self._before: resource.struct_rusage | None = None

    @property
    def use(self) -> TreeUse:
        """The report. Raises AttributeError before the end of the block."""
        return ended(self._use)

    def _state(self) -> str:
        return state_of(self._use)

    def __enter__(self) -> Self:
        self._found = collectors(os.getpid(), cgroup=self._cgroup)
        self._before = resource.getrusage(resource.RUSAGE_CHILDREN)
        self._began = time.monotonic_ns()
        if self._own:
            self._own_before = _Own()
        return self

    @property
    def needs_poll(self) -> bool:
        """Whether `poll` has anything to do: exit events gather only without the bpf source."""
        return any(isinstance(collector, ExitCollector) for collector in self._found)

    def poll(self) -> None:
        """Read the exit events so far. Call it several times a second in a long block in
        which thousands of processes exit; otherwise events may be lost."""
        for collector in self._found:
            collector.poll()

    def join(self) -> None:
        """Move the calling process, a new child, into the tracker's cgroup if there is one.
        OSError if the kernel refuses that."""
        for collector in self._found:
            collector.join()

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _value: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        own_after = _Own() if self._own else None
        use = TreeUse(elapsed_ns=time.monotonic_ns() - self._began)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert self._before is not None, "the block was entered"
        add_rusage(use, [after])
        add_rusage(use, [self._before], -1)
        complete(use, self._found)
        if self._own_before is not None and own_after is not None:
            own_after.add_to(use, self._own_before)
        self._use = use

    def __call__(self, function: Callable[_P, _R]) -> Tracked[_P, _R]:
        """Return a function that calls `function` in a block of its own: see `track`."""
        return _tracked(function, cgroup=self._cgroup, own=self._own)


class _Own:
    """What the calling process has used so far."""

    def __init__(self) -> None:
        # The scheduler's count, exact to the ns. getrusage splits it.
        self.cpu_ns = time.process_time_ns()
        self.usage = resource.getrusage(resource.RUSAGE_SELF)

    def add_to(self, use: TreeUse, before: _Own) -> None:
        """Add what was used since `before`."""
        own = TreeUse()
        add_rusage(own, [self.usage])
        add_rusage(own, [before.usage], -1)
        used_ns = self.cpu_ns - before.cpu_ns
        system_ns = used_ns * own.system_ns // (own.total_ns or 1)
        use.total_ns += used_ns
        use.system_ns += system_ns
        use.user_ns += used_ns - system_ns
        for name in ("minflt", "majflt", "nvcsw", "nivcsw"):
            setattr(use, name, (getattr(use, name) or 0) + getattr(own, name))
        use.max_rss_kb = max(use.max_rss_kb or 0, self.usage.ru_maxrss)
        use.tasks = None if use.tasks is None else use.tasks + 1
        row = use.commands.setdefault(Path("/proc/self/comm").read_text().strip(), CommandUse())
        row.tasks += 1
        row.cpu_ns += used_ns
        use.notes = [note for note in use.notes if not note.startswith("peak memory is unknown")]
        use.notes.append("delays and I/O of this process itself are not counted")


class Tracked(Protocol[_P, _R_co]):
    """A function whose calls are tracked."""

    #: The report of the call that ended last; no attribute before that.
    use: TreeUse

    def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> _R_co:
        """Call the function."""


def _tracked(function: Callable[_P, _R], *, cgroup: bool, own: bool) -> Tracked[_P, _R]:
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def coroutine(*args: _P.args, **kwargs: _P.kwargs) -> Any:
            tracker = Tracker(cgroup=cgroup, own=own)
            try:
                with tracker:
                    return await function(*args, **kwargs)
            finally:
                if tracker._use is not None:
                    tracked.use = tracker._use

        tracked: Any = coroutine
    else:

        @functools.wraps(function)
        def plain(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            tracker = Tracker(cgroup=cgroup, own=own)
            try:
                with tracker:
                    return function(*args, **kwargs)
            finally:
                if tracker._use is not None:
                    tracked.use = tracker._use

        tracked = plain
    return cast("Tracked[_P, _R]", tracked)


@overload
def track(*, own: bool = False, cgroup: bool = False) -> Tracker: ...
@overload
def track(*, pid: int) -> PidTracker: ...
@overload
def track(
    target: Callable[_P, _R], *, own: bool = False, cgroup: bool = False
) -> Tracked[_P, _R]: ...
def track(
    target: Callable[_P, _R] | None = None,
    *,
    pid: int | None = None,
    own: bool = False,
    cgroup: bool = False,
) -> Tracker | PidTracker | Tracked[_P, _R]:
    """Report what processes use: a context manager (also `async with`), and a decorator.

    ```python
    import subprocess
    import taskstats

    with taskstats.track() as tracker:
        subprocess.run(["true"])
    print(tracker.use.total_ns)


    @taskstats.track(own=True)
    def work() -> int:
        return sum(range(100_000))


    work()
    print(work.use.total_ns)
    ```

    Counted are the processes started in the block, with all that they start: see `Tracker`. With
    `own` also what this process itself uses, in all its threads. With `pid` it is that running
    process with all its descendants, from the begin of the block on: exact if the bpf source is
    available, else from intervals of all tasks. A decorated function has the report of its last
    call as `use`.

    Raises ValueError for `pid` together with anything else.
    """
    if pid is not None:
        if target is not None or own or cgroup:
            raise ValueError("track(pid=...) takes no other argument")
        from taskstats._track_pid import PidTracker

        return PidTracker(pid)
    if target is not None:
        return _tracked(target, cgroup=cgroup, own=own)
    return Tracker(cgroup=cgroup, own=own)
