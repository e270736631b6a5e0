"""Messages and interactions, read for the person who asks what became of them; their words stay where they are."""

import re
from typing import Any

import aiosqlite

from wamsg2.model import ReplyOutcome
from wamsg2.store.times import to_iso

_MESSAGE = """
    SELECT m.id, g.name AS campaign, m.step, m.status, m.reason, c.phone, m.reference, m.queue_id, m.wa_id, m.attempt,
           m.look_ups, m.created_at, m.due_at, m.attempted_at, m.sent_at, m.delivered_at, m.read_at,
           m.uncertain_since, m.look_up_at
    FROM messages m JOIN campaigns g ON g.id = m.campaign_id JOIN contacts c ON c.id = m.contact_id """
_INTERACTION = """
    SELECT i.id, g.name AS campaign, i.type, i.outcome, coalesce(c.phone, i.sender_phone) AS phone,
           i.sender_chat AS chat_id, i.message_id, i.reply_at, i.received_at, i.decided_at
    FROM interactions i LEFT JOIN campaigns g ON g.id = i.campaign_id LEFT JOIN contacts c ON c.id = i.contact_id """

_TIME = re.compile(r"(^|_)(at|since)$")

Facts = dict[str, Any]  #: as JSON shows them


async def _facts(reader: aiosqlite.Connection, query: str, *parameters: object) -> list[Facts]:
    """Each row by the names of its columns; what is called ``…_at`` or ``…_since`` is a time."""
    async with reader.execute(query, parameters) as cursor:
        names = [column[0] for column in cursor.description]
        return [
            {name: to_iso(v) if _TIME.search(name) else v for name, v in zip(names, row, strict=True)}
            async for row in cursor
        ]


async def messages(
    reader: aiosqlite.Connection, *, campaign: str | None, status: str | None, most: int
) -> list[Facts]:
    """The newest messages, of this campaign and in this status if told."""
    return await _facts(
        reader,
        f"{_MESSAGE} WHERE (?1 IS NULL OR g.name = ?1) AND (?2 IS NULL OR m.status = ?2) ORDER BY m.id DESC LIMIT ?3",
        campaign,
        status,
        most,
    )


async def message(reader: aiosqlite.Connection, message_id: int) -> Facts | None:
    """One message, with all that happened to it in order as ``history``: ``[{"at": ..., "what": ...}, ...]``.

    What happened more than once also has ``times`` and ``last_at``.
    """
    found = await _facts(reader, f"{_MESSAGE} WHERE m.id = ?", message_id)
    if not found:
        return None
    (facts,) = found
    replies = await _facts(
        reader,
        """SELECT i.reply_at AS at, 'reply written (interaction ' || i.id || ')' AS what
           FROM messages m JOIN interactions i ON i.contact_id = m.contact_id AND i.campaign_id = m.campaign_id
           WHERE m.id = ? AND m.step = 2 AND i.outcome = 'message_2_queued'""",
        message_id,
    )
    notes = await _facts(
        reader, "SELECT at, what, times, last_at FROM message_notes WHERE message_id = ? ORDER BY id", message_id
    )
    own = [
        {"at": facts[column], "what": what}
        for column, what in (
            ("attempted_at", f"attempt {facts['attempt']}"),
            ("uncertain_since", f"doubted: {facts['reason']}"),
            ("sent_at", "sent"),
            ("delivered_at", "delivered"),
            ("read_at", "read"),
        )
        if facts[column]
    ]
    told = [*replies, {"at": facts["created_at"], "what": "created"}]
    told += [note if note["times"] > 1 else {"at": note["at"], "what": note["what"]} for note in notes]
    # An attempt that ended in doubt is noted, as is the doubt.
    noted = {(at, note["what"]) for note in notes for at in (note["at"], note["last_at"])}
    told += [each for each in own if (each["at"], each["what"]) not in noted]
    return facts | {"history": sorted(told, key=lambda each: str(each["at"]))}


async def interactions(
    reader: aiosqlite.Connection, *, campaign: str | None, outcome: ReplyOutcome | None, most: int
) -> list[Facts]:
    """The newest interactions, of this campaign and with this outcome if told."""
    return await _facts(
        reader,
        f"""{_INTERACTION} WHERE (?1 IS NULL OR g.name = ?1) AND (?2 IS NULL OR i.outcome = ?2)
            ORDER BY i.id DESC LIMIT ?3""",
        campaign,
        outcome and outcome.value,
        most,
    )


async def words_of(reader: aiosqlite.Connection, interaction_id: int) -> str | None:
    """What somebody wrote; None where there is no such interaction."""
    rows = await _facts(reader, "SELECT text FROM interactions WHERE id = ?", interaction_id)
    return str(rows[0]["text"]) if rows else None
