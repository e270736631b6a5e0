"""What is older than it is to be kept: found through the reader, removed by the writer in pieces."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from wamsg2.model import CampaignStatus
from wamsg2.store.database import Reader
from wamsg2.store.times import from_ms, to_ms
from wamsg2.store.writer import Tx

#: A message in one of these keeps its text: it may be sent yet, or shows what was.
_OPEN = "('queued', 'sending', 'uncertain')"


async def _ids(reader: Reader, query: str, *parameters: object) -> list[int]:
    return [int(row[0]) for row in await reader.execute_fetchall(query, parameters)]


# --- raw events, and receipts that match nothing -----------------------------------------------------------------


async def old_events(reader: Reader, before: datetime, most: int) -> list[int]:
    """Ids of the oldest raw events of before then."""
    return await _ids(
        reader,
        "SELECT id FROM events WHERE source IN ('webhook', 'catch_up') AND received_at < ? LIMIT ?",
        to_ms(before),
        most,
    )


def delete_events(tx: Tx, event_ids: Iterable[int]) -> None:
    """Delete raw events, and mark up to when they are gone; interactions that point to them stay."""
    for event_id in event_ids:
        tx.execute(
            """INSERT INTO marks (name, at) SELECT 'events_removed', received_at FROM events WHERE id = ?
               ON CONFLICT (name) DO UPDATE SET at = max(at, excluded.at)""",
            (event_id,),
        )
        tx.execute("DELETE FROM events WHERE id = ?", (event_id,))


async def old_receipts(reader: Reader, before: datetime, most: int) -> list[int]:
    """Ids of receipts of before then whose message never came to light."""
    return await _ids(
        reader, "SELECT id FROM waiting_receipts WHERE received_at < ? ORDER BY id LIMIT ?", to_ms(before), most
    )


def delete_receipts(tx: Tx, receipt_ids: Iterable[int]) -> None:
    """Delete waiting receipts."""
    tx.executemany("DELETE FROM waiting_receipts WHERE id = ?", ((receipt_id,) for receipt_id in receipt_ids))


# --- words -------------------------------------------------------------------------------------------------------


async def old_texts(reader: Reader, before: datetime, most: int) -> list[int]:
    """Ids of settled messages with a text whose last attempt was before then."""
    return await _ids(
        reader,
        f"""SELECT id FROM messages WHERE text <> '' AND status NOT IN {_OPEN} AND attempted_at < ?
            ORDER BY id LIMIT ?""",  # noqa: S608 - a constant
        to_ms(before),
        most,
    )


def drop_texts(tx: Tx, message_ids: Iterable[int]) -> None:
    """Take the texts out of messages that are still settled."""
    tx.executemany(
        f"UPDATE messages SET text = NULL WHERE id = ? AND status NOT IN {_OPEN}",  # noqa: S608 - a constant
        ((message_id,) for message_id in message_ids),
    )


async def old_interactions(reader: Reader, before: datetime, most: int) -> list[int]:
    """Ids of decided interactions of before then that still have words or tell who wrote."""
    return await _ids(
        reader,
        """SELECT id FROM interactions
           WHERE received_at < ? AND outcome <> 'waiting_for_message_1'
             AND (text <> '' OR wa_id <> '' OR coalesce(quoted_id, sender_phone, sender_chat) IS NOT NULL)
           ORDER BY id LIMIT ?""",
        to_ms(before),
        most,
    )


# --- campaigns ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Course:
    """How far a campaign has come."""

    status: CampaignStatus
    began_at: datetime
    last_sent_at: datetime | None  #: of its Message 1s
    open_messages: int
    is_closed: bool  #: it was over, and its removal has begun


async def created_before(reader: Reader, before: datetime | None) -> list[int]:
    """Ids of the campaigns that may be over since then (None: of none), and of those whose removal has begun."""
    return await _ids(
        reader,
        "SELECT id FROM campaigns WHERE created_at < ? OR closed_at IS NOT NULL ORDER BY id",
        to_ms(before),
    )


def course(tx: Tx, campaign_id: int) -> Course | None:
    """How a campaign stands; None where it is gone."""
    row = tx.execute(
        f"""SELECT status, coalesce(launched_at, created_at),
                   (SELECT sent_at FROM messages
                    WHERE campaign_id = g.id AND step = 1 AND sent_at IS NOT NULL
                      AND status IN ('sent', 'delivered', 'read')
                    ORDER BY sent_at DESC LIMIT 1),
                   (SELECT coalesce(sum(n), 0) FROM message_counts WHERE campaign_id = g.id AND status IN {_OPEN}),
                   closed_at IS NOT NULL
            FROM campaigns g WHERE id = ?""",  # noqa: S608 - a constant
        (campaign_id,),
    ).fetchone()
    if row is None:
        return None
    return Course(CampaignStatus(row[0]), from_ms(row[1]), from_ms(row[2]), row[3], bool(row[4]))


def close(tx: Tx, campaign_id: int, now: datetime) -> None:
    """From this commit on nobody joins the campaign, and nothing in it starts: its rows may go one by one."""
    tx.execute("UPDATE campaigns SET closed_at = ? WHERE id = ?", (to_ms(now), campaign_id))


def removable_recipients(tx: Tx, campaign_id: int, events_before: datetime, most: int) -> list[int]:
    """Recipients of a campaign whose replies have no raw event any more, which would come without an interaction."""
    rows = tx.execute(
        """SELECT contact_id FROM recipients r WHERE campaign_id = ?1 AND NOT EXISTS (
               SELECT 1 FROM interactions i WHERE i.contact_id = r.contact_id AND i.campaign_id = r.campaign_id
               AND i.received_at >= ?2 AND i.outcome <> 'reaction')
           ORDER BY contact_id LIMIT ?3""",
        (campaign_id, to_ms(events_before), most),
    ).fetchall()
    return [row[0] for row in rows]


def delete_recipients(tx: Tx, campaign_id: int, contact_ids: Sequence[int], events_before: datetime) -> None:
    """Take contacts out of a campaign with all that happened; a reaction that came lately loses its campaign."""
    keys = [(campaign_id, contact_id) for contact_id in contact_ids]
    tx.executemany(
        "DELETE FROM interactions WHERE campaign_id = ? AND contact_id = ? AND received_at < ?",
        ((*key, to_ms(events_before)) for key in keys),
    )
    tx.executemany(
        "UPDATE interactions SET campaign_id = NULL, message_id = NULL WHERE campaign_id = ? AND contact_id = ?", keys
    )
    tx.executemany("DELETE FROM messages WHERE campaign_id = ? AND contact_id = ?", keys)
    tx.executemany("DELETE FROM recipients WHERE campaign_id = ? AND contact_id = ?", keys)


def delete_if_empty(tx: Tx, campaign_id: int) -> bool:
    """Delete a campaign and its counts, unless it has recipients."""
    return (
        tx.execute(
            """DELETE FROM campaigns WHERE id = ?1
               AND NOT EXISTS (SELECT 1 FROM recipients WHERE campaign_id = ?1)""",
            (campaign_id,),
        ).rowcount
        > 0
    )


# Who opted out stays, so that no import reaches them; a number that was forgotten is known by its hash.
_IDLE = """(c.opted_out = 0 OR c.forgotten_at IS NOT NULL) AND c.created_at < ?1
           AND NOT EXISTS (SELECT 1 FROM recipients r WHERE r.contact_id = c.id)
           AND NOT EXISTS (SELECT 1 FROM interactions i WHERE i.contact_id = c.id AND i.received_at >= ?1)"""


async def idle_contacts(reader: Reader, before: datetime, most: int) -> list[int]:
    """Ids of contacts who are in no campaign, and of whom nothing was heard since then."""
    query = f"SELECT c.id FROM contacts c WHERE {_IDLE} ORDER BY c.id LIMIT ?2"  # noqa: S608 - a constant
    return await _ids(reader, query, to_ms(before), most)


def delete_contacts(tx: Tx, contact_ids: Iterable[int], before: datetime) -> None:
    """Delete contacts who are still idle, with what they once wrote."""
    tx.executemany(
        f"DELETE FROM contacts AS c WHERE c.id = ?2 AND {_IDLE}",  # noqa: S608 - a constant
        ((to_ms(before), contact_id) for contact_id in contact_ids),
    )
