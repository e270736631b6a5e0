"""One webhook event, from its body to the rows: every rule of a reply (contract §1) on a real database."""

from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support import START, House, ack, house, inbound, inbound_from_lid, payload, receipt
from wamsg2.model import Accepted, MessageStatus, Overlap, Policy, Rejected, Uncertain
from wamsg2.store.writer import Work
from wamsg2.work import consent, settling

ONE, TWO, STRANGER = "+34600000001", "+34600000002", "+34699999999"
LID = "183000000000001@lid"
HOUR = timedelta(hours=1)
DAY = timedelta(hours=24)


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path) as made:
        yield made


def wa_id_of(message_id: int) -> str:
    """What `House.send_one` gave a message."""
    return f"3EB0{message_id:016X}"


async def message_2s(home: House) -> list[tuple[str, str]]:
    """(campaign, status) of every Message 2."""
    return [
        (name, status)
        for name, status in await home.rows(
            """SELECT g.name, m.status FROM messages m JOIN campaigns g ON g.id = m.campaign_id
               WHERE m.step = 2 ORDER BY g.id"""
        )
    ]


async def opted_out(home: House) -> list[bool]:
    return [bool(row[0]) for row in await home.rows("SELECT opted_out FROM contacts ORDER BY id")]


# --- outcomes ------------------------------------------------------------------------------------------------


async def test_message_2_queued(home: House) -> None:
    await home.campaign(ONE)
    await home.send_one()
    home.clock.advance(60)
    assert await home.receive(inbound(ONE, "yes", at=START + timedelta(seconds=30), wa_id="A1")) == "accepted"
    assert await home.outcomes() == ["message_2_queued"]
    reply_at, due_at, created_at = (
        await home.rows("SELECT reply_at, due_at, created_at FROM messages WHERE step = 2")
    )[0]
    assert created_at - reply_at == 30_000
    assert due_at - created_at == 2000  # the delay counts from the arrival
    ((text, message_id, contact_id),) = await home.rows("SELECT text, message_id, contact_id FROM interactions")
    assert (text, message_id, contact_id) == ("yes", 1, 1)
    assert await home.rows("SELECT replied, interactions, opted_out FROM campaign_counts") == [(1, 1, 0)]


async def test_message_2_exists(home: House) -> None:
    await home.campaign(ONE)
    await home.send_one()
    for n in range(3):
        await home.receive(inbound(ONE, at=START, wa_id=f"A{n}"))
    assert await home.outcomes() == ["message_2_queued", "message_2_exists", "message_2_exists"]
    assert await message_2s(home) == [("spring", "queued")]


@pytest.mark.parametrize("status", ["sent", "failed", "cancelled"])
async def test_message_2_exists_whatever_its_status(home: House, status: str) -> None:
    await home.campaign(ONE)
    await home.send_one()
    await home.receive(inbound(ONE, at=START, wa_id="A1"))
    home.clock.advance(2)
    match status:
        case "cancelled":
            await home.receive(inbound(ONE, "STOP", at=home.clock.now(), wa_id="A2"))
            home.clock.advance(1)
            await home.receive(inbound(ONE, "START", at=home.clock.now(), wa_id="A3"))
        case "failed":
            await home.send_one(Rejected("HTTP 400"))
        case _:
            await home.send_one()
    assert await message_2s(home) == [("spring", status)]
    await home.receive(inbound(ONE, at=home.clock.now(), wa_id="A4"))
    assert (await home.outcomes())[-1] == "message_2_exists"
    assert await message_2s(home) == [("spring", status)]


async def test_no_recent_message_1(home: House) -> None:
    await home.campaign(ONE)
    await home.receive(inbound(ONE, at=START, wa_id="A1"))  # still queued
    (claim,) = await home.claim()
    await home.settle(claim, Rejected("HTTP 400"))
    await home.receive(inbound(ONE, at=START, wa_id="A2"))  # failed
    assert await home.outcomes() == ["no_recent_message_1"] * 2
    assert await home.rows("SELECT contact_id, campaign_id, message_id FROM interactions") == [(1, None, None)] * 2


