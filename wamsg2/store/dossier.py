"""Everything that is stored of one person, for themselves: read for people, with all words."""

import json
from typing import Any

from wamsg2.store.bodies import DamagedBodyError, unpack
from wamsg2.store.database import Reader
from wamsg2.store.times import to_iso

Facts = dict[str, Any]  #: as JSON shows them


async def _rows(reader: Reader, query: str, *parameters: object) -> list[Facts]:
    """Each row by the names of its columns; what is called ``…_at`` or ``…_since`` is a time."""
    async with reader.execute(query, parameters) as cursor:
        names = [column[0] for column in cursor.description]
        return [
            {name: to_iso(v) if name.endswith(("_at", "_since")) or name == "at" else v
             for name, v in zip(names, row, strict=True)}
            async for row in cursor
        ]  # fmt: skip


async def contact(reader: Reader, phone_key: str) -> Facts | None:
    """Their contact with the chat ids that lead to it."""
    found = await _rows(
        reader, "SELECT id, phone, opted_out, consent_at, created_at FROM contacts WHERE phone_key = ?", phone_key
    )
    if not found:
        return None
    chats = await reader.execute_fetchall(
        "SELECT chat_id FROM chat_ids WHERE contact_id = ? ORDER BY chat_id", (found[0]["id"],)
    )
    return found[0] | {"opted_out": bool(found[0]["opted_out"]), "chat_ids": [row[0] for row in chats]}


async def campaigns(reader: Reader, contact_id: int) -> list[Facts]:
    """The campaigns that they are in, with their variables."""
    found = await _rows(
        reader,
        """SELECT g.name AS campaign, r.variables, r.replied_at, r.opted_out_at FROM recipients r
           JOIN campaigns g ON g.id = r.campaign_id WHERE r.contact_id = ? ORDER BY g.id""",
        contact_id,
    )
    return [each | {"variables": json.loads(each["variables"])} for each in found]


_NOTE = ("at", "what", "times", "last_at")


async def messages(reader: Reader, contact_id: int) -> list[Facts]:
    """Every message to them, with all that happened to it as ``notes``."""
    found = await _rows(
        reader,
        """SELECT m.id, g.name AS campaign, m.step, m.status, m.text, m.reason, m.note, m.reference, m.queue_id,
                  m.wa_id, m.attempt, m.created_at, m.due_at, m.reply_at, m.attempted_at, m.sent_at,
                  m.provider_sent_at, m.delivered_at, m.read_at, m.uncertain_since
           FROM messages m JOIN campaigns g ON g.id = m.campaign_id WHERE m.contact_id = ? ORDER BY m.id""",
        contact_id,
    )
    notes = await _rows(
        reader,
        """SELECT n.message_id, n.at, n.what, n.times, n.last_at FROM message_notes n
           JOIN messages m ON m.id = n.message_id
           WHERE m.contact_id = ? ORDER BY n.id""",
        contact_id,
    )
    return [
        each | {"notes": [{k: n[k] for k in _NOTE} for n in notes if n["message_id"] == each["id"]]} for each in found
    ]


_INTERACTIONS = """
    SELECT i.id, g.name AS campaign, i.message_id, i.type, i.outcome, i.text, i.wa_id, i.quoted_id, i.sender_phone,
           i.sender_chat, i.reply_at, i.received_at, i.decided_at, i.event_id
    FROM interactions i LEFT JOIN campaigns g ON g.id = i.campaign_id WHERE """


async def interactions(reader: Reader, contact_id: int) -> list[Facts]:
    """What they wrote, and what became of it."""
    return await _rows(reader, f"{_INTERACTIONS} i.contact_id = ? ORDER BY i.reply_at, i.id", contact_id)


async def interaction(reader: Reader, interaction_id: int) -> list[Facts]:
    """One interaction, in a list."""
    return await _rows(reader, f"{_INTERACTIONS} i.id = ?", interaction_id)


async def event(reader: Reader, event_id: int) -> list[Facts]:
    """One raw event, in a list, with what it said as ``body``: JSON values, and None where it cannot be read."""
    found = await _rows(
        reader, "SELECT id, name, result, source, received_at, packing, body FROM events WHERE id = ?", event_id
    )
    return [each | {"body": _said(each.pop("packing"), each["body"])} for each in found]


def _said(packing: int, stored: bytes) -> object:
    try:
        return json.loads(unpack(packing, stored).decode("utf-8-sig"))
    except (DamagedBodyError, ValueError):
        return None


async def receipt(reader: Reader, receipt_id: int) -> list[Facts]:
    """One receipt that matches no message yet, in a list."""
    return await _rows(
        reader,
        """SELECT id, status, reference, queue_id, wa_id, occurred_at, reason, chat_ids, received_at
           FROM waiting_receipts WHERE id = ?""",
        receipt_id,
    )
