"""Recounts everything from the rows, and looks for rows that break a promise (contract §2)."""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import aiosqlite

_MILLISECOND = timedelta(milliseconds=1)
_MOST_ROWS = 20  #: of each violation are named


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that must not be: the promise or part, what it is, and the rows concerned."""

    promise: str
    what: str
    rows: tuple[str, ...]


# Each query gives the rows concerned, as one text column. :window_ms, :tolerance_ms are parameters.
_CHECKS: tuple[tuple[str, str, str], ...] = (
    ("P1", "two messages for one contact, campaign and step", """
        SELECT 'messages ' || group_concat(id) FROM messages
        GROUP BY contact_id, campaign_id, step HAVING count(*) > 1"""),
    ("P1", "the unique index is missing", """
        SELECT 'index messages_once' WHERE NOT EXISTS (
            SELECT 1 FROM sqlite_master WHERE type = 'index' AND name = 'messages_once')"""),
    ("P1", "one provider message for two of ours", """
        SELECT 'messages ' || group_concat(id) FROM messages WHERE wa_id IS NOT NULL
        GROUP BY wa_id HAVING count(*) > 1
        UNION ALL
        SELECT 'messages ' || group_concat(id) FROM messages WHERE queue_id IS NOT NULL
        GROUP BY queue_id HAVING count(*) > 1"""),
    ("P2", "a Message 2 without a Message 1 that went out", """
        SELECT 'message ' || m.id FROM messages m WHERE m.step = 2 AND NOT EXISTS (
            SELECT 1 FROM messages o WHERE o.contact_id = m.contact_id AND o.campaign_id = m.campaign_id
            AND o.step = 1 AND o.sent_at IS NOT NULL)"""),
    ("P2", "a Message 2 without a recorded reply", """
        SELECT 'message ' || m.id FROM messages m WHERE m.step = 2 AND NOT EXISTS (
            SELECT 1 FROM interactions i WHERE i.contact_id = m.contact_id AND i.campaign_id = m.campaign_id
            AND i.outcome = 'message_2_queued')"""),
    ("P2", "a Message 2 whose reply is outside the window", """
        SELECT 'message ' || m.id FROM messages m
        JOIN messages o ON o.contact_id = m.contact_id AND o.campaign_id = m.campaign_id AND o.step = 1
        WHERE m.step = 2
          AND NOT (m.reply_at BETWEEN o.sent_at - :tolerance_ms AND o.sent_at + :window_ms)
          -- the provider's time may have become known after the reply was decided
          AND NOT (m.reply_at BETWEEN o.attempted_at - :tolerance_ms AND o.attempted_at + :window_ms)"""),
    ("P2", "a reply that was to be answered without a Message 2", """
        SELECT 'interaction ' || i.id FROM interactions i WHERE i.outcome = 'message_2_queued' AND NOT EXISTS (
            SELECT 1 FROM messages m
            WHERE m.contact_id = i.contact_id AND m.campaign_id = i.campaign_id AND m.step = 2)"""),
    ("P2", "a reply waits for a Message 1 that is settled", """
        SELECT 'interaction ' || i.id FROM interactions i JOIN messages m ON m.id = i.message_id
        WHERE i.outcome = 'waiting_for_message_1' AND m.status NOT IN ('sending', 'uncertain')"""),
    ("P3", "a request to a contact after the commit that opted them out", """
        SELECT 'message ' || m.id FROM messages m JOIN interactions o ON o.contact_id = m.contact_id
        JOIN contacts c ON c.id = m.contact_id
        WHERE o.outcome = 'opt_out' AND m.status NOT IN ('queued', 'cancelled')
          -- the commit itself leaves no time behind: it follows the decision by far less than this
          AND m.attempted_at > coalesce(o.decided_at, o.received_at) + :tolerance_ms
          AND NOT (c.opted_out = 0 AND c.consent_at >= o.written_at)  -- taken back since, maybe by hand
          AND NOT EXISTS (SELECT 1 FROM interactions n WHERE n.contact_id = m.contact_id AND n.outcome = 'opt_in'
                          AND n.written_at > o.written_at AND n.received_at <= m.attempted_at)"""),
    ("P3", "a queued message to a contact who has opted out", """
        SELECT 'message ' || m.id FROM messages m JOIN contacts c ON c.id = m.contact_id
        WHERE m.status = 'queued' AND c.opted_out = 1"""),
    ("P6", "a queued message of a cancelled campaign", """
        SELECT 'message ' || m.id FROM messages m JOIN campaigns g ON g.id = m.campaign_id
        WHERE g.status = 'cancelled' AND m.status = 'queued'"""),
    ("P6", "a launched campaign has a contact without a Message 1", """
        SELECT 'campaign ' || r.campaign_id || ' contact ' || r.contact_id
        FROM recipients r JOIN campaigns g ON g.id = r.campaign_id
        WHERE g.launched_at IS NOT NULL AND NOT EXISTS (
            SELECT 1 FROM messages m
            WHERE m.contact_id = r.contact_id AND m.campaign_id = r.campaign_id AND m.step = 1)"""),
    ("counters", "message counts differ from the rows", """
        SELECT printf('campaign %d step %d %s: counted %d, rows %d', campaign_id, step, status, n, real)
        FROM (SELECT campaign_id, step, status, sum(n) AS n, sum(real) AS real FROM (
                SELECT campaign_id, step, status, n, 0 AS real FROM message_counts UNION ALL
                SELECT campaign_id, step, status, 0, count(*) FROM messages GROUP BY campaign_id, step, status)
              GROUP BY campaign_id, step, status)
        WHERE n <> real"""),
    ("counters", "campaign counts differ from the rows", """
        SELECT 'campaign ' || g.id FROM campaigns g LEFT JOIN campaign_counts c ON c.campaign_id = g.id
        LEFT JOIN (SELECT campaign_id, count(*) AS n FROM interactions GROUP BY campaign_id) i ON i.campaign_id = g.id
        WHERE c.contacts IS NOT (SELECT count(*) FROM recipients WHERE campaign_id = g.id)
           OR c.replied IS NOT (SELECT count(replied_at) FROM recipients WHERE campaign_id = g.id)
           OR c.opted_out IS NOT (SELECT count(opted_out_at) FROM recipients WHERE campaign_id = g.id)
           OR c.interactions IS NOT coalesce(i.n, 0)"""),
    ("counters", "the count of unmatched interactions differs from the rows", """
        SELECT 'totals unmatched' FROM totals WHERE name = 'unmatched'
        AND value <> (SELECT count(*) FROM interactions WHERE outcome = 'unknown_contact')"""),
    ("database", "a row points to one that is not there", """
        SELECT "table" || ' row ' || coalesce(rowid, '?') FROM pragma_foreign_key_check"""),
    ("database", "SQLite finds the file damaged", """
        SELECT integrity_check FROM pragma_integrity_check WHERE integrity_check <> 'ok'"""),
)  # fmt: skip


async def violations(reader: aiosqlite.Connection, *, window: timedelta, tolerance: timedelta) -> list[Violation]:
    """Every violation that the rows can show, in one consistent view of the database."""
    parameters = {"window_ms": window // _MILLISECOND, "tolerance_ms": tolerance // _MILLISECOND}
    found = []
    await reader.execute("BEGIN")
    try:
        for promise, what, query in _CHECKS:
            try:
                rows = [str(row[0]) for row in await reader.execute_fetchall(query, parameters)]
            except sqlite3.DatabaseError as error:
                rows = [str(error)]
            if rows:
                more = (f"and {len(rows) - _MOST_ROWS} more",) if len(rows) > _MOST_ROWS else ()
                found.append(Violation(promise, what, (*rows[:_MOST_ROWS], *more)))
    finally:
        await reader.execute("ROLLBACK")
    return found


async def totals(reader: aiosqlite.Connection) -> Mapping[str, int]:
    """How many messages stand in each status, counted from the rows: ``{"message_1.sent": 12, ...}``."""
    rows = await reader.execute_fetchall("SELECT step, status, count(*) FROM messages GROUP BY step, status")
    return {f"message_{step}.{status}": n for step, status, n in rows}
