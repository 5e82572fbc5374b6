"""Tabs and meters: what is above the table, by the setup, the mouse and options."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from live_view import Live  # type: ignore[import-not-found]
from test_mouse import press  # type: ignore[import-not-found]
from test_setup import parse, start  # type: ignore[import-not-found]

from ptop.columns import COLUMN_SETS, METERS
from ptop.live import keys, setup, tabs
from ptop.live.state import State
from ptop.values import replace


def tab_line(live: Live) -> int:
    """The line of the tabs; other meters may move it."""
    end = time.monotonic() + 20
    while True:
        lines = enumerate(live.screen.display)
        found = [at for at, line in lines if " Main  Waits " in line and "  Dead" in line]
        if len(found) == 1:
            return found[0]
        assert time.monotonic() < end, live.text()
        live.pump()


def shown_tab(live: Live) -> str:
    """The name of the tab in reverse."""
    line = tab_line(live)
    cells = live.screen.buffer[line]
    text = live.screen.display[line]
    return "".join(text[at] for at in range(live.screen.columns) if cells[at].reverse).strip()


def until_tab(live: Live, name: str) -> None:
    end = time.monotonic() + 20
    while shown_tab(live) != name:
        assert time.monotonic() < end, live.text()
        live.pump()


def test_tabs_show_the_views_and_a_click_selects_one() -> None:
    live = Live()
    live.until(" Main  Waits ")
    assert shown_tab(live) == "Main"
    for name in ("I/O", "Tree", "Cgroups", "Dead", "Main"):
        line = tab_line(live)
        press(live, line, live.screen.display[line].index(name))
        until_tab(live, name)
    # The key goes on from there.
    live.child.send("\t")
    until_tab(live, "Waits")
    live.child.send("q")
    assert live.ended() == 0


def test_a_low_screen_has_no_tabs() -> None:
    live = Live(rows=19)
    live.until("Name")
    assert " Main " not in live.text()
    live.child.send("q")
    assert live.ended() == 0


def test_each_view_has_a_tab_and_the_setup_hides_them() -> None:
    state = State()
    assert tabs.names(state)[:3] == ["Main", "Waits", "Snap"]
    assert len(tabs.names(state)) == len(COLUMN_SETS)
    for at, view in enumerate(state.setup.views):
        assert tabs.select(state, at).view == view
        assert tabs.shown(tabs.select(state, at)) == at
    hidden = replace(state, setup=replace(state.setup, tabs=False))
    assert tabs.names(hidden) == []
    other = replace(state, setup=replace(state.setup, views=("waits",)))
    assert tabs.shown(other) is None


def with_setup(tmp_path: Path, text: str, *words: str, rows: int = 40) -> Live:
    (tmp_path / "ptop").mkdir(exist_ok=True)
    (tmp_path / "ptop/config.toml").write_text(text)
    environment = {"XDG_CONFIG_HOME": str(tmp_path)}
    return Live(*words, rows=rows, columns=120, environment=environment)


def test_meters_are_left_out(tmp_path: Path) -> None:
    words = ("mem [", "swap ", "WAIT", "PSI", "  0[")
    live = with_setup(tmp_path, "schema = 1\n")
    for word in words:
        live.until(word)
    live.child.send("q")
    assert live.ended() == 0
    some = with_setup(tmp_path, 'schema = 1\ntabs = false\nmeters = ["memory", "pressure"]\n')
    some.until("PSI")
    some.until("mem [")
    for word in ("swap ", "WAIT", "disk r", "net in", "  0[", " Main "):
        assert word not in some.text(), word
    some.child.send("q")
    assert some.ended() == 0
    none = with_setup(tmp_path, "schema = 1\n", "--no-meters")
    none.until("Name")
    none.until("own ")
    for word in words:
        assert word not in none.text(), word
    none.child.send("q")
    assert none.ended() == 0


def test_the_page_switches_meters_and_writes_them() -> None:
    state = replace(State(), mode="setup")
    at = setup.lines(state).index(("meter", "swap"))
    state = keys.press(replace(state, cursor=at), "Space")
    assert state.setup.meters == tuple(meter for meter in METERS if meter != "swap")
    assert setup.document(state)["meters"] == list(state.setup.meters)
    # Their order is that of the screen, whatever the order of the keys.
    state = keys.press(state, "Space")
    assert state.setup.meters == METERS
    assert "meters" not in setup.document(state)


@pytest.mark.parametrize(
    ("line", "warning"),
    [
        ('meters = ["heat"]', "meters: give a list of cpus, memory"),
        ("tabs = 1", "tabs: give true or false"),
        ("disks = []", "disks: give a list of names of disks"),
        ('networks = "eth0"', "networks: give a list of names of interfaces"),
    ],
)
def test_a_wrong_line_is_told_with_its_number(line: str, warning: str) -> None:
    config = parse(f"schema = 1\n{line}\n")
    (told,) = config.warnings
    assert told.startswith("/etc/example.toml:2: ")
    assert warning in told
    assert config.values == {}


def test_the_file_sets_meters_disks_and_networks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = 'schema = 1\ntabs = false\nmeters = []\ndisks = ["sda"]\nnetworks = ["eth0", "eth1"]\n'
    setup_ = start(tmp_path, monkeypatch, text).setup
    assert (setup_.tabs, setup_.meters) == (False, ())
    assert (setup_.disks, setup_.networks) == (("sda",), ("eth0", "eth1"))


def test_only_the_devices_of_the_setup_count(tmp_path: Path) -> None:
    # None has this name, so that nothing is counted.
    text = 'schema = 1\nnetworks = ["none0"]\nmeters = ["networks"]\n'
    live = with_setup(tmp_path, text)
    live.until("net in 0/s out 0/s")
    live.child.send("q")
    assert live.ended() == 0
