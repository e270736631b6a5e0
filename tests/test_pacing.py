"""The token bucket, the back-off and runs of failures. Times are multiples of 1/64 s, so that sums are exact."""

import math
import sys
from itertools import pairwise
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wamsg2.pacing import FailureRun, TokenBucket, backoff_seconds

law = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def seconds(most: int) -> st.SearchStrategy[float]:
    """Exact seconds from 0 to `most`."""
    return st.integers(0, most * 64).map(lambda n: n / 64)


intervals = seconds(10)


# --- the bucket -------------------------------------------------------------------------------------------------


def test_it_starts_empty() -> None:
    """Or a process that crashes in a loop would burst."""
    bucket = TokenBucket(1.0, now_seconds=100.0)
    assert bucket.ready_at_seconds == 101.0
    with pytest.raises(ValueError, match="no token"):
        bucket.take(100.0)
    bucket.take(101.0)
    assert bucket.ready_at_seconds == 102.0


def test_a_token_too_early_changes_nothing() -> None:
    bucket = TokenBucket(1.0, now_seconds=0.0)
    bucket.take(1.0)
    for early in (1.0, 1.5, 1.999):
        with pytest.raises(ValueError, match=r"no token before 2\.0"):
            bucket.take(early)
    assert bucket.ready_at_seconds == 2.0


def test_a_send_that_starts_late_keeps_the_next_one_away() -> None:
    bucket = TokenBucket(1.0, now_seconds=0.0)
    bucket.take(1.0)
    assert bucket.note_start(1.25) == 1.25  # since the bucket was made
    assert bucket.ready_at_seconds == 2.25
    assert bucket.note_start(1.125) == 0.0  # of an earlier one, told later
    assert bucket.ready_at_seconds == 2.25
    assert bucket.note_start(2.5) == 1.25


def test_time_that_passed_unused_is_not_saved_up() -> None:
    bucket = TokenBucket(1.0, now_seconds=0.0)
    bucket.take(3600.0)
    assert bucket.ready_at_seconds == 3601.0


@law
@given(seconds(1000), intervals, st.lists(st.tuples(seconds(15), st.integers(1, 3))))
def test_two_takes_are_never_closer_than_the_interval(
    start: float, interval: float, calls: list[tuple[float, int]]
) -> None:
    """Whatever the calls: also those of a caller who does not wait, and asks again at once."""
    bucket, now, taken = TokenBucket(interval, now_seconds=start), start, [start]
    for pause, attempts in calls:
        now += pause
        for _ in range(attempts):
            is_early = now < bucket.ready_at_seconds
            try:
                bucket.take(now)
            except ValueError:
                assert is_early
            else:
                assert not is_early
                taken.append(now)
    assert all(later - earlier >= interval for earlier, later in pairwise(taken))


@law
@given(seconds(1000), intervals, st.lists(seconds(3), max_size=20))
def test_a_caller_who_waits_loses_no_time(start: float, interval: float, late: list[float]) -> None:
    bucket, expected = TokenBucket(interval, now_seconds=start), start
    for delay in late:
        expected += interval + delay
        bucket.take(bucket.ready_at_seconds + delay)
    assert bucket.ready_at_seconds == expected + interval


@law
@given(st.floats(0, 1e6), st.floats(0.001, 3600), st.integers(1, 50))
def test_at_any_rate_the_gap_is_right_up_to_the_rounding(start: float, interval: float, takes: int) -> None:
    bucket, taken = TokenBucket(interval, now_seconds=start), [start]
    for _ in range(takes):
        taken.append(bucket.ready_at_seconds)
        bucket.take(bucket.ready_at_seconds)
    assert all(b - a >= interval - 2 * sys.float_info.epsilon * b for a, b in pairwise(taken))


@pytest.mark.parametrize(
    ("now", "horizon", "most", "tokens"),
    [
        (0.0, 0.0, 16, 0),
        (0.0, 0.5, 16, 0),
        (0.0, 1.0, 16, 1),
        (0.9, 0.05, 16, 0),
        (0.96875, 0.03125, 16, 1),
        (1.0, 0.0, 16, 1),
        (1.0, 0.05, 16, 1),
        (100.0, 0.0, 16, 1),  # however long it has lain there, it is one token
        (1.0, 1.0, 16, 2),
        (1.0, 10.0, 3, 3),
        (1.0, 10.0, 0, 0),
    ],
)
def test_tokens_within(now: float, horizon: float, most: int, tokens: int) -> None:
    bucket = TokenBucket(1.0, now_seconds=0.0)
    assert bucket.tokens_within(now, horizon, most) == min(tokens, most)


