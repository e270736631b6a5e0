"""The time of day of a process is never set back."""

from datetime import timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tests.support import START, ManualClock
from wamsg2.clock import ForwardClock

HOUR = timedelta(hours=1)


def test_set_back_it_goes_on_as_before() -> None:
    machine = ManualClock()
    clock = ForwardClock(machine)
    machine.advance(10)
    machine.step_wall(-3600)
    machine.advance(5)
    assert clock.now() == START + timedelta(seconds=15)


def test_set_ahead_it_follows_and_set_right_again_it_stays_ahead() -> None:
    """What was stored meanwhile must not lie in the future."""
    machine = ManualClock()
    clock = ForwardClock(machine)
    machine.step_wall(3600)
    assert clock.now() == START + HOUR
    machine.step_wall(-3600)
    machine.advance(5)
    assert clock.now() == START + HOUR + timedelta(seconds=5)


def test_set_back_and_right_again() -> None:
    machine = ManualClock()
    clock = ForwardClock(machine)
    machine.step_wall(-3600)
    clock.now()
    machine.step_wall(3600)
    assert clock.now() == START


def test_small_adjustments_are_followed() -> None:
    """Or the time would run ahead by each of them, for ever."""
    machine = ManualClock()
    clock = ForwardClock(machine)
    for _ in range(100):
        machine.advance(1)
        machine.step_wall(-0.01)
        clock.now()
    assert clock.now() == START + timedelta(seconds=99)


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(-7200, 7200))))
def test_never_back_by_a_step_and_monotonic_all_the_same(moves: list[tuple[float, float]]) -> None:
    machine = ManualClock()
    clock = ForwardClock(machine)
    times = [(clock.now(), clock.monotonic())]
    for seconds, step in moves:
        machine.advance(seconds)
        machine.step_wall(step)
        times.append((clock.now(), clock.monotonic()))
    for (before, before_seconds), (after, after_seconds) in pairwise(times):
        passed = timedelta(seconds=after_seconds - before_seconds)
        assert after - before >= passed - timedelta(seconds=1.001)
