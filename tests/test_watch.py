"""The watch: commands and the end of a refusal are noticed; only a writer that answers is a sign of life."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.support import START, House, NoSignals, Simulation, house, inbound, memory, run_virtually
from wamsg2.store.database import Store
from wamsg2.store.times import to_ms
from wamsg2.store.writer import StoreUnavailableError, WriterStoppedError
from wamsg2.watch import Watch

ONE = "+34600000001"


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path) as made:
        await made.campaign(ONE)
        yield made


@pytest.fixture
def signals() -> NoSignals:
    return NoSignals()


@pytest.fixture
def beats() -> list[None]:
    return []


@pytest.fixture
async def watch(home: House, signals: NoSignals, beats: list[None]) -> Watch:
    made = Watch(store=home.store, clock=home.clock, signals=signals, alive=lambda: beats.append(None))
    await made.step()  # the first look may find anything
    signals.woken = 0
    beats.clear()
    return made


async def test_quiet(watch: Watch, signals: NoSignals, beats: list[None]) -> None:
    await watch.step()
    assert (signals.woken, len(beats)) == (0, 1)


async def test_our_own_writes_wake_nobody(home: House, watch: Watch, signals: NoSignals) -> None:
    await home.send_one()
    await watch.step()
    assert signals.woken == 0


async def test_a_command_wakes_the_sender_once(home: House, watch: Watch, signals: NoSignals) -> None:
    async with await Store.open(home.store.path) as command:
        await House(command, policy=home.policy).campaign("+34600000002", name="other")
    await watch.step()
    await watch.step()
    assert signals.woken == 1


async def test_a_database_that_refuses_for_a_while(
    home: House, watch: Watch, signals: NoSignals, beats: list[None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse() -> bool:
        raise StoreUnavailableError("database is locked")

    with monkeypatch.context() as broken:
        broken.setattr(home.store, "changed_elsewhere", refuse)
        await watch.step()
    assert (signals.woken, len(beats)) == (0, 1)
    await watch.step()
    assert len(beats) == 2


async def test_a_writer_that_has_stopped_ends_the_watch(
    home: House, watch: Watch, beats: list[None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stopped() -> bool:
        raise WriterStoppedError("the writer has stopped")

    monkeypatch.setattr(home.store, "changed_elsewhere", stopped)
    with pytest.raises(WriterStoppedError):
        await watch.run()
    assert beats == []


async def test_a_locked_database_is_no_end(home: House, watch: Watch, beats: list[None]) -> None:
    """A long write of somebody else; the look itself needs the lock too."""
    home.store._writer._connection.execute("PRAGMA busy_timeout = 0")  # type: ignore[attr-defined]
    other = sqlite3.connect(home.store.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    await watch.step()
    other.execute("ROLLBACK")
    other.close()
    await watch.step()
    assert len(beats) == 2


# --- is the disk back? ---------------------------------------------------------------------------------------


@contextmanager
def locked(home: House) -> Iterator[None]:
    """Nothing can be written as long as this lasts."""
    home.store._writer._connection.execute("PRAGMA busy_timeout = 0")  # type: ignore[attr-defined]
    other = sqlite3.connect(home.store.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


async def probes(home: House) -> list[tuple[str, int]]:
    return [(name, at) for name, at in await home.rows("SELECT name, at FROM marks")]


async def test_a_sound_disk_is_not_written_to(home: House, watch: Watch) -> None:
    for _ in range(3):
        await watch.step()
    assert await probes(home) == []


async def test_nobody_writes_and_yet_the_end_of_a_refusal_is_noticed(
    home: House, watch: Watch, beats: list[None]
) -> None:
    with locked(home):
        with pytest.raises(StoreUnavailableError):
            await home.receive(inbound(ONE, at=START, wa_id="A1"))
        with capture_logs() as logs:
            for _ in range(3):
                await watch.step()
        assert home.store.failing == "the database cannot be written: database is locked"
        assert [(line["event"], line["reason"]) for line in logs] == [
            ("database.refused", "the database cannot be written: database is locked")
        ], "once"
        assert len(beats) == 3, "who waits for the disk is alive"
    home.clock.advance(5)
    with capture_logs() as logs:
        await watch.step()
    assert home.store.failing is None
    assert [line["event"] for line in logs] == ["database.back"]
    first = await probes(home)
    assert first == [("disk_back", to_ms(home.clock.now()))]
    home.clock.advance(1)
    await watch.step()
    assert await probes(home) == first


async def test_a_write_of_somebodys_ends_it_without_a_probe(home: House, watch: Watch) -> None:
    with locked(home), pytest.raises(StoreUnavailableError):
        await home.send_one()
    await home.send_one()
    await watch.step()
    assert await probes(home) == []


async def test_commands_are_noticed_in_the_round_in_which_the_disk_is_back(
    home: House, watch: Watch, signals: NoSignals
) -> None:
    with locked(home), pytest.raises(StoreUnavailableError):
        await home.send_one()
    async with await Store.open(home.store.path) as command:
        await House(command, policy=home.policy).campaign("+34600000002", name="other")
    await watch.step()
    assert signals.woken == 1


def test_it_looks_once_a_second(signals: NoSignals) -> None:
    async def main() -> None:
        connection = memory()
        simulation, beats = Simulation(connection), list[float]()
        loop = asyncio.get_running_loop()
        watch = Watch(
            store=simulation.store, clock=simulation.clock, signals=signals, alive=lambda: beats.append(loop.time())
        )
        watching = loop.create_task(watch.run())
        await asyncio.sleep(10.5)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        connection.close()
        assert [b - a for a, b in pairwise(beats)] == [pytest.approx(1)] * 10

    run_virtually(main())
