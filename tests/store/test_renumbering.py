"""A database of schema version 1 with old numbers: people keep their messages and their opt-outs."""

import json
import random
import sqlite3
from collections.abc import Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from tests.support import START, House, house, inbound
from wamsg2 import phone, rules
from wamsg2.model import Policy, Step
from wamsg2.store import forgotten, verify
from wamsg2.store.database import connect
from wamsg2.store.schema import in_memory
from wamsg2.store.times import to_ms
from wamsg2.store.writer import Tx
from wamsg2.wassenger.events import INBOUND_EVENTS

NOW = to_ms(START)
HOUR = 3_600_000
OLD, NEW = "+22507123456", "+2250707123456"
FURTHEST_LAST = ("cancelled", "queued", "failed", "sending", "uncertain", "sent", "delivered", "read")


class Before:
    """A database as version 1 of the schema has it."""

    def __init__(self) -> None:
        self.connection = in_memory(1)

    def insert(self, table: str, **values: object) -> int:
        marks = ", ".join("?" * len(values))
        sql = f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})"  # noqa: S608 - from the tests below
        return int(self.connection.execute(sql, tuple(values.values())).lastrowid or 0)

    def contact(self, number: str, *, opted_out: bool = False, consent_at: int | None = None) -> int:
        """The key of version 1: all numbers of these tests had themselves for it."""
        return self.insert(
            "contacts", phone=number, phone_key=number, created_at=0, opted_out=opted_out, consent_at=consent_at
        )

    def campaign(self, name: str = "spring", status: str = "running") -> int:
        return self.insert(
            "campaigns", name=name, key=name, status=status, message_1="1", message_2="2", created_at=0, launched_at=0
        )

    def message(
        self, campaign: int, contact: int, status: str, *, sent_at: int = NOW - HOUR, reply_at: int | None = None
    ) -> int:
        """A Message 1, or a Message 2 to this reply."""
        key, number = self.connection.execute(
            "SELECT g.key, c.phone_key FROM campaigns g, contacts c WHERE g.id = ? AND c.id = ?", (campaign, contact)
        ).fetchone()
        step = Step.MESSAGE_1 if reply_at is None else Step.MESSAGE_2
        facts: dict[str, object] = {"reason": "x"} if status in {"failed", "cancelled", "uncertain"} else {}
        if status not in {"queued", "cancelled"}:
            facts |= {"attempt": 1, "attempted_at": sent_at, "text": "1"}
        if status == "uncertain":
            facts |= {"doubts": 1, "look_up_at": NOW}
        if status in {"sent", "delivered", "read"}:
            facts |= {"sent_at": sent_at}
        if step == Step.MESSAGE_1:
            self.insert("recipients", campaign_id=campaign, contact_id=contact, variables=json.dumps({"n": contact}))
        return self.insert(
            "messages", campaign_id=campaign, contact_id=contact, step=int(step), status=status, reply_at=reply_at,
            reference=rules.reference(key, number, step), created_at=0, due_at=0, **facts,
        )  # fmt: skip

    def interaction(self, contact: int, outcome: str, at: int, **changes: object) -> int:
        usual = {"type": "text", "text": "words", "wa_id": "", "reply_at": at, "written_at": at, "received_at": at}
        return self.insert("interactions", contact_id=contact, outcome=outcome, **usual | changes)

    def write(self, path: Path) -> None:
        """Into the file where `house` looks for it."""
        with closing(sqlite3.connect(path / "test.db")) as file:
            self.connection.backup(file)


@pytest.fixture
def before() -> Iterator[Before]:
    made = Before()
    yield made
    made.connection.close()


@asynccontextmanager
async def upgraded(before: Before, path: Path) -> Any:
    """The house on the database as this version makes it; nothing in it breaks a promise."""
    before.write(path)
    async with house(path) as home:
        found = await verify.violations(
            home.store.reader,
            window=Policy().window,
            tolerance=rules.TOLERANCE,
            now=START,
            inbound_events=INBOUND_EVENTS,
        )
        assert found == []
        yield home


