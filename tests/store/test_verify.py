"""`verify` finds every promise broken that rows can show broken, and nothing in a house that is in order."""

import sqlite3
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support import START, House, ack, house, inbound, inbound_from_lid
from wamsg2 import rules
from wamsg2.model import Accepted, Deferred, Rejected, Uncertain
from wamsg2.store import verify
from wamsg2.work import claiming, consent

ONE, TWO, THREE, FOUR, FIVE = (f"+3460000000{n}" for n in range(1, 6))


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    """Much has happened, and all of it is in order."""
    async with house(tmp_path) as made:
        await made.campaign(ONE, TWO, THREE, FOUR, FIVE)
        await made.send_one()
        await made.send_one()
        await made.send_one(Uncertain("no answer in time"))
        await made.send_one(Rejected("HTTP 400"))
        await made.send_one(Deferred("refused"))
        await made.receive(inbound(ONE, at=START, wa_id="A1"))
        await made.receive(inbound(THREE, at=START, wa_id="A2"))
        await made.receive(inbound("+34699999999", at=START, wa_id="A3"))
        await made.receive(ack("read", at=START, wa_id=f"3EB0{1:016X}", number=ONE, lid="1@lid"))
        made.clock.advance(10)
        await made.send_one()
        await made.receive(inbound(TWO, "STOP", at=made.clock.now(), wa_id="A4"))
        await made.campaign(ONE, TWO, name="cancelled")
        await made.campaigns.cancel("cancelled")
        await made.campaign(ONE, name="draft", launch=False)
        yield made


async def found(home: House, window: timedelta = timedelta(hours=24)) -> list[tuple[str, str]]:
    violations = await verify.violations(home.store.reader, window=window, tolerance=rules.TOLERANCE)
    return [(violation.promise, violation.what) for violation in violations]


def tamper(home: House, *statements: str) -> None:
    """What only a hand in the file could do."""
    with sqlite3.connect(home.store.path) as other:
        other.execute("PRAGMA ignore_check_constraints = ON")
        other.execute("PRAGMA writable_schema = ON")
        for statement in statements:
            other.execute(statement)
    other.close()


async def test_what_is_in_order(home: House) -> None:
    assert await found(home) == []
    statuses = {status for *_, status in await home.statuses()}
    assert statuses == {"read", "sent", "uncertain", "failed", "queued", "cancelled"}
    totals = await verify.totals(home.store.reader)
    assert sum(totals.values()) == len(await home.statuses())
    assert totals["message_2.sent"] == 1


@pytest.mark.parametrize(
    ("statements", "promise", "what"),
    [
        pytest.param(
            ["DROP INDEX messages_once"], "P1", "the unique index is missing", id="index"
        ),
        pytest.param(
            [
                "DROP INDEX messages_once",
                """INSERT INTO messages (contact_id, campaign_id, step, status, reference, created_at, due_at)
                   SELECT contact_id, campaign_id, step, 'queued', 'again', 0, 0 FROM messages WHERE id = 1""",
            ],
            "P1", "two messages for one contact, campaign and step", id="twice",
        ),
        pytest.param(
            ["UPDATE messages SET wa_id = 'same' WHERE id < 3"],
            "P1", "one provider message for two of ours", id="WhatsApp id",
        ),
        pytest.param(
            ["UPDATE messages SET queue_id = 'same' WHERE id < 3"],
            "P1", "one provider message for two of ours", id="queue id",
        ),
        pytest.param(
            ["UPDATE messages SET status = 'queued', sent_at = NULL WHERE id = 1"],
            "P2", "a Message 2 without a Message 1 that went out", id="no Message 1",
        ),
        pytest.param(
            ["DELETE FROM interactions WHERE outcome = 'message_2_queued'"],
            "P2", "a Message 2 without a recorded reply", id="no reply",
        ),
        pytest.param(
            ["UPDATE messages SET reply_at = reply_at + 86400001 WHERE step = 2"],
            "P2", "a Message 2 whose reply is outside the window", id="late reply",
        ),
        pytest.param(
            ["UPDATE messages SET reply_at = reply_at - 5001 WHERE step = 2"],
            "P2", "a Message 2 whose reply is outside the window", id="early reply",
        ),
        pytest.param(
            ["DELETE FROM messages WHERE step = 2"],
            "P2", "a reply that was to be answered without a Message 2", id="unanswered",
        ),
        pytest.param(
            ["UPDATE messages SET status = 'failed', look_up_at = NULL WHERE id = 3"],
            "P2", "a reply waits for a Message 1 that is settled", id="left waiting",
        ),
        pytest.param(
            ["UPDATE messages SET attempted_at = attempted_at + 60000 WHERE id = 2"],
            "P3", "a request to a contact after the commit that opted them out", id="request after STOP",
        ),
        pytest.param(
            ["UPDATE contacts SET opted_out = 1 WHERE id = 5"],
            "P3", "a queued message to a contact who has opted out", id="queued after STOP",
        ),
        pytest.param(
            ["UPDATE messages SET status = 'queued' WHERE campaign_id = 2 AND contact_id = 1"],
            "P6", "a queued message of a cancelled campaign", id="queued after cancel",
        ),
        pytest.param(
            ["DELETE FROM messages WHERE id = 5"],
            "P6", "a launched campaign has a contact without a Message 1", id="left out",
        ),
        pytest.param(
            ["UPDATE message_counts SET n = n + 1 WHERE status = 'sent' AND step = 1"],
            "counters", "message counts differ from the rows", id="message counts",
        ),
        pytest.param(
            ["DELETE FROM message_counts WHERE status = 'failed'"],
            "counters", "message counts differ from the rows", id="message counts gone",
        ),
        *(
            pytest.param(
                [f"UPDATE campaign_counts SET {column} = {column} + 1 WHERE campaign_id = 1"],  # noqa: S608 - constants
                "counters", "campaign counts differ from the rows", id=column,
            )
            for column in ("contacts", "replied", "interactions", "opted_out")
        ),
        pytest.param(
            ["UPDATE totals SET value = 0 WHERE name = 'unmatched'"],
            "counters", "the count of unmatched interactions differs from the rows", id="unmatched",
        ),
        pytest.param(
            ["UPDATE interactions SET contact_id = 999 WHERE id = 1"],
            "database", "a row points to one that is not there", id="foreign key",
        ),
    ],
)  # fmt: skip
async def test_what_is_broken_is_found(home: House, statements: list[str], promise: str, what: str) -> None:
    tamper(home, *statements)
    assert (promise, what) in await found(home)


