"""Who wrote, and whom a STOP stops (contract §1, rules 2 and 8 of a reply)."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support import House, ack, house, inbound, inbound_from_lid
from wamsg2 import phone
from wamsg2.model import Policy, Ruling
from wamsg2.privacy import Privacy
from wamsg2.work import consent, replying

ONE, TWO, STRANGER = "+34600000001", "+34600000002", "+34699999999"
LID = "934600000001@lid"  # as `inbound` shows it for ONE
MONTH_SECONDS = 30 * 24 * 3600


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    """Whatever happens here, nothing of it breaks a promise."""
    async with house(tmp_path) as made:
        yield made
        assert await made.violations() == []


def from_both(home: House, number: str, text: str, wa_id: str, **changes: Any) -> dict[str, Any]:
    """A message that names this number and the id of ONE."""
    body = inbound(number, text, at=home.clock.now(), wa_id=wa_id, **changes)
    body["data"]["chat"]["lid"] = LID
    return body


async def opted_out(home: House) -> dict[str, bool]:
    return {p: bool(out) for p, out in await home.rows("SELECT phone, opted_out FROM contacts")}


async def moved(home: House) -> None:
    """ONE was written to, and their WhatsApp id is known; a month later they write under TWO."""
    await home.campaign(ONE, name="old")
    await home.send_one()
    home.clock.advance(60)
    await home.receive(inbound(ONE, "hello", at=home.clock.now(), wa_id="A1"))
    home.clock.advance(2)
    await home.send_one()
    home.clock.advance(MONTH_SECONDS)
    await home.receive(from_both(home, TWO, "hi, my new number", "A2"))
    home.clock.advance(3600)


async def test_a_stop_stops_the_number_that_wrote_it_and_whom_its_id_leads_to(home: House) -> None:
    await moved(home)
    await home.campaign(TWO, name="new")
    await home.receive(from_both(home, TWO, "STOP", "A3"))
    assert await opted_out(home) == {ONE: True, TWO: True}
    home.clock.advance(60)
    assert await home.claim(5) == []


async def test_a_stop_from_a_number_that_is_imported_later(home: House) -> None:
    """The id leads to ONE; the number that wrote is nobody's yet."""
    await moved(home)
    await home.receive(from_both(home, TWO, "STOP", "A3"))
    assert await opted_out(home) == {ONE: True, TWO: True}
    await home.campaign(TWO, name="new")
    assert [status for *_, status in await home.statuses()][-1] == "cancelled"


async def test_the_number_comes_before_the_id(home: House) -> None:
    await moved(home)
    await home.campaign(TWO, name="new")
    await home.send_one()
    home.clock.advance(60)
    await home.receive(from_both(home, TWO, "yes please", "A3"))
    assert (await home.outcomes())[-1] == "message_2_queued"
    assert await home.rows("SELECT matched_by FROM interactions ORDER BY id") == [("number",), ("chat",), ("number",)]


async def test_an_id_follows_the_number_that_it_comes_with(home: House) -> None:
    await moved(home)
    await home.campaign(TWO, name="new")
    await home.receive(from_both(home, TWO, "hello", "A3"))
    await home.receive(inbound_from_lid(LID, "STOP", at=home.clock.now(), wa_id="A4"))
    assert await opted_out(home) == {ONE: False, TWO: True}


async def test_a_receipt_teaches_no_id_of_another_number(home: House) -> None:
    await home.campaign(ONE, TWO)
    first = await home.send_one()
    await home.send_one()
    home.clock.advance(60)
    told = ack("read", at=home.clock.now(), wa_id=f"3EB0{first.message_id:016X}", number=TWO, lid="9777@lid")
    await home.receive(told)
    assert await home.rows("SELECT * FROM chat_ids") == []
    await home.receive(inbound(TWO, "STOP", at=home.clock.now(), wa_id="A1"))
    assert await opted_out(home) == {ONE: False, TWO: True}


async def test_a_stop_that_quotes_another_contacts_message(home: House) -> None:
    await home.campaign(ONE, TWO)
    first = await home.send_one()
    await home.send_one()
    home.clock.advance(60)
    quoted = f"3EB0{first.message_id:016X}"
    await home.receive(inbound(TWO, "STOP", at=home.clock.now(), wa_id="A1", quoted=quoted))
    assert await opted_out(home) == {ONE: True, TWO: True}


async def test_who_was_forgotten_under_another_number(home: House) -> None:
    await moved(home)
    await home.campaign(TWO, name="new")
    await Privacy(store=home.store, clock=home.clock).forget(ONE)
    assert await home.receive(from_both(home, TWO, "STOP", "A3")) == "accepted"
    assert (await opted_out(home))[TWO]
    assert await home.claim(5) == []
    assert LID not in str(await home.rows("SELECT sender_chat, text FROM interactions"))
    assert LID.encode() not in (await home.bodies())[-1]


