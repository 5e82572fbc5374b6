"""`ptop` without a command word: the live view, or intervals as text."""

from __future__ import annotations

import argparse
import os
import sys

import taskstats
from taskstats.machine import cgroups_not_on_v2

from ptop.args import EXIT_USAGE, first_state, is_text, needs_ascii, shown_columns, theme
from ptop.columns import fields_of
from ptop.filters import fields_of_filter
from ptop.live.state import Acting, Past
from ptop.text import as_root
from ptop.values import replace


def main(options: argparse.Namespace) -> int:
    """Show or write intervals of this machine; returns the exit status."""
    taskstats.share_heap()
    if is_text(options):
        return _write(options)
    return _show(options)


def _show(options: argparse.Namespace) -> int:
    from ptop.live import app
    from ptop.live.history import OnSpike, Trigger
    from ptop.live.terminal import Terminal, UnusableError
    from ptop.live.theme import Look

    if options.keep_root and os.geteuid() != 0:
        sys.stderr.write(f"ptop: --keep-root: ptop is not root; type: {as_root('--keep-root')}\n")
        return EXIT_USAGE
    try:
        terminal = Terminal()
    except UnusableError as error:
        sys.stderr.write(f"ptop: {error}; for plain text type: ptop -b -n 1\n")
        return EXIT_USAGE
    state, columns, limits = first_state(options)
    state = replace(state, setup=replace(state.setup, cgroups=_lack_of_cgroups()))
    if state.tree.of == "cgroup" and not state.notice:
        state = replace(state, notice=state.setup.cgroups)
    acting = Acting(read_only=options.read_only, keep_root=options.keep_root)
    on_spike = OnSpike(
        tuple(Trigger(*trigger) for trigger in options.on_spike or ()),
        options.spike_dir,
        options.spike_files,
        options.spike_gap,
        not options.no_cmdline,
    )
    state = replace(state, past=Past(cmdlines=not options.no_cmdline))
    return app.run(
        terminal,
        replace(state, threads=options.threads, delay=options.delay, acting=acting),
        columns,
        source=options.source,
        limits=limits,
        intervals=options.intervals,
        look=Look(theme(options), needs_ascii()),
        history=_history(options),
        on_spike=on_spike if on_spike.triggers else None,
    )


def _lack_of_cgroups() -> str:
    """Which limits and use of cgroups are unknown here, in words; empty for none."""
    missing = cgroups_not_on_v2()
    return f"{', '.join(missing)} of cgroups: not on v2" if missing else ""


def _history(options: argparse.Namespace) -> taskstats.History | None:
    """What keeps the intervals; None where nothing is to be kept."""
    if options.history == 0:
        return None
    return taskstats.History(minutes=options.history / 60, max_bytes=options.history_size)


def _write(options: argparse.Namespace) -> int:
    from ptop.commands import batch
    from ptop.feed import live_intervals

    columns, sort = shown_columns(options)
    query = batch.row_query(options)
    fields = fields_of((*columns, sort), query.group_by, query.tree)
    fields |= fields_of_filter(options.filter or "")
    if query.tree == "cgroup" and (lack := _lack_of_cgroups()):
        sys.stderr.write(f"ptop: {lack}\n")
    with taskstats.Source(
        options.source, threads=options.threads, fields=sorted(fields), exact=True, cpu_times=True
    ) as source:
        # What cgroups use in the first interval needs a reading at its begin.
        of_cgroups = query.tree == "cgroup"
        before = taskstats.usage(source.snapshot(), source.snapshot()) if of_cgroups else None
        write = batch.writer(query, batch.style(options), sys.stdout, before)
        taskstats.drop_privileges(source.name)
        for interval in live_intervals(source, options.delay, options.intervals):
            write(interval)
    return 0
