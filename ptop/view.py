"""What a screen shows of an interval: the one path of live and recorded views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter
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
    now = interval.cur
    if not now.unchanged:
        resting = None
    totals = resting.totals() if resting else None
    chosen = tuple(columns[key] for key in state.columns)
    shown = _count(interval, state, limits, resting)
    room = max(1, size[1] - render.TABLE_FRAME)
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
        own_pct=_own_pct(interval),
        tasks=totals["tasks"] if totals else len(interval) - interval.exited,
        exited=interval.exited,
        shown=shown,
        states=totals["states"] if totals else interval.states(),
        cpus=interval.cpu_pct(),
        memory=now.memory,
        books=_books(interval),
        sums=_sums(interval, chosen, totals),
        rows=_rows(interval, state, columns, limits, room, resting),
        columns=chosen,
        notice=state.notice,
        fold=state.fold,
        missing=render.missing(
            now.missed, now.exits_lost - interval.prev.exits_lost, now.truncated
        ),
    )


def _count(
    interval: taskstats.Interval, state: State, limits: Limits, resting: taskstats.Source | None
) -> int:
    rows = interval.fold(state.fold) if state.fold else interval
    text, pids = state.text or None, limits.pids
    if text is None and pids is None:
        return len(rows) + (interval.cur.unchanged if resting else 0)
    kept = rows.count(text=text, pids=pids)
    return kept + (resting.resting_count(text=text, pids=pids) if resting else 0)


def _rows(
    interval: taskstats.Interval,
    state: State,
    columns: Mapping[str, table.Column],
    limits: Limits,
    room: int,
    resting: taskstats.Source | None,
) -> list[tuple[table.Cell, ...]]:
    sort, text = columns[state.sort].source, state.text or None
    down, pids, end = state.descending, limits.pids, state.top + room
    sources = [columns[key].source for key in state.columns]
    rows = interval.fold(state.fold) if state.fold else interval
    if resting is None:
        return rows.select(
            sources,
            sort=sort,
            descending=down,
            offset=state.top,
            limit=room,
            text=text,
            pids=pids,
        )
    # The key of a row to merge by, beside its cells where it is none of them.
    keyed = sources if sort in sources else [*sources, sort]
    key = keyed.index(sort)
    ran = rows.select(keyed, sort=sort, descending=down, limit=end, text=text, pids=pids)
    rest = resting.resting(keyed, sort=sort, descending=down, limit=end, text=text, pids=pids)
    both = [*ran, *(rest or ())]
    known = [row for row in both if row[key] is not None]
    known.sort(key=itemgetter(key), reverse=down)
    # Unknown is last in either order.
    known += [row for row in both if row[key] is None]
    return [row[: len(sources)] for row in known[state.top : end]]


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


def _own_pct(interval: taskstats.Interval) -> float | None:
    """What this process used, with what watching switches cost the others."""
    if not interval.interval_ns:
        return None
    now, before = interval.cur, interval.prev
    used = now.own_cpu_ns - before.own_cpu_ns + now.hooks_ns - before.hooks_ns
    return 100 * used / interval.interval_ns


def _books(interval: taskstats.Interval) -> dict[str, float] | None:
    """The interval's identity in per cent of one CPU."""
    books = interval.books()
    if books["idle_ns"] is None or not interval.interval_ns:
        return None
    user, system = interval.sum(["user_ns", "system_ns"])
    times = {
        "tasks": (user or 0) + (system or 0) + (books["rowless_ns"] or 0),
        "irq": books["irq_ns"],
        "steal": books["steal_ns"],
        "idle": books["idle_ns"],
        "residual": books["residual_ns"],
        "bound": books["bound_ns"],
    }
    return {name: 100 * (time or 0) / interval.interval_ns for name, time in times.items()}
