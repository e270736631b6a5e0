"""Queries that more than one unit of work relies on: ids, the queue, times, kept receipts."""

import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import permutations
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import START, commit, memory
from wamsg2 import rules
from wamsg2.model import (
    Accepted,
    CampaignStatus,
    EventResult,
    EventSource,
    MessageStatus,
    Overlap,
    Policy,
    Receipt,
    ReceiptStatus,
    Start,
)
from wamsg2.store import campaigns, contacts, events, messages
from wamsg2.store.times import from_ms, to_ms
from wamsg2.store.writer import Work
from wamsg2.work import campaigning, claiming, settling

DAY = timedelta(days=1)

T = TypeVar("T")
ONE, TWO = "+34600000001", "+34600000002"
QUEUE_ID, WA_ID = "675c5f0a1b2c3d4e5f600001", "3EB0A1B2C3D4E5F60001"


class Table:
    """A running campaign with two contacts, both messages queued."""

    def __init__(self) -> None:
        self.connection = memory()
        self(lambda tx: campaigns.add(tx, name="c", key="k", message_1="Hi", message_2="More", now=START))
        rows = [campaigning.Row(n, p, p, {}) for n, p in enumerate((ONE, TWO))]
        self(lambda tx: campaigning.add_rows(tx, "c", rows, START))
        self(lambda tx: campaigning.prepare_launch(tx, "c", 0, START))
        self(lambda tx: campaigning.finish_launch(tx, "c", START))

    def __call__(self, work: Work[T]) -> T:
        return commit(self.connection, work)

    def send(self, accepted: Accepted) -> int:
        (claim,) = self(lambda tx: claiming.claim(tx, now=START, due_before=START, most=1)).claims
        self(
            lambda tx: settling.settle(
                tx, claim, accepted, start=Start(START, timedelta(seconds=1)), now=START, policy=Policy()
            )
        )
        return claim.message_id


@pytest.fixture
def table() -> Iterator[Table]:
    made = Table()
    yield made
    made.connection.close()


