"""The setup page and its file."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from live_view import PTOP, Live  # type: ignore[import-not-found]

from ptop import config
from ptop.args import _is_column, first_state, parse_with_config
from ptop.cli import parser
from ptop.columns import COLUMN_SETS, COLUMNS
from ptop.live import pages, setup
from ptop.live.keys import press
from ptop.live.state import State
from ptop.values import replace

PATH = "/etc/example.toml"
RIGHT = """
schema = 1
theme = "dark"
keys = "vim"
delay = 2
view = "waits"
views = ["waits", "live"]
key_bar = false
[screen.waits]
columns = ["pid", "total_pct", "unit", "name"]
sort = "pid"
descending = true
"""
KEEPING = """
history = "2h"
history_size = "200M"
on_spike = ["sum:total_pct:350", "rss_kb:8000000"]
spike_dir = "/var/tmp/spikes"
spike_files = 3
spike_gap = "1m"
"""


def parse(text: str) -> config.Config:
    return config.parse(text, PATH, _is_column)


def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, *words: str) -> State:
    """The first state of the live view with a setup file."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("SUDO_UID", raising=False)
    if text is not None:
        (tmp_path / "ptop").mkdir(exist_ok=True)
        (tmp_path / config.NAME).write_text(text)
    state, _, _ = first_state(parse_with_config(parser(), words))
    return state


def test_a_file_sets_the_first_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    state = start(tmp_path, monkeypatch, RIGHT)
    assert (state.setup.theme, state.layout, state.view) == ("dark", "vim", "waits")
    assert state.columns == ("pid", "total_pct", "unit", "name")
    assert (state.sort, state.descending) == ("pid", True)
    assert (state.setup.views, state.setup.key_bar) == (("waits", "live"), False)
    assert state.notice == ""
    assert parse_with_config(parser(), []).delay == 2


def test_an_option_counts_more_than_environment_file_and_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def theme(*words: str) -> str:
        return start(tmp_path, monkeypatch, None, *words).setup.theme

    monkeypatch.delenv("NO_COLOR", raising=False)
    assert theme() == "16"
    assert start(tmp_path, monkeypatch, RIGHT).setup.theme == "dark"
    monkeypatch.setenv("NO_COLOR", "1")
    assert theme() == "mono"
    assert theme("--theme", "light") == "light"
    assert theme("--theme", "light", "--no-color") == "mono"
    state = start(tmp_path, monkeypatch, RIGHT, "--view", "snap", "--keys", "htop")
    assert (state.view, state.layout) == ("snap", "htop")
    assert state.columns == COLUMN_SETS["snap"].columns
    state = start(tmp_path, monkeypatch, RIGHT, "--columns", "pid,name", "--sort", "name")
    assert (state.columns, state.sort, state.descending) == (("pid", "name"), "name", False)
    assert start(tmp_path, monkeypatch, RIGHT, "--no-config") == replace(
        State(), setup=replace(State().setup, theme="mono")
    )


def test_what_is_kept_is_set_by_option_file_or_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(tmp_path, monkeypatch, None)

    def kept(*words: str) -> tuple[object, ...]:
        options = parse_with_config(parser(), words)
        spikes = [(column.key, value, total) for column, value, total in options.on_spike or ()]
        return (
            (options.history, options.history_size),
            (options.spike_dir, options.spike_files, options.spike_gap),
            spikes,
        )

    assert kept() == ((3600.0, 64 << 20), (".", 10, 300.0), [])
    start(tmp_path, monkeypatch, KEEPING)
    spikes = [("total_pct", 350.0, True), ("rss_kb", 8e6, False)]
    assert kept() == ((7200.0, 200 << 20), ("/var/tmp/spikes", 3, 60.0), spikes)
    assert kept("--history", "0", "--on-spike", "user_pct:9", "--spike-gap", "9") == (
        (0.0, 200 << 20),
        ("/var/tmp/spikes", 3, 9.0),
        [("user_pct", 9.0, False)],
    )
    assert kept("--no-config") == ((3600.0, 64 << 20), (".", 10, 300.0), [])


