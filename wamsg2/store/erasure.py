"""Taking a person out of the rows: what counts stays, what tells of them goes.

Looking is done through the reader, in pieces, so that it never keeps the writer; writing goes by what was found.
"""

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from wamsg2.store.bodies import PLAIN, DamagedBodyError, unpack
from wamsg2.store.database import Reader
from wamsg2.store.times import to_ms
from wamsg2.store.writer import Tx

#: What is left of a raw event that was erased.
EMPTY_BODY = b"{}"
#: So many rows are read at once: raw events, and short ones.
_BODIES, _ROWS = 250, 2000


@dataclass(frozen=True, slots=True)
class Place:
    """Where a text may name people whose row it is not."""

    table: str
    key: tuple[str, ...]
    texts: tuple[str, ...]


#: The words of campaigns are left out: they are the team's own, and the same for everybody.
PLACES = (
    Place("interactions", ("id",), ("text", "wa_id", "quoted_id", "sender_phone", "sender_chat")),
    Place("messages", ("id",), ("text", "reason", "note")),
    Place("message_notes", ("id",), ("what",)),
    Place("recipients", ("campaign_id", "contact_id"), ("variables",)),
    Place("notifications", ("id",), ("subject", "detail")),
)

# --- looking -----------------------------------------------------------------------------------------------------


async def bodies(reader: Reader) -> AsyncGenerator[tuple[int, bytes | None]]:
    """Id and body of every raw event that has one; None where it cannot be read any more."""
    last = 0
    while True:
        rows = await reader.execute_fetchall(
            "SELECT id, packing, body FROM events WHERE id > ? ORDER BY id LIMIT ?", (last, _BODIES)
        )
        for last, packing, stored in rows:
            if stored != EMPTY_BODY:
                yield last, _unpacked(packing, stored)
        if not rows:
            return


def _unpacked(packing: int, stored: bytes) -> bytes | None:
    try:
        return unpack(packing, stored)
    except DamagedBodyError:
        return None


async def texts(reader: Reader, place: Place) -> AsyncGenerator[tuple[tuple[int, ...], tuple[str | None, ...]]]:
    """Key and texts of every row of a place."""
    key, marks = ", ".join(place.key), ", ".join("?" * len(place.key))
    query = f"""SELECT {key}, {", ".join(place.texts)} FROM {place.table}
                WHERE ({key}) > ({marks}) ORDER BY {key} LIMIT {_ROWS}"""  # noqa: S608 - from the table above
    last: tuple[int, ...] = (-1,) * len(place.key)
    while True:
        rows = list(await reader.execute_fetchall(query, last))
        for row in rows:
            last = tuple(row[: len(place.key)])
            yield last, tuple(row[len(place.key) :])
        if not rows:
            return


async def chat_ids(reader: Reader) -> AsyncGenerator[str]:
    """Every chat id that was learned."""
    last = ""
    while True:
        rows = list(
            await reader.execute_fetchall(
                "SELECT chat_id FROM chat_ids WHERE chat_id > ? ORDER BY chat_id LIMIT ?", (last, _ROWS)
            )
        )
        for (last,) in rows:
            yield last
        if not rows:
            return


async def unmatched_senders(reader: Reader) -> AsyncGenerator[tuple[int, str | None, str | None]]:
    """Id, chat id and number of every interaction of somebody unknown."""
    last = 0
    while True:
        rows = list(
            await reader.execute_fetchall(
                """SELECT id, sender_chat, sender_phone FROM interactions WHERE contact_id IS NULL AND id > ?
                   ORDER BY id LIMIT ?""",
                (last, _ROWS),
            )
        )
        for last, chat_id, number in rows:
            yield last, chat_id, number
        if not rows:
            return


async def waiting_receipts(reader: Reader) -> AsyncGenerator[tuple[int, tuple[str, ...], tuple[str, ...]]]:
    """Id, ids of its message, and the recipient's chat ids, of every receipt that matches no message yet."""
    last = 0
    while True:
        rows = list(
            await reader.execute_fetchall(
                """SELECT id, reference, queue_id, wa_id, chat_ids FROM waiting_receipts
                   WHERE id > ? ORDER BY id LIMIT ?""",
                (last, _ROWS),
            )
        )
        for last, *ids, chats in rows:
            yield last, tuple(filter(None, ids)), tuple(chats.split())
        if not rows:
            return