async def test_waiting_for_message_1(home: House) -> None:
    await home.campaign(ONE)
    (claim,) = await home.claim()
    await home.receive(inbound(ONE, at=START, wa_id="A1"))
    assert await home.outcomes() == ["waiting_for_message_1"]
    assert await message_2s(home) == []
    home.clock.advance(1)
    await home.settle(claim, Accepted("a" * 24))
    assert await home.outcomes() == ["message_2_queued"]
    assert await home.rows("SELECT reply_at, due_at - reply_at FROM messages WHERE step = 2") == [
        (int(START.timestamp() * 1000), 2000)
    ]


async def test_waiting_for_a_message_1_that_failed(home: House) -> None:
    await home.campaign(ONE)
    (claim,) = await home.claim()
    await home.receive(inbound(ONE, at=START, wa_id="A1"))
    await home.settle(claim, Rejected("HTTP 400"))
    assert await home.outcomes() == ["no_recent_message_1"]
    assert await message_2s(home) == []


async def test_waiting_for_an_uncertain_message_1_until_a_receipt(home: House) -> None:
    await home.campaign(ONE)
    claim = await home.send_one(Uncertain("no answer in time"))
    home.clock.advance(60)
    await home.receive(inbound(ONE, at=home.clock.now(), wa_id="A1"))
    assert await home.outcomes() == ["waiting_for_message_1"]
    await home.receive(receipt("sent", at=START, reference=claim.reference))
    assert await home.outcomes() == ["message_2_queued"]


async def test_waiting_then_opted_out(home: House) -> None:
    await home.campaign(ONE)
    (claim,) = await home.claim()
    await home.receive(inbound(ONE, at=START, wa_id="A1"))
    await home.receive(inbound(ONE, "Stop", at=START + timedelta(seconds=1), wa_id="A2"))
    await home.settle(claim, Accepted("a" * 24))
    assert await home.outcomes() == ["opted_out", "opt_out"]
    assert await message_2s(home) == []


async def test_waiting_then_cancelled(home: House) -> None:
    await home.campaign(ONE)
    (claim,) = await home.claim()
    await home.receive(inbound(ONE, at=START, wa_id="A1"))
    await home.campaigns.cancel("spring")
    await home.settle(claim, Accepted("a" * 24))
    assert await home.outcomes() == ["campaign_cancelled"]
    assert await home.statuses() == [(ONE, 1, "sent")]


async def test_no_message_2(home: House) -> None:
    await home.campaign(ONE, message_2=None)
    await home.send_one()
    await home.receive(inbound(ONE, at=START, wa_id="A1"))
    assert await home.outcomes() == ["no_message_2"]
    assert await home.rows("SELECT replied FROM campaign_counts") == [(1,)]


async def test_campaign_cancelled(home: House) -> None:
    await home.campaign(ONE)
    await home.send_one()
    await home.campaigns.cancel("spring")
    await home.receive(inbound(ONE, at=START, wa_id="A1"))
    assert await home.outcomes() == ["campaign_cancelled"]
    assert await message_2s(home) == []


async def test_a_paused_campaign_still_queues(home: House) -> None:
    await home.campaign(ONE)
    await home.send_one()
    await home.campaigns.pause("spring")
    await home.receive(inbound(ONE, at=START, wa_id="A1"))
    assert await home.outcomes() == ["message_2_queued"]
    home.clock.advance(10)
    assert await home.claim() == []


async def test_opted_out(home: House) -> None:
    await home.campaign(ONE)
    await home.send_one()
    await home.receive(inbound(ONE, "STOP", at=START, wa_id="A1"))
    await home.receive(inbound(ONE, "yes", at=START, wa_id="A2"))
    assert await home.outcomes() == ["opt_out", "opted_out"]
    assert await message_2s(home) == []
    assert await home.rows("SELECT opted_out, interactions FROM campaign_counts") == [(1, 2)]


