"""How far back to ask: never before the first launch, and never past what has been read."""

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import START, commit, memory
from wamsg2.model import CampaignStatus
from wamsg2.store import campaigns, listings
from wamsg2.work import catching_up

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    made = memory()
    yield made
    made.close()


def launch(connection: sqlite3.Connection, at: datetime, name: str = "spring") -> None:
    draft(connection, name)
    (campaign_id,) = connection.execute("SELECT id FROM campaigns WHERE name = ?", (name,)).fetchone()
    commit(connection, lambda tx: campaigns.set_status(tx, campaign_id, CampaignStatus.RUNNING, at))


def draft(connection: sqlite3.Connection, name: str = "spring") -> None:
    commit(connection, lambda tx: campaigns.add(tx, name=name, key="k", message_1="Hi", message_2=None, now=START))


def since(connection: sqlite3.Connection, now: datetime) -> datetime | None:
    return commit(connection, lambda tx: catching_up.list_since(tx, now))


def listed(connection: sqlite3.Connection, newest_at: datetime, now: datetime) -> None:
    commit(connection, lambda tx: catching_up.listed(tx, newest_at, now))


def test_before_the_first_launch_nobody_can_have_replied(connection: sqlite3.Connection) -> None:
    assert since(connection, START) is None
    draft(connection)
    assert since(connection, START + DAY) is None


def test_from_the_first_launch_on_whatever_became_of_the_campaign(connection: sqlite3.Connection) -> None:
    launch(connection, START)
    launch(connection, START + DAY, "autumn")
    assert since(connection, START + 2 * DAY) == START - DAY - HOUR
    commit(connection, lambda tx: campaigns.set_status(tx, 1, CampaignStatus.CANCELLED, START + DAY))
    assert since(connection, START + 2 * DAY) == START - DAY - HOUR


def test_then_from_an_hour_before_the_newest_that_was_listed(connection: sqlite3.Connection) -> None:
    launch(connection, START)
    listed(connection, START + 5 * HOUR, START + 6 * HOUR)
    assert since(connection, START + 6 * HOUR) == START + 4 * HOUR
    listed(connection, START + 5 * HOUR + MINUTE, START + 7 * HOUR)
    assert since(connection, START + 7 * HOUR) == START + 4 * HOUR + MINUTE


def test_an_older_list_takes_nothing_back(connection: sqlite3.Connection) -> None:
    launch(connection, START)
    listed(connection, START + 5 * HOUR, START + 6 * HOUR)
    listed(connection, START + 2 * HOUR, START + 6 * HOUR)
    assert since(connection, START + 6 * HOUR) == START + 4 * HOUR


def test_a_message_from_the_future_does_not_skip_what_comes_before_it(connection: sqlite3.Connection) -> None:
    launch(connection, START)
    listed(connection, START + 900 * DAY, START + HOUR)
    assert since(connection, START + HOUR) == START


def test_nobody_is_asked_for_more_than_a_week(connection: sqlite3.Connection) -> None:
    launch(connection, START)
    assert since(connection, START + 30 * DAY) == START + 23 * DAY


times = st.integers(-3 * 24 * 60, 30 * 24 * 60).map(lambda minutes: START + minutes * MINUTE)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.tuples(times, times), max_size=12))
def test_the_mark_never_goes_back_nor_beyond_now(lists: list[tuple[datetime, datetime]]) -> None:
    """Whatever the clocks say: ours may step either way, and the provider's is another one."""
    connection = memory()
    launch(connection, START)
    reached: datetime | None = None
    for newest_at, now in lists:
        listed(connection, newest_at, now)
        bounded = min(newest_at, now)
        reached = bounded if reached is None else max(reached, bounded)
        from_when = since(connection, now)
        assert from_when == max(reached - HOUR, now - 7 * DAY)
    connection.close()


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(0, 300), min_size=1, max_size=30), st.integers(-600, 600))
def test_whatever_our_clock_says_no_message_lies_between_two_lists(minutes: list[int], ahead_minutes: int) -> None:
    """Each list is read to its end, whose time the provider tells: the next one begins before it."""
    connection = memory()
    launch(connection, START - DAY)
    provider_now = START
    listed(connection, provider_now, provider_now + ahead_minutes * MINUTE)
    for passed in minutes:
        read_to, provider_now = provider_now, provider_now + passed * MINUTE
        our_now = provider_now + ahead_minutes * MINUTE
        from_when = since(connection, our_now)
        assert from_when is not None
        assert from_when < read_to
        listed(connection, provider_now, our_now)
    connection.close()