def test_text_for_programs_does_not_depend_on_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(tmp_path, monkeypatch, RIGHT)
    for words in (["-b"], ["--format", "json"], ["--plain"]):
        options = parse_with_config(parser(), words)
        assert (options.view, options.delay) == ("live", 1.0)


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ('schema = 1\n\nthme = "dark"', f"{PATH}:3: unknown key 'thme'; there are theme, keys"),
        ('theme = "pink"', f"{PATH}:1: theme: choose 16, mono, dark, light"),
        ("theme = 1", f"{PATH}:1: theme: choose 16"),
        ("delay = -1", f"{PATH}:1: delay: give a number of seconds"),
        ("ascii = 1", f"{PATH}:1: ascii: give true or false"),
        ("views = []", f"{PATH}:1: views: give a list of live"),
        ("\nscreen = 1", f"{PATH}:2: screen: give a section for a view, such as [screen.live]"),
        ("[[screen]]\nx = 1", f"{PATH}:1: screen: give a section for a view"),
        ("", ""),
        ("[screen.lve]\nsort = 'pid'", f"{PATH}:1: no view 'lve'; there are live"),
        ("\n[screen.live]\nsrt = 'pid'", f"{PATH}:3: unknown key 'srt'; there are columns, sort"),
        ("[screen.live]\n\nsort = 'pdi'", f"{PATH}:3: no column 'pdi'"),
        ("[screen.live]\ncolumns = ['pid', 'x,y']", f"{PATH}:2: no column 'x,y'"),
        ("theme = ", f"{PATH}: Invalid value (at end of document): none of it is used"),
        ("schema = 2\nx = 1", f"{PATH}:1: schema 2 is not 1, which this version reads"),
        ('history = "long"', f"{PATH}:1: history: give 0 or one such as 90, 30m"),
        ("history = true", f"{PATH}:1: history: give 0"),
        ('history_size = "64 MB"', f"{PATH}:1: history_size: give one such as 500M"),
        ('on_spike = "total_pct:9"', f"{PATH}:1: on_spike: give a list of COLUMN:VALUE"),
        ('on_spike = ["total_pct>9"]', f"{PATH}:1: on_spike: 'total_pct>9' is not COLUMN:VALUE"),
        ('\non_spike = ["sum:totl_pct:9"]', f"{PATH}:2: no column 'totl_pct'"),
        ("spike_files = 0", f"{PATH}:1: spike_files: give a whole number from 1 up"),
        ("spike_dir = ''", f"{PATH}:1: spike_dir: give a directory"),
        ('spike_gap = "0"', f"{PATH}:1: spike_gap: give one such as 90"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: str, warning: str) -> None:
    found = parse(text)
    assert not found.values
    assert "".join(found.warnings).startswith(warning)
    assert len(found.warnings) == bool(warning)


def test_a_wrong_line_costs_itself_alone() -> None:
    found = parse(RIGHT.replace('"vim"', '"emacs"').replace('"unit"', '"unti"'))
    assert found.values["theme"] == "dark"
    assert "keys" not in found.values
    assert found.screens["waits"].sort == "pid"
    assert found.screens["waits"].columns is None
    assert len(found.warnings) == 2


def test_the_document_has_all_keys_and_its_example_is_right() -> None:
    page = (Path(__file__).parents[2] / "docs/setup.md").read_text()
    found = parse(page.split("```toml")[1].split("```")[0])
    assert found.warnings == ()
    assert found.screens["waits"].sort == "blkio_delay"
    keys = re.findall(r"^\| `([\w.]+)` \|", page, re.M)
    assert set(keys) == {
        "schema",
        *config.VALUES,
        *(f"screen.VIEW.{key}" for key in ("columns", "sort", "descending")),
    }


def test_a_later_schema_is_not_overwritten() -> None:
    assert parse("schema = 2").path == ""
    assert config.write("", {}).startswith("not written")


@pytest.mark.parametrize("text", ["theme = ", '[screen.live]\nsort = "pid"\nsort = "pid"'])
def test_f2_leaves_a_file_that_is_no_toml_as_it_is(text: str, tmp_path: Path) -> None:
    (tmp_path / "ptop").mkdir()
    path = tmp_path / config.NAME
    path.write_text(text)
    live = Live(environment={"XDG_CONFIG_HOME": str(tmp_path)}, columns=200)
    live.until("none of it is used")
    live.child.send("\x1bOQ")
    live.until("w writes no file")
    live.child.send("w")
    live.until("not written: ")
    live.until(f"{path}: ")
    live.child.send("\x1b")
    live.until("F1Help")
    live.child.send("q")
    assert live.ended() == 0
    assert path.read_text() == text