async def test_unknown_contact(home: House) -> None:
    await home.campaign(ONE)
    await home.send_one()
    assert await home.receive(inbound(STRANGER, at=START, wa_id="A1")) == "accepted"
    assert await home.outcomes() == ["unknown_contact"]
    rows = await home.rows("SELECT contact_id, sender_phone, sender_chat FROM interactions")
    assert rows == [(None, STRANGER, "934699999999@lid")]
    assert await home.rows("SELECT value FROM totals WHERE name = 'unmatched'") == [(1,)]


async def test_reaction(home: House) -> None:
    await home.campaign(ONE)
    await home.send_one()
    reaction = inbound(ONE, "👍", at=START, wa_id=wa_id_of(1), type="reaction", reactionMessage=wa_id_of(1))
    await home.receive(reaction)
    assert await home.outcomes() == ["reaction"]
    assert await home.rows("SELECT type, contact_id, campaign_id, message_id FROM interactions") == [
        ("reaction", 1, 1, 1)
    ]
    assert await message_2s(home) == []
    assert await home.rows("SELECT replied, interactions FROM campaign_counts") == [(0, 1)]


async def test_a_reaction_of_its_own_event(home: House) -> None:
    await home.campaign("+525600000001")
    await home.send_one()
    body = payload("message_reaction.guess.json")
    assert [await home.receive(body), await home.receive(body)] == ["accepted", "duplicate"]
    assert await home.outcomes() == ["reaction"]
    assert await home.rows("SELECT contact_id, text FROM interactions") == [(1, "👍")]


@pytest.mark.parametrize(
    "kind", ["text", "image", "audio", "video", "document", "location", "contacts", "buttons_response"]
)
async def test_every_kind_of_message_is_a_reply(home: House, kind: str) -> None:
    await home.campaign(ONE)
    await home.send_one()
    body = inbound(ONE, at=START, wa_id="A1", type=kind)
    if kind != "text":
        del body["data"]["body"]
    await home.receive(body)
    assert await home.outcomes() == ["message_2_queued"]


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"from": "120363000000000001@g.us", "meta": {"isGroup": True}}, id="group"),
        pytest.param({"meta": {"isChannel": True}}, id="channel"),
        pytest.param({"meta": {"isBroadcast": True}}, id="broadcast"),
        pytest.param({"meta": {"isNotification": True}}, id="notification"),
        pytest.param({"flow": "outbound"}, id="our own"),
        pytest.param({"type": "e2e_notification"}, id="system"),
    ],
)
async def test_what_is_no_reply(home: House, changes: dict[str, Any]) -> None:
    await home.campaign(ONE)
    await home.send_one()
    assert await home.receive(inbound(ONE, at=START, wa_id="A1", **changes)) == "ignored"
    assert await home.outcomes() == []
    assert await home.rows("SELECT result FROM events") == [("ignored",)]


async def test_a_duplicate_changes_nothing(home: House) -> None:
    await home.campaign(ONE)
    await home.send_one()
    body = inbound(ONE, at=START, wa_id="A1")
    assert await home.receive(body) == "accepted"
    before = await home.rows("SELECT * FROM messages"), await home.rows("SELECT * FROM interactions")
    body["id"], body["created"] = "another envelope", 1
    home.clock.advance(5)
    assert await home.receive(body) == "duplicate"
    assert (await home.rows("SELECT * FROM messages"), await home.rows("SELECT * FROM interactions")) == before
    assert await home.rows("SELECT value FROM totals WHERE name = 'webhooks_duplicates'") == [(1,)]


