"""The group-commit writer: everything that waits is committed in one transaction, then everyone is told.

One fsync is shared by all callers that queued while the one before was under way, so a durable webhook costs a
fraction of a commit.
"""

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Generic, Literal, Protocol, TypeVar

from wamsg2.model import WamsgError

T = TypeVar("T")

#: So many units share a commit at the most: bounds the time a unit waits behind others.
_BATCH_UNITS = 256
#: So many units may wait: beyond, callers are refused and webhooks answered with 503 (the provider retries).
_WAITING_UNITS = 10_000
_LOCK_WAIT_MS = 1  #: of SQLite, then it is asked again
_MOST_LOCK_WAITS = 5000


class StoreUnavailableError(WamsgError):
    """The database cannot be written now (full, locked, failing, or too much waits). Nothing was stored."""


class WriterStoppedError(StoreUnavailableError):
    """The writer has died: nothing will be stored until the process is started anew."""


def is_of_the_disk(error: BaseException) -> bool:
    """Whether SQLite could not do its work; otherwise it is the row, or our own doing."""
    # What Python finds by itself, such as a text that is not UTF-8, has no code of SQLite's.
    return isinstance(error, sqlite3.OperationalError) and hasattr(error, "sqlite_errorcode")


class Tx:
    """What a unit of work gets: the open transaction, and a place for what must happen once it is on disk."""

    __slots__ = ("_after", "execute", "executemany")

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.execute = connection.execute
        self.executemany = connection.executemany
        self._after: list[Callable[[], None]] = []

    def after_commit(self, callback: Callable[[], None]) -> None:
        """Call back on the event loop after the commit, before any caller of this commit goes on."""
        self._after.append(callback)

    def take_callbacks(self, start: int = 0) -> list[Callable[[], None]]:
        """Remove and return the callbacks from number `start` on."""
        taken = self._after[start:]
        del self._after[start:]
        return taken

    def count_callbacks(self) -> int:
        """How many callbacks wait."""
        return len(self._after)


#: A unit of work. It may be run, taken back and run again, so all that it does, it does through the transaction; what
#: it tells anybody else is harmless where it comes to nothing.
Work = Callable[[Tx], T]
CommitHook = Callable[[Literal["before", "after"], Sequence[Work[Any]]], None]


class Unit(Generic[T]):
    """One unit of work and the future of its result."""

    __slots__ = ("future", "work")

    def __init__(self, work: Work[T], future: asyncio.Future[T]) -> None:
        self.work = work
        self.future = future


class Settled:
    """What became of a batch: results or errors in order, and the callbacks of those that were committed.

    `failure` says why the disk refused it all; `wrote` whether anything was put on disk, so that it takes some.
    """

    __slots__ = ("after", "failure", "results", "wrote")

    def __init__(
        self,
        results: list[tuple[Any, BaseException | None]],
        after: list[Callable[[], None]],
        *,
        failure: str | None = None,
        wrote: bool = False,
    ) -> None:
        self.results = results
        self.after = after
        self.failure = failure
        self.wrote = wrote

    @classmethod
    def refused(cls, error: StoreUnavailableError, count: int) -> "Settled":
        """Nothing of it was stored, for the one reason."""
        return cls([(None, error)] * count, [], failure=str(error))


def _begin(connection: sqlite3.Connection, most_waits: int = _MOST_LOCK_WAITS) -> None:
    """Take the write lock as soon as it is free. SQLite's own waits grow up to 100 ms, and an import next door that
    takes it again and again would always come first.
    """
    for waits_left in range(most_waits, -1, -1):
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or not waits_left:
                raise
        else:
            return


def _begin_at_once(connection: sqlite3.Connection) -> bool:
    """Take the write lock, if nobody has it; whatever else is the matter, who waits for it will see."""
    try:
        _begin(connection, 0)
    except sqlite3.OperationalError:
        return False
    return True


