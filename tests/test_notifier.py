"""From facts to the receiver: what is told, once and in order, whatever receiver, disk and process do meanwhile."""

import asyncio
import math
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from tests.support import START, ManualClock, VirtualClock, memory, run_virtually
from wamsg2 import alerts
from wamsg2.alerts import Completed, Facts, Thresholds
from wamsg2.delivery import Delivery
from wamsg2.model import Finding
from wamsg2.notifier import Notifier
from wamsg2.store.database import Store
from wamsg2.store.writer import InlineWriter, StoreUnavailableError

MIB = 1024 * 1024
LOST = Finding(ok=False, detail="operative, session offline", checked_at=START)
BACK = Finding(ok=True, detail="operative, session online", checked_at=START)
HOUR = 3600.0


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    made = memory()
    yield made
    made.close()


class ScriptedReceiver:
    """A receiver that answers as told; by default it takes everything."""

    def __init__(self, clock: ManualClock | VirtualClock) -> None:
        self._clock = clock
        self.answers: list[str | Exception | None] = []
        self.down_until_seconds = -math.inf
        self.answer_seconds = 0.0
        self.tried: list[float] = []
        self.posted: list[tuple[str, Mapping[str, Any]]] = []  #: what it said to have

    async def post(self, message_id: str, payload: Mapping[str, object]) -> str | None:
        self.tried.append(self._clock.monotonic())
        await asyncio.sleep(self.answer_seconds)
        if self._clock.monotonic() < self.down_until_seconds:
            return "no answer (ClientConnectorError)"
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            raise answer
        if answer is None:
            self.posted.append((message_id, payload))
        return answer

    @property
    def ids(self) -> list[str]:
        return [message_id for message_id, _ in self.posted]

    @property
    def types(self) -> list[str]:
        return [payload["type"] for _, payload in self.posted]