# --- who -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stored", ["+5215600000001", "+525600000001"])
async def test_the_captured_body_in_both_spellings(home: House, stored: str) -> None:
    body = payload("message_in_new.text.json")
    written_at = datetime.fromtimestamp(body["data"]["timestamp"], tz=START.tzinfo)
    home.clock.step_wall((written_at - START).total_seconds() - 600)
    await home.campaign(stored)
    await home.send_one()
    home.clock.advance(601)
    await home.receive(body)
    assert await home.outcomes() == ["message_2_queued"]
    assert await home.rows("SELECT reply_at FROM interactions") == [(int(written_at.timestamp()) * 1000,)]
    assert await home.rows("SELECT chat_id FROM chat_ids") == [("183000000000001@lid",)]


@pytest.mark.parametrize(
    ("stored", "writes"),
    [
        ("+5511987654321", "+551187654321"),
        ("+551187654321", "+5511987654321"),
        ("+5491155556666", "+541155556666"),
        ("+541155556666", "+5491155556666"),
    ],
)
async def test_national_spellings(home: House, stored: str, writes: str) -> None:
    await home.campaign(stored)
    await home.send_one()
    await home.receive(inbound(writes, at=START, wa_id="A1"))
    assert await home.outcomes() == ["message_2_queued"]


async def test_a_lid_is_learned_from_a_receipt(home: House) -> None:
    await home.campaign(ONE, TWO)
    await home.send_one()
    await home.send_one()
    await home.receive(ack("delivered", at=START, wa_id=wa_id_of(2), number=TWO, lid=LID))
    await home.receive(inbound_from_lid(LID, at=START, wa_id="A1"))
    assert await home.outcomes() == ["message_2_queued"]
    assert (await home.statuses())[2:] == [(TWO, 2, "queued")]


async def test_a_lid_that_becomes_known_later(home: House) -> None:
    await home.campaign(ONE)
    await home.send_one()
    home.clock.advance(60)
    await home.receive(inbound_from_lid(LID, "yes", at=home.clock.now(), wa_id="A1"))
    assert await home.outcomes() == ["unknown_contact"]
    home.clock.advance(60)
    await home.receive(ack("read", at=START, wa_id=wa_id_of(1), number=ONE, lid=LID))
    assert await home.outcomes() == ["message_2_queued"]
    assert await message_2s(home) == [("spring", "queued")]
    assert await home.rows("SELECT value FROM totals WHERE name = 'unmatched'") == [(0,)]
    assert await home.rows("SELECT interactions FROM campaign_counts") == [(1,)]


async def test_a_stop_from_a_lid_that_becomes_known_later(home: House) -> None:
    await home.campaign(ONE)
    await home.campaign(ONE, name="other")
    await home.send_one()
    await home.receive(inbound_from_lid(LID, "yes", at=START, wa_id="A1"))
    home.clock.advance(1)
    await home.receive(inbound_from_lid(LID, "STOP", at=home.clock.now(), wa_id="A2"))
    await home.receive(ack("read", at=START, wa_id=wa_id_of(1), number=ONE, lid=LID))
    assert await home.outcomes() == ["message_2_queued", "opt_out"]
    assert [status for *_, status in await home.statuses()] == ["read", "cancelled", "cancelled"]
    assert await opted_out(home) == [True]


async def test_a_quote_names_the_sender(home: House) -> None:
    await home.campaign(ONE)
    await home.send_one()
    await home.receive(inbound_from_lid(LID, at=START, wa_id="A1", quoted=wa_id_of(1)))
    assert await home.outcomes() == ["message_2_queued"]
    assert await home.rows("SELECT chat_id, contact_id FROM chat_ids") == [(LID, 1)]


# --- when ----------------------------------------------------------------------------------------------------

OFFSETS = [(-6, False), (-5, True), (0, True), (86_400, True), (86_401, False)]


@pytest.mark.parametrize(("offset", "counts"), OFFSETS)
async def test_the_window_of_a_reply_that_comes_late(home: House, offset: int, *, counts: bool) -> None:
    await home.campaign(ONE)
    await home.send_one()
    home.clock.advance(30 * 3600)
    await home.receive(inbound(ONE, at=START + timedelta(seconds=offset), wa_id="A1"))
    assert await home.outcomes() == ["message_2_queued" if counts else "no_recent_message_1"]


