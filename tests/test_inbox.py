"""The one door: nothing is answered before it is on disk, and nothing is half stored."""

import json
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.support import DEVICE, PAYLOADS, START, House, house, inbound
from wamsg2.inbox import Inbox
from wamsg2.model import EventResult, EventSource
from wamsg2.store.database import Store
from wamsg2.store.writer import StoreUnavailableError, Tx
from wamsg2.wassenger.events import NotAnEventError, parse

ONE = "+34600000001"


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path) as made:
        await made.campaign(ONE)
        await made.send_one()
        yield made


def body(text: str = "yes", wa_id: str = "A1") -> bytes:
    return json.dumps(inbound(ONE, text, at=START, wa_id=wa_id)).encode()


async def test_when_it_returns_another_connection_sees_everything(home: House) -> None:
    assert await home.inbox.receive(body()) is EventResult.ACCEPTED
    other = sqlite3.connect(home.store.path)
    for table, count in (("events", 1), ("interactions", 1), ("messages", 2)):
        assert other.execute(f"SELECT count(*) FROM {table}").fetchone() == (count,)  # noqa: S608 - constants
    other.close()


async def test_the_body_is_kept_as_it_came(home: House) -> None:
    raw = body()
    await home.inbox.receive(raw)
    assert await home.bodies() == [raw]
    assert await home.rows("SELECT name, length(body) < ? FROM events", len(raw) / 3) == [("message:in:new", 1)]


@pytest.mark.parametrize("raw", [b"", b'"x"', b"null", b"{", b"\xff\xfe", b"1"])
async def test_what_is_no_event_stores_nothing(home: House, raw: bytes) -> None:
    with pytest.raises(NotAnEventError):
        await home.inbox.receive(raw)
    assert await home.rows("SELECT count(*) FROM events") == [(0,)]


