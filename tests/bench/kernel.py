"""The patched kernel in an emulated machine: what a refresh costs there by each way, and
what the series costs a fork, an exit and a switch, against the same kernel without it.

    python -m tests.bench.kernel [TASKS ...]     (default 1000 10000)

Software emulation has times of its own: only the ratios say something.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent.parent / "tools"))

import guest
import guest_python
import kernel

PROGRAMS = Path(__file__).parent / "guest"
BOOTS = 8


def compiled(scratch: Path, source: Path) -> Path:
    program = scratch / source.stem
    subprocess.run(["gcc", "-static", "-O2", "-Wall", "-o", str(program), str(source)], check=True)
    return program


def refreshes(scratch: Path, counts: list[int]) -> None:
    files, python = guest_python.stage(scratch / "python")
    loop = compiled(scratch, PROGRAMS.parent / "stat_loop.c")
    sleepers = compiled(scratch, PROGRAMS / "sleepers.c")
    files += [(PROGRAMS, "/bench"), (loop, "/stat_loop"), (sleepers, "/sleepers")]
    words = " ".join(map(str, counts))
    status, output = guest.boot(
        kernel.Kernel().image(),
        files,
        f"{python} /bench/refresh.py {words}",
        memory="6G",
        timeout=1800,
        show=False,
    )
    if status:
        raise SystemExit(output)
    for line in re.findall(r"\{.*\}$", output, re.MULTILINE):
        found = json.loads(line)
        base = found["ms"]["proc"][0]
        print(f"\n{found['sleepers']} sleepers{'':<22}{'CPU ms':>10}{'calls':>8}{'x proc':>8}")
        for name, (ms, calls) in found["ms"].items():
            shown = "" if calls is None else calls
            print(f"{name:<36}{ms:>10.2f}{shown:>8}{ms / base:>8.2f}")


def costs(scratch: Path) -> None:
    program = compiled(scratch, PROGRAMS / "costs.c")
    pattern = re.compile(r"costs fork (\d+) exit (\d+) switch (\d+)")
    least: dict[bool, list[int]] = {}
    # Alternate, so that other load affects both.
    for plain in [False, True] * BOOTS:
        _, output = guest.boot(
            kernel.Kernel(plain=plain).image(), [(program, "/costs")], "/costs", cpus=1, show=False
        )
        found = pattern.search(output)
        if not found:
            raise SystemExit(output)
        numbers = [int(number) for number in found.groups()]
        least[plain] = list(map(min, numbers, least.get(plain, numbers)))
    print(f"\n{'ns':<12}{'with':>10}{'without':>10}{'ratio':>8}")
    for name, ours, theirs in zip(
        ("fork", "exit", "switch"), least[False], least[True], strict=True
    ):
        print(f"{name:<12}{ours:>10}{theirs:>10}{ours / theirs:>8.3f}")


def main() -> None:
    counts = [int(word) for word in sys.argv[1:]] or [1000, 10000]
    with tempfile.TemporaryDirectory() as scratch:
        refreshes(Path(scratch), counts)
        costs(Path(scratch))


if __name__ == "__main__":
    main()