@pytest.mark.parametrize(("offset", "counts"), OFFSETS)
async def test_the_window_of_a_reply_that_overtakes(home: House, offset: int, *, counts: bool) -> None:
    await home.campaign(ONE)
    (claim,) = await home.claim()
    await home.settle(claim, Uncertain("no answer in time"))
    home.clock.advance(max(offset, 0))
    await home.receive(inbound(ONE, at=START + timedelta(seconds=offset), wa_id="A1"))
    assert await home.outcomes() == ["waiting_for_message_1" if counts else "no_recent_message_1"]
    await home.receive(receipt("sent", at=START, reference=claim.reference))
    assert await home.outcomes() == ["message_2_queued" if counts else "no_recent_message_1"]


@pytest.mark.parametrize(("offset", "counts"), OFFSETS)
async def test_the_window_of_a_reply_that_comes_twice(home: House, offset: int, *, counts: bool) -> None:
    await home.campaign(ONE)
    await home.send_one()
    home.clock.advance(30 * 3600)
    body = inbound(ONE, at=START + timedelta(seconds=offset), wa_id="A1")
    assert [await home.receive(body), await home.receive(body)] == ["accepted", "duplicate"]
    await home.receive(inbound(ONE, at=START + timedelta(seconds=offset), wa_id="A2"))
    assert await home.outcomes() == (
        ["message_2_queued", "message_2_exists"] if counts else ["no_recent_message_1"] * 2
    )
    assert len(await message_2s(home)) == int(counts)


async def test_a_waiting_reply_is_judged_by_the_time_that_the_provider_tells(home: House) -> None:
    """Our clock said 10:00, the provider's 10:10: a reply of 10:01 by the same clock came before Message 1."""
    await home.campaign(ONE)
    (claim,) = await home.claim()
    await home.settle(claim, Uncertain("no answer in time"))
    home.clock.advance(3600)
    await home.receive(inbound(ONE, at=START + timedelta(minutes=1), wa_id="A1"))
    assert await home.outcomes() == ["waiting_for_message_1"]
    await home.receive(receipt("sent", at=START + timedelta(minutes=10), reference=claim.reference))
    assert await home.outcomes() == ["no_recent_message_1"]


async def test_a_reply_from_the_future_is_written_at_its_arrival(home: House) -> None:
    await home.campaign(ONE)
    await home.send_one()
    home.clock.advance(60)
    await home.receive(inbound(ONE, at=START + 400 * DAY, wa_id="A1"))
    assert await home.rows("SELECT reply_at = received_at, outcome FROM interactions") == [(1, "message_2_queued")]


async def test_a_reply_without_time_is_written_at_its_arrival(home: House) -> None:
    await home.campaign(ONE)
    await home.send_one()
    home.clock.advance(60)
    body = inbound(ONE, at=START, wa_id="A1", timestamp=None, date=None)
    del body["created"]
    await home.receive(body)
    assert await home.rows("SELECT reply_at = received_at, outcome FROM interactions") == [(1, "message_2_queued")]


# --- which campaign ------------------------------------------------------------------------------------------


async def overlapping(home: House, names: Sequence[str] = ("first", "second")) -> None:
    """Campaigns that sent their Message 1 to the same contact, an hour after each other."""
    for name in names:
        await home.campaign(ONE, name=name)
        await home.send_one()
        home.clock.advance(3600)


async def test_the_latest_campaign_is_answered(home: House) -> None:
    await overlapping(home)
    await home.receive(inbound(ONE, at=home.clock.now(), wa_id="A1"))
    assert await message_2s(home) == [("second", "queued")]


async def test_the_latest_in_its_window_is_answered(home: House) -> None:
    await overlapping(home)
    home.clock.advance(3600)
    await home.receive(inbound(ONE, at=START + timedelta(minutes=30), wa_id="A1"))
    assert await message_2s(home) == [("first", "queued")]


