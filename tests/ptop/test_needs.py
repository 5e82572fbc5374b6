"""What is not on the screen is not read."""

from __future__ import annotations

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
