"""Databases of a given size, filled by bulk SQL: a million contacts in about a minute, once per run."""

import os
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from wamsg2.clock import SystemClock
from wamsg2.store import database

_HOUR_MS = 3600 * 1000
_DAY_MS = 24 * _HOUR_MS


class State(StrEnum):
    """How far a campaign's Message 1s are."""

    DRAFT = "draft"  #: contacts are in it, and nothing is launched
    QUEUED = "queued"
    SENT = "sent"
    READ = "read"


@dataclass(frozen=True, slots=True)
class Batch:
    """A campaign, and a Message 1 of it for the contacts from `first` to `last` (their ids, from 1)."""

    name: str
    first: int
    last: int
    state: State
    age_ms: int = 0  #: since its launch and its sends

    @property
    def status(self) -> str:
        """The campaign's."""
        return "draft" if self.state is State.DRAFT else "running"


@dataclass(frozen=True, slots=True)
class Shape:
    """What a database holds."""

    name: str
    contacts: int
    batches: Sequence[Batch]


def recent(contacts: int) -> tuple[Batch, Batch]:
    """Two campaigns, ids 1 and 2: the first half's window is open, the second half's is long over.

    `webhooks.Mix` writes replies and receipts to these.
    """
    half = contacts // 2
    return (
        Batch("open", 1, half, State.SENT, _HOUR_MS),
        Batch("over", half + 1, contacts, State.SENT, 3 * _DAY_MS),
    )


def mature(contacts: int) -> Shape:
    """Five messages to every contact: four campaigns of last month, and the latest, of `recent`."""
    old = (Batch(f"old-{n}", 1, contacts, State.READ, 30 * _DAY_MS) for n in range(4))
    return Shape(f"mature-{contacts}", contacts, (*recent(contacts), *old))


def waiting(open_rows: int) -> Shape:
    """A million messages of last month in 50 campaigns of 20,000, and one more campaign with all contacts queued."""
    share = 20_000
    groups = open_rows // share
    old = (
        Batch(f"old-{n}", n % groups * share + 1, (n % groups + 1) * share, State.READ, 30 * _DAY_MS)
        for n in range(50)
    )
    return Shape(f"waiting-{open_rows}", open_rows, (*old, Batch("next", 1, open_rows, State.QUEUED)))


def queued(count: int) -> Shape:
    """One campaign that has just been launched."""
    return Shape(f"queued-{count}", count, (Batch("next", 1, count, State.QUEUED),))


def replying(repliers: int, behind: int) -> Shape:
    """A campaign that went out an hour ago to the repliers, and so many others who wait for one of their own."""
    sent = Batch("sent", 1, repliers, State.SENT, _HOUR_MS)
    bulk = Batch("bulk", repliers + 1, repliers + behind, State.QUEUED)
    return Shape(f"replying-{repliers}-{behind}", repliers + behind, (sent, bulk) if behind else (sent,))


def draft(contacts: int) -> Shape:
    """The campaigns of `recent`, and a draft for everyone."""
    return Shape(f"draft-{contacts}", contacts, (*recent(contacts), Batch("bulk", 1, contacts, State.DRAFT)))


def phone(contact: int) -> str:
    """The number of the contact with this id (E.164, a Spanish mobile)."""
    return f"+346{contact:08d}"


def wa_id(campaign: int, contact: int) -> str:
    """WhatsApp's id of the Message 1 of a contact in a campaign, both by id."""
    return f"3EB0{campaign:08X}{contact:08X}"


class Databases:
    """Builds each shape once, in a directory that lives as long as the run."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def copy(self, shape: Shape, to: Path) -> None:
        """A copy of a database of this shape, to be written to; it is on the disk when this returns."""
        built = self._directory / f"{shape.name}.db"
        if not built.exists():
            build(built, shape)
            _put_on_disk(built)
        shutil.copyfile(built, to)
        _put_on_disk(to)


def _put_on_disk(path: Path) -> None:
    """Or the kernel would write it while something is measured, and every fsync would wait for that."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def build(path: Path, shape: Shape) -> None:
    """Make a database of this shape."""
    database.connect(path).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -1000000")
        with _bare_tables(connection):
            connection.execute("BEGIN")
            _add_contacts(connection, shape.contacts)
            for batch in shape.batches:
                _add_batch(connection, batch)
            _count(connection)
            connection.execute("COMMIT")


