"""What a screen shows of an interval: the one path of live and recorded views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import taskstats

from ptop import columns as table
from ptop import format as fmt
from ptop import render
from ptop.state import Limits, State


def wanted(state: State, columns: Mapping[str, table.Column]) -> set[str]:
    """The kernel fields that a screen of `state` needs."""
    shown = tuple(columns[key] for key in {*state.columns, state.sort})
    return table.fields(shown) | table.folding(state.fold) | {"state"}


def precision(snapshot: taskstats.Snapshot) -> str:
    """How exact the times of a snapshot are, from what it says of itself."""
    if snapshot.source == "netlink":
        return "ns, up to one tick late while running"
    return "ns, at one instant" if snapshot.one_instant else "ns"


def of(
    interval: taskstats.Interval,
    state: State,
    columns: Mapping[str, table.Column],
    limits: Limits,
    size: tuple[int, int],
    resting: taskstats.Source | None = None,
) -> render.View:
    """The values of one screen of `size` (columns, lines). Where the snapshots have only
    tasks that ran, `resting` has the others."""
    before, now = interval.prev, interval.cur
    if not now.unchanged:
        resting = None
    totals = resting.totals() if resting else None
    chosen = tuple([columns[key] for key in state.columns])
    rows = interval.fold(state.fold) if state.fold else interval
    shown = _count(rows, state, limits, resting, now.unchanged)
    cpus, memory, books = interval.cpu_pct(), now.memory, _books(interval)
    room = render.heights(size[1], len(cpus), memory is not None, books is not None).tasks
    if limits.rows is not None:
        shown = min(shown, limits.rows)
        room = max(0, min(room, limits.rows - state.top))
    return render.View(
        time=fmt.time_of_day(now.time_ns),
        host=now.host,
        uptime=fmt.elapsed(now.boottime_ns / 1e9),
        load=now.load,
        source=now.source,
        precision=precision(now),
        interval_s=interval.interval_ns / 1e9,
        own_pct=_own_pct(before, now, interval.interval_ns),
        tasks=totals["tasks"] if totals else len(interval) - interval.exited,
        exited=interval.exited,
        shown=shown,
        states=totals["states"] if totals else interval.states(),
        cpus=cpus,
        memory=memory,
        books=books,
        sums=_sums(interval, chosen, totals),
        rows=_page(chosen).select(
            rows,
            resting=resting,
            sort=columns[state.sort].source,
            descending=state.descending,
            offset=state.top,
            limit=room,
            text=state.text or None,
            pids=limits.pids,
        ),
        columns=chosen,
        notice=state.notice,
        fold=state.fold,
        missing=render.missing(now.missed, now.exits_lost - before.exits_lost, now.truncated),
    )


@lru_cache(maxsize=1)
def _page(columns: tuple[table.Column, ...]) -> taskstats.Page:
    """Kept, so that rows that are as they were on the screen before are the same objects."""
    return taskstats.Page([column.source for column in columns])


def _count(
    rows: taskstats.Interval | taskstats.Fold,
    state: State,
    limits: Limits,
    resting: taskstats.Source | None,
    unchanged: int,
) -> int:
    text, pids = state.text or None, limits.pids
    if text is None and pids is None:
        return len(rows) + (unchanged if resting else 0)
    kept = rows.count(text=text, pids=pids)
    return kept + (resting.resting_count(text=text, pids=pids) if resting else 0)


def _sums(
    interval: taskstats.Interval,
    columns: Sequence[table.Column],
    totals: Mapping[str, Any] | None,
) -> list[table.Cell]:
    """Sums of the columns that have one; the resting add nothing but their number."""
    summed = [column.source for column in columns if column.key in table.SUMMED]
    sums = dict(zip(summed, interval.sum(summed), strict=True)) | {
        key: value for key, value in (totals or {}).items() if key in summed
    }
    return [sums.get(column.source) if column.key in table.SUMMED else None for column in columns]


def _own_pct(before: taskstats.Snapshot, now: taskstats.Snapshot, interval_ns: int) -> float | None:
    """What this process used, with what watching switches cost the others."""
    if not interval_ns:
        return None
    used = now.own_cpu_ns - before.own_cpu_ns + now.hooks_ns - before.hooks_ns
    return 100 * used / interval_ns


def _books(interval: taskstats.Interval) -> dict[str, float] | None:
    """The interval's identity in per cent of one CPU."""
    books = interval.books()
    if books["idle_ns"] is None or not interval.interval_ns:
        return None
    share = 100 / interval.interval_ns
    return {
        "tasks": ((books["tasks_ns"] or 0) + (books["rowless_ns"] or 0)) * share,
        "irq": (books["irq_ns"] or 0) * share,
        "steal": (books["steal_ns"] or 0) * share,
        "idle": books["idle_ns"] * share,
        "residual": (books["residual_ns"] or 0) * share,
        "bound": (books["bound_ns"] or 0) * share,
    }