async def message_ids(reader: Reader, contact_id: int) -> set[str]:
    """What the provider calls the messages to and from a contact."""
    rows = await reader.execute_fetchall(
        """SELECT reference FROM messages WHERE contact_id = ?1
           UNION SELECT queue_id FROM messages WHERE contact_id = ?1 AND queue_id IS NOT NULL
           UNION SELECT wa_id FROM messages WHERE contact_id = ?1 AND wa_id IS NOT NULL
           UNION SELECT wa_id FROM interactions WHERE contact_id = ?1""",
        (contact_id,),
    )
    return {str(row[0]) for row in rows}


async def event_ids(reader: Reader, contact_id: int) -> list[int]:
    """The raw events of a contact's interactions."""
    rows = await reader.execute_fetchall(
        """SELECT e.id FROM interactions i JOIN events e ON e.id = i.event_id AND e.received_at = i.received_at
           WHERE i.contact_id = ?""",
        (contact_id,),
    )
    return [row[0] for row in rows]


async def own_rows(reader: Reader, contact_id: int) -> set[tuple[str, tuple[int, ...]]]:
    """Table and key of every row that is a contact's own."""
    rows = await reader.execute_fetchall(
        """SELECT 'interactions', id, NULL FROM interactions WHERE contact_id = ?1
           UNION ALL SELECT 'messages', id, NULL FROM messages WHERE contact_id = ?1
           UNION ALL SELECT 'message_notes', n.id, NULL FROM message_notes n
                     JOIN messages m ON m.id = n.message_id WHERE m.contact_id = ?1
           UNION ALL SELECT 'recipients', campaign_id, contact_id FROM recipients WHERE contact_id = ?1""",
        (contact_id,),
    )
    return {(table, (first,) if second is None else (first, second)) for table, first, second in rows}


async def words(reader: Reader, contact_id: int) -> set[str]:
    """The texts to and from a contact, and their variables (JSON)."""
    rows = await reader.execute_fetchall(
        """SELECT text FROM messages WHERE contact_id = ?1 AND text <> ''
           UNION SELECT text FROM interactions WHERE contact_id = ?1
           UNION SELECT variables FROM recipients WHERE contact_id = ?1""",
        (contact_id,),
    )
    return {str(row[0]) for row in rows}


async def campaign_words(reader: Reader) -> set[str]:
    """The messages of the campaigns as they were written, before any variable is put in."""
    rows = await reader.execute_fetchall(
        "SELECT message_1 FROM campaigns UNION SELECT coalesce(message_2, '') FROM campaigns"
    )
    return {str(row[0]) for row in rows}


# --- writing -----------------------------------------------------------------------------------------------------


def chat_ids_of(tx: Tx, contact_id: int) -> tuple[str, ...]:
    """The chat ids that lead to a contact."""
    rows = tx.execute("SELECT chat_id FROM chat_ids WHERE contact_id = ?", (contact_id,)).fetchall()
    return tuple(row[0] for row in rows)


def mark(tx: Tx, contact_id: int, now: datetime) -> None:
    """From now on the contact is to be forgotten, and is written to no more."""
    tx.execute(
        """UPDATE contacts SET forgotten_at = coalesce(forgotten_at, ?1), opted_out = 1,
                  consent_at = CASE opted_out WHEN 1 THEN coalesce(consent_at, ?1) ELSE ?1 END WHERE id = ?2""",
        (to_ms(now), contact_id),
    )
    tx.execute(
        """INSERT INTO consents (contact_id, opted_out, source, written_at, recorded_at, claims_before)
           SELECT id, 1, 'hand', consent_at, ?1, (SELECT value FROM totals WHERE name = 'last_turn')
           FROM contacts WHERE id = ?2""",
        (to_ms(now), contact_id),
    )


def empty_events(tx: Tx, event_ids: Iterable[int]) -> None:
    """Nothing is left of these raw events but that they came: the same one is still recognised."""
    tx.executemany(
        "UPDATE events SET body = ?, packing = ? WHERE id = ?",
        ((EMPTY_BODY, PLAIN, event_id) for event_id in event_ids),
    )


