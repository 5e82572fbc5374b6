"""A user database that does not answer: numbers show, and nothing waits for a name."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import taskstats
from live_view import PTOP, Live  # type: ignore[import-not-found]

# Answers for a user of this number only while the file $ANSWERS exists.
UID = 41_414
DATABASE = """
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int getpwuid_r(uid_t uid, struct passwd *user, char *buffer, size_t size, struct passwd **found)
{
    *found = NULL;
    if (uid != UID)
        return 0;
    while (access(getenv("ANSWERS"), F_OK))
        usleep(10000);
    memset(user, 0, sizeof *user);
    user->pw_name = strcpy(buffer, "slowpoke");
    user->pw_passwd = user->pw_gecos = user->pw_dir = user->pw_shell = buffer + strlen(buffer);
    user->pw_uid = uid;
    *found = user;
    return 0;
}
"""


@pytest.fixture
def database(tmp_path: Path, needs: Callable[[bool, str], None]) -> Mapping[str, str]:
    """The environment in which the database does not answer."""
    compiler = shutil.which("cc")
    needs(compiler is not None, "needs a C compiler")
    assert compiler is not None
    source, library = tmp_path / "users.c", tmp_path / "users.so"
    source.write_text(DATABASE)
    words = [compiler, "-shared", "-fPIC", f"-DUID={UID}", "-o", str(library), str(source)]
    subprocess.run(words, check=True)
    return {"LD_PRELOAD": str(library), "ANSWERS": str(tmp_path / "answers")}


@pytest.fixture
def sleeper(needs: Callable[[bool, str], None]) -> Iterator[int]:
    """A process of that user."""
    needs(os.geteuid() == 0, "needs root to start a process of another user")
    with subprocess.Popen(["sleep", "600"], user=UID, group=UID) as process:
        yield process.pid
        process.kill()


def test_the_live_view_shows_the_number_until_the_name_is_there(
    database: Mapping[str, str], sleeper: int
) -> None:
    live = Live("--pid", str(sleeper), environment=database)
    live.until(f" {UID} ")
    Path(database["ANSWERS"]).touch()
    live.until(" slowpoke ")
    live.child.send("q")
    assert live.ended() == 0


def test_quitting_does_not_wait_for_a_name(database: Mapping[str, str], sleeper: int) -> None:
    live = Live("--pid", str(sleeper), environment=database)
    live.until(f" {UID} ")
    # Groups have the names of users as titles.
    live.child.send("zzzz")
    live.until("by user")
    live.until(str(UID))
    live.child.send("q")
    assert live.ended() == 0


def test_a_recording_has_the_name_once_it_is_there(
    database: Mapping[str, str], sleeper: int, tmp_path: Path
) -> None:
    assert sleeper
    path = tmp_path / "users.tsd"
    words = [*PTOP, "record", "-d", "0.1", "-o", str(path)]
    environment = {**os.environ, **database}
    # The database does not answer, and the recording goes on.
    subprocess.run([*words, "--for", "0.5"], env=environment, check=True, timeout=60)
    dump = taskstats.open(path)
    assert len(dump) > 1
    assert dump.user(UID) is None
    with subprocess.Popen(words, env=environment) as recorder:
        Path(database["ANSWERS"]).touch()
        while taskstats.open(path).user(UID) is None:
            assert recorder.poll() is None
        recorder.terminate()
        assert recorder.wait() == 0
    assert taskstats.open(path).user(UID) == "slowpoke"