async def contacts_of(home: House) -> list[tuple[Any, ...]]:
    return await home.rows("SELECT id, phone, phone_key, reference_key, opted_out FROM contacts ORDER BY id")


# --- contacts --------------------------------------------------------------------------------------------------


def test_an_empty_database_stays_empty(tmp_path: Path) -> None:
    with closing(connect(tmp_path / "test.db")) as made:
        assert made.execute(
            "SELECT (SELECT count(*) FROM contacts) + (SELECT count(*) FROM consents)"
        ).fetchone() == (0,)


async def test_a_contact_gets_the_new_number_and_keeps_their_references(before: Before, tmp_path: Path) -> None:
    before.contact(OLD)
    before.contact("+5215512345678")
    before.contact("+34600000001")
    async with upgraded(before, tmp_path) as home:
        assert await contacts_of(home) == [
            (1, NEW, NEW, OLD, 0),
            (2, "+5215512345678", "+525512345678", "+5215512345678", 0),
            (3, "+34600000001", "+34600000001", "+34600000001", 0),
        ]
        assert await home.rows("SELECT * FROM consents") == []


@pytest.mark.parametrize("numbers", [(OLD, NEW), (NEW, OLD)])
async def test_two_become_the_older_one(before: Before, tmp_path: Path, numbers: tuple[str, str]) -> None:
    for number in numbers:
        before.contact(number)
    async with upgraded(before, tmp_path) as home:
        assert await contacts_of(home) == [(1, NEW, NEW, numbers[0], 0)]


async def test_three_become_one(before: Before, tmp_path: Path) -> None:
    spring, summer = before.campaign(), before.campaign("summer")
    for number, status in (("+24107280150", "queued"), ("+2417280150", "sent"), ("+24177280150", "failed")):
        before.message(spring, before.contact(number), status)
    before.message(summer, 3, "delivered")
    async with upgraded(before, tmp_path) as home:
        assert await contacts_of(home) == [(1, "+24177280150", "+24177280150", "+24107280150", 0)]
        assert await home.rows("SELECT id, contact_id, campaign_id, status FROM messages ORDER BY id") == [
            (2, 1, spring, "sent"),
            (4, 1, summer, "delivered"),
        ]
        assert await home.rows("SELECT campaign_id, contact_id, variables FROM recipients") == [
            (spring, 1, '{"n": 1}'),
            (summer, 1, '{"n": 3}'),
        ]


# --- messages --------------------------------------------------------------------------------------------------


async def test_the_message_that_went_furthest_stays(before: Before, tmp_path: Path) -> None:
    """Of every two statuses, in either order."""
    campaign, expected, notes = before.campaign(), [], []
    ranks = {status: rank for rank, status in enumerate(FURTHEST_LAST)} | {"uncertain": 3}
    for n, statuses in enumerate(product(FURTHEST_LAST, repeat=2)):
        contacts = [before.contact(f"{start}{n:02d}") for start in ("+225071234", "+22507071234")]
        ids = [before.message(campaign, c, status) for c, status in zip(contacts, statuses, strict=True)]
        stays = int(ranks[statuses[1]] > ranks[statuses[0]])
        expected.append((ids[stays], contacts[0], statuses[stays]))
        notes.append((ids[stays], f"message {ids[1 - stays]} ({statuses[1 - stays]})"))
    async with upgraded(before, tmp_path) as home:
        assert await home.rows("SELECT id, contact_id, status FROM messages ORDER BY id") == expected
        told = await home.rows("SELECT message_id, what FROM message_notes ORDER BY message_id")
        assert [(i, what.partition(",")[0]) for i, what in told] == notes
        assert await home.rows("SELECT contacts FROM campaign_counts") == [(len(expected),)]


