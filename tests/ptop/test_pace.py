"""When snapshots are due, by a clock that stands still until it is set."""

from __future__ import annotations

import pytest

from ptop.times import Pace

S = 1_000_000_000


class Clock:
    now = 0

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_late_step_does_not_delay_the_ones_after_it(clock: Clock) -> None:
    pace = Pace(clock)
    for number in range(1, 20):
        clock.now = number * S + S // 5
        pace.step(1.0)
        assert pace.left_s(1.0) == 0.8


@pytest.mark.parametrize("late_ns", [S // 2, 99 * S // 100, S, 7 * S + 12_345])
def test_after_a_stall_the_next_step_comes_a_whole_delay_later(clock: Clock, late_ns: int) -> None:
    pace = Pace(clock)
    clock.now = S + late_ns
    assert pace.left_s(1.0) == 0
    pace.step(1.0)
    assert pace.left_s(1.0) == 1.0


def test_fractions_of_seconds_do_not_add_up_to_an_error(clock: Clock) -> None:
    pace = Pace(clock)
    for number in range(1, 1_000_001):
        clock.now = number * S // 10
        pace.step(0.1)
    assert pace.last_ns == 100_000 * S


def test_a_new_start_counts_from_now(clock: Clock) -> None:
    pace = Pace(clock)
    clock.now = 3 * S // 10
    pace.restart()
    assert pace.left_s(1.0) == 1.0