def _run(connection: sqlite3.Connection, works: Sequence[Work[Any]]) -> Settled | None:
    """Run units in the open transaction; None where one fails, and the transaction with it."""
    tx = Tx(connection)
    changes = connection.total_changes
    try:
        results: list[tuple[Any, BaseException | None]] = [(work(tx), None) for work in works]
    except Exception as error:
        if is_of_the_disk(error):
            raise  # full, locked, I/O error: the whole transaction is in doubt
        connection.execute("ROLLBACK")
        return None
    return Settled(results, tx.take_callbacks(), wrote=connection.total_changes != changes)


def _run_each(connection: sqlite3.Connection, works: Sequence[Work[Any]]) -> Settled:
    """Run units in the open transaction, each in a savepoint: one that fails takes only itself back.

    It costs a tenth more, since SQLite keeps every page as it was before each of them.
    """
    results: list[tuple[Any, BaseException | None]] = []
    tx = Tx(connection)
    execute = connection.execute
    wrote = False
    for work in works:
        execute("SAVEPOINT unit")
        changes = connection.total_changes
        callbacks = tx.count_callbacks()
        try:
            results.append((work(tx), None))
            wrote = wrote or connection.total_changes != changes
        except Exception as error:
            if is_of_the_disk(error):
                raise
            execute("ROLLBACK TO unit")
            tx.take_callbacks(callbacks)
            results.append((None, error))
        execute("RELEASE unit")
    return Settled(results, tx.take_callbacks(), wrote=wrote)


def _commit(connection: sqlite3.Connection, works: Sequence[Work[Any]], hook: CommitHook | None) -> None:
    """End the transaction: on disk, when this returns."""
    if hook:
        hook("before", works)
    connection.execute("COMMIT")
    if hook:
        hook("after", works)


@contextmanager
def _taken_back(connection: sqlite3.Connection) -> Iterator[None]:
    """No transaction is left open.

    Raises:
        StoreUnavailableError: SQLite could not do its work.
    """
    try:
        yield
    except (asyncio.CancelledError, GeneratorExit):
        raise  # of who waits for the thread, which may be at it still
    except BaseException as error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        if isinstance(error, sqlite3.Error):
            raise StoreUnavailableError(f"the database cannot be written: {error}") from error
        raise


def commit_batch(
    connection: sqlite3.Connection, works: Sequence[Work[Any]], hook: CommitHook | None = None
) -> Settled:
    """Run units in one transaction, and wait for all that it takes; a unit that fails takes only itself back."""
    try:
        with _taken_back(connection):
            _begin(connection)
            if (settled := _run(connection, works)) is None:
                _begin(connection)
                settled = _run_each(connection, works)
            _commit(connection, works, hook)
    except StoreUnavailableError as error:
        return Settled.refused(error, len(works))
    return settled


def _tell(units: Iterable[Unit[Any]], settled: Settled) -> None:
    for callback in settled.after:
        callback()
    for unit, (result, error) in zip(units, settled.results, strict=True):
        if unit.future.done():  # its caller went away; the work stands
            continue
        if error is None:
            unit.future.set_result(result)
        else:
            unit.future.set_exception(error)


class Writer(Protocol):
    """Runs units of work, in order, durably."""

    @property
    def failing(self) -> str | None:
        """Why the disk refused the last write; None since it has taken one again."""

    def submit(self, work: Work[T]) -> "asyncio.Future[T]":
        """Queue a unit; its future is done once it is on disk (or has failed).

        Raises:
            StoreUnavailableError: too much waits already.
        """

    async def close(self) -> None:
        """Finish what waits, then close the connection."""