async def test_a_message_2_keeps_the_message_1_that_earned_it(before: Before, tmp_path: Path) -> None:
    campaign = before.campaign()
    before.contact(OLD)
    before.contact(NEW)
    early = NOW - 100 * HOUR
    before.message(campaign, 1, "sent", sent_at=early)
    before.message(campaign, 2, "read")
    before.interaction(1, "message_2_queued", early + HOUR, campaign_id=campaign, message_id=1)
    before.interaction(2, "reaction", NOW, message_id=2)
    before.message(campaign, 1, "sent", sent_at=early + HOUR, reply_at=early + HOUR)
    async with upgraded(before, tmp_path) as home:
        assert await home.rows("SELECT id, step, status FROM messages ORDER BY id") == [
            (1, 1, "sent"),
            (3, 2, "sent"),
        ]
        assert await home.rows("SELECT contact_id, message_id FROM interactions ORDER BY id") == [(1, 1), (1, 1)]


async def test_of_two_message_2s_one_stays(before: Before, tmp_path: Path) -> None:
    campaign = before.campaign()
    for contact, number in enumerate((OLD, NEW), 1):
        before.contact(number)
        before.message(campaign, contact, ("sent", "delivered")[contact - 1])
        replied_at = NOW - contact * 60_000
        before.interaction(contact, "message_2_queued", replied_at, campaign_id=campaign, message_id=contact * 2 - 1)
        before.message(campaign, contact, ("sent", "queued")[contact - 1], sent_at=NOW, reply_at=replied_at)
    async with upgraded(before, tmp_path) as home:
        assert await home.rows("SELECT id, step, status FROM messages ORDER BY id") == [
            (2, 2, "sent"),
            (3, 1, "delivered"),
        ]
        assert await home.rows("SELECT replied_at FROM recipients") == [(NOW - 120_000,)]
        assert await home.rows("SELECT replied, interactions FROM campaign_counts") == [(1, 2)]


@dataclass(frozen=True)
class Waiting:
    """A reply that waited for a doubtful Message 1, when the other contact's had gone out."""

    name: str
    outcome: str
    changes: tuple[str, ...] = ()
    sent_at: int = NOW - HOUR
    message_2: tuple[tuple[str, int], ...] = field(default=())


@pytest.mark.parametrize(
    "case",
    [
        Waiting("answered", "message_2_queued", message_2=(("queued", NOW - 60_000),)),
        Waiting("too late", "no_recent_message_1", sent_at=NOW - 30 * HOUR),
        Waiting("no text", "no_message_2", ("UPDATE campaigns SET message_2 = NULL",)),
        Waiting("cancelled", "campaign_cancelled", ("UPDATE campaigns SET status = 'cancelled'",)),
        Waiting("opted out", "opted_out", ("UPDATE contacts SET opted_out = 1, consent_at = 5 WHERE id = 2",)),
    ],
    ids=lambda case: case.name,
)
async def test_a_reply_that_waited_is_decided(before: Before, tmp_path: Path, case: Waiting) -> None:
    campaign = before.campaign()
    before.message(campaign, before.contact(OLD), "uncertain")
    before.message(campaign, before.contact(NEW), "sent", sent_at=case.sent_at)
    for reply_at in (NOW - 60_000, NOW):
        before.interaction(1, "waiting_for_message_1", reply_at, campaign_id=campaign, message_id=1)
    for statement in case.changes:
        before.connection.execute(statement)
    async with upgraded(before, tmp_path) as home:
        second = "message_2_exists" if case.message_2 else case.outcome
        assert await home.outcomes() == [case.outcome, second]
        assert await home.rows("SELECT status, reply_at FROM messages WHERE step = 2") == list(case.message_2)
        if case.message_2:
            assert await home.rows("SELECT reference FROM messages WHERE step = 2") == [
                (rules.reference("spring", OLD, Step.MESSAGE_2),)
            ]
            await home.send_one()
            assert await home.rows("SELECT status FROM messages WHERE step = 2") == [("sent",)]


async def test_a_reply_waits_on_where_its_message_1_stays_in_doubt(before: Before, tmp_path: Path) -> None:
    campaign = before.campaign()
    before.message(campaign, before.contact(OLD), "queued")
    before.message(campaign, before.contact(NEW), "uncertain")
    before.interaction(2, "waiting_for_message_1", NOW, campaign_id=campaign, message_id=2)
    async with upgraded(before, tmp_path) as home:
        assert await home.rows("SELECT contact_id, outcome, message_id FROM interactions") == [
            (1, "waiting_for_message_1", 2)
        ]


