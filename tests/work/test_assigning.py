"""A person says whose an unmatched interaction is: then it is as if that had been known when it came."""

from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support import START, House, house, inbound, inbound_from_lid
from wamsg2 import phone
from wamsg2.model import Accepted, Overlap, Policy, ReplyOutcome, Uncertain, WamsgError
from wamsg2.work import replying

ONE, TWO, STRANGER = "+34600000001", "+34600000002", "+34699999999"
LID = "183000000000001@lid"


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    """Whatever happens here, nothing of it breaks a promise."""
    async with house(tmp_path) as made:
        yield made
        assert await made.violations() == []


async def assign(home: House, interaction_id: int, number: str) -> Mapping[int, ReplyOutcome]:
    now = home.clock.now()
    return await home.store.write(
        lambda tx: replying.assign(tx, interaction_id, phone.key(number), policy=home.policy, now=now)
    )


async def unmatched(home: House) -> int:
    ((count,),) = await home.rows("SELECT value FROM totals WHERE name = 'unmatched'")
    return int(count)


async def test_it_is_decided_as_if_it_had_been_known(home: House) -> None:
    await home.campaign(ONE, TWO)
    await home.send_one()
    await home.receive(inbound_from_lid(LID, at=START + timedelta(hours=1), wa_id="A1"))
    home.clock.advance(30 * 3600)  # the window is over by now; it was not when they wrote
    await home.receive(inbound_from_lid(LID, at=START + timedelta(hours=1), wa_id="A2"))
    home.clock.advance(3600)
    assert await unmatched(home) == 2
    assert await assign(home, 1, ONE) == {1: "message_2_queued", 2: "message_2_exists"}
    assert await unmatched(home) == 0
    assert await home.statuses() == [(ONE, 1, "sent"), (TWO, 1, "queued"), (ONE, 2, "queued")]
    rows = await home.rows("SELECT contact_id, campaign_id, message_id, decided_at FROM interactions")
    assert rows == [(1, 1, 1, int(home.clock.now().timestamp() * 1000))] * 2
    assert await home.rows("SELECT replied, interactions FROM campaign_counts") == [(1, 2)]


async def test_what_comes_later_from_the_same_id_is_known(home: House) -> None:
    await home.campaign(ONE)
    await home.send_one()
    await home.receive(inbound_from_lid(LID, at=START, wa_id="A1"))
    await assign(home, 1, ONE)
    assert await home.rows("SELECT chat_id, contact_id FROM chat_ids") == [(LID, 1)]
    await home.receive(inbound_from_lid(LID, at=START, wa_id="A2"))
    assert await home.outcomes() == ["message_2_queued", "message_2_exists"]


async def test_in_the_order_of_writing(home: House) -> None:
    """Whichever of them the person names."""
    await home.campaign(ONE)
    await home.send_one()
    home.clock.advance(60)
    await home.receive(inbound_from_lid(LID, "STOP", at=START + timedelta(seconds=40), wa_id="A1"))
    await home.receive(inbound_from_lid(LID, "yes", at=START + timedelta(seconds=20), wa_id="A2"))
    assert await assign(home, 1, ONE) == {1: "opt_out", 2: "message_2_queued"}
    assert await home.statuses() == [(ONE, 1, "sent"), (ONE, 2, "cancelled")]
    assert await home.rows("SELECT opted_out FROM contacts") == [(1,)]


async def test_a_reply_outside_the_window_stays_outside(home: House) -> None:
    await home.campaign(ONE)
    await home.send_one()
    home.clock.advance(25 * 3600)
    await home.receive(inbound_from_lid(LID, at=home.clock.now(), wa_id="A1"))
    assert await assign(home, 1, ONE) == {1: "no_recent_message_1"}


async def test_a_message_1_in_doubt_is_waited_for(home: House) -> None:
    await home.campaign(ONE)
    claim = await home.send_one(Uncertain("no answer in time"))
    await home.receive(inbound_from_lid(LID, at=START, wa_id="A1"))
    assert await assign(home, 1, ONE) == {1: "waiting_for_message_1"}
    await home.settle(claim, Accepted("a" * 24))
    assert await home.outcomes() == ["message_2_queued"]


async def test_another_number_of_theirs_is_not_learned(home: House) -> None:
    """Who has that number may become a contact of their own."""
    await home.campaign(ONE)
    await home.send_one()
    for wa_id in ("A1", "A2"):
        body = inbound(STRANGER, at=START, wa_id=wa_id)
        del body["data"]["chat"]["lid"]
        await home.receive(body)
    assert await assign(home, 2, ONE) == {2: "message_2_queued"}
    assert await home.outcomes() == ["unknown_contact", "message_2_queued"]
    assert await home.rows("SELECT count(*) FROM chat_ids") == [(0,)]
    assert await assign(home, 1, ONE) == {1: "message_2_exists"}


async def test_every_open_campaign_is_answered_where_the_policy_says_so(tmp_path: Path) -> None:
    async with house(tmp_path, policy=Policy(overlap=Overlap.ALL)) as home:
        for name in ("a", "b"):
            await home.campaign(ONE, name=name)
            await home.send_one()
        await home.receive(inbound_from_lid(LID, at=START, wa_id="A1"))
        assert await assign(home, 1, ONE) == {1: "message_2_queued"}
        assert await home.outcomes() == ["message_2_queued"] * 2
        assert [step for _, step, _ in await home.statuses()] == [1, 1, 2, 2]


async def test_the_sender_beside_finds_it(home: House) -> None:
    await home.campaign(ONE)
    await home.send_one()
    await home.receive(inbound_from_lid(LID, at=START, wa_id="A1"))
    home.clock.advance(3600)
    await assign(home, 1, ONE)
    claim = await home.send_one()  # due two seconds after it came
    assert (claim.phone, int(claim.step)) == (ONE, 2)


async def test_what_is_refused(home: House) -> None:
    await home.campaign(ONE)
    await home.send_one()
    await home.receive(inbound(ONE, at=START, wa_id="A1"))
    await home.receive(inbound(STRANGER, at=START, wa_id="A2"))
    for interaction_id, number, why in (
        (3, ONE, "there is no interaction 3"),
        (1, ONE, "interaction 1 is message_2_queued: only an unmatched one can be assigned"),
        (2, TWO, "there is no contact with this number"),
    ):
        with pytest.raises(WamsgError, match=f"^{why}$"):
            await assign(home, interaction_id, number)
    assert await home.outcomes() == ["message_2_queued", "unknown_contact"]