@contextmanager
def _bare_tables(connection: sqlite3.Connection) -> Iterator[None]:
    """Without triggers, and without the indexes that can be made faster afterwards than row by row."""
    made = connection.execute(
        "SELECT type, name, sql FROM sqlite_master WHERE type IN ('index', 'trigger') AND sql IS NOT NULL"
    ).fetchall()
    for kind, name, _ in made:
        connection.execute(f"DROP {kind} {name}")
    yield
    for _, _, sql in made:
        connection.execute(sql)


def _add_contacts(connection: sqlite3.Connection, count: int) -> None:
    connection.execute(
        """WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?1)
           INSERT INTO contacts (id, phone, phone_key, created_at)
           SELECT n, printf('+346%08d', n), printf('+346%08d', n), ?2 FROM numbers""",
        (count, _now_ms() - 60 * _DAY_MS),
    )


def _add_batch(connection: sqlite3.Connection, batch: Batch) -> None:
    at_ms = _now_ms() - batch.age_ms
    (campaign_id,) = connection.execute(
        """INSERT INTO campaigns (name, key, status, message_1, message_2, created_at, launched_at)
           VALUES (?1, lower(hex(randomblob(16))), ?2, 'Hello', 'More', ?3, CASE ?2 WHEN 'running' THEN ?3 END)
           RETURNING id""",
        (batch.name, batch.status, at_ms),
    ).fetchone()
    connection.execute(
        """INSERT INTO recipients (campaign_id, contact_id, variables)
           SELECT ?, id, '{}' FROM contacts WHERE id BETWEEN ? AND ?""",
        (campaign_id, batch.first, batch.last),
    )
    if batch.state is State.QUEUED:
        _add_queued(connection, campaign_id, at_ms)
    elif batch.state is not State.DRAFT:
        _add_sent(connection, campaign_id, batch.state, at_ms)


def _add_queued(connection: sqlite3.Connection, campaign_id: int, at_ms: int) -> None:
    connection.execute(
        """INSERT INTO messages (contact_id, campaign_id, step, status, reference, created_at, due_at)
           SELECT contact_id, campaign_id, 1, 'queued', 'w2-' || lower(hex(randomblob(15))), ?2, ?2
           FROM recipients WHERE campaign_id = ?1""",
        (campaign_id, at_ms),
    )


def _add_sent(connection: sqlite3.Connection, campaign_id: int, state: State, at_ms: int) -> None:
    # The reference is random, as real ones are: what looks for it meets a cold page.
    connection.execute(
        """INSERT INTO messages (contact_id, campaign_id, step, status, reference, attempt, text, queue_id, wa_id,
                                 created_at, due_at, attempted_at, sent_at, provider_sent_at)
           SELECT contact_id, campaign_id, 1, ?2, 'w2-' || lower(hex(randomblob(15))), 1, 'Hello',
                  printf('%012x%012x', campaign_id, contact_id), printf('3EB0%08X%08X', campaign_id, contact_id),
                  ?3, ?3, ?3, ?3, ?3
           FROM recipients WHERE campaign_id = ?1""",
        (campaign_id, state.value, at_ms),
    )


def _count(connection: sqlite3.Connection) -> None:
    """What the triggers would have counted."""
    connection.execute(
        """INSERT INTO message_counts (campaign_id, step, status, n)
           SELECT campaign_id, step, status, count(*) FROM messages GROUP BY campaign_id, step, status"""
    )
    connection.execute(
        """INSERT INTO campaign_counts (campaign_id, contacts)
           SELECT campaign_id, count(*) FROM recipients GROUP BY campaign_id"""
    )


def _now_ms() -> int:
    return int(SystemClock().now().timestamp() * 1000)
