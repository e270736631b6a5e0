"""Rows of notifications: told once, in order, bounded, and gone when they are old."""

import sqlite3
from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from tests.support import START, House, commit, house, memory
from wamsg2 import alerts
from wamsg2.alerts import Kind, Occurrence
from wamsg2.model import Notification, NotificationState
from wamsg2.store import notifications
from wamsg2.store.writer import Tx
from wamsg2.work import notifying

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    made = memory()
    yield made
    made.close()


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path) as made:
        yield made


def tell(
    connection: sqlite3.Connection,
    *occurrences: Occurrence,
    at: datetime = START,
    post: bool = True,
    **conditions: str | None,
) -> list[Notification]:
    told = commit(
        connection,
        lambda tx: notifying.tell(
            tx, {Kind(kind): detail for kind, detail in conditions.items()}, occurrences, now=at, post=post
        ),
    )
    return list(told.new)


def completed(name: str) -> Occurrence:
    return Occurrence(Kind.CAMPAIGN_COMPLETED, name, "1 contact, 0 of them replied")


def line(connection: sqlite3.Connection, at: datetime = START) -> notifying.Line:
    return commit(connection, lambda tx: notifying.line(tx, at))


def head(connection: sqlite3.Connection, at: datetime = START) -> Notification:
    found = line(connection, at).head
    assert found is not None
    return found


# --- told once -----------------------------------------------------------------------------------------------


def test_a_condition_is_raised_once_and_cleared_once(connection: sqlite3.Connection) -> None:
    (raised,) = tell(connection, held="HTTP 402", uncertain=None)
    assert (raised.kind, raised.detail, raised.state) == ("held", "HTTP 402", NotificationState.RAISED)
    assert raised.raised_at == raised.created_at == START
    assert tell(connection, at=START + MINUTE, held="HTTP 401") == []
    assert tell(connection, at=START + MINUTE) == [], "nobody can tell: it stays as it is"
    (cleared,) = tell(connection, at=START + 2 * MINUTE, held=None)
    assert (cleared.kind, cleared.detail, cleared.state) == ("held", "HTTP 402", NotificationState.CLEARED)
    assert (cleared.raised_at, cleared.created_at) == (START, START + 2 * MINUTE)
    assert tell(connection, at=START + 2 * MINUTE, held=None) == []
    (again,) = tell(connection, at=START + 3 * MINUTE, held="HTTP 402")
    assert len({raised.key, cleared.key, again.key}) == 3


def test_what_happened_is_told_once_for_ever(connection: sqlite3.Connection) -> None:
    assert [each.subject for each in tell(connection, completed("a"), completed("b"))] == ["a", "b"]
    assert [each.subject for each in tell(connection, completed("a"), completed("c"))] == ["c"]


def test_the_tables_judge_it_too(connection: sqlite3.Connection) -> None:
    tell(connection, completed("a"), held="x")
    for state in ("raised", "happened"):
        kind, subject = ("held", "") if state == "raised" else ("campaign_completed", "a")
        with pytest.raises(sqlite3.IntegrityError):
            connection.execute(
                """INSERT INTO notifications (kind, subject, detail, state, raised_at, created_at)
                   VALUES (?, ?, '', ?, 0, 0)""",
                (kind, subject, state),
            )


def test_a_detail_shows_nobodys_number(connection: sqlite3.Connection) -> None:
    (raised,) = tell(connection, held=f"HTTP 403: no chat with +34600000001 {'x' * 1000}")
    assert "34600000001" not in raised.detail
    assert len(raised.detail) == 500


def test_keys_are_of_no_other_database(connection: sqlite3.Connection) -> None:
    (here,) = tell(connection, held="x")
    other = memory()
    (there,) = tell(other, held="x")
    other.close()
    assert here.id == there.id
    assert here.key != there.key


# --- the line ------------------------------------------------------------------------------------------------


def test_the_oldest_is_always_the_next(connection: sqlite3.Connection) -> None:
    first, second = tell(connection, held="x", uncertain="y")
    assert line(connection).head == first
    later = START + timedelta(seconds=5)
    commit(connection, lambda tx: notifications.postpone(tx, first.id, later))
    found = line(connection)
    assert found.head is not None
    assert (found.head.key, found.head.attempts, found.next_at) == (first.key, 1, later)
    commit(connection, lambda tx: notifications.hurry(tx, START))
    assert line(connection).next_at == START
    commit(connection, lambda tx: notifications.delivered(tx, first.id, START))
    assert line(connection).head == second
    commit(connection, lambda tx: notifications.delivered(tx, second.id, START))
    assert line(connection).head is None


def test_without_a_receiver_nothing_waits(connection: sqlite3.Connection) -> None:
    tell(connection, completed("a"), held="x", post=False)
    tell(connection, held=None, post=False)
    assert line(connection).head is None


