"""The same events, in any order and however often they come, end in the same Message 2s [reply 10]."""

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.support import START, House, ack, commit, house, inbound, memory, receipt
from wamsg2 import phone
from wamsg2.model import Accepted, EventResult, MessageStatus, Overlap, Policy, Start, Uncertain
from wamsg2.store import campaigns, verify
from wamsg2.store.writer import Work
from wamsg2.wassenger import events
from wamsg2.work import campaigning, claiming, receiving, settling
from wamsg2.work.signals import NO_SIGNALS

ONE = "+34600000001"
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)
ROW = campaigning.Row(2, ONE, phone.key(ONE), {})
QUEUE_ID, WA_ID = "a" * 24, "3EB0AA"


# --- the cases of one Message 1 and one reply --------------------------------------------------------------


async def ends_in(home: House, *bodies: dict[str, Any]) -> tuple[str, list[tuple[int, str]]]:
    for body in bodies:
        await home.receive(body)
        home.clock.advance(1)
    return (await home.outcomes())[-1], [(step, status) for _, step, status in await home.statuses()]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["sent first", "reply first"])
async def test_a_phone_that_was_offline_for_26_hours(tmp_path: Path, order: Sequence[int]) -> None:
    async with house(tmp_path) as home:
        await home.campaign(ONE)
        claim = await home.send_one()
        home.clock.advance(26 * 3600)
        now = home.clock.now()
        sent = receipt("sent", at=now, reference=claim.reference, queue_id=f"{claim.message_id:024x}")
        reply = inbound(ONE, at=now + timedelta(seconds=60), wa_id="A1")
        home.clock.advance(60)
        bodies = (sent, reply)
        assert await ends_in(home, *(bodies[i] for i in order)) == (
            "message_2_queued", [(1, "sent"), (2, "queued")],
        )  # fmt: skip


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["sent first", "reply first"])
async def test_our_clock_is_ten_seconds_ahead(tmp_path: Path, order: Sequence[int]) -> None:
    async with house(tmp_path) as home:
        await home.campaign(ONE)
        claim = await home.send_one()
        home.clock.advance(2)
        real = home.clock.now() - 10 * SECOND
        bodies = (
            receipt("sent", at=real - 2 * SECOND, reference=claim.reference),
            inbound(ONE, at=real, wa_id="A1"),
        )
        outcome, rows = await ends_in(home, *(bodies[i] for i in order))
        assert (outcome, rows[1:]) == ("message_2_queued", [(2, "queued")])


@pytest.mark.parametrize("quotes", [True, False])
@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1), (2, 0, 1), (1, 2, 0)])
async def test_reported_as_failed_and_delivered_all_the_same(
    tmp_path: Path, order: Sequence[int], *, quotes: bool
) -> None:
    async with house(tmp_path) as home:
        await home.campaign(ONE)
        claim = await home.send_one()
        home.clock.advance(60)
        now, wa_id = home.clock.now(), f"3EB0{claim.message_id:016X}"
        bodies = (
            receipt("failed", at=now, reference=claim.reference, reason="timeout"),
            ack("delivered", at=now, wa_id=wa_id, number=ONE),
            inbound(ONE, at=now, wa_id="A1", quoted=wa_id if quotes else None),
        )
        outcome, rows = await ends_in(home, *(bodies[i] for i in order))
        assert (outcome, rows) == ("message_2_queued", [(1, "delivered"), (2, "queued")])


