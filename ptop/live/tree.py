"""The tree of the live view: which tree is shown, and which of its rows are collapsed. Pure."""

from __future__ import annotations

from typing import NamedTuple

from taskstats.screen import RowKey

from ptop.values import replace

# The dead are shown by name, until a row is opened.
FIRST_LEVELS = {"dead": 0}
# From the level below the deepest that a key collapses, all rows are open.
DEEPEST = 9


class Tree(NamedTuple):
    """What rows are shown under: `of` is task (what started them), cgroup, dead (those that died,
    under their names), or empty for a list.
    Rows of `level` and deeper ones are collapsed, all rows are open if it is None; for the
    `toggled` rows it is the other way round."""

    of: str = ""
    level: int | None = None
    toggled: frozenset[RowKey] = frozenset()


def first(of: str) -> Tree:
    """A tree as a view begins with it."""
    return Tree(of, FIRST_LEVELS.get(of))


def switched(tree: Tree) -> Tree:
    """A tree of tasks instead of a list, or a list instead of a tree."""
    return Tree() if tree.of else Tree("task")


def collapsed(tree: Tree) -> Tree:
    """All rows but the roots and their children hidden, or all open."""
    return replace(tree, level=1 if tree.level is None else None, toggled=frozenset())


def deeper(tree: Tree, by: int) -> Tree:
    """As many levels more, or less, are open."""
    level = (DEEPEST if tree.level is None else tree.level) + by
    return replace(tree, level=max(0, level) if level < DEEPEST else None, toggled=frozenset())


def toggled(tree: Tree, key: RowKey) -> Tree:
    """A row collapsed, or open again."""
    return replace(tree, toggled=tree.toggled ^ {key})
