"""The watch: commands are noticed, and only a writer that answers is a sign of life."""

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support import House, NoSignals, house
from wamsg2.store.database import Store
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
    made = Watch(store=home.store, signals=signals, alive=lambda: beats.append(None))
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
