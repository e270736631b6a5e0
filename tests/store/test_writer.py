"""Group commit: what shares a commit, what takes only itself back, and what a refusal leaves behind."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from wamsg2.store import writer as writer_module
from wamsg2.store.database import connect
from wamsg2.store.writer import (
    GroupWriter,
    InlineWriter,
    StoreUnavailableError,
    Tx,
    Work,
    WriterStoppedError,
    commit_batch,
)


class Journal:
    """A commit hook that writes down what it saw; another connection looks at what is on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.commits: list[int] = []
        self.seen: list[tuple[str, int]] = []

    def __call__(self, when: str, works: Sequence[Work[Any]]) -> None:
        hold_gates(when, works)
        if when == "after":
            self.commits.append(len(works))
        other = sqlite3.connect(self.path)
        self.seen.append((when, other.execute("SELECT count(*) FROM t").fetchone()[0]))
        other.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "test.db"


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    made = connect(path)
    made.execute("CREATE TABLE t (n INTEGER, blob BLOB)")
    yield made
    made.close()


@pytest.fixture
def journal(path: Path) -> Journal:
    return Journal(path)


@pytest.fixture
async def writer(connection: sqlite3.Connection, journal: Journal) -> AsyncIterator[GroupWriter]:
    made = GroupWriter(connection, journal)
    yield made
    await made.close()


class Gate:
    """A unit of work whose commit takes until it is opened; what is submitted meanwhile waits."""

    def __init__(self) -> None:
        self._entered, self._open = threading.Event(), threading.Event()

    def __call__(self, _: Tx) -> None:
        """Nothing is to be done."""

    def hold(self) -> None:
        """Be the slow disk, on the writer's thread."""
        self._entered.set()
        self._open.wait()

    async def entered(self) -> None:
        await asyncio.to_thread(self._entered.wait)

    def open(self) -> None:
        self._open.set()


def hold_gates(when: str, works: Sequence[Work[Any]]) -> None:
    """A commit hook."""
    for work in works:
        if when == "before" and isinstance(work, Gate):
            work.hold()


def insert(n: int) -> Callable[[Tx], int]:
    def work(tx: Tx) -> int:
        tx.execute("INSERT INTO t (n) VALUES (?)", (n,))
        return n * 10

    return work


def insert_then_fail(n: int) -> Callable[[Tx], None]:
    def work(tx: Tx) -> None:
        tx.execute("INSERT INTO t (n) VALUES (?)", (n,))
        raise ValueError(f"unit {n}")

    return work


def stored(path: Path) -> list[int]:
    other = sqlite3.connect(path)
    rows = [n for (n,) in other.execute("SELECT n FROM t ORDER BY rowid")]
    other.close()
    return rows


async def test_what_waits_shares_a_commit_in_order(path: Path, writer: GroupWriter, journal: Journal) -> None:
    gate = Gate()
    first = writer.submit(gate)
    await gate.entered()
    rest = [writer.submit(insert(n)) for n in range(5)]
    assert stored(path) == []
    gate.open()
    assert await asyncio.gather(first, *rest) == [None, 0, 10, 20, 30, 40]
    assert journal.commits == [1, 5]
    assert stored(path) == [0, 1, 2, 3, 4]


async def test_a_batch_is_bounded(writer: GroupWriter, journal: Journal) -> None:
    gate = Gate()
    first = writer.submit(gate)
    await gate.entered()
    rest = [writer.submit(insert(n)) for n in range(600)]
    gate.open()
    await asyncio.gather(first, *rest)
    assert journal.commits == [1, 256, 256, 88]


async def test_a_failing_unit_takes_only_itself_back(path: Path, writer: GroupWriter, journal: Journal) -> None:
    gate = Gate()
    first = writer.submit(gate)
    await gate.entered()
    rest: list[asyncio.Future[Any]] = [
        writer.submit(insert(1)),
        writer.submit(insert_then_fail(2)),
        writer.submit(insert(3)),
        writer.submit(lambda tx: tx.execute("INSERT INTO contacts (id) VALUES (1)")),
        writer.submit(insert(5)),
    ]
    gate.open()
    results = await asyncio.gather(first, *rest, return_exceptions=True)
    assert [type(r).__name__ for r in results] == ["NoneType", "int", "ValueError", "int", "IntegrityError", "int"]
    assert journal.commits == [1, 5]
    assert stored(path) == [1, 3, 5]


