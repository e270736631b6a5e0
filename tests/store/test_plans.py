"""No query that is asked for every message or event walks through a table that grows.

The queries are caught as the code asks them, with their parameters, and explained on a database with rows.
"""

import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import Any, cast

import aiosqlite
import pytest

from tests.support import START, memory
from wamsg2.model import (
    Campaign,
    CampaignStatus,
    ConsentSource,
    Decision,
    EventResult,
    EventSource,
    MessageStatus,
    Policy,
    Receipt,
    ReceiptStatus,
    ReplyOutcome,
)
from wamsg2.store import campaigns, contacts, events, interactions, listings, marks, messages, stats
from wamsg2.store.interactions import Interaction
from wamsg2.store.listings import Listing
from wamsg2.store.writer import Tx
from wamsg2.work import campaigning, catching_up, claiming, consent, restoring, settling
from wamsg2.work.signals import NO_SIGNALS

#: Tables of a few rows, and partial indexes that hold a few.
_FEW = r"g|campaigns|s|c|totals|message_counts|campaign_counts|CONSTANT ROW|\(subquery-\d+\)"
_SCAN = re.compile(rf"SCAN (?!({_FEW})( |$))(?!\w+ USING (COVERING )?INDEX messages_(sending|uncertain)$)")


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    made = memory()
    people = [(n, f"+346{n:08d}") for n in range(1, 2001)]
    made.executemany("INSERT INTO contacts (id, phone, phone_key, created_at) VALUES (?1, ?2, ?2, 0)", people)
    made.executemany("INSERT INTO chat_ids VALUES (?, ?)", [(f"{n}@lid", n) for n, _ in people])
    for n in (1, 2, 3):
        made.execute(
            "INSERT INTO campaigns (name, key, status, message_1, message_2, created_at, launched_at) "
            "VALUES (?, 'k', 'running', 'Hi', 'More', 0, 0)",
            (f"c{n}",),
        )
    made.execute("INSERT INTO recipients (campaign_id, contact_id, variables) SELECT 1, id, '{}' FROM contacts")
    made.execute(
        """INSERT INTO messages (contact_id, campaign_id, step, status, reference, created_at, due_at, sent_at,
                                 queue_id, wa_id, reason, attempt, attempted_at, text, look_up_at, doubts)
           SELECT c.id, g.id, 1, CASE c.id % 9 WHEN 0 THEN 'uncertain' WHEN 1 THEN 'sending' WHEN 2 THEN 'queued'
                                 ELSE 'sent' END,
                  'w2-' || c.id || '-' || g.id, 0, 0, c.id, 'q' || c.id || g.id, 'w' || c.id || g.id, 'x', 1, 1, 'Hi',
                  CASE c.id % 9 WHEN 0 THEN 1 WHEN 1 THEN NULL WHEN 2 THEN NULL ELSE c.id END, c.id % 9 = 0
           FROM contacts c, campaigns g"""
    )
    made.execute(
        """INSERT INTO events (identity, name, result, source, body, received_at)
           SELECT CAST(id AS BLOB), 'x', 'accepted', CASE id % 2 WHEN 0 THEN 'webhook' ELSE 'catch_up' END, x'00', id
           FROM contacts"""
    )
    made.execute(
        """INSERT INTO interactions (event_id, contact_id, campaign_id, message_id, type, outcome, text, wa_id,
                                     sender_chat, reply_at, written_at, received_at)
           SELECT id, id, 1, id, 'text', 'message_2_exists', '', '', id || '@lid', id, id, id FROM contacts"""
    )
    made.execute(
        """INSERT INTO waiting_receipts (status, reference, queue_id, wa_id, chat_ids, received_at)
           SELECT 'read', 'r' || id, 'x' || id, 'y' || id, '', 0 FROM contacts"""
    )
    yield made
    made.close()