def test_of_two_who_read_a_list_the_one_who_is_further_counts(connection: sqlite3.Connection) -> None:
    launch(connection, START)
    mine, is_new = commit(connection, lambda tx: catching_up.begin(tx, START + HOUR))
    assert mine is not None
    commit(connection, lambda tx: listings.reached(tx, mine, 1, None))
    theirs, is_theirs_new = commit(connection, lambda tx: catching_up.begin(tx, START + 2 * HOUR))
    assert theirs is not None
    assert (theirs.began_at, is_new, is_theirs_new) == (mine.began_at, True, False)
    commit(connection, lambda tx: listings.reached(tx, theirs, 4, START))
    commit(connection, lambda tx: listings.reached(tx, mine, 2, START - MINUTE))
    commit(connection, lambda tx: listings.reached(tx, mine, 3, None))
    read, _ = commit(connection, lambda tx: catching_up.begin(tx, START + 3 * HOUR))
    assert read is not None
    assert (read.since, read.next_page, read.newest_at) == (mine.since, 4, START)


def test_a_list_that_another_has_finished_changes_nothing(connection: sqlite3.Connection) -> None:
    launch(connection, START)
    old, _ = commit(connection, lambda tx: catching_up.begin(tx, START + HOUR))
    assert old is not None
    commit(connection, lambda tx: listings.reached(tx, old, 8, START))
    commit(connection, lambda tx: catching_up.finish(tx, old, START + HOUR))
    new, is_new = commit(connection, lambda tx: catching_up.begin(tx, START + 2 * HOUR))
    assert new is not None
    assert is_new
    commit(connection, lambda tx: listings.reached(tx, new, 1, START))
    commit(connection, lambda tx: listings.reached(tx, old, 9, START + HOUR))
    commit(connection, lambda tx: catching_up.finish(tx, old, START + 2 * HOUR))
    going_on = replace(new, next_page=1, newest_at=START)
    assert commit(connection, lambda tx: catching_up.begin(tx, START + 3 * HOUR)) == (going_on, False)


def test_an_empty_list_writes_nothing(connection: sqlite3.Connection) -> None:
    """Where nobody writes, a round every few minutes costs no commit."""
    launch(connection, START)
    before = connection.total_changes
    listing, is_new = commit(connection, lambda tx: catching_up.begin(tx, START + HOUR))
    assert listing is not None
    assert is_new
    commit(connection, lambda tx: catching_up.finish(tx, listing, START + HOUR))
    assert connection.total_changes == before


def test_a_list_that_began_too_long_ago_is_replaced(connection: sqlite3.Connection) -> None:
    launch(connection, START)
    old, _ = commit(connection, lambda tx: catching_up.begin(tx, START + HOUR))
    assert old is not None
    commit(connection, lambda tx: listings.reached(tx, old, 8, START))
    new, is_new = commit(connection, lambda tx: catching_up.begin(tx, START + HOUR + 7 * DAY))
    assert new is not None
    assert (is_new, new.next_page, new.newest_at) == (True, 0, None)
    commit(connection, lambda tx: listings.reached(tx, new, 2, None))
    commit(connection, lambda tx: catching_up.finish(tx, new, START + HOUR + 7 * DAY))
    assert commit(connection, listings.get) is None


def test_what_came_in_while_a_list_was_read_is_not_past(connection: sqlite3.Connection) -> None:
    """The provider may show it on a page that has been read by then."""
    launch(connection, START)
    listing, _ = commit(connection, lambda tx: catching_up.begin(tx, START + 5 * HOUR))
    assert listing is not None
    commit(connection, lambda tx: listings.reached(tx, listing, 1, START + 8 * HOUR))
    commit(connection, lambda tx: catching_up.finish(tx, listing, START + 9 * HOUR))
    assert since(connection, START + 9 * HOUR) == START + 4 * HOUR


def test_pages_that_were_read_after_a_backup_are_owed(connection: sqlite3.Connection) -> None:
    launch(connection, START)
    listing, _ = commit(connection, lambda tx: catching_up.begin(tx, START + HOUR))
    assert listing is not None
    commit(connection, lambda tx: listings.reached(tx, listing, 7, START + HOUR))
    commit(connection, lambda tx: catching_up.owe(tx, START + 2 * HOUR))
    assert commit(connection, catching_up.is_owed)
    owed, is_new = commit(connection, lambda tx: catching_up.begin(tx, START + 3 * HOUR))
    assert owed is not None
    assert (is_new, owed.next_page) == (True, 0)
    commit(connection, lambda tx: catching_up.finish(tx, owed, START + 3 * HOUR))
    assert not commit(connection, catching_up.is_owed)
