"""The tables judge for themselves: wrong rows cannot be written, and the counters follow every change."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import memory
from wamsg2.model import MessageStatus, ReplyOutcome
from wamsg2.store import schema, verify


def insert(connection: sqlite3.Connection, table: str, **values: object) -> None:
    marks = ", ".join("?" * len(values))
    connection.execute(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})", tuple(values.values()))  # noqa: S608


def contact(**changes: object) -> dict[str, object]:
    return {"phone": "+34600000001", "phone_key": "+34600000001", "created_at": 0} | changes


def campaign(**changes: object) -> dict[str, object]:
    return {"name": "c", "key": "k", "status": "draft", "message_1": "Hi", "created_at": 0} | changes


def message(**changes: object) -> dict[str, object]:
    usual = {
        "contact_id": 1,
        "campaign_id": 1,
        "step": 1,
        "status": "queued",
        "reference": "r",
        "created_at": 0,
        "due_at": 0,
    }
    return usual | changes


def interaction(**changes: object) -> dict[str, object]:
    usual = {"type": "text", "outcome": "reaction", "text": "", "wa_id": "", "reply_at": 0, "written_at": 0}
    return usual | {"received_at": 0} | changes


def event(**changes: object) -> dict[str, object]:
    usual = {"identity": b"1", "name": "x", "result": "accepted", "source": "webhook", "body": b"", "received_at": 0}
    return usual | changes


CLAIMED = {"attempt": 1, "attempted_at": 0, "text": "Hi"}
DOUBTED = {"status": "uncertain", "doubts": 1, "reason": "x", "look_up_at": 0}


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    made = memory()
    insert(made, "contacts", **contact())
    insert(made, "campaigns", **campaign())
    yield made
    made.close()


@pytest.mark.parametrize(
    ("table", "row"),
    [
        ("contacts", contact(phone="+34600000002")),  # one spelling, one contact
        ("contacts", contact(phone_key="2", opted_out=2)),
        ("contacts", contact(phone_key="2", created_at="today")),
        ("contacts", contact(phone_key="2", phone=None)),
        ("campaigns", campaign()),
        ("campaigns", campaign(name="d", status="completed")),  # derived, never stored
        ("campaigns", campaign(name="d", status="scheduled")),
        ("campaigns", campaign(name="d", status="running")),  # never launched
        ("campaigns", campaign(name="d", status="paused")),
        ("chat_ids", {"chat_id": "1@lid", "contact_id": 9}),
        ("recipients", {"campaign_id": 9, "contact_id": 1, "variables": "{}"}),
        ("messages", message(step=0)),
        ("messages", message(step=3, reply_at=1)),
        ("messages", message(status="lost")),
        ("messages", message(reply_at=1)),  # a Message 1 answers nothing
        ("messages", message(step=2)),  # a Message 2 answers a reply
        ("messages", message(status="sent")),
        ("messages", message(status="delivered")),
        ("messages", message(status="read")),
        ("messages", message(status="sending")),
        ("messages", message(status="sending", **CLAIMED | {"attempt": 0})),
        ("messages", message(status="sending", **CLAIMED | {"attempted_at": None})),
        ("messages", message(status="sending", **CLAIMED | {"text": None})),
        ("messages", message(status="uncertain", doubts=1, reason="x", **CLAIMED)),  # who would look it up?
        ("messages", message(status="uncertain", doubts=1, look_up_at=0, **CLAIMED)),  # why?
        ("messages", message(status="uncertain", doubts=1, reason="x", look_up_at=0, **CLAIMED | {"text": None})),
        (
            "messages",
            message(status="uncertain", doubts=1, reason="x", look_up_at=0, **CLAIMED | {"attempted_at": None}),
        ),
        ("messages", message(status="uncertain", doubts=1, reason="x", step=2, reply_at=1)),  # somebody waits for it
        ("messages", message(status="uncertain", reason="x", look_up_at=0, **CLAIMED)),  # since when?
        ("messages", message(look_up_at=0)),  # nothing to ask about
        ("messages", message(status="delivered", sent_at=1, look_up_at=0)),
        ("messages", message(status="failed", reason="x", look_up_at=0)),
        ("messages", message(status="sending", look_up_at=0, **CLAIMED)),
        ("messages", message(status="failed")),
        ("messages", message(status="cancelled")),
        ("messages", message(contact_id=9)),
        ("messages", message(campaign_id=9)),
        ("messages", message(due_at="soon")),
        ("interactions", interaction(outcome="whatever")),
        ("interactions", interaction(outcome="unknown_contact", contact_id=1)),
        ("interactions", interaction(outcome="waiting_for_message_1", contact_id=1)),
        ("interactions", interaction(contact_id=9)),
        ("interactions", interaction(campaign_id=9)),
        ("events", event(result="duplicate")),
        ("events", event(source="dream")),
        ("events", event(source="daemon")),
        ("events", event(source=None)),
        ("waiting_receipts", {"status": "lost", "chat_ids": "", "received_at": 0}),
    ],
)
def test_wrong_rows_are_refused(connection: sqlite3.Connection, table: str, row: dict[str, object]) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        insert(connection, table, **row)


@pytest.mark.parametrize(
    "row",
    [
        message(),
        message(step=2, reply_at=5),
        message(status="sending", **CLAIMED),
        message(status="uncertain", doubts=1, reason="x", look_up_at=0, **CLAIMED),
        message(status="uncertain", doubts=1, reason="x"),  # out of a backup: looked up in its turn
        message(status="uncertain", doubts=1, reason="x", look_up_at=0, step=2, reply_at=1),
        message(status="sent", sent_at=1),
        message(status="sent", sent_at=1, look_up_at=2),
        message(status="failed", reason="x"),
        message(status="cancelled", reason="x"),
    ],
)
def test_right_rows_are_taken(connection: sqlite3.Connection, row: dict[str, object]) -> None:
    insert(connection, "messages", **row)


@pytest.mark.parametrize("status", ["queued", "cancelled", "failed"])
def test_one_message_per_contact_campaign_and_step(connection: sqlite3.Connection, status: str) -> None:
    insert(connection, "messages", **message(status=status, reason="x"))
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        insert(connection, "messages", **message(reference="other"))
    insert(connection, "messages", **message(reference="other", step=2, reply_at=1))


@pytest.mark.parametrize(
    "row", [{"status": "sending", **CLAIMED}, {"status": "uncertain", "doubts": 1, "reason": "x"}]
)
def test_one_message_per_reference_that_the_provider_may_know(
    connection: sqlite3.Connection, row: dict[str, object]
) -> None:
    insert(connection, "messages", **message(**row))
    insert(connection, "contacts", **contact(phone_key="2"))
    with pytest.raises(sqlite3.IntegrityError, match=r"messages\.reference"):
        insert(connection, "messages", **message(contact_id=2, **row))


def test_one_event_per_identity(connection: sqlite3.Connection) -> None:
    insert(connection, "events", **event())
    for source in ("webhook", "catch_up"):
        with pytest.raises(sqlite3.IntegrityError, match=r"events\.identity"):
            insert(connection, "events", **event(source=source))


def test_events_are_counted_by_the_way_they_came(connection: sqlite3.Connection) -> None:
    for n, source in enumerate(("webhook", "catch_up", "webhook")):
        insert(connection, "events", **event(identity=bytes([n]), source=source))
    totals = dict(connection.execute("SELECT name, value FROM totals").fetchall())
    assert (totals["webhooks_received"], totals["caught_up"], totals["webhooks_duplicates"]) == (2, 1, 0)


def test_old_events_can_go_without_their_interactions(connection: sqlite3.Connection) -> None:
    insert(connection, "events", **event())
    insert(connection, "interactions", **interaction(event_id=1, contact_id=1))
    connection.execute("DELETE FROM events")
    assert connection.execute("SELECT count(*) FROM interactions").fetchone() == (1,)


@pytest.mark.parametrize("table", ["contacts", "campaigns"])
@pytest.mark.parametrize("outcome", ["message_2_queued", "waiting_for_message_1"])
def test_a_contact_or_campaign_goes_with_all_its_rows(
    connection: sqlite3.Connection, table: str, outcome: str
) -> None:
    insert(connection, "recipients", campaign_id=1, contact_id=1, variables="{}")
    insert(connection, "chat_ids", chat_id="1@lid", contact_id=1)
    insert(connection, "messages", **message(status="sending", **CLAIMED))
    insert(connection, "interactions", **interaction(contact_id=1, campaign_id=1, message_id=1, outcome=outcome))
    connection.execute(f"DELETE FROM {table}")  # noqa: S608 - two constants
    for emptied in ("recipients", "messages", "interactions"):
        assert connection.execute(f"SELECT count(*) FROM {emptied}").fetchone() == (0,)  # noqa: S608 - constants
    assert counters(connection) == []


# --- from version 1 ------------------------------------------------------------------------------------------


def test_an_upgrade_shows_the_first_replies_and_what_was_removed() -> None:
    """Version 1 kept the reply that arrived first, and knew only how many events were removed."""
    with closing(schema.in_memory(1)) as connection:
        connection.executescript(
            """INSERT INTO contacts (id, phone, phone_key, created_at) VALUES (1, '+34600000001', '+34600000001', 0);
               INSERT INTO campaigns (id, name, key, status, message_1, created_at)
               VALUES (1, 'c', 'k', 'draft', '', 0);
               INSERT INTO recipients (campaign_id, contact_id, variables) VALUES (1, 1, '{}');
               INSERT INTO events (id, identity, name, result, source, body, received_at)
               VALUES (8, x'01', 'message:in:new', 'accepted', 'webhook', x'7b7d', 80);
               INSERT INTO interactions (event_id, contact_id, campaign_id, type, outcome, text, wa_id, reply_at,
                                         written_at, received_at)
               VALUES (7, 1, 1, 'text', 'no_message_2', '', '', 70, 70, 70),
                      (8, 1, 1, 'text', 'no_message_2', '', '', 60, 60, 80);"""
        )
        assert connection.execute("SELECT replied_at FROM recipients").fetchall() == [(70,)]
        schema.migrate(connection)
        assert connection.execute("SELECT replied_at FROM recipients").fetchall() == [(60,)]
        assert connection.execute("SELECT replied FROM campaign_counts").fetchall() == [(1,)]
        assert connection.execute("SELECT name, at FROM marks").fetchall() == [("events_removed", 70)]


# --- counters ------------------------------------------------------------------------------------------------


def counters(connection: sqlite3.Connection) -> list[Any]:
    """What a recount finds different."""
    return [
        row
        for promise, _, query in verify._CHECKS
        if promise == "counters"
        for row in connection.execute(query).fetchall()
    ]


small = st.integers(1, 3)
statuses = st.sampled_from(MessageStatus)
outcomes = st.sampled_from([o for o in ReplyOutcome if o is not ReplyOutcome.WAITING_FOR_MESSAGE_1])
times = st.none() | st.integers(0, 9)
changes = st.one_of(
    st.tuples(st.just("recipient"), small, small),
    st.tuples(st.just("leave"), small, small),
    st.tuples(st.just("mark"), small, small, times, times),
    st.tuples(st.just("message"), small, small, st.sampled_from([1, 2]), statuses),
    st.tuples(st.just("move"), small, statuses),
    st.tuples(st.just("forget message"), small),
    st.tuples(st.just("interaction"), st.none() | small, outcomes),
    st.tuples(st.just("decide"), small, st.none() | small, outcomes),
    st.tuples(st.just("forget interaction"), small),
    st.tuples(st.just("erase"), small),
    st.tuples(st.just("forget campaign"), small),
)
Change = tuple[Any, ...]


def facts_of(status: MessageStatus) -> dict[str, object]:
    """Columns that make a row in this status a right one."""
    uncertain = status is MessageStatus.UNCERTAIN
    doubt = {"doubts": 1, "look_up_at": 1} if uncertain else {}
    return CLAIMED | {"status": status.value, "sent_at": 1, "reason": "x"} | doubt


def set_facts(connection: sqlite3.Connection, number: int, status: MessageStatus) -> None:
    facts = facts_of(status)
    columns = ", ".join(f"{name} = ?" for name in facts)
    connection.execute(f"UPDATE messages SET {columns} WHERE id % 3 = ?", (*facts.values(), number % 3))  # noqa: S608


def apply(connection: sqlite3.Connection, change: Change) -> None:  # noqa: C901 - a row per change
    execute: Callable[..., sqlite3.Cursor] = connection.execute
    match change:
        case "recipient", campaign_id, contact_id:
            insert(connection, "recipients", campaign_id=campaign_id, contact_id=contact_id, variables="{}")
        case "leave", campaign_id, contact_id:
            execute("DELETE FROM recipients WHERE campaign_id = ? AND contact_id = ?", (campaign_id, contact_id))
        case "mark", campaign_id, contact_id, replied_at, opted_out_at:
            execute(
                "UPDATE recipients SET replied_at = ?, opted_out_at = ? WHERE campaign_id = ? AND contact_id = ?",
                (replied_at, opted_out_at, campaign_id, contact_id),
            )
        case "message", contact_id, campaign_id, step, status:
            row = message(
                contact_id=contact_id, campaign_id=campaign_id, step=step, reply_at=1 if step == 2 else None
            )
            reference = f"{contact_id}/{campaign_id}/{step}"
            insert(connection, "messages", **row | facts_of(status) | {"reference": reference})
        case "move", number, status:
            set_facts(connection, number, status)
        case "forget message", number:
            execute("DELETE FROM messages WHERE id % 3 = ?", (number % 3,))
        case "interaction", campaign_id, outcome:
            insert(connection, "interactions", **interaction(campaign_id=campaign_id, outcome=outcome.value))
        case "decide", number, campaign_id, outcome:
            execute(
                "UPDATE interactions SET campaign_id = ?, outcome = ? WHERE id % 3 = ?",
                (campaign_id, outcome.value, number % 3),
            )
        case "forget interaction", number:
            execute("DELETE FROM interactions WHERE id % 3 = ?", (number % 3,))
        case "erase", contact_id:
            execute("DELETE FROM contacts WHERE id = ?", (contact_id,))
        case "forget campaign", campaign_id:
            execute("DELETE FROM campaigns WHERE id = ?", (campaign_id,))
        case _:
            raise AssertionError(change)


@settings(deadline=None, max_examples=150)
@given(st.lists(changes, max_size=40))
def test_counters_follow_every_change(made: list[Change]) -> None:
    connection = memory()
    for n in (1, 2, 3):
        insert(connection, "contacts", **contact(phone=f"{n}", phone_key=f"{n}"))
        insert(connection, "campaigns", **campaign(name=f"{n}"))
    for change in made:
        try:
            apply(connection, change)
        except sqlite3.IntegrityError:  # there already, or gone
            continue
        assert counters(connection) == [], change
    connection.close()
