"""A database out of a backup: what may have been sent since is looked up, and replies of that time are answered."""

import json
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support import START, House, house, inbound, inbound_from_lid, kept_for, receipt
from wamsg2 import catch_up as catch_up_module
from wamsg2 import phone, rules
from wamsg2.arrivals import Arrivals
from wamsg2.catch_up import CatchUp
from wamsg2.model import (
    Absent,
    Accepted,
    Deferred,
    Event,
    LookUp,
    MessageStatus,
    Policy,
    ReceiptStatus,
    Step,
    Uncertain,
    Unknown,
)
from wamsg2.reconciler import Reconciler
from wamsg2.store import stats
from wamsg2.wassenger.events import parse
from wamsg2.wassenger.history import Page
from wamsg2.work import campaigning, catching_up, restoring, settling

ONE, TWO, THREE, FOUR = "+34600000001", "+34600000002", "+34600000003", "+34600000004"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
IN_DOUBT = "restored from a backup: may have been sent since"


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path) as made:
        yield made


async def restore(home: House, *, listed: bool = True) -> datetime:
    """As if the database were a backup that has just been put back; when that was. What people wrote is listed."""
    now = home.clock.now()
    await home.store.write(lambda tx: restoring.begin(tx, now))
    after: int | None = 0
    while after is not None:
        after, _ = await home.store.write(lambda tx, a=after: restoring.doubt(tx, a, now))  # type: ignore[misc] # a lambda has no annotations
    if listed:
        await home.store.write(lambda tx: catching_up.listed(tx, None, now))
    return now


async def add(home: House, *phones: str, name: str = "spring") -> None:
    rows = [campaigning.Row(n, p, phone.key(p), {}) for n, p in enumerate(phones, start=2)]
    await home.store.write(lambda tx: campaigning.add_rows(tx, name, rows, home.clock.now()))


def reconciler(home: House, policy: Policy | None = None) -> Reconciler:
    return Reconciler(
        store=home.store,
        client=home.client,
        clock=home.clock,
        policy=policy or home.policy,
        gap_seconds=1.0,
        retention=kept_for(home.clock),
        signals=home.signals,
    )


async def look_up(home: House, *answers: LookUp, seconds: float = 0.0, policy: Policy | None = None) -> None:
    """Look up one message for each answer, or for so long."""
    home.client.look_ups = list(answers)
    reconciles, end = reconciler(home, policy), home.clock.now() + timedelta(seconds=seconds)
    while home.client.look_ups or home.clock.now() < end:
        home.clock.advance(await reconciles.step())


def found(sent_at: datetime, *, status: ReceiptStatus = ReceiptStatus.SENT, number: str = ONE) -> Accepted:
    """What the provider tells of a message that it had accepted."""
    n = number[-4:]
    return Accepted(f"{n:0>24}", f"3EB0{n:0>16}", f"{number[1:]}@c.us", status, sent_at)


async def columns(home: House, what: str) -> list[Any]:
    return [row if len(row) > 1 else row[0] for row in await home.rows(f"SELECT {what} FROM messages ORDER BY id")]  # noqa: S608 - from here


# --- what is in doubt ----------------------------------------------------------------------------------------


async def test_what_was_open_is_in_doubt(home: House) -> None:
    await home.campaign(ONE, TWO, THREE, FOUR, "+34600000005")
    await home.send_one()
    await home.send_one(Uncertain("no answer in time"))
    await home.send_one(Deferred("HTTP 429", HOUR))
    await home.claim()
    await home.receive(inbound(ONE, at=START, wa_id="A1"))
    now = await restore(home)
    at = int(now.timestamp() * 1000)
    doubt = ("uncertain", IN_DOUBT, at)
    assert await columns(home, "status, reason, uncertain_since, attempt, look_up_at") == [
        ("sent", None, None, 1, at + 600_000),  # asked about, as ever
        (*doubt, 1, at),
        (*doubt, 1, at),
        (*doubt, 1, at),
        (*doubt, 0, None),  # looked up when nothing else is due
        (*doubt, 0, at),  # an answer to a reply comes first
    ]
    assert await home.claim() == []
    assert await home.rows("SELECT sum(n) FROM message_counts WHERE status = 'uncertain'") == [(5,)]


