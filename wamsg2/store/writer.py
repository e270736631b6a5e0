"""The group-commit writer: everything that waits is committed in one transaction, then everyone is told.

One fsync is shared by all callers that queued while the one before was under way, so a durable webhook costs a
fraction of a commit.
"""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
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


def _begin(connection: sqlite3.Connection) -> None:
    """Take the write lock as soon as it is free. SQLite's own waits grow up to 100 ms, and an import next door that
    takes it again and again would always come first.
    """
    for waits_left in range(_MOST_LOCK_WAITS, -1, -1):
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or not waits_left:
                raise
        else:
            return


def commit_batch(
    connection: sqlite3.Connection, works: Sequence[Work[Any]], hook: CommitHook | None = None
) -> Settled:
    """Run units in one transaction, each in a savepoint: one that fails takes only itself back."""
    results: list[tuple[Any, BaseException | None]] = []
    tx = Tx(connection)
    execute = connection.execute
    wrote = False
    try:
        _begin(connection)
        for work in works:
            execute("SAVEPOINT unit")
            changes = connection.total_changes
            callbacks = tx.count_callbacks()
            try:
                results.append((work(tx), None))
                wrote = wrote or connection.total_changes != changes
            except Exception as error:
                if is_of_the_disk(error):
                    raise  # full, locked, I/O error: the whole transaction is in doubt
                execute("ROLLBACK TO unit")
                tx.take_callbacks(callbacks)
                results.append((None, error))
            execute("RELEASE unit")
        if hook:
            hook("before", works)
        execute("COMMIT")
    except sqlite3.Error as error:
        if connection.in_transaction:
            execute("ROLLBACK")
        return Settled.refused(StoreUnavailableError(f"the database cannot be written: {error}"), len(works))
    except BaseException:
        if connection.in_transaction:
            execute("ROLLBACK")
        raise
    if hook:
        hook("after", works)
    return Settled(results, tx.take_callbacks(), wrote=wrote)


def _tell(units: Sequence[Unit[Any]], settled: Settled) -> None:
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

    def close(self) -> None:
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

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class ThreadWriter(_Health):
    """One thread owns the connection and commits all that waits in one go."""

    def __init__(self, connection: sqlite3.Connection, hook: CommitHook | None = None) -> None:
        super().__init__(connection)
        self._connection = connection
        self._hook = hook
        self._waiting: queue.SimpleQueue[tuple[asyncio.AbstractEventLoop, Unit[Any]] | None] = queue.SimpleQueue()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="wamsg2-writer", daemon=True)
        self._thread.start()

    def submit(self, work: Work[T]) -> "asyncio.Future[T]":
        """Queue the unit for the next commit."""
        if self._failure is not None or not self._thread.is_alive():
            raise self._stopped()
        if self._waiting.qsize() >= _WAITING_UNITS:
            raise StoreUnavailableError("too many writes are waiting")
        loop = asyncio.get_running_loop()
        unit: Unit[T] = Unit(work, loop.create_future())
        self._waiting.put((loop, unit))
        return unit.future

    def close(self) -> None:
        """Finish what waits, then stop the thread and close the connection."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            closing = False
            while not closing:
                item = self._waiting.get()
                batch: list[tuple[asyncio.AbstractEventLoop, Unit[Any]]] = []
                while item is not None:
                    batch.append(item)
                    if len(batch) >= _BATCH_UNITS or self._waiting.empty():
                        break
                    item = self._waiting.get()
                closing = item is None
                if batch:
                    self._commit([unit for _, unit in batch], batch[0][0])
        finally:
            self._connection.close()
            while not self._waiting.empty():  # behind a batch that ended the writer
                if item := self._waiting.get():
                    self._refuse([item[1]], item[0])

    def _stopped(self) -> WriterStoppedError:
        cause = f": {self._failure}" if self._failure else ""
        return WriterStoppedError(f"the writer has stopped{cause}")

    def _refuse(self, units: list[Unit[Any]], loop: asyncio.AbstractEventLoop) -> None:
        loop.call_soon_threadsafe(_tell, units, Settled.refused(self._stopped(), len(units)))

    def _commit(self, units: list[Unit[Any]], loop: asyncio.AbstractEventLoop) -> None:
        try:
            settled = commit_batch(self._connection, [unit.work for unit in units], self._hook)
        except BaseException as error:
            self._failure = error
            self.failing = str(self._stopped())
            self._refuse(units, loop)
            raise
        self._note(settled)
        if not loop.is_closed():
            loop.call_soon_threadsafe(_tell, units, settled)
