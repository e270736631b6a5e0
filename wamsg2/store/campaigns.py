"""Campaigns and their recipients."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from wamsg2.model import Campaign, CampaignStatus, MessageStatus, Step
from wamsg2.store.times import from_ms, to_ms
from wamsg2.store.writer import Tx


def _campaign(row: tuple[int, str, str, str, str, str | None, int | None]) -> Campaign:
    return Campaign(row[0], row[1], row[2], CampaignStatus(row[3]), row[4], row[5], from_ms(row[6]))


def by_name(tx: Tx, name: str) -> Campaign | None:
    """The campaign with this name."""
    row = tx.execute(
        "SELECT id, name, key, status, message_1, message_2, restored_at FROM campaigns WHERE name = ?", (name,)
    ).fetchone()
    return None if row is None else _campaign(row)


def first_launched_at(tx: Tx) -> datetime | None:
    """When the first campaign was launched."""
    launched_at: datetime | None = from_ms(tx.execute("SELECT min(launched_at) FROM campaigns").fetchone()[0])
    return launched_at


def first_created_at(tx: Tx) -> datetime | None:
    """When the first campaign was created."""
    created_at: datetime | None = from_ms(tx.execute("SELECT min(created_at) FROM campaigns").fetchone()[0])
    return created_at


def set_restored(tx: Tx, now: datetime) -> list[Campaign]:
    """All campaigns came out of a backup now; how they stand."""
    tx.execute("UPDATE campaigns SET restored_at = ?", (to_ms(now),))
    rows = tx.execute(
        "SELECT id, name, key, status, message_1, message_2, restored_at FROM campaigns ORDER BY id"
    ).fetchall()
    return [_campaign(row) for row in rows]


def add(tx: Tx, *, name: str, key: str, message_1: str, message_2: str | None, now: datetime) -> bool:
    """Add a draft; False where the name is taken."""
    cursor = tx.execute(
        """INSERT INTO campaigns (name, key, status, message_1, message_2, created_at)
           VALUES (?, ?, 'draft', ?, ?, ?) ON CONFLICT (name) DO NOTHING""",
        (name, key, message_1, message_2, to_ms(now)),
    )
    return cursor.rowcount == 1


def set_status(tx: Tx, campaign_id: int, status: CampaignStatus, now: datetime) -> None:
    """Store a status; the first launch is timed."""
    tx.execute(
        """UPDATE campaigns SET status = ?1,
                  launched_at = CASE ?1 WHEN 'running' THEN coalesce(launched_at, ?2) ELSE launched_at END
           WHERE id = ?3""",
        (status.value, to_ms(now), campaign_id),
    )


def add_recipient(tx: Tx, campaign_id: int, contact_id: int, variables: Mapping[str, str]) -> bool:
    """Add a contact to the campaign; False where they are in it already."""
    cursor = tx.execute(
        """INSERT INTO recipients (campaign_id, contact_id, variables) VALUES (?, ?, ?)
           ON CONFLICT (campaign_id, contact_id) DO NOTHING""",
        (campaign_id, contact_id, json.dumps(variables, ensure_ascii=False, separators=(",", ":"))),
    )
    return cursor.rowcount == 1


@dataclass(frozen=True, slots=True)
class Recipient:
    """A contact in a campaign, as far as making messages needs it."""

    contact_id: int
    phone_key: str
    opted_out: bool


def recipients_after(tx: Tx, campaign_id: int, contact_id: int, most: int) -> list[Recipient]:
    """Recipients in order of contact id, from behind `contact_id`."""
    rows = tx.execute(
        """SELECT r.contact_id, c.phone_key, c.opted_out FROM recipients r JOIN contacts c ON c.id = r.contact_id
           WHERE r.campaign_id = ? AND r.contact_id > ? ORDER BY r.contact_id LIMIT ?""",
        (campaign_id, contact_id, most),
    ).fetchall()
    return [Recipient(row[0], row[1], bool(row[2])) for row in rows]


@dataclass(frozen=True, slots=True)
class NewMessage1:
    """A Message 1 to be; see `rules.first_status`."""

    contact_id: int
    reference: str
    status: MessageStatus
    reason: str | None


def add_message_1s(tx: Tx, campaign_id: int, new: Iterable[NewMessage1], now: datetime) -> None:
    """Create Message 1 rows; those that exist stay as they are."""
    tx.executemany(
        """INSERT INTO messages (contact_id, campaign_id, step, status, reference, reason, created_at, due_at,
                                 uncertain_since)
           VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7, CASE ?4 WHEN 'uncertain' THEN ?7 END)
           ON CONFLICT (contact_id, campaign_id, step) DO NOTHING""",
        (
            (n.contact_id, campaign_id, Step.MESSAGE_1.value, n.status.value, n.reference, n.reason, to_ms(now))
            for n in new
        ),
    )


def cancel_queued(tx: Tx, campaign_id: int, reason: str, most: int) -> int:
    """Cancel up to `most` queued messages of the campaign; how many were."""
    cursor = tx.execute(
        """UPDATE messages SET status = 'cancelled', reason = ? WHERE id IN
           (SELECT id FROM messages WHERE campaign_id = ? AND status = 'queued' LIMIT ?)""",
        (reason, campaign_id, most),
    )
    return cursor.rowcount


def cancel_stale_message_2s(tx: Tx, campaign_id: int, replied_before: datetime, reason: str) -> int:
    """Cancel queued Message 2s whose reply is older than `replied_before`; how many were."""
    cursor = tx.execute(
        """UPDATE messages SET status = 'cancelled', reason = ?
           WHERE campaign_id = ? AND step = 2 AND status = 'queued' AND reply_at < ?""",
        (reason, campaign_id, to_ms(replied_before)),
    )
    return cursor.rowcount


def count_recipients(tx: Tx, campaign_id: int) -> tuple[int, int]:
    """How many recipients the campaign has, and how many Message 1 rows (from the counters)."""
    row = tx.execute(
        """SELECT c.contacts, (SELECT coalesce(sum(n), 0) FROM message_counts WHERE campaign_id = ?1 AND step = 1)
           FROM campaign_counts c WHERE c.campaign_id = ?1""",
        (campaign_id,),
    ).fetchone()
    return int(row[0]), int(row[1])