async def test_put_back_in_line_and_then_it_had_arrived(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        await home.campaign(ONE)
        claim = await home.send_one(Uncertain("no answer in time"))
        now = home.clock.now()
        await home.store.write(
            lambda tx: settling.resolve(tx, claim.message_id, MessageStatus.QUEUED, now=now, policy=home.policy)
        )
        home.clock.advance(1)
        reply = inbound(ONE, at=home.clock.now(), wa_id="A1", quoted=WA_ID)
        sent = receipt("sent", at=START, reference=claim.reference, queue_id=QUEUE_ID, wa_id=WA_ID)
        assert await ends_in(home, reply, sent) == ("message_2_queued", [(1, "sent"), (2, "queued")])


async def test_what_an_earlier_opt_out_changes(tmp_path: Path) -> None:
    """START of somebody who has not opted out is a reply, until the STOP before it arrives."""
    async with house(tmp_path) as home:
        await home.campaign(ONE)
        await home.send_one()
        home.clock.advance(60)
        now = home.clock.now()
        await home.receive(inbound(ONE, "START", at=now, wa_id="A2"))
        assert await home.outcomes() == ["message_2_queued"]
        await home.receive(inbound(ONE, "STOP", at=now - 10 * SECOND, wa_id="A1"))
        assert await home.outcomes() == ["opt_in", "opt_out"]
        assert await home.rows("SELECT opted_out FROM contacts") == [(0,)]
        assert [step for _, step, _ in await home.statuses()] == [1]


@pytest.mark.parametrize("overlap", list(Overlap))
async def test_a_message_2_that_start_earned_and_that_was_sent_stays_earned(tmp_path: Path, overlap: Overlap) -> None:
    """Whatever the START turns out to be: the reply that earned a Message 2 stands in the tables."""
    async with house(tmp_path, policy=Policy(overlap=overlap)) as home:
        await home.campaign(ONE)
        await home.send_one()
        home.clock.advance(60)
        await home.receive(inbound(ONE, "START", at=home.clock.now(), wa_id="A2"))
        home.clock.advance(2)
        await home.send_one()
        await home.receive(inbound(ONE, "STOP", at=home.clock.now() - 30 * SECOND, wa_id="A1"))
        assert await home.outcomes() == ["message_2_queued", "opt_out"]
        assert await home.rows("SELECT opted_out FROM contacts") == [(0,)]


@pytest.mark.parametrize("overlap", list(Overlap))
async def test_words_of_a_clock_ahead_that_arrive_at_once(tmp_path: Path, overlap: Overlap) -> None:
    """They count from one moment, their arrival; still the first one alone has earned the Message 2."""
    async with house(tmp_path, policy=Policy(overlap=overlap)) as home:
        await home.campaign(ONE)
        await home.send_one()
        home.clock.advance(60)
        for n, text in enumerate(("yes", "please", "STOP")):
            await home.receive(inbound(ONE, text, at=home.clock.now() + (7 + n) * SECOND, wa_id=f"A{n}"))
        assert await home.outcomes() == ["message_2_queued", "message_2_exists", "opt_out"]
        assert [(step, status) for _, step, status in await home.statuses()] == [(1, "sent"), (2, "cancelled")]


async def test_a_message_2_that_was_sent_stays_earned(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        await home.campaign(ONE)
        await home.send_one()
        home.clock.advance(60)
        await home.receive(inbound(ONE, "yes", at=home.clock.now(), wa_id="A2"))
        home.clock.advance(2)
        await home.send_one()
        await home.receive(inbound(ONE, "STOP", at=home.clock.now() - 30 * SECOND, wa_id="A1"))
        assert await home.outcomes() == ["message_2_queued", "opt_out"]
        assert [status for *_, status in await home.statuses()] == ["sent", "sent"]
        assert await home.rows("SELECT opted_out FROM contacts") == [(1,)]


async def test_a_reply_to_one_campaign_does_not_wait_for_another(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        await home.campaign(ONE, name="a")
        await home.send_one()
        home.clock.advance(3600)
        await home.campaign(ONE, name="b")
        await home.send_one(Uncertain("no answer in time"))
        await home.receive(inbound(ONE, at=home.clock.now(), wa_id="A1"))
        assert await home.outcomes() == ["message_2_queued"]


async def test_replied_forgets_a_reply_to_what_never_arrived(tmp_path: Path) -> None:
    async with house(tmp_path) as home:
        await home.campaign(ONE)
        claim = await home.send_one(Uncertain("no answer in time"))
        await home.receive(inbound(ONE, at=home.clock.now(), wa_id="A1"))
        now = home.clock.now()
        await home.store.write(
            lambda tx: settling.resolve(tx, claim.message_id, MessageStatus.FAILED, now=now, policy=home.policy)
        )
        assert await home.outcomes() == ["no_recent_message_1"]
        assert await home.rows("SELECT replied, interactions FROM campaign_counts") == [(0, 0)]


# --- the law -----------------------------------------------------------------------------------------------


@cache
def sent_campaigns(names: tuple[str, ...], policy: Policy) -> bytes:
    """A database in which the Message 1 of each campaign was accepted, an hour apart."""
    with closing(memory()) as connection:
        for n, name in enumerate(names):
            at = START + n * HOUR
            key = name * 3
            units: list[Work[Any]] = [
                partial(campaigns.add, name=name, key=key, message_1="Hello", message_2="More", now=at),
                partial(campaigning.add_rows, name=name, rows=[ROW], now=at),
                partial(campaigning.prepare_launch, name=name, after_contact_id=0, now=at),
                partial(campaigning.finish_launch, name=name, now=at),
            ]
            for unit in units:
                commit(connection, unit)
            (claim,) = commit(connection, partial(claiming.claim, now=at, due_before=at, most=1)).claims
            accepted = Accepted(queue_id=f"{n + 1:024x}", wa_id=f"3EB0{n + 1:04X}")
            start = Start(at, timedelta(seconds=2))
            unit = partial(settling.settle, claim=claim, outcome=accepted, start=start, now=at, policy=policy)
            commit(connection, unit)
        return connection.serialize()


class World:
    """One contact to whom each campaign has written, and events that come in some order."""

    def __init__(self, names: tuple[str, ...], policy: Policy) -> None:
        self.policy = policy
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.connection.deserialize(sent_campaigns(names, policy))
        self.connection.execute("PRAGMA foreign_keys = ON")

    def do(self, work: Any) -> Any:
        return commit(self.connection, work)

    def close(self) -> None:
        self.connection.close()

    def take(self, bodies: Sequence[bytes]) -> None:
        at = START + 40 * HOUR
        for body in bodies:
            event = events.parse(body)
            received = self.do(
                lambda tx, e=event: receiving.receive(tx, e, arrived_at=at, policy=self.policy, signals=NO_SIGNALS)
            )
            assert received.result is not EventResult.IGNORED

    def end(self) -> object:
        """What leaves, what was decided of each word, and who wants no messages."""
        rows = self.connection.execute
        return (
            rows("SELECT campaign_id FROM messages WHERE step = 2 AND status = 'queued' ORDER BY 1").fetchall(),
            rows("SELECT status, sent_at FROM messages WHERE step = 1 ORDER BY id").fetchall(),
            rows("SELECT opted_out, consent_at FROM contacts").fetchall(),
            rows("SELECT campaign_id, replied FROM campaign_counts ORDER BY 1").fetchall(),
        )

    def violations(self) -> list[tuple[str, str]]:
        values = verify.parameters(
            window=self.policy.window, tolerance=5 * SECOND, now=START + 50 * HOUR, inbound_events=["message:in:new"]
        )
        checks = [(promise, what, query) for promise, what, query in verify._CHECKS if promise != "database"]
        return [(p, w) for p, w, q in checks if self.connection.execute(q, values).fetchall()]


# Times without ties: WhatsApp's are whole seconds, and of one second it tells no order.
_SECONDS = st.sampled_from([-600, -3, 7, 1800, 3700, 7300, 86_000, 86_390, 86_420, 90_000, 97_000])
_WORDS = st.sampled_from(["yes", "yes", "and?", "STOP", "START"])


@st.composite
def _happenings(draw: st.DrawFn, count: int) -> list[bytes]:
    bodies: list[dict[str, Any]] = []
    written = draw(st.lists(_SECONDS, min_size=1, max_size=4, unique=True))
    for n, seconds in enumerate(written):
        quoted = draw(st.sampled_from([None, None, *(f"3EB0{c + 1:04X}" for c in range(count))]))
        at = START + seconds * SECOND
        bodies.append(inbound(ONE, draw(_WORDS), at=at, wa_id=f"A{n}", quoted=quoted))
    for c in range(count):
        wa_id, queue_id = f"3EB0{c + 1:04X}", f"{c + 1:024x}"
        sent_at = START + c * HOUR + draw(st.sampled_from([0, -9, 9, 26 * 3600])) * SECOND
        if draw(st.booleans()):
            bodies.append(receipt("sent", at=sent_at, queue_id=queue_id, wa_id=wa_id))
        if draw(st.booleans()):
            bodies.append(receipt("failed", at=sent_at + SECOND, queue_id=queue_id, reason="timeout"))
        if draw(st.booleans()):
            bodies.append(ack("delivered", at=sent_at + 2 * SECOND, wa_id=wa_id, number=ONE))
    return [json.dumps(body).encode() for body in bodies]


@pytest.mark.parametrize("overlap", list(Overlap))
@pytest.mark.parametrize("names", [("one",), ("one", "two")], ids=["one campaign", "two campaigns"])
def test_the_order_of_events_does_not_matter(names: tuple[str, ...], overlap: Overlap) -> None:
    policy = Policy(overlap=overlap)

    @settings(deadline=None, max_examples=60, phases=[Phase.generate], suppress_health_check=[HealthCheck.too_slow])
    @given(_happenings(len(names)), st.data())
    def law(bodies: list[bytes], data: st.DataObject) -> None:
        repeated = bodies + data.draw(st.lists(st.sampled_from(bodies), max_size=2))
        with closing(World(names, policy)) as first, closing(World(names, policy)) as other:
            first.take(bodies)
            other.take(data.draw(st.permutations(repeated)))
            assert first.end() == other.end()
            assert first.violations() == other.violations() == []

    law()