@pytest.mark.parametrize("action", ["pause", "cancel"])
async def test_a_paused_campaign_stays_paused_and_a_cancelled_one_cancelled(home: House, action: str) -> None:
    await home.campaign(ONE)
    if action == "pause":
        await home.campaigns.pause("spring")
    else:
        await home.store.write(lambda tx: campaigning.cancel(tx, "spring", START))  # cut off: a row is still queued
    await restore(home)
    ((status, restored_at),) = await home.rows("SELECT status, restored_at FROM campaigns")
    assert status == ("paused" if action == "pause" else "cancelled")
    assert restored_at is not None
    assert await columns(home, "status") == ["uncertain" if action == "pause" else "queued"]
    await look_up(home, seconds=300)
    home.clock.advance(DAY.total_seconds())
    assert await home.claim() == []


async def test_a_launch_that_was_under_way_is_in_doubt(home: House) -> None:
    """It may have come to its end after the backup."""
    await home.campaign(ONE, TWO, launch=False)
    await home.store.write(lambda tx: campaigning.prepare_launch(tx, "spring", 1, START))
    await restore(home)
    await home.campaigns.launch("spring")
    assert await columns(home, "status") == ["uncertain", "uncertain"]


async def test_in_chunks(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restoring, "CHUNK_ROWS", 2)
    await home.campaign(*(f"+3460000000{n}" for n in range(1, 6)))
    await home.send_one()
    did = []
    after: int | None = 0
    while after is not None:
        after, n = await home.store.write(lambda tx, a=after: restoring.doubt(tx, a, START))  # type: ignore[misc] # see above
        did.append(n)
    assert did == [2, 2, 0]
    assert await columns(home, "status") == ["sent", *["uncertain"] * 4]


# --- what is created afterwards ------------------------------------------------------------------------------


async def test_message_1s_that_are_made_afterwards_are_in_doubt_too(home: House) -> None:
    await home.campaign(ONE)
    await home.campaign(TWO, name="draft", launch=False)
    await restore(home)
    home.clock.advance(30 * DAY.total_seconds())
    await add(home, THREE)
    await home.campaigns.launch("draft")
    await home.campaign(FOUR, name="new")
    assert await columns(home, "status, reason") == [
        ("uncertain", IN_DOUBT),
        ("uncertain", IN_DOUBT),
        ("uncertain", IN_DOUBT),
        ("queued", None),  # of a campaign that no backup holds
    ]


async def test_the_reference_is_as_it_was(home: House) -> None:
    """A contact who is imported again, whatever rows they have now, is looked up as what they were."""
    await home.campaign(ONE, launch=False)
    await add(home, THREE, TWO)
    await home.campaigns.launch("spring")
    before = set(await columns(home, "reference"))
    await home.store.write(lambda tx: tx.execute("DELETE FROM contacts"))
    await restore(home)
    await add(home, TWO, THREE, ONE)
    assert set(await columns(home, "reference")) == before


@pytest.mark.parametrize(("seconds", "status"), [(-3600, "uncertain"), (5, "uncertain"), (6, "queued")])
async def test_an_answer_is_in_doubt_where_it_may_have_been_given(home: House, seconds: int, status: str) -> None:
    await home.campaign(ONE)
    await home.send_one()
    home.clock.advance(2 * 3600)
    restored_at = await restore(home)
    home.clock.advance(60)
    await home.receive(inbound(ONE, at=restored_at + timedelta(seconds=seconds), wa_id="A1"))
    assert await home.outcomes() == ["message_2_queued"]
    assert (await home.statuses())[1:] == [(ONE, 2, status)]


async def test_what_was_not_sent_is_sent_and_what_was_sent_is_not(home: House) -> None:
    await home.campaign(ONE, TWO)
    await restore(home)
    await look_up(home, found(START + HOUR), seconds=300)
    assert await home.statuses() == [(ONE, 1, "sent"), (TWO, 1, "queued")]
    assert [claim.phone for claim in await home.claim(9)] == [TWO]
    assert await columns(home, "attempt, sent_at IS NULL, text") == [(0, 0, None), (1, 1, "Hello")]


# --- replies -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", list(ReceiptStatus)[:3])
@pytest.mark.parametrize(
    ("days", "outcome"), [(2.1, "message_2_queued"), (2.99, "message_2_queued"), (3.1, "no_recent_message_1")]
)
async def test_the_window_counts_from_when_the_provider_sent_it(
    home: House, days: float, outcome: str, status: ReceiptStatus
) -> None:
    """Message 1 went out two days after the backup, the reply came before the restore, all of it is unknown."""
    await home.campaign(ONE)
    home.clock.advance(5 * DAY.total_seconds())
    await restore(home)
    await home.receive(inbound(ONE, at=START + days * DAY, wa_id="A1"))
    assert await home.outcomes() == ["waiting_for_message_1"]
    await look_up(home, found(START + 2 * DAY, status=status))
    assert await home.outcomes() == [outcome]
    sent_at = int((START + 2 * DAY).timestamp() * 1000)
    assert (await columns(home, "status, sent_at, provider_sent_at"))[0] == (status.value, sent_at, sent_at)
    expected = [(ONE, 2, "uncertain")] if outcome == "message_2_queued" else []
    assert (await home.statuses())[1:] == expected