def test_what_is_written_is_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    state = start(tmp_path, monkeypatch, RIGHT)
    state = replace(state, delay=5.0)
    path = tmp_path / "new" / config.NAME
    assert config.write(str(path), setup.document(state)) == f"written: {path}"
    found = parse(path.read_text())
    assert found.warnings == ()
    assert found.values == {
        "theme": "dark",
        "keys": "vim",
        "delay": 5.0,
        "view": "waits",
        "views": ("waits", "live"),
        "key_bar": False,
    }
    assert found.screens["waits"].columns == ("pid", "total_pct", "unit", "name")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [other.name for other in path.parent.iterdir()] == ["config.toml"]
    # Only what differs from the defaults is in it.
    assert setup.document(State()) == {}


def test_a_file_keeps_its_mode_and_a_link_stays_one(tmp_path: Path) -> None:
    # On another file system.
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere:
        target, path = Path(elsewhere, "ptop.toml"), tmp_path / "config.toml"
        assert os.stat(elsewhere).st_dev != tmp_path.stat().st_dev
        target.write_text("")
        target.chmod(0o644)
        path.symlink_to(target)
        assert config.write(str(path), {"theme": "mono"}) == f"written: {path}"
        assert 'theme = "mono"' in target.read_text()
        assert path.is_symlink()
        assert stat.S_IMODE(target.stat().st_mode) == 0o644
        assert os.listdir(elsewhere) == ["ptop.toml"]
    assert os.listdir(tmp_path) == ["config.toml"]


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.mkdir()
    assert config.write(str(path), {}) == f"not written: {path}: Is a directory"
    assert [other.name for other in tmp_path.iterdir()] == ["config.toml"]


@pytest.mark.parametrize("view", COLUMN_SETS)
def test_the_columns_of_a_view_are_written_only_where_they_differ(
    view: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "")
    state = start(tmp_path, monkeypatch, None, "--view", view)
    assert setup.document(state) == {}
    # So it is after a turn through all views.
    for _ in state.setup.views:
        state = press(state, "v")
        assert setup.document(state) == {}
    # A view that has another order alone keeps its columns.
    state = start(tmp_path, monkeypatch, f'[screen.{view}]\nsort = "pid"')
    columns, sort, *_ = state.views[view]
    assert (columns, sort) == (COLUMN_SETS[view].shown, "pid")
    assert setup.document(state) == {"screen": {view: {"sort": "pid"}}}
    # The order is read back as it was.
    state = start(tmp_path, monkeypatch, f'[screen.{view}]\nsort = "pid"\ndescending = true')
    assert setup.document(state) == {"screen": {view: {"sort": "pid", "descending": True}}}


def test_a_file_that_others_may_have_written_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = start(tmp_path, monkeypatch, RIGHT)
    path = tmp_path / config.NAME
    path.chmod(0o666)
    options = parse_with_config(parser(), [])
    assert not options.config.values
    assert "others may write to it; type: chmod go-w" in options.config.warnings[0]
    # Nor is it written over.
    assert options.config.path == ""
    path.chmod(0o644)
    assert state.view == "waits"
    if os.geteuid() == 0:
        os.chown(path, 12345, 12345)
        (warning,) = parse_with_config(parser(), []).config.warnings
        assert "it belongs to user 12345" in warning
    path.unlink()
    os.mkfifo(path)
    (warning,) = parse_with_config(parser(), []).config.warnings
    assert "it is no regular file" in warning


def test_under_sudo_the_users_file_is_read_as_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root is called by sudo")
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents[:3]:
        if parent != Path("/tmp"):
            parent.chmod(0o755)
    folder = tmp_path / ".config/ptop"
    folder.mkdir(parents=True)
    path = folder / "config.toml"
    path.write_text(RIGHT)
    os.chown(path, 65534, 65534)
    monkeypatch.setenv("SUDO_UID", "65534")
    monkeypatch.setenv("SUDO_GID", "65534")

    class Entry:
        pw_dir = str(tmp_path)
        pw_gid = 65534

    monkeypatch.setattr("pwd.getpwuid", lambda _: Entry)
    assert config.load(_is_column).values["theme"] == "dark"
    # Nor does the group of root help.
    path.chmod(0o040)
    os.chown(path, 0, 0)
    monkeypatch.setenv("SUDO_GID", "0")
    (warning,) = config.load(_is_column).warnings
    assert "Permission denied" in warning
    # What root alone may read stays unread: nothing was read as root.
    path.chmod(0o000)
    os.chown(path, 0, 0)
    (warning,) = config.load(_is_column).warnings
    assert "Permission denied" in warning
    assert config.load(_is_column, keep_root=True) == config.Config()


