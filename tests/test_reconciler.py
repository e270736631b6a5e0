"""Doubts: found, proved absent, or left to a person; never resent without proof."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.support import START, House, NoSignals, house, inbound, kept_for, receipt
from wamsg2.model import (
    Absent,
    Accepted,
    Claim,
    Doubt,
    LookUp,
    MessageStatus,
    Policy,
    ReceiptStatus,
    Uncertain,
    Unknown,
)
from wamsg2.reconciler import Reconciler
from wamsg2.store.writer import StoreUnavailableError, Tx
from wamsg2.work import settling

ONE, TWO = "+34600000001", "+34600000002"
QUEUE_ID, WA_ID = "675c5f0a1b2c3d4e5f600001", "3EB0A1B2C3D4E5F60001"


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path) as made:
        yield made


def reconciler(home: House, policy: Policy | None = None, *kept: timedelta | None) -> Reconciler:
    return Reconciler(
        store=home.store,
        client=home.client,
        clock=home.clock,
        policy=policy or home.policy,
        gap_seconds=1.0,
        retention=kept_for(home.clock, *kept),
        signals=home.signals,
    )


async def doubtful(home: House, *phones: str) -> Claim:
    """A campaign whose messages are all uncertain; the first claim."""
    await home.campaign(*phones or (ONE,))
    claims = [await home.send_one(Uncertain("no answer in time")) for _ in phones or (ONE,)]
    return claims[0]


async def run_for(home: House, reconciles: Reconciler, seconds: float) -> list[float]:
    """Step until so much time has passed; when each look-up was, in seconds from now."""
    begin, asked_at = home.clock.now(), []
    end = begin + timedelta(seconds=seconds)
    while home.clock.now() < end:
        before = len(home.client.asked)
        wait = await reconciles.step()
        if len(home.client.asked) > before:
            asked_at.append((home.clock.now() - begin).total_seconds())
        home.clock.advance(wait)
    return asked_at


async def status(home: House) -> str:
    return (await home.statuses())[0][2]


async def test_nothing_in_doubt(home: House) -> None:
    assert await reconciler(home).step() == 5.0
    assert home.client.asked == []


async def test_the_first_look_up_waits_for_the_providers_search(home: House) -> None:
    claim = await doubtful(home)
    home.clock.advance(1)
    assert await reconciler(home).step() == pytest.approx(4.0)
    assert home.client.asked == []
    home.clock.advance(4)
    assert await reconciler(home).step() == 1.0
    assert home.client.asked == [claim.reference]


@pytest.mark.parametrize("told", list(ReceiptStatus))
async def test_found(home: House, told: ReceiptStatus) -> None:
    await doubtful(home)
    sent_at = START + timedelta(seconds=2)
    home.client.look_ups = [Accepted(QUEUE_ID, WA_ID, None, told, sent_at, "gone")]
    home.clock.advance(5)
    await reconciler(home).step()
    rows = await home.rows("SELECT status, queue_id, wa_id, uncertain_since FROM messages")
    assert rows == [(told.value, QUEUE_ID, WA_ID, None)]
    assert home.signals.woken >= 1
    home.clock.advance(600)
    await reconciler(home).step()
    assert len(home.client.asked) == 1


async def test_found_decides_the_replies_that_wait(home: House) -> None:
    await doubtful(home)
    await home.receive(inbound(ONE, at=START, wa_id="A1"))
    home.client.look_ups = [Accepted(QUEUE_ID)]
    home.clock.advance(5)
    await reconciler(home).step()
    assert await home.outcomes() == ["message_2_queued"]


async def test_absent_for_long_enough_is_sent_again_with_the_same_reference(home: House) -> None:
    claim = await doubtful(home)
    asked_at = await run_for(home, reconciler(home), 120)
    assert await status(home) == "uncertain"
    assert asked_at[0] == pytest.approx(5, abs=0.1)
    asked_at += [120 + at for at in await run_for(home, reconciler(home), 300)]
    assert await home.rows("SELECT status, reason, uncertain_since FROM messages") == [
        ("queued", "proved not accepted", None)
    ]
    assert asked_at[-1] - asked_at[0] >= 120
    assert len(asked_at) >= 4
    (again,) = await home.claim()
    assert (again.reference, again.attempt) == (claim.reference, 2)
    assert set(home.client.asked) == {claim.reference}


async def test_look_ups_are_ever_rarer(home: House) -> None:
    await doubtful(home)
    never = Policy(resend_after=timedelta(0))
    asked_at = await run_for(home, reconciler(home, never), 86_400)
    gaps = [b - a for a, b in pairwise(asked_at)]
    assert gaps == sorted(gaps)
    assert gaps[-1] == pytest.approx(600, abs=5.1)
    assert len(asked_at) < 160


async def test_with_resend_after_zero_a_person_decides(home: House) -> None:
    await doubtful(home)
    never = Policy(resend_after=timedelta(0))
    await run_for(home, reconciler(home, never), 86_400)
    assert await status(home) == "uncertain"


@pytest.mark.parametrize("answers", [[Unknown("HTTP 503")], [Absent(), Unknown("no answer in time")]])
async def test_a_look_up_that_fails_proves_nothing(home: House, answers: list[LookUp]) -> None:
    await doubtful(home)
    home.client.look_ups = [*answers, *[Unknown("HTTP 503")] * 2000]
    await run_for(home, reconciler(home), 12 * 3600)
    assert await status(home) == "uncertain"


async def test_one_absence_is_no_proof_however_late(home: House) -> None:
    await doubtful(home)
    home.clock.advance(86_400)
    await reconciler(home).step()
    assert await status(home) == "uncertain"


@pytest.mark.parametrize("word", ["STOP", None])
async def test_proved_absent_but_not_wanted_any_more(home: House, word: str | None) -> None:
    await doubtful(home)
    if word:
        await home.receive(inbound(ONE, word, at=START, wa_id="A1"))
    else:
        await home.campaigns.cancel("spring")
    await run_for(home, reconciler(home), 600)
    assert await status(home) == "cancelled"


async def test_a_reply_that_waits_is_decided_when_absence_is_proved(home: House) -> None:
    await doubtful(home)
    await home.receive(inbound(ONE, at=START, wa_id="A1"))
    await run_for(home, reconciler(home), 600)
    assert await home.outcomes() == ["no_recent_message_1"]


async def test_settled_while_it_was_looked_up(home: House) -> None:
    claim = await doubtful(home)
    home.clock.advance(5)
    find = home.client.find

    async def find_and_be_overtaken(reference: str) -> LookUp:
        await home.receive(receipt("sent", at=START, reference=claim.reference, queue_id=QUEUE_ID))
        return await find(reference)

    home.client.find = find_and_be_overtaken  # type: ignore[method-assign]
    await reconciler(home).step()
    rows = await home.rows("SELECT status, look_ups, uncertain_since, absent_since FROM messages")
    assert rows == [("sent", 0, None, None)]


async def test_doubts_take_turns(home: House) -> None:
    first = await doubtful(home, ONE, TWO)
    home.clock.advance(5)
    reconciles = reconciler(home)
    await reconciles.step()
    await reconciles.step()
    assert len(set(home.client.asked)) == 2
    assert home.client.asked[0] == first.reference


async def test_a_doubt_begins_anew_with_each_attempt(home: House) -> None:
    await doubtful(home)
    reconciles = reconciler(home)
    await run_for(home, reconciles, 300)
    await home.send_one(Uncertain("again"))
    home.clock.advance(86_400)
    await reconciles.step()
    assert await home.rows("SELECT status, attempt, look_ups FROM messages") == [("uncertain", 2, 1)]


async def test_a_refusing_disk_postpones(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    await doubtful(home)
    home.clock.advance(5)

    async def refuse(_: object) -> None:
        raise StoreUnavailableError("disk full")

    with monkeypatch.context() as broken:
        broken.setattr(home.store, "write", refuse)
        assert await reconciler(home).step() == 5.0
    await reconciler(home).step()
    assert len(home.client.asked) == 1


async def test_the_sender_is_woken_only_when_something_is_settled(home: House) -> None:
    await doubtful(home)
    home.signals = NoSignals()
    home.clock.advance(5)
    await reconciler(home).step()
    assert home.signals.woken == 0


async def test_a_step_of_the_time_of_day_proves_nothing(home: House) -> None:
    """Two look-ups a few seconds apart, and an hour by the clock on the wall: not two minutes of proof."""
    await doubtful(home)
    reconciles = reconciler(home)
    home.clock.advance(5)
    await reconciles.step()  # absent, for the first time
    home.clock.step_wall(3600)
    home.clock.advance(5)
    await reconciles.step()
    assert len(home.client.asked) == 2
    assert await status(home) == "uncertain"
    await run_for(home, reconciles, 300)
    assert await status(home) == "queued"


async def test_after_a_restart_the_proof_begins_anew(home: House) -> None:
    await doubtful(home)
    home.clock.advance(5)
    await reconciler(home).step()
    home.clock.advance(600)
    await reconciler(home).step()
    assert len(home.client.asked) == 2
    assert await status(home) == "uncertain"


async def test_after_eight_proofs_it_is_given_up(home: House) -> None:
    """What so many requests did not bring to the provider, one more would not: the campaign has to end."""
    await doubtful(home)
    reconciles = reconciler(home)
    for doubts in range(1, 8):
        assert await home.rows("SELECT status, doubts FROM messages") == [("uncertain", doubts)]
        await run_for(home, reconciles, 600)
        assert await status(home) == "queued"
        await home.send_one(Uncertain("no answer in time"))
    await run_for(home, reconciles, 600)
    assert await home.rows("SELECT status, reason FROM messages") == [("failed", "8 times proved not accepted")]
    assert await home.claim() == []


async def test_given_up_decides_the_replies_that_wait(home: House) -> None:
    await doubtful(home)
    reconciles = reconciler(home)
    for _ in range(7):
        await run_for(home, reconciles, 600)
        await home.send_one(Uncertain("no answer in time"))
    await home.receive(inbound(ONE, at=home.clock.now(), wa_id="A1"))
    await run_for(home, reconciles, 600)
    assert await home.outcomes() == ["no_recent_message_1"]


async def test_an_eighth_doubt_that_was_accepted_after_all_is_sent(home: House) -> None:
    await doubtful(home)
    reconciles = reconciler(home)
    for _ in range(7):
        await run_for(home, reconciles, 600)
        await home.send_one(Uncertain("no answer in time"))
    home.client.look_ups = [Absent(), Accepted(QUEUE_ID, WA_ID)]
    await run_for(home, reconciles, 600)
    assert await status(home) == "sent"


# --- a provider that deletes what it has processed --------------------------------------------------------------


UNPROVED = "no proof that it never arrived: "


async def facts(home: House) -> list[tuple[object, ...]]:
    return await home.rows("SELECT status, reason, attempt FROM messages")


async def test_a_provider_that_keeps_nothing_proves_nothing_by_absence(home: House) -> None:
    """It was accepted, its answer was lost, and it was deleted at once: sent again, it would arrive twice."""
    await doubtful(home)
    asked_at = await run_for(home, reconciler(home, None, timedelta(0)), 3 * 86_400)
    assert await facts(home) == [("uncertain", f"{UNPROVED}the provider keeps no messages", 1)]
    assert len(asked_at) < 20, "nothing can be proved any more: it is asked about ever more rarely"


async def test_what_the_provider_keeps_for_five_minutes_is_proved_absent_in_time(home: House) -> None:
    await doubtful(home)
    await run_for(home, reconciler(home, None, timedelta(minutes=5)), 280)
    assert await facts(home) == [("queued", "proved not accepted", 1)]


async def test_after_a_longer_stop_five_minutes_are_over(home: House) -> None:
    await doubtful(home)
    home.clock.advance(299)
    await run_for(home, reconciler(home, None, timedelta(minutes=5)), 3600)
    assert await facts(home) == [("uncertain", f"{UNPROVED}the provider keeps messages for 5 min only", 1)]


async def test_a_message_that_nobody_can_prove_absent_is_still_found(home: House) -> None:
    await doubtful(home)
    reconciles = reconciler(home, None, timedelta(0))
    await run_for(home, reconciles, 3600)
    home.client.look_ups = [Accepted(QUEUE_ID, WA_ID)]
    await run_for(home, reconciles, 7200)
    assert await facts(home) == [("sent", None, 1)]


async def test_nothing_is_proved_until_the_policy_is_known(home: House) -> None:
    await doubtful(home)
    reconciles = reconciler(home, None, *[None] * 10, timedelta(days=1))
    await run_for(home, reconciles, 900)
    unknown = f"{UNPROVED}nobody knows how long the provider keeps messages"
    assert await facts(home) == [("uncertain", unknown, 1)]
    await run_for(home, reconciles, 7 * 3600)
    assert await facts(home) == [("queued", "proved not accepted", 1)]


# --- one that breaks ----------------------------------------------------------------------------------------------


async def test_a_look_up_with_times_of_the_year_one_is_settled(home: House) -> None:
    await doubtful(home)
    nil = datetime(1, 1, 1, tzinfo=UTC)
    home.client.look_ups = [Accepted(QUEUE_ID, WA_ID, None, ReceiptStatus.SENT, nil, created_at=nil)]
    home.clock.advance(5)
    await reconciler(home).step()
    assert await status(home) == "sent"


async def test_one_look_up_that_breaks_does_not_keep_the_others(home: House, monkeypatch: pytest.MonkeyPatch) -> None:
    await doubtful(home, ONE, TWO)
    settle = settling.settle_look_up

    def broken(tx: Tx, looked_up: Doubt, *args: Any, **kwargs: Any) -> MessageStatus | None:
        if looked_up.message_id == 1:
            raise OverflowError
        return settle(tx, looked_up, *args, **kwargs)

    monkeypatch.setattr(settling, "settle_look_up", broken)
    home.client.look_ups = [Accepted(QUEUE_ID, WA_ID)] * 9
    await run_for(home, reconciler(home), 60)
    assert await home.rows("SELECT status, reason FROM messages ORDER BY id") == [
        ("uncertain", "internal error (OverflowError)"),
        ("sent", None),
    ]
    assert len(home.client.asked) == 2, "the broken one is put off"
