#!/usr/bin/env python3
"""Checks the kernel series as its reviewers would, patch by patch.

    tools/series.py     # reports progress, and the first fault

Each patch applies with git am on the ones before it and passes checkpatch --strict. The objects
that the series touches build with W=1, with the series' options on and off, without a warning
that the base lacks. After the last patch, what a switch and a task cost is read from the objects:
cache lines, instructions, bytes. The cache records a series that passed, keyed by the hash of
source version, patches and configuration.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

import kernel

# kernel-patches/README.md explains these findings of checkpatch.
ALLOWED = {
    "0001": {"UNKNOWN_COMMIT_ID"},
    "0004": {"MACRO_ARG_REUSE"},
    "0008": {"MEMORY_BARRIER"},
}
ALLOWED_IN_ALL = {"FILE_PATH_CHANGES", "BAD_SIGN_OFF"}
# What a switch writes, by the field of its own in the same cache line.
LINES: dict[str, dict[str, tuple[str, ...]]] = {
    "task_struct": {"nvcsw": ("nivcsw", "exact")},
    "rq": {"clock_task": ("exact_since",)},
}
# The most that a switch takes: instructions with the static key off and on, and stores, which
# kernel-patches/README.md tells.
COST = {"off": 1, "on": 20, "stores": 3}
# Bytes that Kconfig tells of: of a task beside its task_struct, and of a process.
SIZES = {"task_exact": 170 - 24, "signal_exact": 120}
# A function that does nothing else than what a switch does for the series.
PROBE = """#include <linux/mmu_context.h>
#include "sched.h"
void exact_probe(struct rq *rq, struct task_struct *prev, struct task_struct *next);
void exact_probe(struct rq *rq, struct task_struct *prev, struct task_struct *next)
{
	exact_switch(rq, prev, next);
}
"""
# The scheduler's objects that include the other files of the series.
SCHEDULER = [f"kernel/sched/{name}.c" for name in ("fair", "build_policy", "build_utility")]
# A member of pahole's structure itself, which is indented by one tab: name, offset, size.
MEMBER = re.compile(
    r"^\t\S.*?\b(\w+)(?:\[.*\])?(?: __attribute__.*)?; +/\* +(\d+) +(\d+) ", re.MULTILINE
)
# An instruction of objdump: its address, its name, its operands.
INSTRUCTION = re.compile(r"^ +([0-9a-f]+):\t(\w+)[ \t]*([^#<\n]*)", re.MULTILINE)
GIT = ("git", "-c", "user.name=series", "-c", "user.email=series@localhost")


def main() -> int:
    try:
        versions = kernel.chosen()
        kernel.say_turn(versions)
        for version in versions:
            _check_once(kernel.Kernel(version))
    except kernel.KernelError as error:
        print(f"series: {error}", file=sys.stderr)
        return 1
    return 0


def _check_once(patched: kernel.Kernel) -> None:
    right = patched.kept().with_suffix(".checked")
    if right.exists():
        return
    kernel.CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="checking-", dir=kernel.CACHE) as scratch:
        _check(patched, Path(scratch))
    right.touch()


def _check(patched: kernel.Kernel, tree: Path) -> None:
    kernel.unpack(patched, tree)
    patches = [patch for patch in patched.series() if patch.parent == patched.patches]
    touched = _touched(patches)
    # git am needs only the files that it changes.
    kernel.run([*GIT, "init", "-q"], tree)
    kernel.run([*GIT, "add", "-f", *(name for name in touched if (tree / name).exists())], tree)
    kernel.run([*GIT, "commit", "-q", "-m", "base"], tree)
    fragment = [line for line in patched.configuration().splitlines() if "TEST_STEAL" not in line]
    # As in distributions. The image does without it, because QEMU may execute stale code.
    fragment.append("CONFIG_JUMP_LABEL=y")
    known = {}
    for variant in ("on", "off"):
        (tree / variant).mkdir()
        lines = [
            line
            for line in fragment
            if variant == "on" or not re.search("TASKSTATS_(EXACT|PROC)", line)
        ]
        (tree / variant / "fragment").write_text("\n".join(lines) + "\n")
        known[variant] = _warnings(tree, variant, touched)
    for patch in patches:
        kernel.say(f"checking {patch.name}")
        kernel.run([*GIT, "am", "-q", str(patch)], tree)
        _checkpatch(tree, patch)
        for variant, warnings in known.items():
            new = _warnings(tree, variant, touched) - warnings
            if new:
                text = "\n".join(sorted(new))
                raise kernel.KernelError(f"{patch.name}, options {variant}: {text}")
    _check_lines(tree)
    _check_sizes(tree)
    _check_cost(tree)


def _touched(patches: list[Path]) -> list[str]:
    """The files that the series adds or changes."""
    found = re.compile(r"^diff --git a/(\S+) ", re.MULTILINE)
    return sorted({name for patch in patches for name in found.findall(patch.read_text())})


def _warnings(tree: Path, variant: str, touched: list[str]) -> set[str]:
    """The compiler's warnings on the tree as it is, without line numbers."""
    make = [*kernel.make_command(), f"O={variant}"]
    config = [f"KCONFIG_ALLCONFIG={tree / variant / 'fragment'}", "allnoconfig"]
    kernel.run([*make, *config], tree)
    sources = [name for name in touched if name.endswith(".c") and not name.startswith("tools/")]
    objects = [
        str(Path(name).with_suffix(".o"))
        for name in [*sources, *SCHEDULER]
        if _is_object(tree, variant, Path(name))
    ]
    said = kernel.run([*make, "W=1", *objects], tree)
    places = re.findall(r"^(\S+?):[\d:]+ (warning: .*)$", said, re.MULTILINE)
    return {f"{name}: {text}" for name, text in places}


