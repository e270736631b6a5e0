"""Opening the database file: connections, the single-instance lock, and the store that everyone is given."""

import errno
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import aiosqlite

from wamsg2.model import WamsgError
from wamsg2.store.schema import SchemaError, migrate, require_ours
from wamsg2.store.writer import CommitHook, GroupWriter, InlineWriter, Work, Writer

T = TypeVar("T")
#: A connection that only reads.
Reader = aiosqlite.Connection

#: A command holds the write lock for milliseconds at a time; longer means that something is wrong.
BUSY_TIMEOUT_SECONDS = 5.0


class DatabaseError(WamsgError):
    """The database cannot be opened; the message names the file."""


class InstanceLock:
    """Held by the one daemon of a database, on a file beside it; the kernel frees it, however the process ends."""

    def __init__(self, database: Path) -> None:
        self._path = database.with_name(database.name + ".lock")
        self._fd = -1

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            DatabaseError: another daemon has it, or the file cannot be written.
        """
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise DatabaseError(f"{self._path}: {error.strerror}") from None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.read(fd, 32).decode("ascii", "replace").strip()
            os.close(fd)
            raise DatabaseError(
                f"another wamsg2 daemon (process {holder or 'unknown'}) is running on {self._path.stem}"
            ) from None
        try:
            os.ftruncate(fd, 0)
            os.write(fd, f"{os.getpid()}\n".encode())
        except OSError as error:
            os.close(fd)
            raise DatabaseError(f"{self._path}: {error.strerror}") from None
        self._fd = fd

    def release(self) -> None:
        """Give the lock back; the file stays, since removing it would race with the next daemon."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def is_served(database: Path) -> bool:
    """Whether a daemon runs on this database."""
    lock = InstanceLock(database)
    try:
        lock.acquire()
    except DatabaseError:
        return True
    lock.release()
    return False


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Nobody else is in here on this directory, of all processes."""
    fd = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def connect(path: Path) -> sqlite3.Connection:
    """A read-write connection: WAL, every commit fsynced, foreign keys; the file is created with mode 0600.

    Raises:
        DatabaseError: the file cannot be opened, or is not a database.
    """
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        # SQLite gives the -wal and -shm files the mode of the database. Only a new file is opened: closing an
        # old one would drop the locks that another connection of this process has on it.
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(
            path,
            timeout=BUSY_TIMEOUT_SECONDS,
            isolation_level=None,
            check_same_thread=False,  # the event loop uses it and the writer's thread, never at once
            cached_statements=256,
        )
    except OSError as error:
        raise DatabaseError(f"{path}: {error.strerror}") from None
    except sqlite3.Error as error:
        raise DatabaseError(f"{path}: {error}") from None
    try:
        with _alone(path.parent):  # the switch to WAL does not wait for others, as everything else does
            connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA cache_size = -16000")
        connection.execute("PRAGMA temp_store = MEMORY")
        # What is deleted is overwritten with zeros: erasing a person must not leave them in unused space.
        connection.execute("PRAGMA secure_delete = ON")
        migrate(connection)
    except (sqlite3.Error, OSError) as error:
        connection.close()
        raise DatabaseError(f"{path}: {error}") from None
    except BaseException:
        connection.close()
        raise
    return connection


async def open_reader(path: Path) -> aiosqlite.Connection:
    """A connection that cannot write and never blocks the writer (WAL); for what decides nothing."""
    uri = f"{path.absolute().as_uri()}?mode=ro"  # noqa: ASYNC240 - a look at the working directory, at start
    reader = await aiosqlite.connect(uri, uri=True, isolation_level=None)
    await reader.execute("PRAGMA query_only = ON")
    await reader.execute(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT_SECONDS * 1000)}")
    return reader


def open_file(path: Path) -> Reader:
    """A connection to a file that is nobody's live database, such as a backup: not a byte of it changes.

    It is for ``async with``, which opens and closes it.

    Raises:
        DatabaseError: it cannot be read, or is none of ours.
    """
    connect_file(path).close()
    return aiosqlite.connect(_uri_of_file(path), uri=True, isolation_level=None)


def connect_file(path: Path) -> sqlite3.Connection:
    """As `open_file`, for who does not wait.

    Raises:
        DatabaseError: it cannot be read, or is none of ours.
    """
    uri = _uri_of_file(path)
    try:
        connection = sqlite3.connect(uri, uri=True, isolation_level=None)
        try:
            require_ours(connection)
        except BaseException:
            connection.close()
            raise
    except (sqlite3.Error, SchemaError) as error:
        raise DatabaseError(f"{path}: {error}") from None
    return connection


def _uri_of_file(path: Path) -> str:
    if not path.exists():
        raise DatabaseError(f"{path}: no such database")
    if path.is_dir():
        raise DatabaseError(f"{path}: {os.strerror(errno.EISDIR)}")
    real = path.resolve()  # SQLite's logs lie beside the file, not beside a link to it
    has_log = any(real.with_name(real.name + suffix).exists() for suffix in ("-wal", "-journal"))
    # Without a log nothing is missing in the file; SQLite would make an empty one to share, unless nobody may write.
    return f"{real.as_uri()}?mode=ro{'' if has_log else '&immutable=1'}"


class Store:
    """The database, as services and commands see it: units of work in, queries out.

    As the daemon it holds the instance lock and commits in groups; as a command it commits inline.
    """

    def __init__(self, path: Path, writer: Writer, reader: aiosqlite.Connection, lock: InstanceLock | None) -> None:
        self.path = path
        self._writer = writer
        self._lock = lock
        self._data_version = 0
        self.reader = reader

    @classmethod
    async def open(
        cls, path: Path, *, daemon: bool = False, grouped: bool = False, hook: CommitHook | None = None
    ) -> Self:
        """Open (and create or migrate) the database.

        Args:
            path: the file.
            daemon: take the single-instance lock.
            grouped: commit in groups, without keeping the event loop waiting; otherwise inline, one unit per commit.
            hook: called before and after each commit, on the thread that commits; tests end the process there.

        Raises:
            DatabaseError: not possible; the message says what and where.
        """
        lock = InstanceLock(path) if daemon else None
        if lock:
            lock.acquire()
        try:
            connection = connect(path)
            writer = GroupWriter(connection, hook) if grouped else InlineWriter(connection, hook)
            return cls(path, writer, await open_reader(path), lock)
        except BaseException:
            if lock:
                lock.release()
            raise

    async def write(self, work: Work[T]) -> T:
        """Run a unit of work; returns once it is on disk.

        Raises:
            StoreUnavailableError: it could not be stored; nothing of it was.
        """
        return await self._writer.submit(work)

    @property
    def failing(self) -> str | None:
        """Why the disk refused the last write; None since it has taken one again."""
        return self._writer.failing

    def free_bytes(self) -> int | None:
        """What the file system of the database has left for us; None where it does not say."""
        try:
            found = os.statvfs(self.path.parent)
        except OSError:
            return None
        return found.f_bavail * found.f_frsize

    async def changed_elsewhere(self) -> bool:
        """Whether another process has committed since the last call (a command did something)."""
        version = await self.write(lambda tx: int(tx.execute("PRAGMA data_version").fetchone()[0]))
        changed, self._data_version = version != self._data_version, version
        return changed

    async def close(self) -> None:
        """Finish what waits, close the file, free the lock."""
        await self.reader.close()
        await self._writer.close()  # last, so that SQLite moves the log into the file and removes it
        if self._lock:
            self._lock.release()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        with suppress(sqlite3.ProgrammingError):  # closed already
            await self.close()