async def test_the_quoted_campaign_is_answered(home: House) -> None:
    await overlapping(home)
    await home.receive(inbound(ONE, at=home.clock.now(), wa_id="A1", quoted=wa_id_of(1)))
    assert await message_2s(home) == [("first", "queued")]


async def test_a_quote_of_something_else_is_no_quote(home: House) -> None:
    await overlapping(home)
    await home.receive(inbound(ONE, at=home.clock.now(), wa_id="A1", quoted="3EB0FFFF"))
    assert await message_2s(home) == [("second", "queued")]


async def test_a_second_reply_does_not_go_to_the_older_campaign(home: House) -> None:
    await overlapping(home)
    for n in range(2):
        await home.receive(inbound(ONE, at=home.clock.now(), wa_id=f"A{n}"))
    assert await home.outcomes() == ["message_2_queued", "message_2_exists"]
    assert await message_2s(home) == [("second", "queued")]


async def test_overlap_all_answers_every_open_campaign(tmp_path: Path) -> None:
    async with house(tmp_path, policy=Policy(overlap=Overlap.ALL)) as home:
        await overlapping(home, ("first", "second", "third"))
        await home.campaigns.cancel("second")
        await home.receive(inbound(ONE, at=home.clock.now(), wa_id="A1"))
        assert await message_2s(home) == [("first", "queued"), ("third", "queued")]
        assert await home.outcomes() == ["message_2_queued"] * 2
        await home.receive(inbound(ONE, at=home.clock.now(), wa_id="A2"))
        assert (await home.outcomes())[2:] == ["message_2_exists"] * 2


async def test_overlap_all_waits_only_where_it_must(tmp_path: Path) -> None:
    async with house(tmp_path, policy=Policy(overlap=Overlap.ALL)) as home:
        await overlapping(home, ("first",))
        await home.campaign(ONE, name="second")
        (claim,) = await home.claim()
        await home.receive(inbound(ONE, at=home.clock.now(), wa_id="A1"))
        assert sorted(await home.outcomes()) == ["message_2_queued", "waiting_for_message_1"]
        assert await message_2s(home) == [("first", "queued")]
        await home.settle(claim, Accepted("a" * 24))
        assert await home.outcomes() == ["message_2_queued"] * 2
        assert await message_2s(home) == [("first", "queued"), ("second", "queued")]


# --- consent -------------------------------------------------------------------------------------------------


class Commits:
    """What each commit on the writer held."""

    def __init__(self, home: House) -> None:
        self.sizes: list[int] = []
        home.store._writer._hook = self.hook  # type: ignore[attr-defined]

    def hook(self, when: str, works: Sequence[Work[Any]]) -> None:
        if when == "after":
            self.sizes.append(len(works))


@pytest.mark.parametrize("word", ["STOP", "stop.", " Stop! ", "ARRÊT", "arret", "DÉSABONNER", "Unsubscribe", "BAJA"])
async def test_a_stop_cancels_everything_in_its_transaction(home: House, word: str) -> None:
    await home.campaign(ONE, TWO)
    await home.send_one()
    await home.receive(inbound(ONE, at=START, wa_id="A1"))
    await home.campaign(ONE, name="other")
    commits = Commits(home)
    await home.receive(inbound(ONE, word, at=START, wa_id="A2"))
    assert commits.sizes == [1]
    assert [(p, status) for p, _, status in await home.statuses()] == [
        (ONE, "sent"), (TWO, "queued"), (ONE, "cancelled"), (ONE, "cancelled"),
    ]  # fmt: skip
    assert await opted_out(home) == [True, False]


async def test_a_stop_tells_the_sender_after_the_commit(home: House) -> None:
    await home.campaign(ONE)
    home.inbox._signals = home.signals
    await home.receive(inbound(ONE, "STOP", at=START, wa_id="A1"))
    assert home.signals.withdrawn == [1]