class Desk:
    """Notifier and delivery on a database in memory; another one on the same connection is a restart."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        clock: ManualClock | VirtualClock,
        *,
        receiver: ScriptedReceiver | None = None,
        url: bool = True,
    ) -> None:
        # Nothing here reads through the reader.
        self.store = Store(Path(":memory:"), InlineWriter(connection), cast("Any", None), None)
        self.connection = connection
        self.clock = clock
        self.facts = Facts(device=BACK, free_bytes=10_000 * MIB)
        self.receiver = receiver or ScriptedReceiver(clock)
        self.delivery = Delivery(store=self.store, receiver=self.receiver, clock=clock, random=Random(5))
        self.notifier = Notifier(
            store=self.store,
            facts=self._facts,
            clock=clock,
            thresholds=Thresholds(),
            deliver=self.delivery.wake if url else None,
        )

    async def _facts(self) -> Facts:
        return self.facts

    async def look(self, **changes: Any) -> None:
        """Things change, and the notifier looks."""
        self.facts = Facts(**{name: getattr(self.facts, name) for name in Facts.__slots__} | changes)
        await self.notifier.step()

    async def run_for(self, seconds: float) -> None:
        """Let both run so long, then stop them as the daemon does."""
        delivering = asyncio.get_running_loop().create_task(self.delivery.run())
        looking = asyncio.get_running_loop().create_task(self.notifier.run())
        await asyncio.sleep(seconds)
        self.delivery.stop()
        await delivering
        looking.cancel()
        with suppress(asyncio.CancelledError):
            await looking

    def told(self) -> list[tuple[str, str]]:
        """Kind and state of every row."""
        return self.connection.execute("SELECT kind, state FROM notifications ORDER BY id").fetchall()

    def keys(self) -> list[str]:
        return [f"msg_{key}" for (key,) in self.connection.execute("SELECT key FROM notifications ORDER BY id")]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def desk(connection: sqlite3.Connection, clock: ManualClock) -> Desk:
    return Desk(connection, clock)


# --- what is told --------------------------------------------------------------------------------------------


async def test_a_lost_device_is_told_at_once_and_when_it_is_back(desk: Desk, clock: ManualClock) -> None:
    await desk.look()
    assert desk.told() == []
    with capture_logs() as logs:
        await desk.look(device=LOST, held="device: operative, session offline")
        clock.advance(HOUR)
        await desk.look()
        await desk.look(device=BACK, held=None)
    assert desk.told() == [("device_lost", "raised"), ("device_lost", "cleared")]
    assert [(log["event"], log["log_level"], log["kind"], log["detail"]) for log in logs] == [
        ("notification.raised", "warning", "device_lost", LOST.detail),
        ("notification.cleared", "info", "device_lost", LOST.detail),
    ]


async def test_only_a_hold_that_lasts_is_told(desk: Desk, clock: ManualClock) -> None:
    for _ in range(3):  # ordinary back-offs
        await desk.look(held="HTTP 429")
        clock.advance(59)
        await desk.look()
        await desk.look(held=None)
        clock.advance(10)
    assert desk.told() == []
    await desk.look(held="HTTP 402")
    clock.advance(60)
    await desk.look(held="HTTP 401")  # for whatever reason
    assert desk.told() == [("held", "raised")]
    await desk.look(held=None)
    clock.advance(59)
    await desk.look()
    assert desk.told() == [("held", "raised")]
    clock.advance(1)
    await desk.look()
    assert desk.told() == [("held", "raised"), ("held", "cleared")]


async def test_each_campaign_is_completed_once(desk: Desk) -> None:
    spring, summer = Completed("spring", 5, 1), Completed("summer", 5, 2)
    await desk.look(completed=(spring,))
    await desk.look(completed=())  # a contact was imported
    await desk.look(completed=(spring, summer))
    rows = desk.connection.execute("SELECT subject FROM notifications").fetchall()
    assert rows == [("spring",), ("summer",)]


async def test_a_webhook_that_was_disabled_is_told_each_time(desk: Desk) -> None:
    await desk.look(webhook_disabled_at=START)
    await desk.look()
    await desk.look(webhook_disabled_at=START + timedelta(days=1))
    assert desk.told() == [("webhook_disabled", "happened")] * 2


async def test_the_disk_is_left_alone_while_nothing_changes(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    await desk.look(free_bytes=99 * MIB, completed=(Completed("spring", 1, 0),))

    async def refuse(_: object) -> None:
        pytest.fail("a transaction for nothing")

    monkeypatch.setattr(desk.store, "write", refuse)
    await desk.look(free_bytes=98 * MIB)


async def test_what_the_disk_refuses_is_told_when_it_is_back(
    desk: Desk, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(_: object) -> None:
        raise StoreUnavailableError("disk full")

    with monkeypatch.context() as broken:
        broken.setattr(desk.store, "write", refuse)
        await desk.look(failing="disk full", free_bytes=0)
        clock.advance(10)
        await desk.look()
    assert desk.told() == []
    await desk.look(failing=None)
    assert desk.told() == [("disk_low", "raised"), ("database_failed", "happened")]
    rows = desk.connection.execute("SELECT subject FROM notifications WHERE kind = 'database_failed'").fetchall()
    assert rows == [("2026-11-22T10:00:00.000Z",)]
    await desk.look(failing="disk full again")
    assert desk.told()[2:] == [("database_failed", "happened")]


async def test_a_report_that_cannot_be_made_is_no_end(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail() -> Facts:
        raise sqlite3.OperationalError("disk I/O error")

    with monkeypatch.context() as broken, capture_logs() as logs:
        broken.setattr(desk.notifier, "_facts", fail)
        await desk.notifier.step()
    assert [log["event"] for log in logs] == ["notifications.blind"]
    await desk.look(device=LOST)
    assert desk.told() == [("device_lost", "raised")]


async def test_a_restart_raises_nothing_again(desk: Desk, clock: ManualClock) -> None:
    await desk.look(device=LOST, free_bytes=0, completed=(Completed("spring", 1, 0),))
    await desk.look(held="HTTP 402", device=BACK)
    clock.advance(60)
    await desk.look()
    before = desk.told()
    again = Desk(desk.connection, clock)
    # So soon nobody knows how the device is, and the sender has not tried yet.
    await again.look(device=None, free_bytes=0, completed=(Completed("spring", 1, 0),))
    clock.advance(10)
    await again.look(device=BACK, held="HTTP 402")
    clock.advance(60)
    await again.look()
    assert again.told() == before
    clock.advance(60)
    await again.look(held=None, free_bytes=10_000 * MIB)
    clock.advance(60)
    await again.look()
    assert again.told() == [*before, ("disk_low", "cleared"), ("held", "cleared")]


async def test_without_a_receiver_it_is_told_all_the_same(connection: sqlite3.Connection) -> None:
    desk = Desk(connection, ManualClock(), url=False)
    await desk.look(device=LOST)
    assert desk.told() == [("device_lost", "raised")]
    assert await desk.delivery.step() == math.inf
    assert desk.receiver.tried == []


# --- the way to the receiver ---------------------------------------------------------------------------------


async def test_an_error_then_a_2xx(desk: Desk, clock: ManualClock) -> None:
    desk.receiver.answers = ["HTTP 500"]
    await desk.look(device=LOST)
    with capture_logs() as logs:
        assert await desk.delivery.step() == 0
        wait_seconds = await desk.delivery.step()
        assert 5 <= wait_seconds <= 6
        clock.advance(wait_seconds)
        assert await desk.delivery.step() == 0
        assert await desk.delivery.step() == math.inf
    assert desk.receiver.ids == desk.keys()
    assert len(desk.receiver.tried) == 2
    assert [(log["event"], log["attempt"], log.get("reason")) for log in logs] == [
        ("notification.postponed", 1, "HTTP 500"),
        ("notification.delivered", 2, None),
    ]


async def test_our_own_fault_is_an_answer_like_any_other(desk: Desk, clock: ManualClock) -> None:
    desk.receiver.answers = [RuntimeError("broken")]
    await desk.look(device=LOST)
    assert await desk.delivery.step() == 0
    clock.advance(6)
    assert await desk.delivery.step() == 0
    assert desk.receiver.ids == desk.keys()


async def test_a_clock_that_was_set_back_stops_no_delivery(desk: Desk, clock: ManualClock) -> None:
    desk.receiver.answers = ["HTTP 500"]
    await desk.look(device=LOST)
    await desk.delivery.step()
    clock.step_wall(-86_400)
    assert await desk.delivery.step() == 0
    assert desk.receiver.ids == desk.keys()


async def test_the_disk_must_know_before_the_next_leaves(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Posted, and the disk refuses to take that down: it is not posted again."""
    await desk.look(device=LOST, free_bytes=0)
    write, refused = desk.store.write, 0

    async def refuse_for_a_while(work: Any) -> Any:
        nonlocal refused
        if desk.receiver.posted and refused < 5:
            refused += 1
            raise StoreUnavailableError("disk full")
        return await write(work)

    async def at_once(_: float) -> None:
        pass

    monkeypatch.setattr(desk.store, "write", refuse_for_a_while)
    monkeypatch.setattr(asyncio, "sleep", at_once)
    assert await desk.delivery.step() == 0
    assert refused == 5
    assert await desk.delivery.step() == 0
    assert desk.receiver.ids == desk.keys()
    assert len(desk.receiver.tried) == 2


