"""Webhooks that do not come are noticed; strangers and known outages raise nothing."""

from datetime import timedelta

import pytest

from tests.support import START, ManualClock
from wamsg2.arrivals import Arrivals

MINUTE = timedelta(minutes=1)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def arrivals(clock: ManualClock) -> Arrivals:
    return Arrivals(clock)


def refusals(arrivals: Arrivals, clock: ManualClock, *gaps_seconds: float) -> bool | None:
    """Refuse a request after each of these gaps; whether all is well then."""
    for seconds in gaps_seconds:
        clock.advance(seconds)
        arrivals.refuse()
    return arrivals.refused.ok if arrivals.refused else None


# --- refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gaps_seconds", "ok"),
    [
        ([], None),
        ([0, 0], None),
        ([0, 0, 0], False),
        ([0, 1800, 1800], False),
        ([0, 1800, 1801], None),
        ([0, 1800, 1801, 1799], False),
        ([0, 9999, 9999, 9999], None),
        ([0, 0, 0, 9999], False),
    ],
)
def test_three_refusals_within_an_hour_are_a_problem(
    arrivals: Arrivals, clock: ManualClock, *, gaps_seconds: list[float], ok: bool | None
) -> None:
    assert refusals(arrivals, clock, *gaps_seconds) is ok


def test_the_problem_says_how_many_and_since_when(arrivals: Arrivals, clock: ManualClock) -> None:
    refusals(arrivals, clock, 60, 0, 0, 9999)
    assert arrivals.refused
    assert arrivals.refused.checked_at == clock.now()
    assert arrivals.refused.detail == (
        "4 requests were refused for their secret or signature since 2026-11-22T10:01:00Z, "
        "and none was accepted: compare webhook.secrets and the webhook's address at Wassenger"
    )


def test_strangers_between_good_webhooks_raise_nothing(arrivals: Arrivals, clock: ManualClock) -> None:
    for _ in range(50):
        assert refusals(arrivals, clock, 1, 1) is not False
        arrivals.accept()
        assert arrivals.refused
        assert arrivals.refused.ok


def test_one_that_is_accepted_ends_it(arrivals: Arrivals, clock: ManualClock) -> None:
    assert refusals(arrivals, clock, 1, 1, 1) is False
    arrivals.accept()
    assert arrivals.refused
    assert arrivals.refused.ok
    assert refusals(arrivals, clock, 1, 1) is True, "they are counted anew"
    assert refusals(arrivals, clock, 1) is False


def test_the_time_of_day_does_not_matter(arrivals: Arrivals, clock: ManualClock) -> None:
    assert refusals(arrivals, clock, 1, 1) is None
    clock.step_wall(86_400)
    assert refusals(arrivals, clock, 1) is False


# --- lost ----------------------------------------------------------------------------------------------------


def is_well(arrivals: Arrivals) -> bool | None:
    arrivals.end_round(is_complete=True)
    return arrivals.lost.ok if arrivals.lost else None


def test_nothing_is_known_before_a_webhook_came(arrivals: Arrivals, clock: ManualClock) -> None:
    clock.advance(600)
    assert is_well(arrivals) is None
    arrivals.accept()
    assert is_well(arrivals) is True


def test_a_loss_is_told_until_webhooks_come_and_a_round_is_clean(arrivals: Arrivals, clock: ManualClock) -> None:
    clock.advance(600)
    arrivals.found_message(START)
    arrivals.found_receipt(START)
    assert is_well(arrivals) is False
    assert arrivals.lost
    assert arrivals.lost.detail.startswith(
        "catch-up found 1 messages and 1 receipts that no webhook had brought: look at"
    )
    clock.advance(600)
    assert is_well(arrivals) is False, "nobody wrote"
    arrivals.accept()
    arrivals.found_message(START + 5 * MINUTE)
    assert is_well(arrivals) is False
    assert "found 2 messages" in arrivals.lost.detail
    clock.advance(600)
    assert is_well(arrivals) is False
    arrivals.accept()
    assert is_well(arrivals) is True


@pytest.mark.parametrize(("ago_seconds", "ok"), [(600, False), (120, False), (119, None), (-60, None), (601, None)])
def test_a_webhook_has_two_minutes_to_come(
    arrivals: Arrivals, clock: ManualClock, *, ago_seconds: float, ok: bool | None
) -> None:
    clock.advance(600)
    arrivals.found_message(clock.now() - timedelta(seconds=ago_seconds))
    assert is_well(arrivals) is ok


def test_an_incomplete_round_finds_losses_and_ends_none(arrivals: Arrivals, clock: ManualClock) -> None:
    clock.advance(600)
    arrivals.accept()
    arrivals.end_round(is_complete=False)
    assert arrivals.lost is None
    arrivals.found_message(START)
    arrivals.end_round(is_complete=False)
    assert arrivals.lost
    assert not arrivals.lost.ok


def test_a_message_without_a_time_proves_nothing(arrivals: Arrivals, clock: ManualClock) -> None:
    clock.advance(600)
    arrivals.found_message(None)
    assert is_well(arrivals) is None


def test_what_an_outage_kept_back_is_excused(arrivals: Arrivals, clock: ManualClock) -> None:
    clock.advance(600)
    arrivals.excuse()
    arrivals.found_message(clock.now() - 5 * MINUTE)
    arrivals.found_receipt(clock.now() - 5 * MINUTE)
    assert is_well(arrivals) is None
    clock.advance(600)
    arrivals.found_message(clock.now() - 5 * MINUTE)
    assert is_well(arrivals) is False


@pytest.mark.parametrize(("accepted_minutes", "ok"), [(None, False), (4, False), (5, True), (30, True)])
def test_a_receipt_counts_where_no_webhook_came_since_the_sending(
    arrivals: Arrivals, clock: ManualClock, *, accepted_minutes: int | None, ok: bool | None
) -> None:
    """The message is sent in the tenth minute; its webhook may have come a little before, by another clock."""
    for minute in range(60):
        if minute == accepted_minutes:
            arrivals.accept()
        clock.advance(60)
    arrivals.found_receipt(START + 10 * MINUTE)
    assert is_well(arrivals) is ok
