"""Acting on tasks in the live view: the signal menu, prompts and the second question. Pure:
`ptop.live.actor` does what they ask for.

Design decisions

* The menu opens on Cancel, and F9 alone opens it: no letter signals.
* More than one task, and pid 1, are asked about again, on "no".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ptop.live.editor import Line
from ptop.live.state import Acting, Action, State, leave
from ptop.targets import (
    SIGNALS,
    Target,
    cpus_text,
    ioprio_text,
    parse_cpus,
    parse_ioprio,
    parse_nice,
    signal_name,
)
from ptop.text import stamp
from ptop.values import replace

# The modes in which the next key may act, by what they are to the user.
LISTS = ("signal", "confirm")
PROMPTS = ("nice", "ionice", "affinity")
MODES = (*LISTS, *PROMPTS)
_PARSERS: Mapping[str, Callable[[str], int | frozenset[int]]] = {
    "nice": parse_nice, "ionice": parse_ioprio, "affinity": parse_cpus,
}  # fmt: skip
# Names of tasks that a title has.
_NAMED_TASKS = 3
_MEANINGS = {
    "TERM": "asks to end", "HUP": "the terminal has gone, or: read the configuration again",
    "INT": "as Ctrl-C", "QUIT": "as Ctrl-\\, with a core dump", "KILL": "ends at once, unasked",
    "STOP": "stops until CONT", "TSTP": "as Ctrl-Z", "CONT": "continues",
    "USR1": "the program's own", "USR2": "the program's own",
}  # fmt: skip


def begin(kind: str, by: int = 0) -> Action:
    """Asks for the targets of an act: the tagged rows, else the selected one."""

    def action(state: State) -> State:
        if state.acting.read_only:
            return replace(state, notice="ptop runs with --read-only: it changes no task")
        acting = replace(state.acting, kind=kind, value=by, targets=(), left_out="")
        return replace(state, acting=acting, request="act begin")

    return action


def offer_signals(state: State) -> State:
    """Opens the menu of signals on Cancel."""
    items = ("", *(str(number) for number in SIGNALS.values()))
    labels = ("   Cancel", *(_signal_label(name, number) for name, number in SIGNALS.items()))
    return replace(state, mode="signal", cursor=0, items=items, labels=labels)


def _signal_label(name: str, number: int) -> str:
    return f"{number:>2} {name:<8}{_MEANINGS.get(name, '')}".rstrip()


def offer_value(state: State, text: str) -> State:
    """Opens the prompt of a value, which has the present one."""
    return replace(state, mode=state.acting.kind, entry=Line.of(text), wrong="")


def pick_signal(state: State) -> State:
    """Takes the signal under the cursor."""
    number = state.items[state.cursor] if state.items else ""
    if not number:
        return replace(leave(state), notice="no signal was sent")
    return decide(replace(leave(state), acting=replace(state.acting, value=int(number))))


def commit(state: State) -> State:
    """Takes the value that was typed, or says what is wrong with it."""
    try:
        value = _PARSERS[state.mode](state.entry.text.strip())
    except ValueError as error:
        return replace(state, wrong=str(error))
    return decide(replace(leave(state), acting=replace(state.acting, value=value)))


def decide(state: State) -> State:
    """Acts, or asks again."""
    targets = state.acting.targets
    if len(targets) > 1 or any(target.pid == 1 for target in targets):
        return ask_again(state)
    return replace(state, request="act do")


def ask_again(state: State) -> State:
    """Opens the second question, on "no"."""
    tasks = (f"     {_line(target)}" for target in state.acting.targets)
    labels = ("no: change nothing", f"yes: {describe(state.acting)}", *tasks)
    return replace(state, mode="confirm", cursor=0, items=("no", "yes"), labels=labels)


def answer(state: State) -> State:
    """Takes the answer to the second question."""
    if state.items[state.cursor : state.cursor + 1] == ("yes",):
        return replace(leave(state), request="act do")
    return replace(leave(state), notice="nothing was changed")


def refuse(state: State, reasons: tuple[str, ...]) -> State:
    """Opens the page of what was refused, and what to type."""
    return replace(state, mode="refused", cursor=0, items=(), labels=reasons)


def describe(acting: Acting) -> str:
    """What is about to be done, in words."""
    value = acting.value
    match acting.kind:
        case "signal":
            return f"send {signal_name(_number(value))} to {names(acting.targets)}"
        case "nice":
            return f"set the nice value {value} of {names(acting.targets)}"
        case "nice by":
            return f"change the nice value by {value:+} of {names(acting.targets)}"
        case "ionice":
            return f"set the I/O priority {ioprio_text(_number(value))} of {names(acting.targets)}"
    assert isinstance(value, frozenset), "the value of an affinity"
    return f"set the CPUs {cpus_text(value)} of {names(acting.targets)}"


def _number(value: int | frozenset[int]) -> int:
    assert isinstance(value, int), "only an affinity has another value"
    return value


def names(targets: tuple[Target, ...]) -> str:
    """The tasks in words, the first of many by name."""
    named = [f"{_what(target)} {target.name}" for target in targets[:_NAMED_TASKS]]
    more = len(targets) - len(named)
    return ", ".join(named) + (f" and {more} more" if more else "")


def _what(target: Target) -> str:
    return f"thread {target.pid} of {target.tgid}" if target.is_thread else str(target.pid)


def _line(target: Target) -> str:
    return f"{_what(target)} {target.name}, started {stamp(target.started_s * 10**9)}"


def title(state: State) -> str:
    """The title of a menu: what the next key acts on."""
    acting = state.acting
    if state.mode == "confirm":
        return f"really {describe(acting)}? Esc returns"
    if len(acting.targets) == 1:
        what = _line(acting.targets[0])
    else:
        what = f"{len(acting.targets)} tasks: {names(acting.targets)}"
    left_out = f"; {acting.left_out}" if acting.left_out else ""
    return f"signal to {what}{left_out}"


def prompt(state: State) -> str:
    """The words of the prompt of a value."""
    form = {"nice": "nice, -20 to 19,", "ionice": "I/O: idle, be 0-7, rt 0-7,", "affinity": "CPUs"}
    return f"{form[state.mode]} of {names(state.acting.targets)}"


def wrapped(words: Sequence[str], width: int) -> list[str]:
    """The words of a shell command in lines of at most `width` cells where that can be, to copy
    as they are."""
    lines, line = [], words[0]
    for word in words[1:]:
        if len(line) + len(word) + 3 > width:
            lines.append(f"{line} \\")
            line = f"  {word}"
        else:
            line += f" {word}"
    return [*lines, line]
