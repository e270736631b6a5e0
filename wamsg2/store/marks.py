"""Moments that outlive the process."""

from datetime import datetime

from wamsg2.store.times import from_ms, to_ms
from wamsg2.store.writer import Tx

#: When a backup was last made, and when one last failed.
BACKUP_MADE, BACKUP_FAILED = "backup_made", "backup_failed"
#: When the database came out of a backup, as long as what people wrote since is not read.
INBOUND_OWED = "inbound_owed"


def get(tx: Tx, name: str) -> datetime | None:
    """The moment of this name."""
    row = tx.execute("SELECT at FROM marks WHERE name = ?", (name,)).fetchone()
    return None if row is None else from_ms(row[0])


def remove(tx: Tx, name: str) -> None:
    """Forget the moment of this name, if there is one."""
    tx.execute("DELETE FROM marks WHERE name = ?", (name,))


def put(tx: Tx, name: str, at: datetime) -> None:
    """Set the moment of this name."""
    tx.execute(
        "INSERT INTO marks (name, at) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET at = excluded.at",
        (name, to_ms(at)),
    )