# --- consent ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", [1, 2])
async def test_an_opt_out_wins(before: Before, tmp_path: Path, who: int) -> None:
    """Also over the other's newer START."""
    spring, summer = before.campaign(), before.campaign("summer")
    for contact, number in enumerate((OLD, NEW), 1):
        before.contact(number, opted_out=contact == who, consent_at=NOW - (9 * HOUR if contact == who else 5 * HOUR))
        at, outcome = (NOW - 9 * HOUR, "opt_out") if contact == who else (NOW - 5 * HOUR, "opt_in")
        before.interaction(contact, outcome, at, campaign_id=None)
    before.message(spring, 3 - who, "sent")
    before.message(summer, 3 - who, "queued")
    async with upgraded(before, tmp_path) as home:
        assert await home.rows("SELECT id, opted_out, consent_at FROM contacts") == [(1, 1, NOW - 5 * HOUR)]
        assert await home.rows("SELECT status, reason FROM messages ORDER BY id") == [
            ("sent", None),
            ("cancelled", "contact opted out"),
        ]
        assert await home.rows("SELECT contact_id, opted_out, source FROM consents ORDER BY id") == [
            (1, int(who == 1), "before"),
            (1, int(who == 2), "before"),
            (1, 1, "merge"),
        ]
        # What they write later counts.
        await home.receive(inbound(OLD, "START", at=home.clock.now(), wa_id="A1"))
        assert await home.rows("SELECT opted_out FROM contacts") == [(0,)]


async def test_who_opted_in_again_stays_in(before: Before, tmp_path: Path) -> None:
    before.contact(OLD, consent_at=NOW - HOUR)
    before.contact(NEW)
    async with upgraded(before, tmp_path) as home:
        assert await home.rows("SELECT opted_out, consent_at FROM contacts") == [(0, NOW - HOUR)]
        assert await home.rows("SELECT opted_out, source FROM consents ORDER BY id") == [(0, "before"), (0, "merge")]


async def test_who_was_forgotten_under_the_old_number_gets_no_more(before: Before, tmp_path: Path) -> None:
    """Although they were imported with the new one since."""
    forgotten.add(Tx(before.connection), OLD, (), START)
    campaign = before.campaign()
    before.message(campaign, before.contact(NEW), "queued")
    before.message(campaign, before.contact("+2250707123457"), "queued")
    async with upgraded(before, tmp_path) as home:
        assert await home.statuses() == [(NEW, 1, "cancelled"), ("+2250707123457", 1, "queued")]
        assert await home.rows("SELECT opted_out FROM contacts ORDER BY id") == [(1,), (0,)]
        assert await home.rows("SELECT contact_id, opted_out, source FROM consents") == [(1, 1, "merge")]


# --- chat ids --------------------------------------------------------------------------------------------------


async def test_a_chat_id_that_holds_another_number_is_forgotten(before: Before, tmp_path: Path) -> None:
    before.contact(OLD)
    before.contact(NEW)
    before.contact("+34600000001")
    learned = {"5@lid": 2, "22507123456@c.us": 2, "34600000009@c.us": 3, "34600000001@c.us": 3, "7@lid": 3}
    for chat_id, contact in learned.items():
        before.insert("chat_ids", chat_id=chat_id, contact_id=contact)
    async with upgraded(before, tmp_path) as home:
        assert dict(await home.rows("SELECT chat_id, contact_id FROM chat_ids")) == {
            "5@lid": 1,
            "22507123456@c.us": 1,
            "34600000001@c.us": 3,
            "7@lid": 3,
        }


# --- many ------------------------------------------------------------------------------------------------------


def spellings_of(n: int) -> tuple[str, ...]:
    """The numbers under which the person with this number is in the database."""
    spain = f"+346{n:08d}"
    ivory, ivory_before = f"+2250707{n:06d}", f"+22507{n:06d}"
    benin, benin_before = f"+2290197{n:06d}", f"+22997{n:06d}"
    gabon = (f"+24107{n:06d}", f"+2417{n:06d}", f"+24177{n:06d}")
    return ((spain,), (spain,), (ivory_before,), (ivory,), (ivory_before, ivory), (benin, benin_before), gabon)[n % 7]


