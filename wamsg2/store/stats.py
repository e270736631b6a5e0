"""What the counters say: read for people and monitors, through the reader, never by counting rows."""

from dataclasses import dataclass, field
from datetime import datetime

import aiosqlite

from wamsg2.model import OPEN, CampaignStatus, MessageStatus, Step
from wamsg2.store import marks
from wamsg2.store.times import from_ms, to_ms

Counts = dict[Step, dict[MessageStatus, int]]
_NONE = dict.fromkeys(MessageStatus, 0)


def _no_messages() -> Counts:
    return {Step.MESSAGE_1: _NONE.copy(), Step.MESSAGE_2: _NONE.copy()}


@dataclass(slots=True)
class CampaignStats:
    """A campaign in figures; `status` is the stored one."""

    id: int
    name: str
    status: CampaignStatus
    created_at: datetime
    launched_at: datetime | None
    contacts: int
    replied: int
    interactions: int
    opted_out: int
    last_sent_at: datetime | None
    messages: Counts = field(default_factory=_no_messages)

    @property
    def open_messages(self) -> int:
        """How many messages are queued, sending or uncertain."""
        return sum(self.messages[step][status] for step in Step for status in OPEN)


@dataclass(frozen=True, slots=True)
class QueueStats:
    """What is due and what is in doubt."""

    oldest_due_at: datetime | None
    uncertain_since: datetime | None


@dataclass(frozen=True, slots=True)
class WebhookStats:
    """Events since the database was made."""

    received: int
    duplicates: int
    unmatched: int
    suspected: int  #: opt-outs that nobody has decided
    not_replies: int  #: messages that are recorded, and are no reply
    last_received_at: datetime | None
    caught_up: int  #: events found by asking


async def campaigns(reader: aiosqlite.Connection, name: str | None = None) -> list[CampaignStats]:
    """All campaigns, or the one of this name, oldest first."""
    rows = await reader.execute_fetchall(
        """SELECT g.id, g.name, g.status, g.created_at, g.launched_at, c.contacts, c.replied, c.interactions,
                  c.opted_out,
                  (SELECT sent_at FROM messages
                   WHERE campaign_id = g.id AND step = 1 AND sent_at IS NOT NULL
                     AND status IN ('sent', 'delivered', 'read')
                   ORDER BY sent_at DESC LIMIT 1)
           FROM campaigns g JOIN campaign_counts c ON c.campaign_id = g.id
           WHERE ?1 IS NULL OR g.name = ?1 ORDER BY g.id""",
        (name,),
    )
    found = {
        r[0]: CampaignStats(
            r[0], r[1], CampaignStatus(r[2]), from_ms(r[3]), from_ms(r[4]), r[5], r[6], r[7], r[8], from_ms(r[9])
        )
        for r in rows
    }
    for campaign_id, step, status, n in await reader.execute_fetchall(
        "SELECT campaign_id, step, status, n FROM message_counts"
    ):
        if campaign_id in found:
            found[campaign_id].messages[Step(step)][MessageStatus(status)] = n
    return list(found.values())


async def queue(reader: aiosqlite.Connection, now: datetime) -> QueueStats:
    """The oldest message that is due in a running campaign, and the oldest doubt whose look-ups have begun."""
    ((due_ms, since_ms),) = await reader.execute_fetchall(
        """SELECT
             (SELECT min((SELECT min(due_at) FROM messages
                          WHERE campaign_id = g.id AND step = s.step AND status = 'queued' AND due_at <= ?))
              FROM campaigns g, (SELECT 1 AS step UNION ALL SELECT 2) s WHERE g.status = 'running'),
             (SELECT min(uncertain_since) FROM messages WHERE status = 'uncertain' AND look_up_at IS NOT NULL)""",
        (to_ms(now),),
    )
    return QueueStats(from_ms(due_ms), from_ms(since_ms))


async def webhooks(reader: aiosqlite.Connection) -> WebhookStats:
    """Counters of the webhook listener that are on disk."""
    rows = await reader.execute_fetchall(
        """SELECT name, value FROM totals
           UNION ALL SELECT 'last_ms', max(received_at) FROM events WHERE source = 'webhook'"""
    )
    totals = {row[0]: row[1] for row in rows}
    return WebhookStats(
        totals["webhooks_received"] + totals["webhooks_duplicates"],
        totals["webhooks_duplicates"],
        totals["unmatched"],
        totals["suspected"],
        totals["not_replies"],
        from_ms(totals["last_ms"]),
        totals["caught_up"],
    )


@dataclass(frozen=True, slots=True)
class BackupStats:
    """When a good backup was last made, and when one failed after it; None: never."""

    made_at: datetime | None
    failed_at: datetime | None


async def backups(reader: aiosqlite.Connection) -> BackupStats:
    """How the backups stand, as the commands that made them have left it."""
    names = (marks.BACKUP_MADE, marks.BACKUP_FAILED)
    rows = await reader.execute_fetchall("SELECT name, at FROM marks WHERE name IN (?, ?)", names)
    at = {str(row[0]): int(row[1]) for row in rows}
    made_at, failed_at = from_ms(at.get(marks.BACKUP_MADE)), from_ms(at.get(marks.BACKUP_FAILED))
    return BackupStats(made_at, failed_at if failed_at and (made_at is None or failed_at > made_at) else None)


async def inbound_owed_at(reader: aiosqlite.Connection) -> datetime | None:
    """When the database came out of a backup, if what people wrote since is not read yet."""
    rows = await reader.execute_fetchall("SELECT at FROM marks WHERE name = ?", (marks.INBOUND_OWED,))
    return next((from_ms(row[0]) for row in rows), None)


async def interaction_ids(reader: aiosqlite.Connection) -> set[str]:
    """The WhatsApp ids of all stored interactions."""
    return {str(row[0]) for row in await reader.execute_fetchall("SELECT wa_id FROM interactions")}