def _check_lines(tree: Path) -> None:
    """A switch writes to no cache line that it would not write without the series."""
    made = "kernel/sched/core.o"
    kernel.run([*kernel.make_command(), "O=on", "KCFLAGS=-g", made], tree)
    for name, lines in LINES.items():
        said = kernel.run(["pahole", "-C", name, f"on/{made}"], tree)
        found = MEMBER.findall(said)
        at = {field: (int(offset), int(size)) for field, offset, size in found}
        for owner, fields in lines.items():
            for field in fields:
                offset, size = at[field]
                if {offset // 64, (offset + size - 1) // 64} != {at[owner][0] // 64}:
                    raise kernel.KernelError(
                        f"{name}.{field} at {offset} is not in the cache line of {owner} at"
                        f" {at[owner][0]}"
                    )
                kernel.say(f"{name}.{field} at {offset} is beside {owner} at {at[owner][0]}")


def _check_sizes(tree: Path) -> None:
    """A task and a process take no more bytes than Kconfig tells."""
    made = "kernel/sched/exact.o"
    kernel.run([*kernel.make_command(), "O=on", "KCFLAGS=-g", made], tree)
    for name, most in SIZES.items():
        said = kernel.run(["pahole", "-C", name, f"on/{made}"], tree)
        size = int(re.findall(r"/\* size: (\d+)", said)[0])
        kernel.say(f"{name} has {size} bytes")
        if size > most:
            raise kernel.KernelError(f"{name} has {size} bytes, more than {most}")


def _check_cost(tree: Path) -> None:
    """Counts what a switch executes for the series while no snapshot is being taken."""
    (tree / "kernel/sched/exact_probe.c").write_text(PROBE)
    made = "kernel/sched/exact_probe.o"
    kernel.run([*kernel.make_command(), "O=on", made], tree)
    said = kernel.run(["objdump", "-d", "--no-show-raw-insn", f"on/{made}"], tree)
    cost = _cost(INSTRUCTION.findall(said.split("<exact_probe>:")[1]))
    kernel.say(f"a switch takes {cost}")
    if any(cost[name] > most for name, most in COST.items()):
        raise kernel.KernelError(f"a switch takes {cost}, more than {COST}")


def _cost(code: list[tuple[str, str, str]]) -> dict[str, int]:
    """Follows the way of a switch through the probe. A static key is a jump, which the kernel
    replaces by an instruction without effect: the first one is the series' own, the others
    are off. No condition holds."""
    at = [address for address, _, _ in code]
    (_, first, target), (_, after, _) = code[:2]
    if (first, after) != ("jmp", "ret"):
        raise kernel.KernelError("a switch does not begin with the static key")
    way = code[at.index(target.strip()) :]
    way = way[: [name for _, name, _ in way].index("ret")]
    # What a function does to begin and end is not the switch's.
    own = [(name, to) for _, name, to in way if name not in ("push", "pop") and "%rsp" not in to]
    stores = sum(name == "mov" and to.strip().endswith(")") for name, to in own)
    return {"off": 1, "on": 1 + len(own), "stores": stores}


def _is_object(tree: Path, variant: str, source: Path) -> bool:
    """Whether a file exists and is compiled on its own in this configuration."""
    rules = (tree / source).with_name("Makefile").read_text().replace("\\\n", " ")
    rule = re.search(rf"^obj-(\S+)\s.*\b{source.stem}\.o\b", rules, re.MULTILINE)
    if rule is None or not (tree / source).exists():
        return False
    option = rule[1].removeprefix("$(").removesuffix(")")
    return option == "y" or f"{option}=y" in (tree / variant / ".config").read_text()


def _checkpatch(tree: Path, patch: Path) -> None:
    try:
        kernel.run(["perl", "scripts/checkpatch.pl", "--strict", "--show-types", str(patch)], tree)
    except kernel.KernelError as error:
        found = set(re.findall(r"^(?:ERROR|WARNING|CHECK):(\w+):", str(error), re.MULTILINE))
        if not found or found - ALLOWED_IN_ALL - ALLOWED.get(patch.name[:4], set()):
            raise


if __name__ == "__main__":
    sys.exit(main())