async def test_the_rows_concerned_are_named(home: House) -> None:
    tamper(home, "UPDATE contacts SET opted_out = 1 WHERE id = 5")
    (violation,) = await verify.violations(home.store.reader, window=timedelta(hours=24), tolerance=rules.TOLERANCE)
    assert violation.rows == ("message 5",)


async def test_many_rows_are_summed_up(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        await home.campaign(*(f"+346{n:08d}" for n in range(30)))
        tamper(home, "UPDATE contacts SET opted_out = 1")
        (violation,) = await verify.violations(home.store.reader, window=timedelta(1), tolerance=rules.TOLERANCE)
        assert len(violation.rows) == 21
        assert violation.rows[-1] == "and 10 more"


async def test_a_damaged_file_is_a_finding_and_no_crash(home: House) -> None:
    tamper(home, "UPDATE sqlite_master SET rootpage = 3 WHERE name = 'interactions_contact'")
    async with await type(home.store).open(home.store.path) as fresh:
        violations = await verify.violations(fresh.reader, window=timedelta(1), tolerance=rules.TOLERANCE)
    assert "database" in {violation.promise for violation in violations}


async def test_a_shorter_window_shows_what_it_would_forbid(home: House) -> None:
    tamper(home, "UPDATE messages SET reply_at = reply_at + 7200000 WHERE step = 2")
    assert await found(home) == []
    assert ("P2", "a Message 2 whose reply is outside the window") in await found(home, timedelta(hours=1))


# --- what looks broken and is not ----------------------------------------------------------------------------


async def test_start_makes_later_requests_right(home: House) -> None:
    home.clock.advance(60)
    await home.receive(inbound(TWO, "START", at=home.clock.now(), wa_id="A5"))
    await home.campaign(TWO, name="later")
    home.clock.advance(60)
    now = home.clock.now()
    claims = (await home.store.write(lambda tx: claiming.claim(tx, now=now, due_before=now, most=9))).claims
    assert TWO in {claim.phone for claim in claims}
    assert await found(home) == []


async def test_a_stop_that_arrives_late_and_is_outdated(home: House) -> None:
    home.clock.advance(60)
    await home.receive(inbound(FOUR, "START", at=home.clock.now(), wa_id="A5"))
    await home.receive(inbound(FOUR, "STOP", at=home.clock.now() - timedelta(seconds=30), wa_id="A6"))
    await home.campaign(FOUR, name="later")
    home.clock.advance(60)
    await home.claim(9)
    assert await found(home) == []


async def test_an_opt_in_by_hand_makes_later_requests_right(home: House) -> None:
    home.clock.advance(60)
    now = home.clock.now()
    await home.store.write(lambda tx: consent.opt_in_number(tx, TWO, now))
    await home.campaign(TWO, name="later")
    home.clock.advance(60)
    await home.claim(9)
    assert await found(home) == []


async def test_a_claim_between_a_stops_arrival_and_its_commit(home: House) -> None:
    arrived_at = home.clock.now()
    home.clock.advance(0.02)  # the STOP waits behind the commit that is under way
    claims = await home.claim(9)
    assert FIVE in {claim.phone for claim in claims}
    home.clock.step_wall(-0.02)
    assert home.clock.now() == arrived_at
    await home.receive(inbound(FIVE, "STOP", at=arrived_at, wa_id="A5"))
    assert await found(home) == []


async def test_a_stop_whose_sender_becomes_known_after_the_request(home: House) -> None:
    await home.receive(inbound_from_lid("5@lid", "STOP", at=home.clock.now(), wa_id="A5"))
    home.clock.advance(60)
    await home.send_one(Accepted("5" * 24, chat_id="5@lid"))
    assert (await home.outcomes())[-1] == "opt_out"
    assert await found(home) == []
