"""Whole databases: copied while they are in use, and closed for good before another takes their place."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from pathlib import Path

from wamsg2.store import marks
from wamsg2.store.database import BUSY_TIMEOUT_SECONDS, DatabaseError, connect_file
from wamsg2.store.times import from_ms
from wamsg2.store.writer import Tx

_HEADER = b"SQLite format 3\0"


def copy_live(database: Path, into: Path) -> None:
    """Copy a database as it stands now, with what its log holds, into an empty file; whoever writes goes on writing.

    The copy is one file: it needs no log beside it.

    Raises:
        DatabaseError: it cannot be read, or the copy cannot be written.
    """
    if not database.exists():
        raise DatabaseError(f"{database}: no such database")
    # Not mode=ro: such a connection would leave an empty log behind where no daemon runs.
    with (
        _named(database),
        closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None)) as source,
    ):
        source.execute("PRAGMA query_only = ON")
        _copy(source, into)


def leave_mark(database: Path, name: str, at: datetime) -> None:
    """Set a moment in a live database, which is not migrated for it; one that takes no writes goes without."""
    if not database.exists():
        return
    uri = f"{database.absolute().as_uri()}?mode=rw"
    with suppress(sqlite3.Error), closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT_SECONDS * 1000)}")
        marks.put(Tx(connection), name, at)


def copy_file(file: Path, into: Path) -> None:
    """Copy a file that is nobody's live database, with the log beside it if there is one, into an empty file.

    Raises:
        DatabaseError: it cannot be read or is none of ours, or the copy cannot be written.
    """
    with _named(file), closing(connect_file(file)) as source:
        _copy(source, into)


def _copy(source: sqlite3.Connection, into: Path) -> None:
    source.execute(f"PRAGMA busy_timeout = {int(BUSY_TIMEOUT_SECONDS * 1000)}")
    with closing(sqlite3.connect(into, isolation_level=None)) as target:
        target.execute("PRAGMA synchronous = OFF")  # whoever gives the copy its name syncs it first
        # All pages in one step: they are of one moment, however much is written meanwhile.
        source.backup(target)
        target.execute("PRAGMA journal_mode = DELETE")


@contextmanager
def _named(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise DatabaseError(f"{path}: {error}") from None


def fold_log(database: Path) -> bool:
    """Move what its log holds into a database, so that its file alone is all of it; False if that cannot be read.

    Raises:
        DatabaseError: another process has it open.
    """
    if not _has_header(database):
        return False  # SQLite would throw a log away whose file is none of its own
    try:
        with closing(sqlite3.connect(database, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.Error as error:
        if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
            raise DatabaseError(f"{database}: another program has it open; end that first") from None
        return False
    return True


def _has_header(file: Path) -> bool:
    try:
        with file.open("rb") as content:
            return content.read(len(_HEADER)) == _HEADER
    except FileNotFoundError:
        return False


def newest_entry(tx: Tx) -> datetime | None:
    """When the last thing happened that a database knows of."""
    newest_at: datetime | None = from_ms(
        tx.execute(
            """SELECT max(at) FROM (
               SELECT max(created_at) AS at FROM campaigns UNION ALL SELECT max(created_at) FROM contacts
               UNION ALL SELECT max(attempted_at) FROM messages UNION ALL SELECT max(created_at) FROM messages
               UNION ALL SELECT max(received_at) FROM events)"""
        ).fetchone()[0]
    )
    return newest_at
