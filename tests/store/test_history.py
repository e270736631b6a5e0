"""What a person is shown of messages and interactions: all that happened, in order, and never the words."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.store.healthy import healthy
from tests.support import KEPT, START, House, ack, house, inbound, receipt
from wamsg2.model import Absent, Accepted, Deferred, MessageStatus, ReplyOutcome, Uncertain, Unknown
from wamsg2.store import history, messages
from wamsg2.work import settling

ONE = "+34600000001"


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path) as made:
        yield made


async def told(home: House, message_id: int) -> list[tuple[float, str]]:
    """(seconds since the start, what) of a message's history."""
    message = await history.message(home.store.reader, message_id)
    assert message
    return [(_seconds(each["at"]), each["what"]) for each in message["history"]]


def _seconds(iso: str) -> float:
    return (datetime.fromisoformat(iso) - START).total_seconds()


async def test_an_ordinary_message(home: House) -> None:
    await home.campaign(ONE)
    home.clock.advance(1)
    await home.send_one(Accepted("a" * 24, "3EB0"))
    home.clock.advance(10)
    await home.receive(ack("delivered", at=START + timedelta(seconds=4), wa_id="3EB0", number=ONE))
    await home.receive(ack("read", at=START + timedelta(seconds=9), wa_id="3EB0", number=ONE))
    assert await told(home, 1) == [
        (0, "created"), (1, "attempt 1"), (1, "sent"), (4, "delivered"), (9, "read"),
    ]  # fmt: skip


async def test_a_message_2_names_the_reply_that_it_answers(home: House) -> None:
    await home.campaign(ONE)
    await home.send_one()
    home.clock.advance(30)
    await home.receive(inbound(ONE, at=START + timedelta(seconds=20), wa_id="A1"))
    await home.receive(inbound(ONE, at=START + timedelta(seconds=25), wa_id="A2"))
    assert await told(home, 2) == [(20, "reply written (interaction 1)"), (30, "created")]
    home.clock.advance(2)
    await home.send_one()
    assert (await told(home, 2))[2:] == [(32, "attempt 1"), (32, "sent")]


async def test_a_message_that_was_long_in_doubt(home: House) -> None:
    await home.campaign(ONE)
    home.clock.advance(1)
    await home.send_one(Deferred("HTTP 429", timedelta(seconds=60)))
    home.clock.advance(60)
    claim = await home.send_one(Uncertain("no answer in time"))
    for answer in (Unknown("HTTP 503"), Absent()):
        home.clock.advance(100)
        now = home.clock.now()
        doubt, _ = await home.store.write(lambda tx: messages.next_doubt(tx, now))  # noqa: B023 - at once
        assert doubt
        await home.store.write(
            lambda tx: settling.settle_look_up(tx, doubt, answer, retention=KEPT, now=now, policy=home.policy)  # noqa: B023 - at once
        )
    home.clock.advance(100)
    now = home.clock.now()
    await home.store.write(lambda tx: settling.resolve(tx, 1, MessageStatus.QUEUED, now=now, policy=home.policy))
    home.clock.advance(10)
    await home.send_one(Accepted("a" * 24))
    home.clock.advance(4)
    await home.receive(receipt("failed", at=home.clock.now(), reference=claim.reference, reason="not on WhatsApp"))
    assert await told(home, 1) == [
        (0, "created"),
        (1, "attempt 1"),
        (1, "back in line: HTTP 429"),
        (61, "attempt 2"),
        (61, "doubted: no answer in time"),
        (161, "looked up: no answer (HTTP 503)"),
        (261, "looked up: absent"),
        (361, "back in line: resolved by hand: retry"),
        (371, "attempt 3"),
        (371, "sent"),
        (375, "failed: not on WhatsApp"),
    ]


async def test_a_doubt_without_a_note(home: House) -> None:
    """As a restore leaves very many."""
    await home.campaign(ONE)
    await home.store.write(
        lambda tx: messages.doubt_open(tx, after=0, most=9, reason="restored", now=START + timedelta(hours=1))
    )
    assert await told(home, 1) == [(0, "created"), (3600, "doubted: restored")]


async def test_a_message_that_is_not_there(home: House) -> None:
    assert await history.message(home.store.reader, 1) is None


async def test_the_newest_first_and_no_more_than_asked_for(tmp_path: Path) -> None:
    async with healthy(tmp_path) as home:
        reader = home.store.reader

        async def ids(campaign: str | None = None, status: str | None = None, most: int = 99) -> list[int]:
            return [m["id"] for m in await history.messages(reader, campaign=campaign, status=status, most=most)]

        async def interaction_ids(
            campaign: str | None = None, *, outcome: ReplyOutcome | None = None, most: int = 99
        ) -> list[int]:
            found = await history.interactions(reader, campaign=campaign, outcome=outcome, most=most)
            return [i["id"] for i in found]

        assert await ids() == [*range(13, 0, -1)]
        assert await ids(most=2) == [13, 12]
        assert await ids(campaign="cancelled") == [11, 10]
        assert await ids(status="uncertain") == [3]
        assert await ids(campaign="plain", status="queued") == [13]
        assert await ids(campaign="draft") == []
        assert await interaction_ids() == [*range(12, 0, -1)]
        assert await interaction_ids(most=3) == [12, 11, 10]
        assert await interaction_ids(outcome=ReplyOutcome.UNKNOWN_CONTACT) == [4]
        assert await interaction_ids("spring", outcome=ReplyOutcome.UNKNOWN_CONTACT) == []
        assert await interaction_ids("cancelled") == [11]


async def test_no_words_are_shown(tmp_path: Path) -> None:
    async with healthy(tmp_path) as home:
        reader = home.store.reader
        shown = [await history.message(reader, n) for n in range(1, 14)]
        shown += await history.messages(reader, campaign=None, status=None, most=99)
        shown += await history.interactions(reader, campaign=None, outcome=None, most=99)
        words = {w for (w,) in await home.rows("SELECT text FROM messages UNION SELECT text FROM interactions") if w}
        assert {"Hello", "More", "who?", "hello"} <= words
        assert not {value for facts in shown if facts for value in facts.values() if isinstance(value, str)} & words