async def test_who_was_forgotten_and_stops_under_a_number_that_nobody_has(home: House) -> None:
    await moved(home)
    await Privacy(store=home.store, clock=home.clock).forget(ONE)
    assert await home.receive(from_both(home, TWO, "STOP", "A3")) == "ignored"
    await home.campaign(TWO, name="new")
    assert await home.claim(5) == []


# --- by hand -----------------------------------------------------------------------------------------------


async def test_a_stop_after_an_opt_in_by_hand_counts_whatever_our_clock_says(home: House) -> None:
    await home.campaign(ONE)
    await home.send_one()
    key = phone.key(ONE)
    await home.store.write(lambda tx: consent.opt_out_number(tx, ONE, key, home.clock.now()))
    home.clock.advance(60)
    await home.store.write(lambda tx: consent.opt_in_number(tx, key, home.clock.now()))
    home.clock.advance(60)
    late = home.clock.now() - timedelta(minutes=10)  # by WhatsApp's clock
    await home.receive(inbound(ONE, "STOP", at=late, wa_id="A1"))
    assert await opted_out(home) == {ONE: True}


async def test_a_word_heard_before_does_not_undo_what_was_decided_by_hand(home: House) -> None:
    await home.campaign(ONE)
    await home.send_one()
    home.clock.advance(60)
    await home.receive(inbound(ONE, "hello", at=home.clock.now(), wa_id="A1"))
    await home.store.write(lambda tx: consent.opt_out_number(tx, ONE, phone.key(ONE), home.clock.now()))
    await home.receive(inbound(ONE, "START", at=home.clock.now() - timedelta(seconds=30), wa_id="A2"))
    assert await opted_out(home) == {ONE: True}


# --- suspected opt-outs ------------------------------------------------------------------------------------


async def test_a_suspected_opt_out_holds_what_comes_after_it(home: House) -> None:
    await home.campaign(ONE)
    await home.send_one()
    home.clock.advance(60)
    await home.receive(inbound(ONE, "Stop, je viens demain", at=home.clock.now(), wa_id="A1"))
    home.clock.advance(60)
    await home.receive(inbound(ONE, "oui", at=home.clock.now(), wa_id="A2"))
    assert await home.outcomes() == ["opt_out_suspected"] * 2
    assert [step for _, step, _ in await home.statuses()] == [1]


async def test_it_takes_back_what_a_later_word_had_earned(home: House) -> None:
    await home.campaign(ONE)
    await home.send_one()
    home.clock.advance(60)
    now = home.clock.now()
    await home.receive(inbound(ONE, "oui", at=now, wa_id="A2"))
    assert await home.outcomes() == ["message_2_queued"]
    await home.receive(inbound(ONE, "Stop, je viens demain", at=now - timedelta(seconds=30), wa_id="A1"))
    assert await home.outcomes() == ["opt_out_suspected"] * 2
    assert [step for _, step, _ in await home.statuses()] == [1]


async def test_it_does_not_hold_what_came_before_it(home: House) -> None:
    await home.campaign(ONE)
    await home.send_one()
    home.clock.advance(60)
    now = home.clock.now()
    await home.receive(inbound(ONE, "Stop, je viens demain", at=now, wa_id="A2"))
    await home.receive(inbound(ONE, "oui", at=now - timedelta(seconds=30), wa_id="A1"))
    assert await home.outcomes() == ["opt_out_suspected", "message_2_queued"]


async def test_it_does_not_hold_another_campaign_later(home: House) -> None:
    await home.campaign(ONE)
    await home.send_one()
    home.clock.advance(60)
    await home.receive(inbound(ONE, "Stop, je viens demain", at=home.clock.now(), wa_id="A1"))
    home.clock.advance(MONTH_SECONDS)
    await home.campaign(ONE, name="later")
    await home.send_one()
    home.clock.advance(60)
    await home.receive(inbound(ONE, "oui", at=home.clock.now(), wa_id="A2"))
    assert (await home.outcomes())[-1] == "message_2_queued"


@pytest.mark.parametrize(("hours", "outcome"), [(23, "message_2_queued"), (25, "no_recent_message_1")])
async def test_a_decision_within_the_window(home: House, hours: int, outcome: str) -> None:
    await home.campaign(ONE)
    await home.send_one()
    home.clock.advance(60)
    await home.receive(inbound(ONE, "Stop, je viens demain", at=home.clock.now(), wa_id="A1"))
    home.clock.advance(hours * 3600)
    now = home.clock.now()
    ruled = await home.store.write(lambda tx: replying.rule(tx, 1, Ruling.REPLY, policy=Policy(), now=now))
    assert ruled == outcome