async def test_callbacks_run_before_any_future_and_not_for_failed_units(writer: GroupWriter) -> None:
    seen: list[tuple[str, bool]] = []
    futures: list[asyncio.Future[Any]] = []

    def telling(name: str, *, fails: bool = False) -> Callable[[Tx], None]:
        def work(tx: Tx) -> None:
            tx.after_commit(lambda: seen.append((name, any(f.done() for f in futures))))
            if fails:
                raise ValueError(name)

        return work

    gate = Gate()
    first = writer.submit(gate)
    await gate.entered()
    futures += [writer.submit(telling("a")), writer.submit(telling("b", fails=True)), writer.submit(telling("c"))]
    gate.open()
    await first
    await asyncio.gather(*futures, return_exceptions=True)
    assert seen == [("a", False), ("c", False)]


async def test_where_one_fails_the_others_are_done_once(path: Path, connection: sqlite3.Connection) -> None:
    """They are taken back with it, and run again."""
    told: list[int] = []

    def telling(n: int) -> Callable[[Tx], int]:
        def work(tx: Tx) -> int:
            tx.after_commit(lambda: told.append(n))
            return insert(n)(tx)

        return work

    settled = commit_batch(connection, [telling(1), insert_then_fail(2), telling(3), insert_then_fail(4)])
    for callback in settled.after:
        callback()
    assert [result for result, _ in settled.results] == [10, None, 30, None]
    assert [str(error) for _, error in settled.results if error] == ["unit 2", "unit 4"]
    assert stored(path) == told == [1, 3]
    assert settled.wrote


async def test_who_is_cancelled_during_a_commit_leaves_it_to_the_thread(
    connection: sqlite3.Connection, path: Path
) -> None:
    writer = GroupWriter(connection, hold_gates)
    gate = Gate()
    first, second = writer.submit(gate), writer.submit(insert(1))
    await gate.entered()
    waiting = writer.submit(insert(2))
    assert writer._running
    writer._running.cancel()
    for future in (first, second, waiting):
        with pytest.raises(WriterStoppedError):
            await future
    gate.open()
    await writer.close()
    assert stored(path) == [1]  # nobody was told so: whoever asked must not conclude that it was not


async def test_the_hook_sees_both_sides_of_the_commit(connection: sqlite3.Connection, journal: Journal) -> None:
    inline = InlineWriter(connection, journal)
    assert await inline.submit(insert(1)) == 10
    assert journal.seen == [("before", 0), ("after", 1)]


async def test_a_full_disk_refuses_the_whole_commit_and_recovers(connection: sqlite3.Connection, path: Path) -> None:
    called: list[int] = []

    def telling(tx: Tx) -> None:
        insert(1)(tx)
        tx.after_commit(lambda: called.append(1))

    def fill(tx: Tx) -> None:
        tx.execute("INSERT INTO t (n, blob) VALUES (2, zeroblob(10000000))")

    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    settled = commit_batch(connection, [telling, fill, insert(3)])
    assert [type(error) for _, error in settled.results] == [StoreUnavailableError] * 3
    assert "the database cannot be written: database or disk is full" in str(settled.results[0][1])
    assert settled.after == []
    assert called == []
    assert not connection.in_transaction
    assert stored(path) == []
    connection.execute("PRAGMA max_page_count = 1000000")
    assert await InlineWriter(connection).submit(insert(4)) == 40
    assert stored(path) == [4]


async def test_a_refused_commit_refuses_everyone(connection: sqlite3.Connection, path: Path) -> None:
    """A constraint that is judged at COMMIT stands for whatever may go wrong there."""

    def orphan(tx: Tx) -> None:
        tx.execute("PRAGMA defer_foreign_keys = ON")
        tx.execute("INSERT INTO chat_ids (chat_id, contact_id) VALUES ('1@lid', 99)")

    settled = commit_batch(connection, [insert(1), orphan])
    assert all(isinstance(error, StoreUnavailableError) for _, error in settled.results)
    assert stored(path) == []
    assert await InlineWriter(connection).submit(insert(2)) == 20
    assert stored(path) == [2]


async def test_a_lock_that_is_taken_again_and_again_is_got(connection: sqlite3.Connection, path: Path) -> None:
    """Another process imports a long file: it lets the lock go for moments only."""
    rounds, most, taken, got = 0, 2000, threading.Event(), threading.Event()

    def keep_taking() -> None:
        nonlocal rounds
        with closing(sqlite3.connect(path, isolation_level=None, timeout=60)) as other:
            while rounds < most and not got.is_set():
                other.execute("BEGIN IMMEDIATE")
                rounds += 1
                taken.set()
                threading.Event().wait(0.005)
                other.execute("COMMIT")
                threading.Event().wait(0.002)

    writer = GroupWriter(connection)
    taker = threading.Thread(target=keep_taking)
    taker.start()
    assert await asyncio.to_thread(taken.wait, 60)
    await writer.submit(lambda tx: tx.execute("CREATE TABLE done (x)"))
    got.set()
    taker.join()
    assert rounds < most
    await writer.close()


