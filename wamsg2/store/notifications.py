"""What an operator is told: what is open, what has been told, and what waits to be delivered."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import aiosqlite

from wamsg2.model import Notification, NotificationState
from wamsg2.store.times import from_ms, to_iso, to_ms
from wamsg2.store.writer import Tx

_COLUMNS = "id, key, kind, subject, detail, state, raised_at, created_at, attempts"
_MOST_SHOWN = 100


def _notification(row: tuple[Any, ...]) -> Notification:
    return Notification(
        row[0], row[1], row[2], row[3], row[4], NotificationState(row[5]), from_ms(row[6]), from_ms(row[7]), row[8]
    )


def open_conditions(tx: Tx) -> Mapping[str, Notification]:
    """The conditions that were raised and not cleared, by their kinds."""
    rows = tx.execute(f"SELECT {_COLUMNS} FROM notifications WHERE state = 'raised' AND cleared_at IS NULL")  # noqa: S608 - a constant
    return {found.kind: found for found in map(_notification, rows)}


def add(
    tx: Tx, *, kind: str, subject: str = "", detail: str, state: NotificationState, now: datetime, post: bool
) -> Notification | None:
    """Store that a condition began or that something happened; None where that is known already.

    Args:
        tx: the transaction.
        kind: of what.
        subject: what it is about.
        detail: a line for people.
        state: `raised` or `happened`.
        now: when.
        post: whether it is to be delivered.
    """
    row = tx.execute(
        f"""INSERT INTO notifications (kind, subject, detail, state, raised_at, created_at, next_at)
            VALUES (?1, ?2, ?3, ?4, ?5, ?5, ?6) ON CONFLICT DO NOTHING RETURNING {_COLUMNS}""",  # noqa: S608 - a constant
        (kind, subject, detail, state.value, to_ms(now), to_ms(now) if post else None),
    ).fetchone()
    return None if row is None else _notification(row)


def clear(tx: Tx, condition: Notification, *, now: datetime, post: bool) -> Notification:
    """Store that an open condition is over."""
    tx.execute("UPDATE notifications SET cleared_at = ? WHERE id = ?", (to_ms(now), condition.id))
    row = tx.execute(
        f"""INSERT INTO notifications (kind, subject, detail, state, raised_at, cleared_at, created_at, next_at)
            VALUES (?1, ?2, ?3, 'cleared', ?4, ?5, ?5, ?6) RETURNING {_COLUMNS}""",  # noqa: S608 - a constant
        (
            condition.kind,
            condition.subject,
            condition.detail,
            to_ms(condition.raised_at),
            to_ms(now),
            to_ms(now) if post else None,
        ),
    ).fetchone()
    return _notification(row)


def next_in_line(tx: Tx) -> tuple[Notification, datetime] | None:
    """The oldest that waits to be delivered, and when to try."""
    row = tx.execute(
        f"SELECT {_COLUMNS}, next_at FROM notifications WHERE next_at IS NOT NULL ORDER BY id LIMIT 1"  # noqa: S608 - a constant
    ).fetchone()
    return None if row is None else (_notification(row), from_ms(row[-1]))


def delivered(tx: Tx, notification_id: int, at: datetime) -> None:
    """Its receiver has it, even if it was given up meanwhile."""
    tx.execute(
        "UPDATE notifications SET delivered_at = ?, next_at = NULL, given_up_at = NULL WHERE id = ?",
        (to_ms(at), notification_id),
    )


def postpone(tx: Tx, notification_id: int, next_at: datetime) -> None:
    """A try was in vain; unless it was given up meanwhile, there will be another."""
    tx.execute(
        """UPDATE notifications SET attempts = attempts + 1, next_at = CASE WHEN next_at IS NOT NULL THEN ? END
           WHERE id = ?""",
        (to_ms(next_at), notification_id),
    )


def hurry(tx: Tx, now: datetime) -> None:
    """Whatever waits for its next try waits no longer."""
    tx.execute("UPDATE notifications SET next_at = ?1 WHERE next_at > ?1", (to_ms(now),))


def give_up_older(tx: Tx, before: datetime, now: datetime) -> int:
    """Give up what waits since before then; how many."""
    return tx.execute(
        "UPDATE notifications SET next_at = NULL, given_up_at = ? WHERE next_at IS NOT NULL AND created_at < ?",
        (to_ms(now), to_ms(before)),
    ).rowcount


def give_up_beyond(tx: Tx, most: int, now: datetime) -> int:
    """Give up the oldest of what waits, but for the newest `most`; how many."""
    return tx.execute(
        """UPDATE notifications SET next_at = NULL, given_up_at = ?
           WHERE next_at IS NOT NULL
             AND id <= (SELECT id FROM notifications WHERE next_at IS NOT NULL ORDER BY id DESC LIMIT 1 OFFSET ?)""",
        (to_ms(now), most),
    ).rowcount


def prune(tx: Tx, before: datetime, most: int) -> int:
    """Delete up to `most` that are older; how many.

    What is open stays, and so does the completion of a campaign that is still there: it would be told again.
    """
    return tx.execute(
        """DELETE FROM notifications WHERE id IN (
               SELECT id FROM notifications WHERE created_at < ?
                 AND NOT (state = 'raised' AND cleared_at IS NULL)
                 AND NOT (kind = 'campaign_completed' AND subject IN (SELECT name FROM campaigns))
               ORDER BY id LIMIT ?)""",
        (to_ms(before), most),
    ).rowcount


@dataclass(frozen=True, slots=True)
class DeliveryStats:
    """How many wait for their receiver, and how many were given up (of those that are kept)."""

    waiting: int
    given_up: int


async def delivery(reader: aiosqlite.Connection) -> DeliveryStats:
    """How the deliveries stand."""
    ((waiting, given_up),) = await reader.execute_fetchall(
        """SELECT (SELECT count(*) FROM notifications WHERE next_at IS NOT NULL),
                  (SELECT count(*) FROM notifications WHERE given_up_at IS NOT NULL)"""
    )
    return DeliveryStats(waiting, given_up)


async def shown(reader: aiosqlite.Connection, happened_since: datetime) -> list[dict[str, Any]]:
    """What is open, and what has happened since then, as JSON values: the newest first, up to a hundred."""
    rows = await reader.execute_fetchall(
        """SELECT id, kind, subject, detail, state, raised_at, delivered_at FROM notifications
           WHERE state = 'raised' AND cleared_at IS NULL
           UNION ALL
           SELECT id, kind, subject, detail, state, raised_at, delivered_at FROM notifications
           WHERE state = 'happened' AND raised_at >= ?
           ORDER BY id DESC LIMIT ?""",
        (to_ms(happened_since), _MOST_SHOWN),
    )
    return [
        {
            "kind": kind,
            "subject": subject,
            "detail": detail,
            "state": state,
            "raised_at": to_iso(raised_ms),
            "delivered_at": to_iso(delivered_ms),
        }
        for _, kind, subject, detail, state, raised_ms, delivered_ms in rows
    ]
