"""A simulation that finds nothing proves nothing: bugs planted on purpose are found, and soon."""

from collections.abc import Callable

import pytest

from tests.simulation.bugs import NAMES, planted
from tests.simulation.run import DAYS, Outcome, simulate

_MOST_DAYS = 200
#: A short life in which each is found: its seed, its days, and a promise that it breaks.
_FOUND = {
    "no-unique-index": (4, 2, "P5"),
    "acknowledge-before-commit": (0, 1, "P5"),
    "resend-uncertain": (0, 1, "P1"),
    "full-bucket": (4, 1, "P4"),
    "forget-opt-out": (2, 1, "P3"),
    "window-by-arrival": (3, 1, "reply"),
    "one-id-only": (2, 1, "P5"),
    "count-other-devices": (0, 2, "P2"),
    "match-by-hidden-id": (0, 4, "reply"),
    "decide-once": (1, 1, "reply"),
    "try-refused-for-ever": (0, 1, "P6"),
    "refuse-backup-by-clocks": (33, 4, "backup"),
    "import-during-removal": (4, 4, "P1"),
}


def _live(name: str, seed: int, days: int) -> Outcome:
    with planted(name):
        return simulate(seed, days)


@pytest.mark.parametrize("name", NAMES)
def test_a_planted_bug_is_found(name: str) -> None:
    seed, days, promise = _FOUND[name]
    breach = _live(name, seed, days).breach
    assert breach is not None
    assert breach.promise == promise


@pytest.mark.soak
@pytest.mark.parametrize("name", NAMES)
def test_a_planted_bug_is_found_soon(name: str, record_property: Callable[[str, object], None]) -> None:
    days, breach = 0, None
    for seed in range(_MOST_DAYS // DAYS):
        outcome = _live(name, seed, DAYS)
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
    assert simulate(0, days=1).breach is None