async def test_a_locked_database_refuses_and_recovers(connection: sqlite3.Connection, path: Path) -> None:
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    inline = InlineWriter(connection)
    connection.execute("PRAGMA busy_timeout = 0")
    with pytest.raises(StoreUnavailableError, match="database is locked"):
        await inline.submit(insert(1))
    other.execute("ROLLBACK")
    other.close()
    assert await inline.submit(insert(2)) == 20
    assert stored(path) == [2]


async def test_a_thread_refuses_and_goes_on(connection: sqlite3.Connection, writer: GroupWriter, path: Path) -> None:
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    await writer.submit(lambda tx: tx.execute(f"PRAGMA max_page_count = {pages + 2}").fetchall())
    with pytest.raises(StoreUnavailableError):
        await writer.submit(
            lambda tx: tx.execute("INSERT INTO t (n, blob) VALUES (2, zeroblob(10000000))").fetchall()
        )
    await writer.submit(lambda tx: tx.execute("PRAGMA max_page_count = 1000000").fetchall())
    assert await writer.submit(insert(3)) == 30
    assert stored(path) == [3]


async def test_the_work_of_a_cancelled_caller_stands(path: Path, writer: GroupWriter) -> None:
    gate = Gate()
    first = writer.submit(gate)
    await gate.entered()

    async def call() -> int:
        return await writer.submit(insert(1))

    caller = asyncio.get_running_loop().create_task(call())
    await asyncio.sleep(0)
    caller.cancel()
    last = writer.submit(insert(2))
    gate.open()
    await asyncio.gather(first, last)
    assert caller.cancelled()
    assert stored(path) == [1, 2]


async def test_too_many_waiting_are_refused(writer: GroupWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "_WAITING_UNITS", 2)
    gate = Gate()
    first = writer.submit(gate)
    await gate.entered()
    waiting = [writer.submit(insert(n)) for n in range(2)]
    with pytest.raises(StoreUnavailableError, match="too many writes are waiting"):
        writer.submit(insert(9))
    gate.open()
    assert await asyncio.gather(first, *waiting) == [None, 0, 10]
    assert await writer.submit(insert(3)) == 30


async def test_close_finishes_what_waits(connection: sqlite3.Connection, path: Path) -> None:
    writer = GroupWriter(connection, hold_gates)
    gate = Gate()
    first = writer.submit(gate)
    await gate.entered()
    rest = [writer.submit(insert(n)) for n in range(300)]
    gate.open()
    await writer.close()
    assert await asyncio.gather(first, *rest) == [None, *(n * 10 for n in range(300))]
    assert stored(path) == list(range(300))
    with pytest.raises(StoreUnavailableError, match="the writer has stopped"):
        writer.submit(insert(1))
    with pytest.raises(sqlite3.ProgrammingError):
        connection.execute("SELECT 1")


async def test_a_writer_that_dies_tells_its_callers(connection: sqlite3.Connection, path: Path) -> None:
    def die(when: str, _: Sequence[Work[Any]]) -> None:
        raise RuntimeError(f"{when} the commit")

    writer = GroupWriter(connection, die)
    with pytest.raises(StoreUnavailableError, match="the writer has stopped: before the commit"):
        await writer.submit(insert(1))
    with pytest.raises(StoreUnavailableError, match="the writer has stopped"):
        writer.submit(insert(2))
    assert stored(path) == []


async def test_a_writer_that_dies_tells_those_who_wait(connection: sqlite3.Connection) -> None:
    def die(when: str, works: Sequence[Work[Any]]) -> None:
        hold_gates(when, works)
        raise RuntimeError(f"{when} the commit")

    writer = GroupWriter(connection, die)
    gate = Gate()
    first = writer.submit(gate)
    await gate.entered()
    second = writer.submit(insert(2))
    gate.open()
    for waiting in (first, second):
        with pytest.raises(StoreUnavailableError, match="the writer has stopped: before the commit"):
            await waiting


