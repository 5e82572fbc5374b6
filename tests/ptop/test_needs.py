"""What is not on the screen is not read."""

from __future__ import annotations

import sys
from pathlib import Path

from live_view import Live  # type: ignore[import-not-found]

METERS = {"pressure/io", "diskstats", "net/dev"}


def read_files(live: Live) -> set[str]:
    """The files of meters that a live view has opened: it opens them at the first read."""
    links = Path(f"/proc/{live.child.pid}/fd").iterdir()
    paths = {str(link.readlink()) for link in links}
    # /proc/net is a link to the reader's own directory.
    return {name for name in METERS if any(path.endswith(f"/{name}") for path in paths)}


def test_meters_are_read_by_a_view_that_shows_them() -> None:
    live = Live("--view", "snap", rows=40, columns=120)
    live.until("csys")
    live.until("LIVE")
    assert not read_files(live)
    assert "PSI" not in live.text()
    live.child.send("v")
    live.until("PSI")
    assert read_files(live) == METERS
    live.child.send("q")
    assert live.ended() == 0


# Notes the kernel fields that the live view asks a source for.
NOTING = """
import os, sys
from ptop import cli
from ptop.feed import LiveFeed
configure = LiveFeed.configure
def noting(feed, threads, fields, meters=()):
    is_new = configure(feed, threads, fields, meters)
    if is_new:
        with open(os.environ["NOTES"], "a") as notes:
            print(*sorted(fields), file=notes)
    return is_new
LiveFeed.configure = noting
sys.exit(cli.main(sys.argv[1:]))
"""


def test_columns_without_room_are_not_read(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    live = Live(
        *("--columns", "pid,total_pct,majflt,io,name", "--source", "procfs", "--history", "0"),
        rows=24,
        columns=40,
        command=[sys.executable, "-c", NOTING],
        environment={"NOTES": str(notes)},
    )

    def asked() -> list[bool]:
        """Whether each configuration so far has the fields of `io`."""
        return ["read_bytes" in line.split() for line in notes.read_text().splitlines()]

    live.until("majfl/s")
    assert "io/s" not in live.text()
    # Until the first snapshot it is unknown which columns can be filled.
    assert asked() == [True, False]
    live.child.setwinsize(24, 100)
    live.screen.resize(24, 100)
    live.until("io/s")
    assert asked() == [True, False, True]
    live.child.send("q")
    assert live.ended() == 0