async def test_a_reply_brings_its_message_1_forward(home: House) -> None:
    await home.campaign(ONE, TWO, THREE)
    await restore(home)
    await home.receive(inbound(THREE, at=START, wa_id="A1"))
    await look_up(home, Absent())
    ((third,),) = await home.rows("SELECT reference FROM messages WHERE id = 3")
    assert home.client.asked == [third]


async def test_a_quote_of_a_message_that_nobody_knows_yet(home: House) -> None:
    """Both campaigns wrote after the backup; the reply quotes the earlier one, by an id that only Wassenger knows."""
    await home.campaign(ONE, name="first")
    await home.campaign(ONE, name="second")
    home.clock.advance(DAY.total_seconds())
    await restore(home)
    await home.receive(inbound(ONE, at=START + 3 * HOUR, wa_id="A1", quoted="3EB0AAAA"))
    earlier = Accepted("a" * 24, "3EB0AAAA", None, ReceiptStatus.SENT, START + HOUR)
    later = Accepted("b" * 24, "3EB0BBBB", None, ReceiptStatus.SENT, START + 2 * HOUR)
    by_reference: dict[str, LookUp] = dict(zip(await columns(home, "reference"), (earlier, later), strict=True))

    async def find(reference: str) -> LookUp:
        return by_reference.get(reference, Absent())

    home.client.find = find  # type: ignore[method-assign]
    await look_up(home, seconds=30)
    assert await home.outcomes() == ["message_2_queued"]
    assert await home.rows(
        "SELECT g.name FROM messages m JOIN campaigns g ON g.id = m.campaign_id WHERE step = 2"
    ) == [("first",)]


async def test_a_reply_to_a_campaign_that_was_launched_after_the_backup(home: House) -> None:
    """It is a draft when the reply is found, so the reply answers nothing, until the draft is launched again."""
    await home.campaign(ONE, launch=False)
    home.clock.advance(DAY.total_seconds())
    await restore(home)
    await home.receive(inbound(ONE, at=START + 2 * HOUR, wa_id="A1"))
    await home.receive(inbound(ONE, "and?", at=START + 3 * HOUR, wa_id="A2"))
    assert await home.outcomes() == ["no_recent_message_1"] * 2
    await home.campaigns.launch("spring")
    await look_up(home, found(START + HOUR))
    assert await home.outcomes() == ["message_2_queued", "message_2_exists"]
    assert await home.statuses() == [(ONE, 1, "sent"), (ONE, 2, "uncertain")]


async def test_a_reply_of_somebody_who_was_imported_after_the_backup(home: House) -> None:
    await home.campaign(ONE)
    home.clock.advance(DAY.total_seconds())
    await restore(home)
    await home.receive(inbound(TWO, at=START + 2 * HOUR, wa_id="A1"))
    await home.receive(inbound(TWO, "hello?", at=START - HOUR, wa_id="A2"))
    assert await home.outcomes() == ["unknown_contact"] * 2
    await add(home, TWO)
    await look_up(home, Absent(), found(START + HOUR, number=TWO))
    assert await home.outcomes() == ["message_2_queued", "no_recent_message_1"]
    assert await home.rows("SELECT value FROM totals WHERE name = 'unmatched'") == [(0,)]


async def test_a_reply_that_waited_in_the_backup(home: House) -> None:
    await home.campaign(ONE)
    await home.send_one(Uncertain("no answer in time"))
    await home.receive(inbound(ONE, at=START, wa_id="A1"))
    home.clock.advance(60)
    await restore(home)
    await look_up(home, found(START))
    assert await home.statuses() == [(ONE, 1, "sent"), (ONE, 2, "uncertain")]


async def test_a_reply_to_nothing_is_no_reply(home: House) -> None:
    await home.campaign(ONE)
    await restore(home)
    await home.receive(inbound(ONE, at=START, wa_id="A1"))
    await look_up(home, seconds=300)
    assert await home.outcomes() == ["no_recent_message_1"]
    assert await home.statuses() == [(ONE, 1, "queued")]


