"""Files that commands write: whose they are, who may read them, what is left of them."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ptop.outputs import Audience, Output

NOBODY = 65534
PTOP = [sys.executable, "-m", "ptop"]


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A directory as /tmp is."""
    path = tmp_path / "shared"
    path.mkdir()
    path.chmod(0o1777)
    return path


def write(path: Path, text: bytes = b"new", audience: Audience | None = None) -> None:
    with Output(str(path), audience) as output:
        output.stream.write(text)
        output.finish()


@pytest.fixture(params=["without a name", "with a hidden name"])
def any_file_system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system with files without a name, or without."""
    if request.param == "with a hidden name":
        # Open(2) refuses these flags with EINVAL, as some file systems refuse O_TMPFILE.
        monkeypatch.setattr(os, "O_TMPFILE", os.O_DIRECTORY | os.O_CREAT)


@pytest.fixture
def without_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that has neither files without a name nor hard links, as vfat."""

    def link(*_args: object, **_kwargs: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "O_TMPFILE", os.O_DIRECTORY | os.O_CREAT)
    monkeypatch.setattr(os, "link", link)


@pytest.mark.usefixtures("without_links")
def test_a_file_system_without_links_is_enough(tmp_path: Path, shared: Path) -> None:
    write(tmp_path / "out", b"first")
    write(tmp_path / "out", b"second")
    assert (tmp_path / "out").read_bytes() == b"second"
    assert not list(tmp_path.glob(".ptop-*"))
    with Output(str(shared / "out")) as output:
        (shared / "out").write_bytes(b"made meanwhile")
        with pytest.raises(OSError, match="File exists"):
            output.finish()
    assert (shared / "out").read_bytes() == b"made meanwhile"
    assert list(shared.iterdir()) == [shared / "out"]


# Writes a part of a file where there are no files without a name, and waits.
UNFINISHED = """
import os, sys, time
os.O_TMPFILE = os.O_DIRECTORY | os.O_CREAT
from ptop.outputs import Output
output = Output(sys.argv[1])
output.stream.write(b"unfinished")
output.stream.flush()
print(flush=True)
time.sleep(600)
"""


def test_what_a_killed_process_left_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, needs: Callable[[bool, str], None]
) -> None:
    def parts() -> set[Path]:
        return set(tmp_path.glob(".ptop-*.part"))

    words = [sys.executable, "-c", UNFINISHED, str(tmp_path / "killed")]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as killed:
        assert killed.stdout is not None
        killed.stdout.readline()
        killed.kill()
    (left,) = parts()
    words[-1] = str(tmp_path / "living")
    with subprocess.Popen(words, stdout=subprocess.PIPE) as living:
        assert living.stdout is not None
        living.stdout.readline()
        # The next process that makes a file there removes the first one's.
        (used,) = parts()
        assert used != left
        monkeypatch.setattr(os, "O_TMPFILE", os.O_DIRECTORY | os.O_CREAT)
        write(tmp_path / "out")
        assert parts() == {used}
        living.kill()
    needs(os.geteuid() == 0, "gives a file to another user")
    os.chown(used, NOBODY, NOBODY)
    write(tmp_path / "out")
    assert parts() == {used}
    assert (tmp_path / "out").read_bytes() == b"new"


@pytest.mark.usefixtures("any_file_system")
def test_a_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "out"
    for before in (b"", b"first"):
        with Output(str(path)) as output:
            output.stream.write(b"unfinished")
            output.stream.flush()
            assert (path.read_bytes() if before else b"") == before
        assert list(tmp_path.iterdir()) == ([path] if before else [])
        write(path, b"first")
        assert path.read_bytes() == b"first"
        assert list(tmp_path.iterdir()) == [path]


@pytest.mark.usefixtures("any_file_system")
def test_a_file_made_meanwhile_is_replaced_in_an_own_directory_only(
    tmp_path: Path, shared: Path
) -> None:
    for path in (tmp_path / "out", shared / "out"):
        with Output(str(path)) as output:
            output.stream.write(b"new")
            path.write_bytes(b"another's")
            if path.parent == shared:
                with pytest.raises(FileExistsError):
                    output.finish()
            else:
                output.finish()
        assert path.read_bytes() == (b"another's" if path.parent == shared else b"new")
        assert [entry for entry in path.parent.iterdir() if entry.is_file()] == [path]