async def test_no_campaign_reaches_who_has_opted_out(home: House) -> None:
    await home.campaign(ONE)
    await home.send_one()
    await home.receive(inbound(ONE, "STOP", at=START, wa_id="A1"))
    await home.campaign(ONE, TWO, name="later")
    assert await home.statuses() == [(ONE, 1, "sent"), (ONE, 1, "cancelled"), (TWO, 1, "queued")]
    assert await home.rows("SELECT reason FROM messages WHERE status = 'cancelled'") == [("contact opted out",)]


async def test_a_stop_from_an_unknown_number_outlives_its_import(home: House) -> None:
    await home.receive(inbound("+5215600000009", "STOP", at=START, wa_id="A1"))
    assert await home.outcomes() == ["opt_out"]
    await home.campaign("+525600000009")
    assert [status for *_, status in await home.statuses()] == ["cancelled"]
    assert await home.claim() == []


async def test_start_lets_campaigns_reach_them_again(home: House) -> None:
    await home.campaign(ONE)
    await home.send_one()
    await home.receive(inbound(ONE, "STOP", at=START, wa_id="A1"))
    home.clock.advance(10)
    await home.receive(inbound(ONE, "start", at=home.clock.now(), wa_id="A2"))
    await home.receive(inbound(ONE, "yes", at=home.clock.now(), wa_id="A3"))
    assert await home.outcomes() == ["opt_out", "opt_in", "message_2_queued"]
    assert await opted_out(home) == [False]


@pytest.mark.parametrize(
    ("words", "ends_out"),
    [
        pytest.param([("STOP", 0), ("START", 10)], False, id="in order"),
        pytest.param([("START", 10), ("STOP", 0)], False, id="a STOP that comes late"),
        pytest.param([("STOP", 10), ("START", 0)], True, id="a START that comes late"),
        pytest.param([("STOP", 5), ("START", 5)], True, id="in one second"),
        pytest.param([("START", 5), ("STOP", 5)], True, id="in one second, the other way"),
        pytest.param([("STOP", 0), ("START", 5), ("STOP", 10)], True, id="again"),
        pytest.param([("STOP", 10), ("START", 5), ("STOP", 0)], True, id="again, backwards"),
    ],
)
@pytest.mark.parametrize("wrong_seconds", [0, -3600, 3600], ids=["our clock is right", "is behind", "is ahead"])
async def test_the_last_written_word_holds(
    home: House, words: list[tuple[str, int]], wrong_seconds: int, *, ends_out: bool
) -> None:
    await home.campaign(ONE)
    await home.send_one()
    home.clock.advance(60)
    home.clock.step_wall(wrong_seconds)
    for n, (word, seconds) in enumerate(words):
        await home.receive(inbound(ONE, word, at=START + timedelta(seconds=seconds), wa_id=f"A{n}"))
    assert await opted_out(home) == [ends_out]


@pytest.mark.parametrize("from_nowhere", [{"timestamp": None, "date": "2999-01-01T00:00:00Z"}, {"timestamp": 32e9}])
async def test_a_start_out_of_the_far_future_does_not_outlast_a_stop(
    home: House, from_nowhere: dict[str, Any]
) -> None:
    await home.campaign(ONE)
    await home.receive(inbound(ONE, "START", at=START, wa_id="A1", **from_nowhere))
    home.clock.advance(10)
    await home.receive(inbound(ONE, "STOP", at=home.clock.now(), wa_id="A2"))
    assert await opted_out(home) == [True]


async def test_words_of_a_lid_are_ordered_by_the_providers_clock_too(home: House) -> None:
    await home.campaign(ONE)
    await home.send_one()
    home.clock.step_wall(-3600)
    for n, (word, seconds) in enumerate((("STOP", 10), ("START", 0))):
        await home.receive(inbound_from_lid(LID, word, at=START + timedelta(seconds=seconds), wa_id=f"A{n}"))
    await home.receive(ack("read", at=START, wa_id=wa_id_of(1), number=ONE, lid=LID))
    # START of somebody who has not opted out is a reply; by our clock, before the Message 1.
    assert await home.outcomes() == ["opt_out", "no_recent_message_1"]
    assert await opted_out(home) == [True]


