"""A campaign, contact by contact, streamed."""

from collections.abc import AsyncGenerator, Sequence

import aiosqlite

from wamsg2.store.times import from_ms

_COLUMNS = (
    "phone", "opted_out", "message_1_status", "message_1_sent_at", "message_1_reason", "replied_at",
    "message_2_status", "message_2_sent_at", "message_2_reason",
)  # fmt: skip
_FORMULA_STARTS = ("=", "@", "\t", "\r")


def _iso(milliseconds: int | None) -> str:
    moment = from_ms(milliseconds)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z") if moment else ""


def _harmless(text: str | None) -> str:
    """A spreadsheet must not run what a provider wrote."""
    return f"'{text}" if text and text.startswith(_FORMULA_STARTS) else text or ""


async def campaign(reader: aiosqlite.Connection, name: str) -> AsyncGenerator[Sequence[str]]:
    """The header, then a row per contact in the order of their import."""
    yield _COLUMNS
    query = """
        SELECT c.phone, c.opted_out, a.status, a.sent_at, a.reason, r.replied_at, b.status, b.sent_at, b.reason
        FROM campaigns g JOIN recipients r ON r.campaign_id = g.id JOIN contacts c ON c.id = r.contact_id
        LEFT JOIN messages a ON a.contact_id = r.contact_id AND a.campaign_id = g.id AND a.step = 1
        LEFT JOIN messages b ON b.contact_id = r.contact_id AND b.campaign_id = g.id AND b.step = 2
        WHERE g.name = ? ORDER BY r.contact_id"""
    async with reader.execute(query, (name,)) as cursor:
        async for row in cursor:
            yield (
                row[0],
                "yes" if row[1] else "no",
                row[2] or "",
                _iso(row[3]),
                _harmless(row[4]),
                _iso(row[5]),
                row[6] or "",
                _iso(row[7]),
                _harmless(row[8]),
            )
