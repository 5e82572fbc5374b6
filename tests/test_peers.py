"""The list of what other tools do, docs/peers.md: what it names as proof exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/peers.md").read_text()
# One function in this many may be left out.
KEPT = 10


def rows(text: str) -> list[tuple[str, str]]:
    """The functions of a text's tables, and what shows each."""
    cells = [re.split(r"(?<!\\)\|", line) for line in text.splitlines() if line.startswith("| ")]
    return [(row[1].strip(), row[-2].strip()) for row in cells if row[1].strip() != "there"]


def known_tests() -> set[str]:
    """The names of all tests, in Python and Rust."""
    found: set[str] = set()
    for path in [*(ROOT / "tests").rglob("test_*.py"), *(ROOT / "tests/ptop").glob("*.py")]:
        found.update(re.findall(r"^def (test_\w+)\(", path.read_text(), re.M))
    for path in (ROOT / "rust").rglob("*.rs"):
        found.update(re.findall(r"#\[test\]\s+fn (\w+)\(", path.read_text()))
    return found


def unproven(text: str) -> list[str]:
    """The functions whose proof is of no known kind, or does not exist."""
    known = known_tests()

    def is_proven(proof: str) -> bool:
        names = re.findall(r"`(\w+)`", proof)
        return (
            proof == "open"
            or proof.startswith("not, because ")
            or (
                bool(names)
                and (set(names) <= known and re.sub(r"`\w+`", "", proof).strip(" ,") == "")
            )
        )

    return [function for function, proof in rows(text) if not is_proven(proof)]


def test_every_function_of_a_peer_has_a_proof() -> None:
    assert len(rows(PAGE)) > 150
    assert unproven(PAGE) == []


def test_few_functions_are_left_out() -> None:
    left_out = [function for function, proof in rows(PAGE) if proof.startswith("not, ")]
    assert len(left_out) * KEPT <= len(rows(PAGE)), left_out


@pytest.mark.parametrize(
    "proof", ["`test_that_is_gone`", "by hand", "", "not yet", "see `numbers`"]
)
def test_a_proof_that_is_none_is_found(proof: str) -> None:
    assert unproven(f"| there | here | shown by |\n|---|---|---|\n| F5 | F5 | {proof} |") == ["F5"]