# --- opting out ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lid", [False, True])
async def test_who_opts_out_meanwhile_gets_nothing(home: House, lid: bool) -> None:  # noqa: FBT001 - a column
    await home.campaign(ONE)
    if lid:
        await home.store.write(lambda tx: tx.execute("INSERT INTO chat_ids VALUES ('9@lid', 1)"))
    await restore(home)
    await look_up(home, Absent())
    stop = (
        inbound_from_lid("9@lid", "STOP", at=START, wa_id="A1") if lid else inbound(ONE, "STOP", at=START, wa_id="A1")
    )
    await home.receive(stop)
    await look_up(home, seconds=300)
    assert await columns(home, "status, reason") == [("cancelled", "contact opted out")]


async def test_who_had_opted_out_is_not_in_line_when_imported_again(home: House) -> None:
    await home.campaign(ONE)
    await restore(home)
    await home.receive(inbound(TWO, "STOP", at=START, wa_id="A1"))
    await add(home, TWO)
    assert (await home.statuses())[1] == (TWO, 1, "uncertain")
    await look_up(home, seconds=300)
    assert (await home.statuses())[1] == (TWO, 1, "cancelled")


async def test_nothing_is_sent_before_what_people_wrote_is_known(home: House) -> None:
    """A STOP may be among it, and the proof of absence is short where there is little to look up."""
    await home.campaign(ONE, TWO)
    await restore(home, listed=False)
    await look_up(home, found(START), seconds=1200)
    assert await home.statuses() == [(ONE, 1, "sent"), (TWO, 1, "uncertain")]
    now = home.clock.now()
    await home.store.write(lambda tx: catching_up.listed(tx, now, now))
    await look_up(home, seconds=300)
    assert await home.statuses() == [(ONE, 1, "sent"), (TWO, 1, "queued")]