async def test_a_decision_by_hand_holds_against_every_word_before_it(home: House) -> None:
    """Our clock is an hour behind, so that by the provider's the STOP is later."""
    await home.campaign(ONE)
    home.clock.step_wall(-3600)
    await home.receive(inbound(ONE, "STOP", at=START, wa_id="A1"))
    await home.store.write(lambda tx: consent.opt_in_number(tx, ONE, home.clock.now()))
    assert await opted_out(home) == [False]
    await home.receive(inbound(ONE, "STOP", at=START, wa_id="A0"))
    assert await opted_out(home) == [False]
    await home.receive(inbound(ONE, "STOP", at=START + timedelta(seconds=1), wa_id="A2"))
    assert await opted_out(home) == [True]


async def test_a_stop_from_a_lid_that_once_came_with_a_number(home: House) -> None:
    """The number was imported after that, so nobody has learned the id."""
    lid = f"9{ONE.lstrip('+')}@lid"
    await home.receive(inbound(ONE, "hello", at=START, wa_id="A1"))
    await home.campaign(ONE)
    await home.receive(inbound_from_lid(lid, "STOP", at=START, wa_id="A2"))
    assert await opted_out(home) == [True]
    assert [status for *_, status in await home.statuses()] == ["cancelled"]
    assert await home.outcomes() == ["no_recent_message_1", "opt_out"]
    assert await home.rows("SELECT chat_id FROM chat_ids") == [(lid,)]


async def test_an_opt_out_by_hand(home: House) -> None:
    await home.campaign(ONE)
    await home.store.write(lambda tx: consent.opt_out_number(tx, ONE, ONE, START))
    await home.store.write(lambda tx: consent.opt_out_number(tx, STRANGER, STRANGER, START))
    assert [status for *_, status in await home.statuses()] == ["cancelled"]
    assert await opted_out(home) == [True, True]
    await home.store.write(lambda tx: consent.opt_in_number(tx, ONE, START + HOUR))
    assert await opted_out(home) == [False, True]


# --- receipts through the same door --------------------------------------------------------------------------


async def test_a_receipt_moves_its_message(home: House) -> None:
    await home.campaign(ONE)
    await home.send_one()
    await home.receive(ack("delivered", at=START, wa_id=wa_id_of(1), number=ONE))
    await home.receive(ack("read", at=START, wa_id=wa_id_of(1), number=ONE))
    assert await home.statuses() == [(ONE, 1, "read")]
    assert await home.rows("SELECT count(*) FROM interactions") == [(0,)]


async def test_a_receipt_of_a_stranger_is_kept(home: House) -> None:
    assert await home.receive(ack("read", at=START, wa_id="3EB0FF", number=ONE)) == "accepted"
    assert await home.rows("SELECT status, wa_id FROM waiting_receipts") == [("read", "3EB0FF")]


async def test_events_that_nobody_knows_are_kept_and_ignored(home: House) -> None:
    assert await home.receive({"event": "agent:joined", "data": {"x": 1}}) == "ignored"
    assert await home.receive({}) == "ignored"
    assert await home.rows("SELECT name, result FROM events") == [("agent:joined", "ignored"), ("unknown", "ignored")]


async def test_a_reply_in_a_doubt_that_a_person_settles(home: House) -> None:
    await home.campaign(ONE)
    await home.send_one(Uncertain("no answer in time"))
    await home.receive(inbound(ONE, at=START, wa_id="A1"))
    await home.store.write(
        lambda tx: settling.resolve(tx, 1, MessageStatus.SENT, now=home.clock.now(), policy=home.policy)
    )
    assert await home.outcomes() == ["message_2_queued"]
