"""What names a task, and the values that may be set."""

from __future__ import annotations

import signal

import pytest

from ptop.targets import (
    SIGNALS,
    Target,
    cpus_text,
    ioprio_text,
    parse_cpus,
    parse_ioprio,
    parse_nice,
    parse_signal,
    parse_target,
    signal_name,
)


def test_a_target_is_a_pid_and_a_start() -> None:
    assert parse_target("12@345") == Target(12, 345)
    assert str(Target(12, 345)) == "12@345"
    for text in ("12", "12@", "@5", "0@5", "-1@5", "4294967295@5", "1@2@3", "a@b", "1@-5"):
        with pytest.raises(ValueError, match="PID@START"):
            parse_target(text)


def test_a_signal_is_a_name_or_a_number() -> None:
    assert next(iter(SIGNALS)) == "TERM"
    assert {parse_signal(text) for text in ("TERM", "sigterm", "15")} == {signal.SIGTERM}
    assert (signal_name(9), signal_name(40)) == ("KILL", "40")
    assert all(parse_signal(name) == number for name, number in SIGNALS.items())
    for text in ("", "0", "-9", "99", "NONE", "SIG"):
        with pytest.raises(ValueError, match="is not a signal"):
            parse_signal(text)


def test_values_are_read_as_they_are_shown() -> None:
    assert [parse_nice(text) for text in ("-20", "0", "+5", "19")] == [-20, 0, 5, 19]
    for text in ("20", "-21", "x", "", "1.5"):
        with pytest.raises(ValueError, match="is not a nice value"):
            parse_nice(text)
    for text in ("none", "idle", "be 0", "be 7", "rt 3"):
        assert ioprio_text(parse_ioprio(text)) == text
    assert parse_ioprio("best-effort") == parse_ioprio("be 4") == 2 << 13 | 4
    for text in ("", "be 8", "idle 3", "4", "be 1 2"):
        with pytest.raises(ValueError, match="is not an I/O priority"):
            parse_ioprio(text)
    for text in ("0", "0-3", "1,3", "0-1,4-5,9"):
        assert cpus_text(parse_cpus(text)) == text
    for text in ("", "-1", "3-1", "1,,2", "x", "9999"):
        with pytest.raises(ValueError, match="are no CPUs"):
            parse_cpus(text)