class Caught:
    """A transaction that explains each statement before it runs it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.scans: list[str] = []
        self.statements = 0

    def execute(self, sql: str, parameters: Any = ()) -> sqlite3.Cursor:
        self.statements += 1
        for *_, detail in self.connection.execute(f"EXPLAIN QUERY PLAN {sql}", parameters).fetchall():
            if _SCAN.match(detail):
                self.scans.append(f"{detail}: {' '.join(sql.split())}")
        return self.connection.execute(sql, parameters)

    def executemany(self, sql: str, rows: Iterable[Any]) -> sqlite3.Cursor:
        for row in rows:
            self.execute(sql, row)
        return self.connection.cursor()

    def after_commit(self, _: Callable[[], None]) -> None:
        """Nobody listens."""

    async def execute_fetchall(self, sql: str, parameters: Any = ()) -> list[Any]:
        return self.execute(sql, parameters).fetchall()


def add_event(tx: Tx, source: EventSource) -> int | None:
    return events.add(
        tx, identity=b"new", name="x", result=EventResult.ACCEPTED, source=source, body=b"", received_at=START
    )


RECEIPT = Receipt(ReceiptStatus.READ, None, "q5001", "w5001", START)
REPLY = Interaction(
    event_id=5,
    contact_id=5,
    type="text",
    text="yes",
    wa_id="w",
    quoted_id=None,
    sender_phone=None,
    sender_chat="5@lid",
    reply_at=START,
    written_at=START,
    received_at=START,
)
LISTING = Listing(START, START)
CAMPAIGN = Campaign(1, "c1", "k", CampaignStatus.DRAFT, "Hi", "More")
STARTS: dict[str, Any] = {
    "start": (MessageStatus.QUEUED, None),
    "start_opted_out": (MessageStatus.CANCELLED, "contact opted out"),
    "now": START,
}
HOT: dict[str, Callable[[Tx], object]] = {
    "next_in_line": lambda tx: messages.next_in_line(tx, START),
    "next_in_line, nothing due": lambda tx: messages.next_in_line(tx, START - timedelta(days=99_999)),
    "next_due_at": messages.next_due_at,
    "claim": lambda tx: claiming.claim(tx, now=START, due_before=START, most=3),
    "by_provider_ids": lambda tx: messages.by_provider_ids(tx, reference="w2-5-1", queue_id=None, wa_id=None),
    "by_provider_ids, not ours": lambda tx: messages.by_provider_ids(tx, reference="x", queue_id="y", wa_id="z"),
    "find contact": lambda tx: contacts.find(
        tx, provider_id="x", phone_keys=["+34600000005"], chat_ids=["5@lid", "y"]
    ),
    "find nobody": lambda tx: contacts.find(tx, provider_id=None, phone_keys=[], chat_ids=["y"]),
    "by_phone_key": lambda tx: contacts.by_phone_key(tx, "+34600000005"),
    "learn_chat_ids": lambda tx: contacts.learn_chat_ids(tx, 5, ["5@lid", "new@lid"]),
    "message_1s_of": lambda tx: messages.message_1s_of(tx, 5, START, timedelta(days=1)),
    "message_1_id": lambda tx: messages.message_1_id(tx, 5, "w51"),
    "take_receipts": lambda tx: events.take_receipts(tx, reference="r5", queue_id="x6", wa_id="y7"),
    "without_wa_id": lambda tx: messages.without_wa_id(tx, 5),
    "candidate_wa_id": lambda tx: events.candidate_wa_id(tx, "w2-5-1"),
    "receive_receipt": lambda tx: settling.receive_receipt(tx, RECEIPT, now=START, policy=Policy()),
    "find everybody": lambda tx: contacts.find_all(
        tx, provider_id="w51", phone_keys=["+34600000005"], chat_ids=["5@lid", "y"]
    ),
    "consents_of": lambda tx: contacts.consents_of(tx, 5),
    "written_since": lambda tx: interactions.written_since(tx, 5, START, timedelta(days=1)),
    "first_waiting_for": lambda tx: interactions.first_waiting_for(tx, 5),
    "first_unanswered": lambda tx: interactions.first_unanswered(tx, 5),
    "newest_written_at": lambda tx: interactions.newest_written_at(tx, 5),
    "is_known": lambda tx: messages.is_known(tx, "w51"),
    "keep_message_2": lambda tx: messages.keep_message_2(
        tx, 5, 1, MessageStatus.QUEUED, None, reply_at=START, due_at=START, now=START
    ),
    "take_back_message_2": lambda tx: messages.take_back_message_2(tx, 5),
    "unmatched_from": lambda tx: interactions.unmatched_from(tx, "5@lid"),
    "unmatched_numbers": lambda tx: interactions.unmatched_numbers(tx, "5@lid"),
    "record": lambda tx: interactions.add(tx, REPLY, Decision(ReplyOutcome.MESSAGE_2_EXISTS, 1, 5)),
    "next_doubt": lambda tx: messages.next_doubt(tx, START),
    "next_doubt, none is due": lambda tx: messages.next_doubt(tx, START - timedelta(days=99_999)),
    "look_up_soon": lambda tx: messages.look_up_soon(tx, 9, START),
    "doubt_open": lambda tx: restoring.doubt(tx, 900, START),
    "unreported": lambda tx: messages.unreported(tx, START, 100),
    "asked": lambda tx: messages.asked(tx, 3, START, is_answered=True),
    "add event": lambda tx: add_event(tx, EventSource.WEBHOOK),
    "add event found by asking": lambda tx: add_event(tx, EventSource.CATCH_UP),
    "list_since, never listed": lambda tx: catching_up.list_since(tx, START),
    "begin list": lambda tx: catching_up.begin(tx, START),
    "page of list read": lambda tx: listings.reached(tx, LISTING, 3, START),
    "finish list": lambda tx: catching_up.finish(tx, LISTING, START),
    "listed": lambda tx: catching_up.listed(tx, START, START),
    "mark": lambda tx: marks.put(tx, "disk_back", START),
    "opt_out": lambda tx: consent.opt_out(
        tx, 2, source=ConsentSource.WORD, written_at=START, now=START, signals=NO_SIGNALS
    ),
    "recover": lambda tx: settling.recover(tx, START, Policy()),
    "resume": lambda tx: campaigns.cancel_stale_message_2s(tx, 1, START, "old"),
    "cancel_queued": lambda tx: campaigns.cancel_queued(tx, 1, "cancelled", 500),
    "prepare_launch": lambda tx: campaigns.add_message_1s(tx, CAMPAIGN, after_contact_id=5, most=9, **STARTS),
    "add_rows": lambda tx: campaigning.add_rows(tx, "c1", [campaigning.Row(2, "+349", "+349", {})], START),
    "count_recipients": lambda tx: campaigns.count_recipients(tx, 1),
}


@pytest.mark.parametrize("name", HOT)
def test_no_unit_of_work_scans(connection: sqlite3.Connection, name: str) -> None:
    caught = Caught(connection)
    HOT[name](cast("Tx", caught))
    assert caught.statements
    assert caught.scans == []


async def test_no_report_scans(connection: sqlite3.Connection) -> None:
    caught = Caught(connection)
    reader = cast("aiosqlite.Connection", caught)
    await stats.campaigns(reader)
    await stats.campaigns(reader, "c1")
    await stats.queue(reader, START)
    await stats.webhooks(reader)
    assert caught.statements >= 5
    assert caught.scans == []


def test_a_scan_would_be_noticed(connection: sqlite3.Connection) -> None:
    caught = Caught(connection)
    caught.execute("SELECT count(*) FROM messages WHERE status = 'sent'")
    caught.execute("SELECT m.id FROM messages m WHERE m.text = 'x'")
    caught.execute("SELECT 1 FROM contacts WHERE phone = 'x'")
    caught.execute("SELECT name FROM campaigns")
    assert len(caught.scans) == 3
