"""Does what the live view's menus ask for, to the tasks of its rows."""

from __future__ import annotations

import os

# Here, because the interpreter's files may be root's alone once privileges are dropped.
import shlex
from collections.abc import Callable

import taskstats
from taskstats import acting as calls
from taskstats.screen import RowKey

from ptop import tasks
from ptop.live import acting
from ptop.live.state import State
from ptop.targets import NICE_RANGE, Target, cpus_text, ioprio_text, signal_name
from ptop.text import root_words
from ptop.values import replace


def begin(state: State, interval: taskstats.Interval | None) -> State:
    """Finds the tasks of the tagged rows, else of the selected one, and asks what to do."""
    keys = state.tagged or ({state.selected_key} if state.selected_key is not None else set())
    if interval is None or not keys:
        return replace(state, notice="select a row, or tag some with Space, and press it again")
    targets, left_out = [], []
    for key in keys:
        try:
            targets.append(_target(key, interval))
        except (tasks.GoneError, taskstats.Unsupported) as error:
            left_out.append(str(error))
    reasons = "; ".join(left_out[:1])
    if len(left_out) > 1:
        reasons = f"{len(left_out)} left out: {reasons}"
    if not targets:
        return replace(state, notice=reasons)
    targets.sort(key=lambda target: target.pid)
    chosen = replace(state.acting, targets=tuple(targets), left_out=reasons)
    return _offer(replace(state, acting=chosen))


def _target(key: RowKey, interval: taskstats.Interval) -> Target:
    if key.pid is None:
        raise tasks.GoneError(f"{key.title} is a group, not a task: z shows single tasks")
    now = tasks.now_of(key.pid)
    if not key.is_now(interval, now):
        raise tasks.GoneError(f"{key.pid} has gone")
    return tasks.seen(key.pid, now)


def _offer(state: State) -> State:
    kind, first = state.acting.kind, state.acting.targets[0]
    try:
        match kind:
            case "signal":
                return acting.offer_signals(state)
            case "nice":
                return acting.offer_value(state, str(tasks.nice(first)))
            case "ionice":
                return acting.offer_value(state, ioprio_text(calls.ioprio(first.pid)))
            case "affinity":
                return acting.offer_value(state, cpus_text(os.sched_getaffinity(first.pid)))
    except OSError as error:
        return replace(state, notice=f"{first.pid}: {error.strerror}")
    # One step of the nice value.
    state = acting.decide(state)
    return do(state) if state.request else state


def do(state: State) -> State:
    """Acts on the targets, and reports what was done and what was not."""
    act, done, failed, refused = _act(state), [], [], []
    for target in state.acting.targets:
        try:
            act(target)
        except PermissionError:
            refused.append(target)
        except tasks.GoneError as error:
            failed.append(str(error))
        except OSError as error:
            failed.append(f"{target.pid}: {error.strerror}")
        else:
            done.append(target)
    chosen = replace(state.acting, targets=tuple(done))
    parts = [f"done: {acting.describe(chosen)}"] if done else []
    state = replace(state, request="", notice="; ".join(parts + failed))
    return acting.refuse(state, _refusal(state, tuple(refused))) if refused else state


def _act(state: State) -> Callable[[Target], None]:
    value = state.acting.value
    if isinstance(value, frozenset):
        return lambda target: tasks.set_cpus(target, value)
    match state.acting.kind:
        case "signal":
            return lambda target: tasks.send(target, value)
        case "ionice":
            return lambda target: tasks.set_ioprio(target, value)
        case "nice":
            return lambda target: tasks.set_nice(target, value)
    return lambda target: tasks.set_nice(target, _stepped(tasks.nice(target), value))


def _stepped(nice: int, by: int) -> int:
    return max(NICE_RANGE.start, min(nice + by, NICE_RANGE.stop - 1))


def _refusal(state: State, refused: tuple[Target, ...]) -> tuple[str, ...]:
    """The lines of the page of what the kernel refused."""
    chosen = replace(state.acting, targets=refused)
    lines = [f"The kernel refused to {acting.describe(chosen)}.", ""]
    if chosen.kind != "signal":
        return (*lines, "It needs privilege. Type:", "", *_lines(root_words("--keep-root"), state))
    name = signal_name(int(str(chosen.value)))
    command = root_words("signal", name, *map(str, refused))
    return (*lines, "It needs privilege. Type:", "", *_lines(command, state))


def _lines(command: list[str], state: State) -> list[str]:
    return acting.wrapped([shlex.quote(word) for word in command], state.width)