class _Health:
    """Whether the disk takes writes, as far as commits have shown."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        connection.execute(f"PRAGMA busy_timeout = {_LOCK_WAIT_MS}")
        self.failing: str | None = None

    def _note(self, settled: Settled) -> None:
        if settled.failure or settled.wrote:  # a commit of nothing shows nothing
            self.failing = settled.failure


class InlineWriter(_Health):
    """Commits on the caller's thread at once: for commands, tests and simulation."""

    def __init__(self, connection: sqlite3.Connection, hook: CommitHook | None = None) -> None:
        super().__init__(connection)
        self._connection = connection
        self._hook = hook

    def submit(self, work: Work[T]) -> "asyncio.Future[T]":
        """Run and commit the unit now."""
        unit = Unit(work, asyncio.get_running_loop().create_future())
        settled = commit_batch(self._connection, [work], self._hook)
        self._note(settled)
        _tell([unit], settled)
        return unit.future

    async def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class GroupWriter(_Health):
    """Commits all that waits in one go, one group after the other.

    Units run on the event loop: SQLite lets go of the interpreter with every statement, and two threads that both
    want it get less done than one (by a fifth, of webhooks). What waits for others, for the lock or for the disk, is
    done on a thread.
    """

    def __init__(self, connection: sqlite3.Connection, hook: CommitHook | None = None) -> None:
        super().__init__(connection)
        self._connection = connection
        self._hook = hook
        self._waiting: deque[Unit[Any]] = deque()
        self._failure: BaseException | None = None
        self._running: asyncio.Task[None] | None = None
        self._is_closed = False
        self._thread = ThreadPoolExecutor(1, "wamsg2-writer")

    def submit(self, work: Work[T]) -> "asyncio.Future[T]":
        """Queue the unit for the next commit."""
        if self._failure is not None or self._is_closed:
            raise self._stopped()
        if len(self._waiting) >= _WAITING_UNITS:
            raise StoreUnavailableError("too many writes are waiting")
        loop = asyncio.get_running_loop()
        unit = Unit(work, loop.create_future())
        self._waiting.append(unit)
        if self._running is None:
            self._running = loop.create_task(self._commit_all(), name="writer")
        return unit.future

    async def close(self) -> None:
        """Finish what waits, then close the connection."""
        self._is_closed = True
        if self._running:
            await asyncio.wait([self._running])
        self._refuse(self._waiting)  # of a task that was cancelled before it began
        self._thread.shutdown()
        self._connection.close()

    async def _commit_all(self) -> None:
        units: list[Unit[Any]] = []
        try:
            while self._waiting:
                units = [self._waiting.popleft() for _ in range(min(len(self._waiting), _BATCH_UNITS))]
                try:
                    settled = await self._commit_group([unit.work for unit in units])
                except StoreUnavailableError as error:
                    settled = Settled.refused(error, len(units))
                self._note(settled)
                _tell(units, settled)
        except Exception as error:  # noqa: BLE001 - nobody awaits this task: it tells by itself
            self._die(error, units)
            context = {"message": str(self._stopped()), "exception": error}
            asyncio.get_running_loop().call_exception_handler(context)
        except BaseException as error:
            self._die(error, units)
            raise
        finally:
            self._running = None

    async def _commit_group(self, works: Sequence[Work[Any]]) -> Settled:
        with _taken_back(self._connection):
            await self._begin()
            if (settled := _run(self._connection, works)) is None:
                await self._begin()
                settled = _run_each(self._connection, works)
            await self._on_thread(_commit, self._connection, works, self._hook)
        return settled

    async def _begin(self) -> None:
        if not _begin_at_once(self._connection):
            await self._on_thread(_begin, self._connection)

    async def _on_thread(self, call: Callable[..., None], *arguments: object) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, call, *arguments)

    def _die(self, error: BaseException, units: Sequence[Unit[Any]]) -> None:
        self._failure = error
        self.failing = str(self._stopped())
        self._refuse([*units, *self._waiting])
        self._waiting.clear()

    def _refuse(self, units: Collection[Unit[Any]]) -> None:
        _tell(units, Settled.refused(self._stopped(), len(units)))

    def _stopped(self) -> WriterStoppedError:
        if self._failure is None:
            return WriterStoppedError("the writer has stopped")
        return WriterStoppedError(f"the writer has stopped: {str(self._failure) or type(self._failure).__name__}")