async def test_a_disk_that_refuses_is_asked_again_soon(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(_: object) -> None:
        raise StoreUnavailableError("disk full")

    await desk.look(device=LOST)
    with monkeypatch.context() as broken:
        broken.setattr(desk.store, "write", refuse)
        assert await desk.delivery.step() == 1
    assert desk.receiver.tried == []


async def test_what_nobody_took_for_three_days_is_given_up(desk: Desk, clock: ManualClock) -> None:
    await desk.look(device=LOST)
    clock.advance(alerts.GIVE_UP_AFTER.total_seconds() + 1)
    with capture_logs() as logs:
        assert await desk.delivery.step() == math.inf
    assert [(log["event"], log["count"], log["reason"]) for log in logs] == [("notification.given_up", 1, "too old")]
    assert desk.receiver.tried == []


async def test_the_line_is_bounded(desk: Desk) -> None:
    with capture_logs() as logs:
        await desk.look(completed=tuple(Completed(f"{n}", 1, 0) for n in range(alerts.MOST_WAITING + 3)))
    assert logs[-1] == {
        "event": "notification.given_up", "log_level": "error", "count": 3, "reason": "too many wait",
    }  # fmt: skip
    await desk.delivery.step()
    (_, payload) = desk.receiver.posted[0]
    assert payload["data"]["subject"] == "3"


# --- hours and days ------------------------------------------------------------------------------------------


def test_a_receiver_that_is_down_for_an_hour(connection: sqlite3.Connection) -> None:
    """It misses nothing, gets nothing twice under one id, and everything in order."""

    async def main() -> None:
        clock = VirtualClock()
        desk = Desk(connection, clock)
        desk.receiver.down_until_seconds = clock.monotonic() + HOUR

        async def trouble() -> None:
            for n in range(20):
                desk.facts = Facts(device=LOST, completed=(Completed(f"campaign {n}", 1, 0),))
                await asyncio.sleep(90)
                desk.facts = Facts(device=BACK, completed=(Completed(f"campaign {n}", 1, 0),))
                await asyncio.sleep(90)

        troubles = asyncio.get_running_loop().create_task(trouble())
        await desk.run_for(3 * HOUR)
        await troubles
        assert len(desk.receiver.posted) == 60
        assert desk.receiver.ids == desk.keys(), "all, in order, each once"
        assert len(set(desk.receiver.ids)) == 60
        assert len(desk.receiver.tried) - 60 <= 12, "a receiver that is down is not beaten"
        gaps = [b - a for a, b in zip(desk.receiver.tried, desk.receiver.tried[1:], strict=False)]
        assert max(gaps) <= HOUR
        await desk.delivery.step()
        assert len(desk.receiver.posted) == 60

    run_virtually(main())


def test_a_restart_in_the_middle_of_an_outage(connection: sqlite3.Connection) -> None:
    async def main() -> None:
        clock = VirtualClock()
        receiver = ScriptedReceiver(clock)
        receiver.down_until_seconds = clock.monotonic() + HOUR
        before = Desk(connection, clock, receiver=receiver)
        before.facts = Facts(device=LOST, completed=(Completed("spring", 1, 0),))
        await before.run_for(HOUR / 2)
        keys, tries = before.keys(), len(receiver.tried)
        assert (len(keys), receiver.posted) == (2, [])
        after = Desk(connection, clock, receiver=receiver)
        after.facts = before.facts
        started = clock.monotonic()
        await after.run_for(3 * HOUR)
        assert receiver.tried[tries] == started, "a start tries at once"
        assert (after.keys(), receiver.ids) == (keys, keys)

    run_virtually(main())


def test_a_stop_waits_for_the_request_under_way(connection: sqlite3.Connection) -> None:
    async def main() -> None:
        clock = VirtualClock()
        desk = Desk(connection, clock)
        desk.receiver.answer_seconds = 8
        desk.facts = Facts(device=LOST, free_bytes=0)
        await desk.run_for(2)
        assert desk.receiver.ids == desk.keys()[:1]
        again = Desk(connection, clock, receiver=desk.receiver)
        again.facts = desk.facts
        await again.run_for(60)
        assert desk.receiver.ids == desk.keys()

    run_virtually(main())


def test_after_a_crash_before_the_answer_was_stored_the_id_is_the_same(
    connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        clock = VirtualClock()
        receiver = ScriptedReceiver(clock)
        desk = Desk(connection, clock, receiver=receiver)
        await desk.look(device=LOST)

        async def die(*_: object) -> None:
            raise SystemExit

        monkeypatch.setattr(desk.delivery, "_write", die)  # the process ends here
        with pytest.raises(SystemExit):
            await desk.delivery.step()
        again = Desk(connection, clock, receiver=receiver)
        again.facts = desk.facts
        await again.run_for(60)
        assert receiver.ids == desk.keys() * 2
        assert receiver.posted[0] == receiver.posted[1]

    run_virtually(main())


def test_a_receiver_that_is_down_for_days(connection: sqlite3.Connection) -> None:
    """What is older than three days is given up; the rest arrives."""

    async def main() -> None:
        clock = VirtualClock()
        desk = Desk(connection, clock)
        desk.receiver.down_until_seconds = clock.monotonic() + 96 * HOUR

        async def trouble() -> None:
            for n in range(4):
                desk.facts = Facts(completed=(Completed(f"campaign {n}", 1, 0),))
                await asyncio.sleep(24 * HOUR)

        troubles = asyncio.get_running_loop().create_task(trouble())
        await desk.run_for(100 * HOUR)
        await troubles
        assert [payload["data"]["subject"] for _, payload in desk.receiver.posted] == ["campaign 2", "campaign 3"]

    run_virtually(main())