def test_without_a_limit_there_are_always_tokens() -> None:
    bucket = TokenBucket(0.0, now_seconds=5.0)
    assert bucket.tokens_within(5.0, 0.0, 16) == 16
    for _ in range(3):
        bucket.take(5.0)


@law
@given(intervals, seconds(30), seconds(5), st.integers(0, 16))
def test_so_many_takes_are_possible_from_the_moment_the_bucket_is_ready(
    interval: float, passed: float, horizon: float, most: int
) -> None:
    """`tokens_within` promises sends on the raster of the bucket; a start that is late itself comes later."""
    bucket = TokenBucket(interval, now_seconds=0.0)
    promised = bucket.tokens_within(passed, horizon, most)
    assert 0 <= promised <= most
    taken = 0
    while taken < most and max(bucket.ready_at_seconds, passed) <= passed + horizon:
        bucket.take(max(bucket.ready_at_seconds, passed))
        taken += 1
    assert promised == taken


# --- back-off ---------------------------------------------------------------------------------------------------


@law
@given(st.integers(1, 10**9), st.integers(), st.floats(0.001, 60), st.floats(1, 3600))
def test_backoff_bounds(failures: int, seed: int, base: float, most: float) -> None:
    wait = backoff_seconds(failures, Random(seed), base_seconds=base, most_seconds=most)
    raw = base * 2.0 ** min(failures - 1, 40)
    assert min(raw, most) <= wait <= min(raw * 1.2, most)


def test_backoff_doubles_up_to_the_most() -> None:
    waits = [backoff_seconds(n, Random(1), base_seconds=1.0, most_seconds=60.0) for n in range(1, 12)]
    assert all(b >= a * 2 / 1.2 or b == 60.0 for a, b in pairwise(waits))
    assert waits[-1] == 60.0


def test_backoff_has_jitter() -> None:
    random = Random(1)
    assert len({backoff_seconds(3, random, base_seconds=1.0, most_seconds=60.0) for _ in range(10)}) == 10


# --- a run of failures ------------------------------------------------------------------------------------------


@law
@given(
    st.integers(0, 20),
    st.integers(1, 100).map(lambda n: n / 100),
    st.lists(st.sampled_from([True, True, True, False]), max_size=80),
)
def test_a_run_is_on_iff_enough_of_the_last_sends_failed(count: int, share: float, outcomes: list[bool]) -> None:
    run = FailureRun(count, share)
    assert not run.is_on
    for n, failed in enumerate(outcomes, start=1):
        run.note(failed=failed)
        looked_at = outcomes[:n][-max(math.floor(count / share), 1) :]
        assert run.is_on is (count > 0 and sum(looked_at) >= count)
        if run.is_on:
            assert sum(looked_at) >= share * len(looked_at) * (1 - 1e-9), "fewer than the share"


@law
@given(st.integers(1, 20), st.floats(0.01, 1), st.lists(st.booleans(), max_size=40))
def test_after_clearing_it_knows_nothing(count: int, share: float, before: list[bool]) -> None:
    run = FailureRun(count, share)
    for failed in before:
        run.note(failed=failed)
    run.clear()
    for _ in range(count - 1):
        run.note(failed=True)
        assert not run.is_on
    run.note(failed=True)
    assert run.is_on


@law
@given(st.floats(0.01, 1), st.lists(st.booleans(), max_size=200))
def test_a_count_of_zero_is_never_on(share: float, outcomes: list[bool]) -> None:
    run = FailureRun(0, share)
    for failed in outcomes:
        run.note(failed=failed)
        assert not run.is_on


def test_a_run_says_how_many() -> None:
    run = FailureRun(3, 0.75)
    for failed in (True, False, True, True):
        run.note(failed=failed)
    assert run.is_on
    assert str(run) == "3 of the last 4 sends failed"
    run.note(failed=False)  # the oldest is forgotten
    assert not run.is_on
    assert str(run) == "2 of the last 4 sends failed"