async def test_a_refused_commit_stores_nothing_and_the_retry_everything(home: House, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "test.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    await_nothing: Any = home.store._writer
    await_nothing._connection.execute("PRAGMA busy_timeout = 0")
    with pytest.raises(StoreUnavailableError):
        await home.inbox.receive(body())
    assert home.store.failing
    other.execute("ROLLBACK")
    other.close()
    assert await home.rows("SELECT count(*) FROM events") == [(0,)]
    assert await home.inbox.receive(body()) is EventResult.ACCEPTED
    assert home.store.failing is None
    assert await home.outcomes() == ["message_2_queued"]


async def test_an_error_half_way_takes_the_event_back(home: House) -> None:
    """An event that stayed without its effects would make the provider's retry a duplicate."""

    def trip(tx: Tx) -> None:
        tx.execute(
            """CREATE TRIGGER trip BEFORE INSERT ON messages WHEN new.step = 2
               BEGIN SELECT RAISE(ABORT, 'tripped'); END"""
        )

    await home.store.write(trip)
    with pytest.raises(sqlite3.IntegrityError, match="tripped"):
        await home.inbox.receive(body())
    assert await home.rows("SELECT count(*) FROM events") == [(0,)]
    await home.store.write(lambda tx: tx.execute("DROP TRIGGER trip"))
    assert await home.inbox.receive(body()) is EventResult.ACCEPTED


async def test_the_sender_is_told_after_the_commit(home: House) -> None:
    seen: list[int] = []

    class Signals:
        def wake(self) -> None:
            other = sqlite3.connect(home.store.path)
            seen.append(other.execute("SELECT count(*) FROM messages WHERE step = 2").fetchone()[0])
            other.close()

        def withdraw(self, contact_id: int) -> None:
            seen.append(-contact_id)

    inbox = Inbox(store=home.store, clock=home.clock, policy=home.policy, signals=Signals(), device=DEVICE)
    await inbox.receive(body())
    assert seen == [1]
    await inbox.receive(body())
    assert seen == [1]  # a duplicate wakes nobody
    await inbox.receive(body("STOP", "A2"))
    assert -1 in seen


async def test_every_interaction_is_logged_without_words_or_number(home: House) -> None:
    with capture_logs() as logs:
        await home.inbox.receive(body("very private words"))
        await home.inbox.receive(body("STOP", "A2"))
    assert [(line["event"], line["outcome"]) for line in logs] == [
        ("interaction.recorded", "message_2_queued"),
        ("interaction.recorded", "opt_out"),
    ]
    assert "private" not in str(logs)
    assert ONE[1:] not in str(logs)


async def test_the_log_says_what_was_found_by_asking(home: House) -> None:
    with capture_logs() as logs:
        assert await home.inbox.take(parse(body()), EventSource.CATCH_UP) is EventResult.ACCEPTED
        await home.inbox.receive(body("again", "A2"))
        assert await home.inbox.take(parse(body("again", "A2")), EventSource.CATCH_UP) is EventResult.DUPLICATE
    assert [(line["event"], line["source"]) for line in logs] == [
        ("interaction.recorded", "catch_up"),
        ("interaction.recorded", "webhook"),
    ]


async def test_a_device_that_changed_is_told_of_after_the_commit(home: House) -> None:
    rung: list[int] = []

    def ring() -> None:
        other = sqlite3.connect(home.store.path)
        rung.append(other.execute("SELECT count(*) FROM events").fetchone()[0])
        other.close()

    inbox = Inbox(
        store=home.store, clock=home.clock, policy=home.policy, signals=home.signals, device=None, device_changed=ring
    )
    raw = b'{"event": "number:session", "data": {"status": "offline"}}'
    assert await inbox.receive(raw) is EventResult.ACCEPTED
    await inbox.receive(body())
    assert rung == [1]
    assert await home.rows("SELECT name, result FROM events ORDER BY id LIMIT 1") == [("number:session", "accepted")]


def row(*bodies: Any) -> bytes:
    return json.dumps(bodies).encode()


async def test_every_event_of_a_row_is_stored_and_decided(home: House) -> None:
    sent = inbound(ONE, "yes", at=START, wa_id="A1"), inbound("+34600000009", "STOP", at=START, wa_id="A2")
    assert await home.inbox.receive(row(*sent, 7)) is EventResult.ACCEPTED
    assert await home.outcomes() == ["message_2_queued", "opt_out"]
    assert await home.rows("SELECT name, result FROM events ORDER BY id") == [
        ("message:in:new", "accepted"), ("message:in:new", "accepted"), ("unknown", "ignored"),
    ]  # fmt: skip
    assert [json.loads(body) for body in await home.bodies()] == [*sent, 7]


@pytest.mark.parametrize(
    ("events", "answers"),
    [
        ([], ["ignored", "ignored"]),
        ([{"event": "chat:update"}], ["ignored", "duplicate"]),
        ([7, "x"], ["ignored", "duplicate"]),
        ([{"event": "chat:update"}, inbound(ONE, at=START, wa_id="A1")], ["accepted", "duplicate"]),
        ([inbound(ONE, at=START, wa_id="A1")] * 2, ["accepted", "duplicate"]),
    ],
)
async def test_a_row_has_one_answer(home: House, events: list[Any], answers: list[str]) -> None:
    assert [(await home.inbox.receive(row(*events))).value for _ in answers] == answers


async def test_an_event_that_came_alone_before_is_a_duplicate_in_a_row(home: House) -> None:
    await home.inbox.receive(body())
    news = {"event": "chat:update"}
    assert await home.inbox.receive(row(json.loads(body()), news)) is EventResult.DUPLICATE
    assert await home.inbox.receive(row(inbound(ONE, "and", at=START, wa_id="A2"))) is EventResult.ACCEPTED
    assert await home.inbox.receive(body("and", "A2")) is EventResult.DUPLICATE
    assert await home.outcomes() == ["message_2_queued", "message_2_exists"]


async def test_a_row_is_stored_whole_or_not_at_all(home: House) -> None:
    def trip(tx: Tx) -> None:
        tx.execute(
            """CREATE TRIGGER trip BEFORE INSERT ON messages WHEN new.step = 2
               BEGIN SELECT RAISE(ABORT, 'tripped'); END"""
        )

    await home.store.write(trip)
    events = {"event": "chat:update"}, inbound(ONE, at=START, wa_id="A1"), {"event": "contact:update"}
    with pytest.raises(sqlite3.IntegrityError, match="tripped"):
        await home.inbox.receive(row(*events))
    assert await home.rows("SELECT count(*) FROM events") == [(0,)]


async def test_receipts_in_a_row_move_their_messages(home: House) -> None:
    await home.campaign("+34600000002", name="other")
    claims = [await home.send_one()]
    failed = json.loads((PAYLOADS / "message_out_failed.array.json").read_text())[0]
    failed["data"]["id"] = f"{claims[0].message_id:024x}"
    assert await home.inbox.receive(row(failed)) is EventResult.ACCEPTED
    assert await home.statuses() == [(ONE, 1, "sent"), ("+34600000002", 1, "failed")]
    assert await home.inbox.receive(row(failed)) is EventResult.DUPLICATE


async def test_the_same_through_a_thread(tmp_path: Path) -> None:
    """Group commit behind it changes nothing of what a caller sees."""
    async with house(tmp_path) as home:
        await home.campaign(ONE)
        await home.send_one()
    async with await Store.open(tmp_path / "test.db", grouped=True) as store:
        home = House(store, policy=home.policy)
        assert [await home.receive(json.loads(body())) for _ in range(2)] == ["accepted", "duplicate"]
        assert await home.outcomes() == ["message_2_queued"]