@dataclass
class Person:
    """What is known of one, over all their spellings."""

    opted_out: bool = False
    statuses: dict[tuple[int, int], set[str]] = field(default_factory=dict)


def fill(before: Before, contacts: int) -> dict[str, Person]:
    """So many contacts in two campaigns; the people behind them by their numbers of today."""
    chance, people = random.Random(11), dict[str, Person]()
    campaigns = before.campaign(), before.campaign("summer")
    added = n = 0
    while added < contacts:
        for number in spellings_of(n):
            added += 1
            person = people.setdefault(phone.key(number), Person())
            opted_out = chance.random() < 0.1
            asked_at = NOW - chance.choice((5 * HOUR, 0))
            contact = before.contact(number, opted_out=opted_out, consent_at=asked_at if opted_out else None)
            person.opted_out |= opted_out
            if opted_out and chance.random() < 0.5:
                before.interaction(contact, "opt_out", asked_at)
            if chance.random() < 0.3:
                before.insert("chat_ids", chat_id=f"{contact}@lid", contact_id=contact)
            for campaign in campaigns:
                if chance.random() < 0.2:
                    continue
                allowed = ("cancelled",) if opted_out and asked_at < NOW else FURTHEST_LAST
                status = chance.choice(allowed)
                status = "cancelled" if opted_out and status == "queued" else status
                message = before.message(campaign, contact, status)
                person.statuses.setdefault((campaign, 1), set()).add(status)
                if status in {"sent", "delivered", "read"} and chance.random() < 0.4:
                    at = NOW - contact % 1000
                    before.interaction(contact, "message_2_queued", at, campaign_id=campaign, message_id=message)
                    second = chance.choice(("cancelled", "sent", "read"))
                    before.message(campaign, contact, second, sent_at=at, reply_at=at)
                    person.statuses.setdefault((campaign, 2), set()).add(second)
        n += 1
    return people


@pytest.mark.parametrize("contacts", [5_000, pytest.param(100_000, marks=pytest.mark.soak)])
async def test_a_full_database(before: Before, tmp_path: Path, contacts: int) -> None:
    before.connection.execute("BEGIN")
    people = fill(before, contacts)
    before.connection.execute("COMMIT")
    interactions = before.connection.execute("SELECT count(*) FROM interactions").fetchall()
    chat_ids = before.connection.execute("SELECT count(*) FROM chat_ids").fetchall()
    async with upgraded(before, tmp_path) as home:
        rows = await home.rows("SELECT phone_key, phone, opted_out FROM contacts")
        assert {key: opted_out for key, _, opted_out in rows} == {key: p.opted_out for key, p in people.items()}
        assert len(rows) == len(people) < contacts
        assert all(number == key for key, number, _ in rows)
        expected = {
            (key, campaign, step): max(statuses, key=FURTHEST_LAST.index)
            for key, person in people.items()
            for (campaign, step), statuses in person.statuses.items()
        }
        found = {
            (key, campaign, step): status
            for key, campaign, step, status in await home.rows(
                """SELECT c.phone_key, m.campaign_id, m.step, m.status
                   FROM messages m JOIN contacts c ON c.id = m.contact_id"""
            )
        }
        doubtful = {"sending", "uncertain"}
        assert found.keys() == expected.keys()
        for key, status in found.items():
            went = expected[key]
            if people[key[0]].opted_out and went == "queued":
                went = "cancelled"
            assert status == went or {status, went} == doubtful, key
        assert len(found) == (await home.rows("SELECT count(*) FROM messages"))[0][0]
        assert await home.rows("SELECT count(*) FROM interactions") == interactions
        assert await home.rows("SELECT count(*) FROM chat_ids") == chat_ids
        ((counted,),) = await home.rows("SELECT sum(n) FROM message_counts")
        assert counted == len(found)
