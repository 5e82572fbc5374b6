"""`ptop check`: which parts of a recording can be read."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ptop.args import Parser
from ptop.recordings import expanded, open_dumps
from ptop.text import safe


def parser() -> Parser:
    """The options of `ptop check`."""
    options = Parser(
        prog="ptop check",
        description="Reads every byte of a dump and reports what can be read. Exit status 1 if"
        " something cannot.",
    )
    options.add_argument("files", metavar="FILE", nargs="+", help="a dump, or a directory of them")
    return options


def main(words: Sequence[str]) -> int:
    """Run `ptop check`; returns the exit status: 1 if something cannot be read."""
    status = 0
    names = expanded(parser().parse_args(words).files)
    for name, dump in zip(names, open_dumps(names), strict=True):
        damage = dump.check()
        lost = sum(entry["snapshot"] is not None for entry in damage)
        times = dump.times_ns
        span = f" over {(times[-1] - times[0]) / 1e9:.3f} s" if times else ""
        sys.stdout.write(f"{safe(name)}: {len(dump) - lost} of {len(dump)} snapshots{span}\n")
        for key, value in dump.metadata.items():
            if key.startswith("label."):
                sys.stdout.write(f"  {safe(key)}: {safe(value)}\n")
        for entry in damage:
            what = "" if entry["snapshot"] is None else f"snapshot {entry['snapshot']}: "
            sys.stdout.write(
                f"  bytes {entry['begin']} to {entry['end']}: {what}{safe(entry['reason'])}\n"
            )
        status = status or int(bool(damage))
    return status