@given(st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 - see timezones
def test_times_come_back_to_the_millisecond(moment: datetime) -> None:
    assert timedelta(0) <= moment - from_ms(to_ms(moment)) < timedelta(milliseconds=1)
    assert to_ms(from_ms(to_ms(moment))) == to_ms(moment)


def test_no_time_is_no_time() -> None:
    assert to_ms(None) is None
    assert from_ms(None) is None


def test_provider_ids_are_found_in_either_place(table: Table) -> None:
    message_id = table.send(Accepted(QUEUE_ID, WA_ID))
    table.send(Accepted("b" * 24, "3EB0FF"))
    for queue_id, wa_id in ((QUEUE_ID, None), (None, QUEUE_ID), (WA_ID, None), (None, WA_ID), (QUEUE_ID, WA_ID)):
        unit = partial(messages.by_provider_ids, reference=None, queue_id=queue_id, wa_id=wa_id)
        message = table(unit)
        assert message is not None
        assert message.id == message_id
    assert table(lambda tx: messages.by_provider_ids(tx, reference=None, queue_id=None, wa_id=None)) is None
    assert table(lambda tx: messages.by_provider_ids(tx, reference="w2-x", queue_id="x", wa_id="y")) is None


def test_our_reference_is_believed_first(table: Table) -> None:
    first = table.send(Accepted(QUEUE_ID, WA_ID))
    second = table.send(Accepted("b" * 24, "3EB0FF"))
    ((reference,),) = table.connection.execute("SELECT reference FROM messages WHERE id = ?", (second,)).fetchall()
    message = table(lambda tx: messages.by_provider_ids(tx, reference=reference, queue_id=QUEUE_ID, wa_id=WA_ID))
    assert message is not None
    assert message.id == second != first


def test_ids_are_learned_once(table: Table) -> None:
    message_id = table.send(Accepted(QUEUE_ID))
    for wa_id in (WA_ID, "y"):
        table(partial(messages.learn_ids, message_id=message_id, queue_id="x", wa_id=wa_id))
        message = table(lambda tx: messages.by_id(tx, message_id))
        assert message is not None
        assert (message.queue_id, message.wa_id) == (QUEUE_ID, WA_ID)


def found(table: Table, provider_id: str | None, *chat_ids: str, phone_key: str | None = None) -> str | None:
    keys = [phone_key] if phone_key else []
    match = table(lambda tx: contacts.find(tx, provider_id=provider_id, phone_keys=keys, chat_ids=chat_ids))
    return match.contact.phone if match else None


def test_a_contact_is_found_by_what_we_sent_then_by_number_then_by_chat_id(table: Table) -> None:
    table.send(Accepted(QUEUE_ID, WA_ID))
    table(lambda tx: contacts.learn_chat_ids(tx, 2, ["2@lid"]))
    assert found(table, QUEUE_ID) == found(table, WA_ID) == ONE
    assert found(table, WA_ID, "2@lid", phone_key=TWO) == ONE
    assert found(table, "nothing", "1@lid", "2@lid", phone_key=ONE) == ONE
    assert found(table, "nothing", "1@lid", "2@lid", phone_key="+1") == TWO
    assert found(table, None, "2@lid") == TWO
    assert found(table, "nothing", "1@lid", phone_key=ONE) == ONE
    assert found(table, None) is None
    assert found(table, "nothing", "1@lid", phone_key="+1") is None
    assert table(lambda tx: messages.message_1_id(tx, 1, WA_ID)) == 1
    assert table(lambda tx: messages.message_1_id(tx, 2, WA_ID)) is None


def test_a_chat_id_leads_to_whom_it_was_last_told_of(table: Table) -> None:
    assert table(lambda tx: contacts.learn_chat_ids(tx, 1, ["1@lid", "2@lid"])) == ["1@lid", "2@lid"]
    assert table(lambda tx: contacts.learn_chat_ids(tx, 1, ["1@lid"])) == []
    assert table(lambda tx: contacts.learn_chat_ids(tx, 2, ["1@lid"])) == ["1@lid"]
    assert found(table, None, "1@lid") == TWO


def test_one_message_2_whatever_its_status(table: Table) -> None:
    def add() -> bool:
        return table(
            lambda tx: messages.add_message_2(
                tx,
                contact_id=1,
                campaign_id=1,
                reference="r",
                reply_at=START,
                window=timedelta(hours=24),
                due_at=START,
                now=START,
            )
        )

    assert add()
    for status in MessageStatus:
        facts = ("x", 1, 1, 1, "x", 1 if status is MessageStatus.UNCERTAIN else None, status.value)
        table.connection.execute(
            """UPDATE messages SET reason = ?, sent_at = ?, attempt = ?, attempted_at = ?, text = ?, look_up_at = ?,
                      doubts = 1, status = ? WHERE step = 2""",
            facts,
        )
        assert not add()


def test_the_rules_see_the_message_1s_that_went_out_since(table: Table) -> None:
    table.send(Accepted(QUEUE_ID))
    (seen,) = table(lambda tx: messages.message_1s_of(tx, 1, START + DAY, DAY))
    assert (seen.status, seen.went_at, seen.campaign_status) == (MessageStatus.SENT, START, CampaignStatus.RUNNING)
    assert seen.campaign_has_message_2
    assert not seen.message_2_exists
    assert table(lambda tx: messages.message_1s_of(tx, 1, START + DAY + timedelta(milliseconds=1), DAY)) == []
    assert table(lambda tx: messages.message_1s_of(tx, 2, START, DAY)) == []  # it has not gone out


def test_the_next_due_time_is_of_running_campaigns(table: Table) -> None:
    assert table(messages.next_due_at) == START
    table(lambda tx: campaigns.set_status(tx, 1, CampaignStatus.PAUSED, START))
    assert table(messages.next_due_at) is None
    assert table(lambda tx: messages.next_in_line(tx, START)) is None


def put(table: Table, message_id: int, **columns: object) -> None:
    """Set columns of a message to what a test needs."""
    names = ", ".join(f"{name} = ?" for name in columns)
    table.connection.execute(f"UPDATE messages SET {names} WHERE id = ?", (*columns.values(), message_id))  # noqa: S608 - from here


@pytest.mark.parametrize("order", list(permutations((3, 5, None))))
def test_of_several_times_of_sending_the_earliest_holds(table: Table, order: tuple[int | None, ...]) -> None:
    message_id = table.send(Accepted(QUEUE_ID))
    for seconds in order:
        at = None if seconds is None else START + timedelta(seconds=seconds)
        table(
            lambda tx, at=at: messages.went_out(  # type: ignore[misc] # a lambda has no annotations
                tx, message_id, MessageStatus.SENT, provider_sent_at=at, ask_at=None, now=START + DAY
            )
        )
    earliest = to_ms(START + timedelta(seconds=3))
    assert table.connection.execute(
        "SELECT provider_sent_at, sent_at FROM messages WHERE id = ?", (message_id,)
    ).fetchone() == (earliest, earliest)


@pytest.mark.parametrize("campaign_of_the_first", [1, 2])
def test_message_2_leaves_by_age(table: Table, campaign_of_the_first: int) -> None:
    """Neither by their ids nor by campaign."""
    table(lambda tx: campaigns.add(tx, name="d", key="l", message_1="Hi", message_2="More", now=START))
    table(lambda tx: campaigns.set_status(tx, 2, CampaignStatus.RUNNING, START))
    ids = []
    for contact_id, campaign_id, seconds in ((1, campaign_of_the_first, 3), (2, 1, 1), (2, 2, 2)):
        due_at = START + timedelta(seconds=seconds)
        assert table(
            lambda tx, c=contact_id, g=campaign_id, at=due_at: messages.add_message_2(  # type: ignore[misc] # a lambda has no annotations
                tx,
                contact_id=c,
                campaign_id=g,
                reference=f"w2-{c}-{g}",
                reply_at=START,
                window=DAY,
                due_at=at,
                now=START,
            )
        )
        ids.append(table.connection.execute("SELECT max(id) FROM messages").fetchone()[0])
    line = []
    while (first := table(lambda tx: messages.next_in_line(tx, START + DAY))) is not None and first in ids:
        line.append(first)
        put(table, first, status="cancelled", reason="x")
    assert line == [ids[1], ids[2], ids[0]]


def test_doubts_that_have_a_time_come_first_and_the_others_as_they_stood_in_line(table: Table) -> None:
    phones = [f"+3460000000{n}" for n in range(3, 7)]
    rows = [campaigning.Row(n, p, p, {}) for n, p in enumerate(phones)]
    table(lambda tx: campaigning.add_rows(tx, "c", rows, START))
    soon = to_ms(START + timedelta(seconds=1))
    later = to_ms(START + timedelta(seconds=2))
    far = START + DAY
    for message_id, look_up_at in ((4, None), (6, None), (5, to_ms(far)), (2, later), (3, soon), (1, None)):
        put(
            table,
            message_id,
            status="uncertain",
            reason="x",
            uncertain_since=to_ms(START),
            doubts=1,
            look_up_at=look_up_at,
        )
    now = START + timedelta(seconds=10)
    line = []
    while True:
        doubt, next_at = table(lambda tx: messages.next_doubt(tx, now))
        if doubt is None:
            break
        line.append(doubt.message_id)
        put(table, doubt.message_id, status="cancelled", reason="x", uncertain_since=None, look_up_at=None)
    assert line == [3, 2, 1, 4, 6]
    assert next_at == far


def test_an_event_is_stored_once(table: Table) -> None:
    def add(identity: bytes) -> int | None:
        return table(
            lambda tx: events.add(
                tx,
                identity=identity,
                name="x",
                result=EventResult.ACCEPTED,
                source=EventSource.WEBHOOK,
                body=b"{}",
                received_at=START,
            )
        )

    assert [add(b"a"), add(b"a"), add(b"b")] == [1, None, 2]
    totals = dict(table.connection.execute("SELECT name, value FROM totals").fetchall())
    assert (totals["webhooks_received"], totals["webhooks_duplicates"]) == (2, 1)


def test_kept_receipts_are_taken_once_oldest_first(table: Table) -> None:
    receipts = [
        Receipt(ReceiptStatus.READ, None, None, WA_ID, START),
        Receipt(ReceiptStatus.DELIVERED, None, QUEUE_ID, None, None),
        Receipt(ReceiptStatus.FAILED, "w2-a", None, None, None, "why"),
        Receipt(ReceiptStatus.READ, "w2-b", None, "3EB0FF", None),
        Receipt(ReceiptStatus.SENT, None, WA_ID, None, None),
    ]
    for each in receipts:
        table(lambda tx, r=each: events.keep_receipt(tx, r, START))  # type: ignore[misc]

    def take() -> list[Receipt]:
        return table(lambda tx: events.take_receipts(tx, reference="w2-a", queue_id=QUEUE_ID, wa_id=WA_ID))

    assert take() == [receipts[0], receipts[1], receipts[2], receipts[4]]
    assert take() == []
    assert table.connection.execute("SELECT count(*) FROM waiting_receipts").fetchone() == (1,)


def test_the_launch_is_timed_once(table: Table) -> None:
    for status in (CampaignStatus.PAUSED, CampaignStatus.RUNNING):
        table(lambda tx, s=status: campaigns.set_status(tx, 1, s, START + timedelta(days=1)))  # type: ignore[misc]
    ((launched_at,),) = table.connection.execute("SELECT launched_at FROM campaigns").fetchall()
    assert launched_at == to_ms(START)


def test_a_unit_of_another_schema_is_an_error_of_ours(table: Table) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        table(lambda tx: tx.execute("INSERT INTO chat_ids VALUES ('1@lid', 99)"))


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([s for s in MessageStatus if s is not MessageStatus.SENDING]),
            st.integers(-100, 100),
            st.sampled_from(["running", "paused", "cancelled"]),
        ),
        max_size=4,
    ),
    st.sampled_from(Overlap),
)
def test_the_rules_miss_no_message_1(sent: list[tuple[MessageStatus, int, str]], overlap: Overlap) -> None:
    """What is left out of a contact's Message 1s would not have been chosen."""
    connection = memory()
    connection.execute("INSERT INTO contacts (phone, phone_key, created_at) VALUES ('+1', '+1', 0)")
    for n, (status, seconds, campaign) in enumerate(sent):
        connection.execute(
            """INSERT INTO campaigns (name, key, status, message_1, message_2, created_at, launched_at)
               VALUES (?1, ?1, ?2, 'Hi', 'More', 0, 0)""",
            (f"c{n}", campaign),
        )
        connection.execute(
            """INSERT INTO messages (contact_id, campaign_id, step, status, reference, attempt, text, created_at,
                                     due_at, attempted_at, sent_at, reason, doubts, look_up_at)
               VALUES (1, ?1, 1, ?2, ?1, 1, 'Hi', 0, 0, ?3, ?3, 'x', 1, CASE ?2 WHEN 'uncertain' THEN 0 END)""",
            (n + 1, status.value, to_ms(START - DAY + timedelta(seconds=seconds))),
        )
    policy = Policy(window=DAY, overlap=overlap)

    def decide(window: timedelta) -> object:
        found = commit(connection, lambda tx: messages.message_1s_of(tx, 1, START, window))
        return rules.decide_reply(START, None, found, policy)

    assert decide(DAY) == decide(1000 * DAY)
    connection.close()