def empty_interactions(tx: Tx, interaction_ids: Sequence[int]) -> None:
    """Nothing is left of these interactions, and of their raw events, but what they were and led to."""
    tx.executemany(
        f"""UPDATE events SET body = x'{EMPTY_BODY.hex()}', packing = {PLAIN} FROM interactions i
            WHERE i.id = ? AND events.id = i.event_id AND events.received_at = i.received_at""",  # noqa: S608 - constants
        ((interaction_id,) for interaction_id in interaction_ids),
    )
    empty_words(tx, interaction_ids)


def empty_words(tx: Tx, interaction_ids: Iterable[int]) -> None:
    """Nothing is left of these interactions but what they were and led to."""
    tx.executemany(
        """UPDATE interactions SET text = '', wa_id = '', quoted_id = NULL, sender_phone = NULL, sender_chat = NULL
           WHERE id = ?""",
        ((interaction_id,) for interaction_id in interaction_ids),
    )


def interactions_of(tx: Tx, contact_id: int, after: int, most: int) -> list[int]:
    """Ids of a contact's interactions, in order, from behind `after`."""
    rows = tx.execute(
        "SELECT id FROM interactions WHERE contact_id = ? AND id > ? ORDER BY id LIMIT ?", (contact_id, after, most)
    ).fetchall()
    return [row[0] for row in rows]


def empty_contact(tx: Tx, contact_id: int, contact_key: str, reason: str) -> None:
    """Nothing is left of the contact but their place in campaigns and in the counts.

    The reasons of what became of their messages go too: a provider's words may repeat theirs. An id of a message
    stays, so that late receipts find it, unless it is made of an address.
    """
    tx.execute("DELETE FROM chat_ids WHERE contact_id = ?", (contact_id,))
    tx.execute("UPDATE recipients SET variables = '{}' WHERE contact_id = ?", (contact_id,))
    tx.execute(
        "DELETE FROM message_notes WHERE message_id IN (SELECT id FROM messages WHERE contact_id = ?)", (contact_id,)
    )
    tx.execute(
        """UPDATE messages SET text = CASE WHEN text IS NOT NULL THEN '' END, note = NULL,
                  reason = CASE WHEN reason IS NOT NULL THEN ?1 END,
                  queue_id = CASE WHEN instr(queue_id, '@') = 0 THEN queue_id END,
                  wa_id = CASE WHEN instr(wa_id, '@') = 0 THEN wa_id END
           WHERE contact_id = ?2""",
        (reason, contact_id),
    )
    tx.execute(
        "UPDATE contacts SET phone = 'forgotten', phone_key = ?1, reference_key = ?1 WHERE id = ?2",
        (contact_key, contact_id),
    )


def empty_receipts(tx: Tx, receipt_ids: Iterable[int]) -> None:
    """Nothing is left of these waiting receipts but what they report of which message."""
    tx.executemany(
        "UPDATE waiting_receipts SET chat_ids = '', reason = NULL WHERE id = ?",
        ((receipt_id,) for receipt_id in receipt_ids),
    )


def set_texts(tx: Tx, place: Place, changed: Mapping[tuple[int, ...], Sequence[str | None]]) -> None:
    """Write changed texts back."""
    sets = ", ".join(f"{column} = ?" for column in place.texts)
    where = " AND ".join(f"{column} = ?" for column in place.key)
    tx.executemany(
        f"UPDATE {place.table} SET {sets} WHERE {where}",  # noqa: S608 - from the table above
        ((*values, *key) for key, values in changed.items()),
    )


def delete_chat_ids(tx: Tx, gone: Iterable[str]) -> None:
    """These chat ids lead to nobody any more."""
    tx.executemany("DELETE FROM chat_ids WHERE chat_id = ?", ((chat_id,) for chat_id in gone))


def bring_back(tx: Tx, contact_key: str, phone: str, phone_key: str) -> bool:
    """The contact with this key has a number again; False where there is none. They are still opted out.

    Where another contact has the number already, that one is theirs.
    """
    return (
        tx.execute(
            """UPDATE contacts SET phone = ?2, phone_key = ?3, reference_key = ?3, forgotten_at = NULL
               WHERE id = (SELECT id FROM contacts WHERE phone_key IN (?1, ?3) ORDER BY phone_key = ?3 DESC)""",
            (contact_key, phone, phone_key),
        ).rowcount
        > 0
    )