def test_what_is_too_old_is_given_up(connection: sqlite3.Connection) -> None:
    tell(connection, held="x")
    (later,) = tell(connection, at=START + DAY, held=None)
    assert line(connection, START + alerts.GIVE_UP_AFTER).given_up == 0
    found = line(connection, START + alerts.GIVE_UP_AFTER + MINUTE)
    assert (found.given_up, found.head) == (1, later)


def test_the_line_is_bounded(connection: sqlite3.Connection) -> None:
    names = [f"{n}" for n in range(alerts.MOST_WAITING)]
    tell(connection, *map(completed, names))
    assert head(connection).subject == "0"
    told = commit(
        connection, lambda tx: notifying.tell(tx, {}, [completed("x"), completed("y")], now=START, post=True)
    )
    assert (len(told.new), told.given_up) == (2, 2)
    assert head(connection).subject == "2"


def test_what_is_given_up_while_under_way_is_delivered_all_the_same(connection: sqlite3.Connection) -> None:
    (raised,) = tell(connection, held="x")
    line(connection, START + 4 * DAY)
    commit(connection, lambda tx: notifications.postpone(tx, raised.id, START + 4 * DAY))
    assert line(connection, START + 4 * DAY).head is None
    commit(connection, lambda tx: notifications.delivered(tx, raised.id, START + 4 * DAY))
    assert connection.execute("SELECT delivered_at > 0, given_up_at, next_at FROM notifications").fetchall() == [
        (1, None, None)
    ]


# --- the end -------------------------------------------------------------------------------------------------


def prune(connection: sqlite3.Connection, before: datetime, most: int = 100) -> int:
    return commit(connection, lambda tx: notifications.prune(tx, before, most))


def test_old_ones_go_but_for_what_would_be_told_again(connection: sqlite3.Connection) -> None:
    connection.execute(
        "INSERT INTO campaigns (name, key, status, message_1, created_at) VALUES ('here', 'k', 'draft', 'Hi', 0)"
    )
    tell(connection, completed("here"), completed("gone"), held="x", uncertain="y", disk_low="z")
    tell(connection, at=START + MINUTE, held=None)
    tell(connection, at=START + 2 * DAY, uncertain=None)
    assert prune(connection, START + DAY, most=2) == 2
    assert prune(connection, START + DAY) == 2
    assert prune(connection, START + DAY) == 0
    left = connection.execute("SELECT kind, subject, state FROM notifications ORDER BY id").fetchall()
    assert left == [
        ("disk_low", "", "raised"),
        ("campaign_completed", "here", "happened"),
        ("uncertain", "", "cleared"),
    ]


# --- what is shown -------------------------------------------------------------------------------------------


async def test_what_is_open_and_what_has_just_happened_is_shown(home: House) -> None:
    async def tell_here(kind: Kind, detail: str | None, at: datetime, *occurrences: Occurrence) -> None:
        await home.store.write(lambda tx: notifying.tell(tx, {kind: detail}, occurrences, now=at, post=True).given_up)

    await tell_here(Kind.HELD, "HTTP 402", START, completed("old"))
    await tell_here(Kind.HELD, None, START + MINUTE)
    await tell_here(Kind.DISK_LOW, "9 MiB free", START + 2 * DAY, completed("new"))
    await home.store.write(lambda tx: notifications.delivered(tx, 4, START + 2 * DAY))
    at = "2026-11-24T10:00:00.000Z"
    assert await notifications.shown(home.store.reader, START + DAY) == [
        {
            "kind": "campaign_completed",
            "subject": "new",
            "detail": "1 contact, 0 of them replied",
            "state": "happened",
            "raised_at": at,
            "delivered_at": None,
        },
        {
            "kind": "disk_low",
            "subject": "",
            "detail": "9 MiB free",
            "state": "raised",
            "raised_at": at,
            "delivered_at": at,
        },
    ]
    assert await notifications.delivery(home.store.reader) == notifications.DeliveryStats(waiting=4, given_up=0)
    await home.store.write(lambda tx: notifying.line(tx, START + 4 * DAY).given_up)
    assert await notifications.delivery(home.store.reader) == notifications.DeliveryStats(waiting=1, given_up=3)


# --- plans ---------------------------------------------------------------------------------------------------


def test_what_is_asked_often_looks_at_what_waits_or_is_open_only(connection: sqlite3.Connection) -> None:
    plans: list[str] = []

    class Explained:
        def execute(self, sql: str, parameters: Any = ()) -> sqlite3.Cursor:
            plans.extend(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters))
            return connection.execute(sql, parameters)

    tx = cast("Tx", Explained())
    notifying.tell(tx, {Kind.HELD: "x"}, [completed("a")], now=START, post=True)
    notifying.tell(tx, {Kind.HELD: None}, [], now=START, post=True)
    notifying.line(tx, START)
    notifications.hurry(tx, START)
    assert plans
    assert [plan for plan in plans if plan.startswith("SCAN notifications") and " INDEX " not in plan] == []