async def test_a_callback_that_breaks_stops_the_writer_aloud(writer: GroupWriter, path: Path) -> None:
    def breaking() -> None:
        raise RuntimeError("a bug")

    def telling(tx: Tx) -> None:
        insert(1)(tx)
        tx.after_commit(breaking)

    with pytest.raises(WriterStoppedError, match="a bug"):
        await writer.submit(telling)
    assert writer.failing
    with pytest.raises(WriterStoppedError):
        writer.submit(insert(2))
    await writer.close()
    assert stored(path) == [1]


async def test_a_writer_that_is_cancelled_before_it_begins_tells_so(connection: sqlite3.Connection) -> None:
    writer = GroupWriter(connection)
    waiting = writer.submit(insert(1))
    assert writer._running
    writer._running.cancel()
    await writer.close()
    with pytest.raises(WriterStoppedError):
        await waiting


# --- failing -------------------------------------------------------------------------------------------------


@pytest.fixture(params=[InlineWriter, GroupWriter])
async def either(request: pytest.FixtureRequest, path: Path) -> AsyncIterator[InlineWriter | GroupWriter]:
    """A writer of each kind, on a connection that waits for no lock."""
    connection = connect(path)
    connection.execute("CREATE TABLE t (n INTEGER, blob BLOB)")
    made = request.param(connection)
    connection.execute("PRAGMA busy_timeout = 0")
    yield made
    await made.close()


@pytest.fixture
def lock(path: Path, either: InlineWriter) -> Iterator[sqlite3.Connection]:
    """Somebody else who writes, and so keeps the writer from it until they roll back."""
    assert either.failing is None
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    yield other
    other.close()


def read(tx: Tx) -> int:
    return int(tx.execute("SELECT count(*) FROM t").fetchone()[0])


def change_nothing(tx: Tx) -> None:
    tx.execute("UPDATE t SET n = 1 WHERE n = -1")


async def refused(writer: InlineWriter | GroupWriter) -> None:
    with pytest.raises(StoreUnavailableError, match="database is locked"):
        await writer.submit(insert(1))


async def test_a_refused_commit_is_failing_until_one_writes(either: InlineWriter, lock: sqlite3.Connection) -> None:
    await refused(either)
    assert either.failing == "the database cannot be written: database is locked"
    lock.execute("ROLLBACK")
    for harmless in (read, change_nothing):  # a full disk takes them too
        await either.submit(harmless)
        assert either.failing == "the database cannot be written: database is locked"
    await either.submit(insert(2))
    assert either.failing is None
    await either.submit(read)
    assert either.failing is None


async def test_a_unit_that_fails_by_itself_is_no_failing_disk(either: InlineWriter) -> None:
    with pytest.raises(ValueError, match="unit 1"):
        await either.submit(insert_then_fail(1))
    assert either.failing is None


async def test_what_was_taken_back_was_not_written(either: InlineWriter, lock: sqlite3.Connection) -> None:
    """A unit that fails by itself leaves a commit of nothing: it says nothing of the disk."""
    await refused(either)
    lock.execute("ROLLBACK")
    with pytest.raises(ValueError, match="unit 1"):
        await either.submit(insert_then_fail(1))
    assert either.failing is not None


async def test_the_last_refusal_says_why(connection: sqlite3.Connection, path: Path) -> None:
    inline = InlineWriter(connection)
    connection.execute("PRAGMA busy_timeout = 0")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreUnavailableError):
        await inline.submit(insert(1))
    other.execute("ROLLBACK")
    other.close()
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(StoreUnavailableError):
        await inline.submit(lambda tx: tx.execute("INSERT INTO t (n, blob) VALUES (2, zeroblob(10000000))"))
    assert inline.failing == "the database cannot be written: database or disk is full"


async def test_too_much_that_waits_is_no_failing_disk(writer: GroupWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer_module, "_WAITING_UNITS", 1)
    gate = Gate()
    first = writer.submit(gate)
    await gate.entered()
    waiting = writer.submit(insert(1))
    with pytest.raises(StoreUnavailableError, match="too many writes are waiting"):
        writer.submit(insert(2))
    assert writer.failing is None
    gate.open()
    await asyncio.gather(first, waiting)


async def test_a_writer_that_died_is_failing_for_good(connection: sqlite3.Connection) -> None:
    def die(when: str, _: Sequence[Work[Any]]) -> None:
        raise RuntimeError(f"{when} the commit")

    writer = GroupWriter(connection, die)
    with pytest.raises(WriterStoppedError):
        await writer.submit(insert(1))
    assert writer.failing == "the writer has stopped: before the commit"
    with pytest.raises(WriterStoppedError):
        writer.submit(insert(2))
    assert writer.failing == "the writer has stopped: before the commit"
