"""A simulation that finds nothing proves nothing: bugs planted on purpose are found, and soon."""

from collections.abc import Callable

import pytest

from tests.simulation.bugs import NAMES, planted
from tests.simulation.run import DAYS, simulate

_MOST_DAYS = 200


@pytest.mark.parametrize("name", NAMES)
def test_a_planted_bug_is_found(name: str, record_property: Callable[[str, object], None]) -> None:
    days, breach = 0, None
    for seed in range(_MOST_DAYS // DAYS):
        with planted(name):
            outcome = simulate(seed)
        days, breach = days + outcome.days, outcome.breach
        if breach is not None:
            break
    record_property("virtual_days", days)
    print(f"{name}: {breach or 'nothing'} found after {days} virtual days")
    assert breach is not None


def test_nothing_is_left_of_a_planted_bug() -> None:
    for name in NAMES:
        with planted(name):
            pass
    assert simulate(0).breach is None
