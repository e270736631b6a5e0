"""One person with all that is stored of them, read for people."""

from typing import Any

import aiosqlite

from wamsg2.store.times import from_ms


def _iso(milliseconds: int | None) -> str | None:
    moment = from_ms(milliseconds)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z") if moment else None


async def by_phone_key(reader: aiosqlite.Connection, phone_key: str) -> dict[str, Any] | None:
    """Contact, messages and interactions as JSON values, without the words."""
    contacts = list(
        await reader.execute_fetchall("SELECT id, phone, opted_out FROM contacts WHERE phone_key = ?", (phone_key,))
    )
    if not contacts:
        return None
    ((contact_id, phone, opted_out),) = contacts
    messages = await reader.execute_fetchall(
        """SELECT m.id, g.name, m.step, m.status, m.reason, m.sent_at FROM messages m
           JOIN campaigns g ON g.id = m.campaign_id WHERE m.contact_id = ? ORDER BY m.id""",
        (contact_id,),
    )
    interactions = await reader.execute_fetchall(
        """SELECT i.id, g.name, i.type, i.outcome, i.reply_at, i.received_at FROM interactions i
           LEFT JOIN campaigns g ON g.id = i.campaign_id WHERE i.contact_id = ? ORDER BY i.reply_at, i.id""",
        (contact_id,),
    )
    return {
        "id": contact_id,
        "phone": phone,
        "opted_out": bool(opted_out),
        "messages": [
            {"id": i, "campaign": name, "step": step, "status": status, "reason": reason, "sent_at": _iso(sent)}
            for i, name, step, status, reason, sent in messages
        ],
        "interactions": [
            {
                "id": i,
                "campaign": name,
                "type": kind,
                "outcome": outcome,
                "reply_at": _iso(replied),
                "received_at": _iso(received),
            }
            for i, name, kind, outcome, replied, received in interactions
        ],
    }
