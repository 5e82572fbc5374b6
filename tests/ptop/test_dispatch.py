"""Which command a command line runs, and which options the command gets."""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys

import pytest

from ptop import cli

PTOP = [sys.executable, "-m", "ptop"]
# The words that a command requires.
REQUIRED = {
    "check": ["a.tsd"],
    "diff": ["a.tsd", "--a", "12:00..12:01", "--b", "12:02..12:03"],
    "export": ["a.tsd"],
    "record": ["-o", "a.tsd"],
    "replay": ["a.tsd"],
    "report": ["a.tsd"],
    "run": ["true"],
    "signal": ["TERM", "1@0"],
}
# Values of the options that have no choices.
VALUES = {
    "--delay": "0.5",
    "--intervals": "3",
    "--sort": "pid",
    "--columns": "ac_pid,ac_comm",
    "--filter": "x y",
    "--pid": "1,2",
    "--rows": "5",
}


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*PTOP, *words], capture_output=True, text=True, timeout=60, check=False)


def command_parser(name: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = importlib.import_module(cli.MODULES[name]).parser()
    return parser


def parsed(*words: str) -> tuple[str, argparse.Namespace]:
    command, rest = cli.split(words)
    return command, command_parser(command).parse_args(rest)


# Options of which one choice is the default.
DEFAULTS = {"--format", "--keys", "--sort", "--source", "--theme", "--view"}


def options_of(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    return {
        action.option_strings[-1]: action for action in parser._actions if action.option_strings
    }


def shared_options() -> list[tuple[str, list[str]]]:
    """Every option that a command shares with ptop, as the words of a command line."""
    ours = options_of(cli.parser())
    found = []
    for name in cli.MODULES:
        for option, action in options_of(command_parser(name)).items():
            if option not in ours or option in {"--help", "--version"}:
                continue
            if action.nargs == 0:
                found.append((name, [option]))
            elif action.choices:
                found += [(name, [option, str(choice)]) for choice in action.choices]
            else:
                found.append((name, [option, VALUES[option]]))
                found.append((name, [f"{option}={VALUES[option]}"]))
    return found


@pytest.mark.parametrize(("name", "words"), shared_options(), ids=str)
def test_an_option_means_the_same_before_and_after_the_command(name: str, words: list[str]) -> None:
    tail = REQUIRED.get(name, [])
    before = parsed(*words, name, *tail)
    assert before == parsed(name, *words, *tail)
    assert before != parsed(name, *tail) or words[0] in DEFAULTS


def test_the_option_before_a_command_takes_effect() -> None:
    for words in (["--source", "procfs", "audit"], ["audit", "--source", "procfs"]):
        done = run(*words, "-n", "1", "-d", "0.1", "--format", "json")
        assert done.stderr == ""
        assert {json.loads(line)["source"] for line in done.stdout.splitlines()} == {"procfs"}


@pytest.mark.parametrize("option", ["--help", "--version"])
@pytest.mark.parametrize("name", cli.MODULES)
def test_help_and_version_work_on_both_sides(
    option: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = []
    for words in ([option, name], [name, option]):
        command, rest = cli.split(words)
        with pytest.raises(SystemExit) as ended:
            command_parser(command).parse_args(rest)
        assert ended.value.code == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
    assert said[0].startswith(f"usage: ptop {name}" if option == "--help" else "ptop ")


@pytest.mark.parametrize(
    ("words", "unknown"),
    [
        (["--soruce", "bpf"], "--soruce"),
        (["--soruce", "bpf", "audit"], "--soruce"),
        (["--soruce", "audit"], "--soruce"),
        (["--soruce=bpf", "audit"], "--soruce=bpf"),
        (["-b", "-n", "3", "--soruce", "bpf", "audit"], "--soruce"),
        (["audit", "--soruce", "bpf"], "--soruce bpf"),
        (["--soruce"], "--soruce"),
    ],
)
def test_an_unknown_option_is_reported_first(words: list[str], unknown: str) -> None:
    done = run(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1].endswith(f"error: unrecognized arguments: {unknown}")


@pytest.mark.parametrize("words", [["bpf"], ["-b", "bpf"], ["--source", "bpf", "bpf", "--rows"]])
def test_an_unknown_command_is_reported_with_the_commands(words: list[str]) -> None:
    done = run(*words)
    assert (done.returncode, done.stdout) == (2, "")
    last = done.stderr.splitlines()[-1]
    assert last == f"ptop: error: no command 'bpf'; the commands are: {', '.join(cli.MODULES)}"


def test_an_option_that_the_command_lacks_is_refused_on_both_sides() -> None:
    for words in (["-b", "audit"], ["audit", "-b"]):
        done = run(*words)
        assert done.returncode == 2
        assert done.stderr.splitlines()[-1] == "ptop audit: error: unrecognized arguments: -b"


def test_words_after_a_command_are_kept() -> None:
    words = ["--format", "json", "run", "--", "sh", "-c", "exit 3", "--source", "bpf"]
    command, rest = cli.split(words)
    assert command == "run"
    assert rest == ["--format", "json", *words[3:]]
    assert cli.split(["-b", "-n", "1"]) == ("", ["-b", "-n", "1"])
    assert cli.split([]) == ("", [])


@pytest.mark.parametrize("words", [["doctor"], ["-b", "-n", "1", "-d", "0.1"]])
def test_a_command_loads_its_own_modules_only(words: list[str]) -> None:
    script = (
        "import sys; from ptop.cli import main; main(sys.argv[1:]);"
        "print(*(name for name in sys.modules if name.startswith('ptop.')), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    own = {"ptop.commands.doctor"} if words[0] == "doctor" else {
        "ptop.commands.top", "ptop.commands.batch", "ptop.feed", "ptop.spikes",
    }  # fmt: skip
    shared = {"args", "cli", "columns", "commands", "live", "privilege", "streams"}
    shared |= {"filters", "live.details", "live.editor", "live.state", "live.tree"}
    shared |= {"text", "times", "values"}
    assert set(done.stderr.split()) == own | {f"ptop.{name}" for name in shared}