def another_home(tmp_path: Path) -> tuple[Path, Path]:
    """The home of a user, and a directory of root that links of the user may lead to."""
    home, target = tmp_path / "home", tmp_path / "target"
    (target / "ptop").mkdir(parents=True)
    (target / "ptop/config.toml").write_text(RIGHT)
    home.mkdir()
    os.chown(home, 12345, 12345)
    return home, target


@pytest.mark.skipif(os.geteuid() != 0, reason="only root keeps the home of another user")
@pytest.mark.parametrize("link", [".config", ".config/ptop", ".config/ptop/config.toml"])
@pytest.mark.parametrize("has_file", [True, False])
def test_root_does_not_follow_the_links_of_a_users_home(
    link: str, has_file: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, target = another_home(tmp_path)
    ours = target / "ptop/config.toml"
    if not has_file:
        ours.unlink()
    path = home / link
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target / link.removeprefix(".config").removeprefix("/"))
    os.lchown(path, 12345, 12345)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("SUDO_UID", raising=False)
    # As with `su -p`.
    assert config.load(_is_column) == config.Config()
    written = config.write(str(home / ".config/ptop/config.toml"), {"theme": "mono"})
    assert written.endswith(f"{home} belongs to user 12345")
    assert (ours.read_text() == RIGHT) if has_file else not ours.exists()
    assert len(list(ours.parent.iterdir())) == has_file


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a directory away")
def test_a_home_of_nobody_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a user namespace, which has no user for the owner of /home."""
    home, target = another_home(tmp_path)
    nobody = int(Path("/proc/sys/kernel/overflowuid").read_text())
    os.chown(home, nobody, nobody)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("SUDO_UID", raising=False)
    assert config.load(_is_column) == config.Config(), "there is no file to miss"
    (home / ".config").symlink_to(target)
    found = config.load(_is_column)
    (warning,) = found.warnings
    assert warning == f"{home}/.config/ptop/config.toml: {home} belongs to user {nobody}: not read"
    assert config.write(found.path, {}, found.why) == f"not written: {found.why}"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes the links of another user")
def test_a_link_of_another_user_on_the_way_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, target = another_home(tmp_path)
    (home / "link").symlink_to(target)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "own"))
    monkeypatch.delenv("SUDO_UID", raising=False)
    # First and last directory are root's.
    (tmp_path / "own").symlink_to("home/link")
    assert config.load(_is_column) == config.Config()
    (tmp_path / "own").unlink()
    (tmp_path / "own").symlink_to("target/../target")
    assert config.load(_is_column).values["theme"] == "dark"


def test_a_directory_that_others_may_write_to_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(tmp_path, monkeypatch, RIGHT)
    tmp_path.chmod(0o777)
    found = config.load(_is_column)
    assert (found.path, dict(found.values)) == ("", {})
    assert f"others may write to {tmp_path}; type: chmod go-w {tmp_path}" in found.warnings[0]
    (tmp_path / config.NAME).unlink()
    assert config.load(_is_column) == config.Config()
    written = config.write(str(tmp_path / config.NAME), {"theme": "mono"})
    assert "others may write to" in written
    assert not (tmp_path / config.NAME).exists()
    # As /tmp, where the entries of a user stay his own.
    tmp_path.chmod(0o1777)
    assert config.load(_is_column).path == str(tmp_path / config.NAME)


def on(state: State, word: str) -> State:
    """The setup page with the cursor on the first line that begins so."""
    state = state if state.mode == "setup" else press(state, "F2")
    texts = setup.texts(state, COLUMNS)
    return replace(state, cursor=next(at for at, t in enumerate(texts) if t.startswith(word)))


def test_the_page_changes_the_history_and_keeps_the_spikes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = start(tmp_path, monkeypatch, KEEPING, "--history", "5m")
    # What is written is what the file said, not what this start was asked for.
    assert parse(config.dumps(setup.document(state))).values == parse(KEEPING).values
    state = press(on(state, "history "), "Right")
    state = press(on(state, "history_size"), "Right")
    found = dict(parse(config.dumps(setup.document(state))).values)
    # The values of the file are none that the page offers; 64M, the default, is not written.
    changed = {**parse(KEEPING).values, "history": "10m"}
    del changed["history_size"]
    assert found == changed
    assert "history" not in setup.document(State())


def test_the_page_changes_settings_views_and_the_order_of_columns() -> None:
    state = press(on(State(), "theme"), "Right")
    assert state.setup.theme == "mono"
    assert press(state, "Left").setup.theme == "16"
    assert press(on(state, "key_bar"), " ").setup.key_bar is False
    state = press(on(State(), "view         [x] waits"), " ")
    others = tuple(view for view in COLUMN_SETS if view != "waits")
    assert state.setup.views == others
    assert setup.texts(state, COLUMNS)[state.cursor] == "view         [ ] waits"
    state = press(on(state, "view         [x] snap"), "F7")
    assert state.setup.views == ("snap", "live", *others[2:])
    state = press(on(State(), "column       [x] USER"), "F8")
    assert state.columns[:4] == ("pid", "state", "USER", "ac_nice")
    assert "USER" in setup.texts(state, COLUMNS)[state.cursor]
    state = press(state, " ")
    assert "USER" not in state.columns
    assert press(state, "F7").notice
    state = press(on(State(), "column       [ ] unit"), "Enter")
    # Where the key f puts it: the last one has the rest of the line.
    assert state.columns == (*State().columns[:-1], "unit", State().columns[-1])
    page = press(replace(State(), known=tuple(COLUMNS)), "f")
    assert press(replace(page, cursor=page.known.index("unit")), " ").columns == state.columns
    assert press(press(state, "w"), "Esc").mode == "table"


def test_the_last_view_and_column_stay() -> None:
    state = replace(State(), columns=("pid",), mode="setup")
    assert press(on(state, "column       [x] pid"), " ").columns == ("pid",)
    state = replace(state, setup=replace(state.setup, views=("live",)))
    assert press(on(state, "view         [x] live"), " ").setup.views == ("live",)


@pytest.mark.parametrize("height", [10, 24, 60])
def test_the_page_fits(height: int) -> None:
    state = press(State(), "F2")
    lines = pages.setup_page(replace(state, cursor=30), COLUMNS, height)
    assert len(lines) == height
    assert any(style == "reverse" for _, style in lines)


def test_f2_writes_what_the_next_start_shows(tmp_path: Path) -> None:
    environment = {"XDG_CONFIG_HOME": str(tmp_path), "NO_COLOR": ""}
    live = Live(environment=environment)
    live.until("Name")
    live.child.send("\x1bOQ")
    live.until("setup: Space changes")
    assert not (tmp_path / "ptop").exists()
    # The theme, seen at once.
    live.child.send(" ")
    live.until("< mono >")
    live.child.send("w")
    live.until("written: ")
    live.child.send("\x1b")
    live.until("F1Help")
    live.child.send("q")
    assert live.ended() == 0
    assert 'theme = "mono"' in (tmp_path / config.NAME).read_text()
    live = Live(environment=environment)
    live.until("Name")
    live.child.send("\x1bOQ")
    live.until("< mono >")
    live.child.send("\x1b")
    live.until("F1Help")
    live.child.send("q")
    assert live.ended() == 0


def test_a_wrong_file_is_told_on_the_screen_and_in_a_message(tmp_path: Path) -> None:
    (tmp_path / "ptop").mkdir()
    (tmp_path / config.NAME).write_text('colour\x1b = "dark"\n')
    (tmp_path / config.NAME).write_text('"col\\u001bour" = "dark"\n')
    live = Live(environment={"XDG_CONFIG_HOME": str(tmp_path)})
    live.until("unknown key")
    live.child.send("q")
    assert live.ended() == 0
    command = f"{PTOP[0]} -m ptop -n 1 -d 0.1 2>&1 >/dev/null </dev/null"
    said = subprocess.run(
        command,
        shell=True,
        env={**os.environ, "XDG_CONFIG_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    ).stdout
    assert f"ptop: warning: {tmp_path}/ptop/config.toml:1: unknown key" in said
    assert "\x1b" not in said
    done = subprocess.run(
        [sys.executable, "-m", "ptop", "-b", "-n", "1", "-d", "0.1"],
        env={**os.environ, "XDG_CONFIG_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