def test_no_link_is_followed_where_others_may_write(tmp_path: Path, shared: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    link = shared / "link"
    # Also where a link of one's own leads into such a directory.
    through = tmp_path / "through"
    through.symlink_to(link)
    for to in (target, tmp_path / "dangling"):
        link.unlink(missing_ok=True)
        link.symlink_to(to)
        for path in (link, through):
            with pytest.raises(PermissionError, match="is a link in a directory that others may"):
                write(path)
    assert target.read_bytes() == b"precious"
    assert not (tmp_path / "dangling").exists()
    own = tmp_path / "own"
    own.symlink_to(target)
    write(own)
    assert own.is_symlink()
    assert target.read_bytes() == b"new"


def test_a_file_of_another_user_is_replaced_not_continued(
    shared: Path, needs: Callable[[bool, str], None]
) -> None:
    needs(os.geteuid() == 0, "makes a file of another user")
    path = shared / "out"
    path.touch()
    path.chmod(0o6666)
    os.chown(path, NOBODY, NOBODY)
    with path.open("rb") as theirs:
        write(path)
        assert theirs.read() == b""
    about = path.stat()
    assert about.st_uid == os.geteuid()
    assert not stat.S_IMODE(about.st_mode) & 0o6022
    fifo = shared / "fifo"
    os.mkfifo(fifo)
    os.chown(fifo, NOBODY, NOBODY)
    with subprocess.Popen(["cat", fifo], stdout=subprocess.PIPE) as reader:
        with pytest.raises(PermissionError, match="belongs to another user"):
            write(fifo)
        assert reader.communicate(timeout=20)[0] == b""


@pytest.mark.parametrize("before", [None, 0o644, 0o600, 0o640])
def test_a_file_is_no_more_readable_than_its_inputs(tmp_path: Path, before: int | None) -> None:
    path, first, second = (tmp_path / name for name in ("out", "first", "second"))
    first.touch()
    second.touch()
    second.chmod(0o666)
    for mode in (0o777, 0o644, 0o640, 0o600, 0o400):
        first.chmod(mode)
        path.unlink(missing_ok=True)
        if before is not None:
            path.touch()
            path.chmod(before)
        mask = os.umask(0o022)
        write(path, audience=Audience.of([str(first), str(second)]))
        os.umask(mask)
        found = stat.S_IMODE(path.stat().st_mode)
        assert found == (0o644 if before is None else before) & (mode | 0o700)


def test_a_file_of_another_group_is_not_readable_for_it(
    tmp_path: Path, needs: Callable[[bool, str], None]
) -> None:
    needs(os.geteuid() == 0, "changes groups")
    dump = tmp_path / "dump"
    dump.touch()
    dump.chmod(0o640)
    others = tmp_path / "others"
    others.mkdir()
    os.chown(others, 0, NOBODY)
    others.chmod(0o2755)
    for directory, mode in ((tmp_path, 0o640), (others, 0o600)):
        write(directory / "out", audience=Audience.of([str(dump)]))
        assert stat.S_IMODE((directory / "out").stat().st_mode) == mode


def test_what_is_no_regular_file_stays_what_it_is(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with subprocess.Popen(["cat", fifo], stdout=subprocess.PIPE) as reader:
        write(fifo)
        assert reader.communicate(timeout=20)[0] == b"new"
    assert fifo.is_fifo()
    write(Path("/dev/null"))
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    for name in ("", ".", str(tmp_path), f"{tmp_path}/", f"{tmp_path}/no/out"):
        with pytest.raises(OSError, match=r"Is a directory|No such file"):
            Output(name)


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_a_descriptor_is_written_to_where_it_stands(tmp_path: Path, name: str) -> None:
    code = (
        f"from ptop.outputs import Audience, Output\nwith Output({name!r}) as output:\n"
        "    output.stream.write(b'new'); output.finish()"
    )
    path = tmp_path / "out"
    path.write_bytes(b"before ")
    with path.open("ab") as appended:
        subprocess.run([sys.executable, "-c", code], stdout=appended, check=True)
    assert path.read_bytes() == b"before new"
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True)
    assert done.stdout == b"new"


def test_another_process_keeps_the_right_to_name_the_file(
    tmp_path: Path, needs: Callable[[bool, str], None]
) -> None:
    needs(os.geteuid() == 0, "becomes another user")
    tmp_path.chmod(0o700)
    path = tmp_path / "out"
    for complete in (True, False):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                with Output(str(path), Audience(0, None)) as output:
                    output.keep_right()
                    os.setresuid(NOBODY, NOBODY, NOBODY)
                    output.stream.write(b"new")
                    if complete:
                        output.finish()
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(pid, 0)[1] == 0
        assert path.exists() == complete
        if complete:
            assert path.read_bytes() == b"new"
            assert (path.stat().st_uid, stat.S_IMODE(path.stat().st_mode)) == (0, 0o600)
            path.unlink()
        assert list(tmp_path.iterdir()) == []


def test_the_report_of_a_command_follows_no_link_of_others(shared: Path, tmp_path: Path) -> None:
    link, target = shared / "report", tmp_path / "target"
    target.write_bytes(b"precious")
    link.symlink_to(target)
    done = subprocess.run(
        [*PTOP, "run", "-o", str(link), "--", "echo", "ran"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "is a link in a directory that others may write to: give another file" in done.stderr
    assert target.read_bytes() == b"precious"