async def test_a_list_longer_than_a_round_is_waited_for_and_no_longer(
    home: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last page has a STOP: nothing goes to who wrote it, and everything to the others."""

    class Long:
        async def inbound(self, _since: datetime, page: int) -> Page | Unknown:
            if page > 20:
                return Page((), (), None)
            stop = inbound(TWO, "STOP", at=START, wa_id="A20")
            events = [parse(json.dumps(stop).encode())] if page == 20 else []
            return Page([f"A{page}"], events, START)

        async def report(self, _reference: str) -> Event | Absent | Unknown:
            return Absent()

    monkeypatch.setattr(catch_up_module, "_MOST_PAGES", 5)
    await home.campaign(ONE, TWO)
    await restore(home, listed=False)
    catch_up = CatchUp(
        store=home.store,
        history=Long(),
        inbox=home.inbox,
        clock=home.clock,
        policy=home.policy,
        arrivals=Arrivals(home.clock),
        interval_seconds=300,
        gap_seconds=0,
    )
    for _ in range(4):
        assert (await catch_up.step()).is_unfinished
        await look_up(home, seconds=300)
        assert [status for *_, status in await home.statuses()] == ["uncertain", "uncertain"]
    assert not (await catch_up.step()).is_unfinished
    await look_up(home, seconds=300)
    assert await home.statuses() == [(ONE, 1, "queued"), (TWO, 1, "cancelled")]


async def test_without_the_list_a_person_lets_the_messages_go(home: House) -> None:
    await home.campaign(ONE)
    await restore(home, listed=False)
    for _ in range(4):
        await look_up(home, seconds=300)
    assert await home.statuses() == [(ONE, 1, "uncertain")]
    assert await home.store.write(catching_up.give_up)
    assert not await home.store.write(catching_up.give_up), "nothing waits any more"
    await look_up(home, seconds=300)
    assert await home.statuses() == [(ONE, 1, "queued")]


@pytest.mark.parametrize("launch", [False, True])
async def test_what_people_wrote_is_listed_since_the_backup(home: House, launch: bool) -> None:  # noqa: FBT001 - a column
    """Also where nothing was launched before it: something may have been since."""
    await home.campaign(ONE, launch=launch)
    home.clock.advance(DAY.total_seconds())
    await restore(home)
    since = await home.store.write(lambda tx: catching_up.list_since(tx, home.clock.now()))
    assert since == START - HOUR


async def test_an_empty_database_owes_nothing(home: House) -> None:
    await restore(home)
    assert await home.store.write(lambda tx: catching_up.list_since(tx, home.clock.now())) is None


# --- looking up ----------------------------------------------------------------------------------------------


async def test_two_look_ups_each(home: House) -> None:
    phones = [f"+346000001{n:02d}" for n in range(40)]
    await home.campaign(*phones)
    await restore(home)
    begin = home.clock.now()
    reconciles = reconciler(home)
    while await home.rows("SELECT 1 FROM messages WHERE status = 'uncertain'"):
        home.clock.advance(await reconciles.step())
    assert len(home.client.asked) == 80
    assert home.clock.now() - begin < timedelta(seconds=170)
    assert reconciles._absent_since_seconds == {}


async def test_a_doubt_that_waits_for_its_turn_needs_nobody(home: House) -> None:
    """Only look-ups that do not settle a message do; those of a restore may take days."""
    await home.campaign(ONE, TWO)
    await restore(home)
    home.clock.advance(DAY.total_seconds())
    assert (await stats.queue(home.store.reader, home.clock.now())).uncertain_since is None
    begun_at = home.clock.now()
    await look_up(home, Absent())
    assert (await stats.queue(home.store.reader, home.clock.now())).uncertain_since == begun_at


async def test_who_is_looked_up_first(home: House) -> None:
    """Answers to replies, then what was begun, then the rest in its order; and each comes to its end."""
    await home.campaign(ONE, TWO, THREE)
    await home.send_one()
    await home.receive(inbound(ONE, at=START, wa_id="A1"))
    await restore(home)
    rows = dict(await home.rows("SELECT reference, id FROM messages"))
    policy = Policy(resend_after=timedelta(seconds=1))
    await look_up(home, seconds=8, policy=policy)
    assert [rows[reference] for reference in home.client.asked] == [4, 4, 2, 2, 3, 3]


async def test_a_fresh_doubt_does_not_wait_for_all_the_others(home: House) -> None:
    await home.campaign(*(f"+346000001{n:02d}" for n in range(40)))
    await restore(home)
    await home.campaign(ONE, name="new")
    claim = await home.send_one(Uncertain("no answer in time"))
    await look_up(home, seconds=8)
    assert claim.reference in home.client.asked


async def test_with_resend_after_zero_a_person_decides(home: House) -> None:
    await home.campaign(ONE, TWO)
    await restore(home)
    never = Policy(resend_after=timedelta(0))
    await look_up(home, seconds=3 * 86_400, policy=never)
    assert await columns(home, "status") == ["uncertain", "uncertain"]
    assert len(home.client.asked) < 30
    now = home.clock.now()
    for resolution in (MessageStatus.SENT, MessageStatus.QUEUED):
        number = 1 if resolution is MessageStatus.SENT else 2
        await home.store.write(
            lambda tx, n=number, r=resolution: settling.resolve(tx, n, r, now=now, policy=never)  # type: ignore[misc] # see above
        )
    assert await columns(home, "status") == ["sent", "queued"]


async def test_a_look_up_that_fails_proves_nothing(home: House) -> None:
    await home.campaign(ONE)
    await restore(home)
    await look_up(home, Absent(), *[Unknown("HTTP 503")] * 100)
    assert await columns(home, "status") == ["uncertain"]


async def test_a_receipt_settles_it_too(home: House) -> None:
    await home.campaign(ONE)
    home.clock.advance(DAY.total_seconds())
    await restore(home)
    ((reference,),) = await home.rows("SELECT reference FROM messages")
    await home.receive(receipt("sent", at=START + HOUR, reference=reference))
    assert await columns(home, "status, sent_at") == [("sent", int((START + HOUR).timestamp() * 1000))]


async def test_a_receipt_that_came_before_its_message_had_a_row(home: House) -> None:
    """Of a campaign that was launched after the backup: it is proof against any look-up."""
    await home.campaign(ONE, launch=False)
    ((key,),) = await home.rows("SELECT key FROM campaigns")
    reference = rules.reference(key, ONE, Step.MESSAGE_1)
    home.clock.advance(DAY.total_seconds())
    await restore(home)
    await home.receive(receipt("sent", at=START + HOUR, reference=reference, queue_id="a" * 24))
    await home.receive(receipt("failed", at=START + HOUR, queue_id="a" * 24))
    await home.campaigns.launch("spring")
    await look_up(home, Absent())
    assert await columns(home, "status, sent_at") == [("failed", int((START + HOUR).timestamp() * 1000))]
    assert await home.rows("SELECT 1 FROM waiting_receipts") == []


async def test_a_second_restore_doubts_again(home: House) -> None:
    await home.campaign(ONE, TWO)
    await restore(home)
    await look_up(home, seconds=300)
    assert await columns(home, "status") == ["queued", "queued"]
    await home.send_one()
    await restore(home)
    assert await columns(home, "status") == ["sent", "uncertain"]
