"""Recounts everything from the rows, and looks for rows that break a promise (contract §2).

The rows carry their own proofs: numbers of claims, measured gaps, the window in force. No check compares what two
clocks said, or asks the configuration of today about yesterday; where an old row has no proof, it is not judged.
"""

import json
import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import aiosqlite

from wamsg2.masking import mask_id
from wamsg2.store import blueprint, bodies
from wamsg2.store.blueprint import Blueprint
from wamsg2.store.times import to_ms

_MILLISECOND = timedelta(milliseconds=1)
_MOST_ROWS = 20  #: of each violation are named


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that must not be: the promise or part, what it is, and the rows concerned."""

    promise: str
    what: str
    rows: tuple[str, ...]

    @property
    def is_damage(self) -> bool:
        """Whether the file itself is not what it was made as: nothing in it can be relied on."""
        return self.promise == "database"


# Each query gives the rows concerned, as one text column; `parameters` names what they may ask for.
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
            AND i.outcome = 'message_2_queued' AND i.reply_at = m.reply_at)"""),
    ("P2", "a Message 2 whose reply is outside the window", """
        SELECT 'message ' || m.id FROM messages m
        JOIN messages o ON o.contact_id = m.contact_id AND o.campaign_id = m.campaign_id AND o.step = 1
        WHERE m.step = 2
          AND NOT (m.reply_at BETWEEN m.window_from - :tolerance_ms AND m.window_from + m.window_ms)
          -- another time of the Message 1 may have become known since
          AND NOT ifnull(m.reply_at BETWEEN o.sent_at - :tolerance_ms AND o.sent_at + m.window_ms, 0)
          AND NOT ifnull(m.reply_at BETWEEN o.attempted_at - :tolerance_ms AND o.attempted_at + m.window_ms, 0)"""),
    ("P2", "a reply that was to be answered without a Message 2", """
        SELECT 'interaction ' || i.id FROM interactions i WHERE i.outcome = 'message_2_queued' AND NOT EXISTS (
            SELECT 1 FROM messages m
            WHERE m.contact_id = i.contact_id AND m.campaign_id = i.campaign_id AND m.step = 2)"""),
    ("P2", "a reply waits for a Message 1 that is settled", """
        SELECT 'interaction ' || i.id FROM interactions i JOIN messages m ON m.id = i.message_id
        WHERE i.outcome = 'waiting_for_message_1' AND m.status NOT IN ('sending', 'uncertain')"""),
    ("P3", "a request to a contact after the commit that opted them out", """
        SELECT DISTINCT 'message ' || m.id FROM consents o JOIN messages m ON m.contact_id = o.contact_id
        WHERE o.opted_out = 1 AND m.claim_number > o.claims_before AND m.status NOT IN ('queued', 'cancelled')
          -- whatever was said last before the claim
          AND NOT EXISTS (SELECT 1 FROM consents n WHERE n.contact_id = o.contact_id AND n.id > o.id
                          AND n.claims_before < m.claim_number)
          -- claimed for one of two contacts that turned out to be the same person later
          AND NOT EXISTS (SELECT 1 FROM consents n WHERE n.contact_id = o.contact_id AND n.source = 'merge'
                          AND n.claims_before >= m.claim_number)"""),
    ("P3", "a queued message to a contact who has opted out", """
        SELECT 'message ' || m.id FROM messages m JOIN contacts c ON c.id = m.contact_id
        WHERE m.status = 'queued' AND c.opted_out = 1"""),
    ("P3", "an opt-out word that its contact does not show", """
        SELECT 'interaction ' || o.id || ' contact ' || c.id
        FROM interactions o JOIN contacts c ON c.id = o.contact_id
        WHERE o.outcome = 'opt_out' AND (c.consent_at IS NULL OR c.consent_at < o.written_at
                                         OR c.consent_at = o.written_at AND c.opted_out = 0)"""),
    ("P4", "two requests closer than the limit", """
        SELECT printf('message %d: %d ms after the start before it, the limit is %d', id, gap_ms, limit_ms)
        FROM messages WHERE gap_ms < limit_ms"""),
    ("P5", "the raw event of an interaction is gone that nothing removed", """
        SELECT 'interaction ' || i.id || ' event ' || i.event_id FROM interactions i
        WHERE i.event_id IS NOT NULL
          AND i.received_at > ifnull((SELECT at FROM marks WHERE name = 'events_removed'), -1)
          -- ids of events begin anew where all are pruned
          AND NOT EXISTS (SELECT 1 FROM events e WHERE e.id = i.event_id AND e.received_at = i.received_at)"""),
    ("P5", "an accepted message without an interaction", """
        SELECT 'event ' || e.id FROM events e
        WHERE e.result = 'accepted' AND e.name IN (SELECT value FROM json_each(:inbound_events))
          AND (e.id, e.received_at) NOT IN (
              SELECT event_id, received_at FROM interactions WHERE event_id IS NOT NULL)"""),
    ("P5", "an interaction with a message that is not there", """
        SELECT 'interaction ' || i.id || ' message ' || i.message_id FROM interactions i
        WHERE i.message_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM messages m WHERE m.id = i.message_id)"""),
    ("P5", "a reply to a message that is not the Message 1 of its contact and campaign", """
        SELECT 'interaction ' || i.id || ' message ' || m.id
        FROM interactions i JOIN messages m ON m.id = i.message_id
        WHERE i.outcome <> 'reaction'
          AND (m.step <> 1 OR m.contact_id IS NOT i.contact_id OR m.campaign_id IS NOT i.campaign_id)"""),
    ("P5", "the first reply or opt-out that a campaign shows is another", """
        WITH first AS (
            SELECT campaign_id, contact_id,
                   min(reply_at) FILTER (WHERE outcome NOT IN ('reaction', 'opt_out', 'not_a_reply')) AS replied_at,
                   min(reply_at) FILTER (WHERE outcome = 'opt_out') AS opted_out_at
            FROM interactions GROUP BY campaign_id, contact_id)
        SELECT 'campaign ' || r.campaign_id || ' contact ' || r.contact_id
        FROM recipients r LEFT JOIN first f ON f.campaign_id = r.campaign_id AND f.contact_id = r.contact_id
        WHERE r.replied_at IS NOT f.replied_at OR r.opted_out_at IS NOT f.opted_out_at"""),
    ("P5", "a receipt waits for a message that is known", """
        SELECT 'receipt ' || w.id || ' message ' || m.id FROM waiting_receipts w JOIN messages m
        ON m.reference = w.reference OR m.queue_id IN (w.queue_id, w.wa_id) OR m.wa_id IN (w.queue_id, w.wa_id)
        -- of a message that has a row again since a restore: its next look-up takes it
        WHERE m.status <> 'uncertain' OR m.attempt > 0"""),
    ("P6", "a campaign that is over, and something in it still waits", """
        WITH ended AS (
            SELECT g.id FROM campaigns g WHERE g.status = 'running'
            AND NOT EXISTS (SELECT 1 FROM message_counts WHERE campaign_id = g.id AND n > 0
                            AND status IN ('queued', 'sending', 'uncertain'))
            AND :now_ms > :window_ms + coalesce((
                SELECT max(sent_at) FROM messages
                WHERE campaign_id = g.id AND step = 1 AND status IN ('sent', 'delivered', 'read')), 0))
        SELECT 'campaign ' || campaign_id || ' message ' || id FROM messages
        WHERE campaign_id IN ended AND status IN ('queued', 'sending', 'uncertain')
        UNION ALL
        SELECT 'campaign ' || campaign_id || ' interaction ' || id FROM interactions
        WHERE campaign_id IN ended AND outcome = 'waiting_for_message_1'"""),
    ("P6", "a message waits for a time that is more than a day away", """
        -- from now, or from the newest moment that the daemon's clock has shown
        WITH newest AS (SELECT max(:now_ms,
                ifnull((SELECT max(max(created_at), ifnull(max(uncertain_since), 0)) FROM messages), 0),
                ifnull((SELECT max(max(at), ifnull(max(last_at), 0)) FROM message_notes), 0)) AS at)
        SELECT 'message ' || m.id FROM messages m, newest
        WHERE m.status = 'queued' AND m.due_at > newest.at + 86400000
           OR m.status = 'uncertain' AND m.look_up_at > newest.at + 86400000"""),
    ("P6", "a campaign that was never launched has sent something", """
        SELECT 'campaign ' || g.id || ' message ' || m.id FROM campaigns g JOIN messages m ON m.campaign_id = g.id
        WHERE g.launched_at IS NULL AND m.attempt > 0"""),
    ("P6", "a message to somebody who is not in its campaign", """
        SELECT 'message ' || m.id || ' campaign ' || m.campaign_id || ' contact ' || m.contact_id FROM messages m
        WHERE NOT EXISTS (SELECT 1 FROM recipients r
                          WHERE r.campaign_id = m.campaign_id AND r.contact_id = m.contact_id)"""),
    ("P6", "a queued message of a cancelled campaign", """
        SELECT 'message ' || m.id FROM messages m JOIN campaigns g ON g.id = m.campaign_id
        WHERE g.status = 'cancelled' AND m.status = 'queued'
          -- a cancellation that is under way, or was cut off: nothing of it leaves, and it can be done again
          AND NOT EXISTS (SELECT 1 FROM marks WHERE name = 'cancelling:' || g.id)"""),
    ("P6", "a launched campaign has a contact without a Message 1", """
        SELECT 'campaign ' || r.campaign_id || ' contact ' || r.contact_id
        FROM recipients r JOIN campaigns g ON g.id = r.campaign_id
        WHERE g.launched_at IS NOT NULL AND NOT EXISTS (
            SELECT 1 FROM messages m
            WHERE m.contact_id = r.contact_id AND m.campaign_id = r.campaign_id AND m.step = 1)"""),
    ("P8", "something is left of a contact who was forgotten", """
        SELECT 'contact ' || c.id FROM contacts c WHERE c.forgotten_at IS NOT NULL AND (
            c.phone <> 'forgotten'
            OR EXISTS (SELECT 1 FROM chat_ids WHERE contact_id = c.id)
            OR EXISTS (SELECT 1 FROM recipients WHERE contact_id = c.id AND variables <> '{}')
            OR EXISTS (SELECT 1 FROM messages WHERE contact_id = c.id AND text <> '')
            OR EXISTS (SELECT 1 FROM interactions WHERE contact_id = c.id
                       AND (text <> '' OR wa_id <> '' OR coalesce(sender_phone, sender_chat) IS NOT NULL)))"""),
    ("counters", "message counts differ from the rows", """
        SELECT printf('campaign %d step %d %s: counted %d, rows %d', campaign_id, step, status, n, real)
        FROM (SELECT campaign_id, step, status, sum(n) AS n, sum(real) AS real FROM (
                SELECT campaign_id, step, status, n, 0 AS real FROM message_counts UNION ALL
                SELECT campaign_id, step, status, 0, count(*) FROM messages GROUP BY campaign_id, step, status)
              GROUP BY campaign_id, step, status)
        WHERE n <> real"""),
    ("counters", "campaign counts differ from the rows", """
        WITH counted AS (SELECT g.id, c.* FROM campaigns g LEFT JOIN campaign_counts c ON c.campaign_id = g.id),
        compared AS (
            SELECT id, 'contacts' AS name, contacts AS n,
                   (SELECT count(*) FROM recipients WHERE campaign_id = id) AS real FROM counted
            UNION ALL
            SELECT id, 'replied', replied,
                   (SELECT count(replied_at) FROM recipients WHERE campaign_id = id) FROM counted
            UNION ALL
            SELECT id, 'opted_out', opted_out,
                   (SELECT count(opted_out_at) FROM recipients WHERE campaign_id = id) FROM counted
            UNION ALL
            SELECT id, 'interactions', interactions, coalesce(i.n, 0) FROM counted
            LEFT JOIN (SELECT campaign_id AS g, count(*) AS n FROM interactions GROUP BY campaign_id) i ON i.g = id)
        SELECT printf('campaign %d %s: counted %d, rows %d', id, name, n, real) FROM compared WHERE n IS NOT real"""),
    ("counters", "the counts of interactions differ from the rows", """
        WITH named (name, outcome) AS (
            VALUES ('unmatched', 'unknown_contact'), ('suspected', 'opt_out_suspected'),
                   ('not_replies', 'not_a_reply')),
        real AS (SELECT n.name, count(i.id) AS n FROM named n LEFT JOIN interactions i ON i.outcome = n.outcome
                 GROUP BY n.name)
        SELECT printf('totals %s: counted %d, rows %d', r.name, t.value, r.n)
        FROM real r LEFT JOIN totals t ON t.name = r.name WHERE t.value IS NOT r.n"""),
    ("counters", "the counts of events differ from the rows", """
        WITH counted AS (
            SELECT sum(value) FILTER (WHERE name = 'webhooks_received') AS webhooks,
                   sum(value) FILTER (WHERE name = 'caught_up') AS caught_up,
                   sum(value) FILTER (WHERE name = 'events_removed') AS removed FROM totals),
        real AS (SELECT count(*) FILTER (WHERE source = 'webhook') AS webhooks,
                        count(*) FILTER (WHERE source = 'catch_up') AS caught_up FROM events)
        SELECT printf('totals webhooks_received %d, caught_up %d, events_removed %d; rows %d and %d',
                      c.webhooks, c.caught_up, c.removed, r.webhooks, r.caught_up)
        FROM counted c, real r
        -- what is removed is counted as one, wherever it came from
        WHERE c.webhooks + c.caught_up IS NOT r.webhooks + r.caught_up + c.removed
           OR c.webhooks < r.webhooks OR c.caught_up < r.caught_up"""),
    ("counters", "the number of the last turn is behind a campaign's", """
        SELECT printf('campaign %d turn %d, totals last_turn %d', g.id, g.turn, t.value)
        FROM campaigns g LEFT JOIN totals t ON t.name = 'last_turn' WHERE NOT coalesce(t.value >= g.turn, 0)"""),
    ("database", "SQLite finds the file damaged", """
        -- which row breaks a CHECK is told elsewhere
        SELECT integrity_check FROM pragma_integrity_check
        WHERE integrity_check <> 'ok' AND integrity_check NOT LIKE 'CHECK constraint failed%'"""),
)  # fmt: skip


_UNREADABLE = "SELECT 'event ' || id FROM events WHERE NOT is_readable(packing, body)"


def parameters(
    *, window: timedelta, tolerance: timedelta, now: datetime, inbound_events: Collection[str]
) -> Mapping[str, object]:
    """What the queries are told; see `violations`."""
    return {
        "window_ms": window // _MILLISECOND,
        "tolerance_ms": tolerance // _MILLISECOND,
        "now_ms": to_ms(now),
        "inbound_events": json.dumps(list(inbound_events)),
    }


async def violations(
    reader: aiosqlite.Connection,
    *,
    window: timedelta,
    tolerance: timedelta,
    now: datetime,
    inbound_events: Collection[str],
) -> list[Violation]:
    """Every violation that the rows can show, in one consistent view of the database.

    Args:
        reader: of a database of this program.
        window: how long after Message 1 a reply counts: for which campaigns are over.
        tolerance: between two clocks.
        now: the time.
        inbound_events: names of the events that bring what a person wrote: each leaves an interaction.
    """
    values = parameters(window=window, tolerance=tolerance, now=now, inbound_events=inbound_events)
    found = []
    await reader.execute("BEGIN")
    try:
        ((version,),) = await reader.execute_fetchall("PRAGMA user_version")
        expected = blueprint.of_version(version)
        found += _violation("database", "the schema is not as it was made", await _differences(reader, expected))
        found += await _look(reader, "database", "a row that the schema forbids", expected.checks)
        found += await _look(reader, "database", "a row points to one that is not there", expected.references)
        await reader.create_function("is_readable", 2, bodies.is_readable, deterministic=True)
        found += await _look(reader, "P5", "a raw event that cannot be read", [_UNREADABLE])
        for promise, what, query in _CHECKS:
            found += await _look(reader, promise, what, [query], values)
    finally:
        await reader.execute("ROLLBACK")
    return found


async def _differences(reader: aiosqlite.Connection, expected: Blueprint) -> list[str]:
    try:
        rows = await reader.execute_fetchall(blueprint.OBJECTS)
    except sqlite3.DatabaseError as error:
        return [str(error)]
    return list(expected.differences(blueprint.normalised([(r[0], r[1], r[2]) for r in rows])))


async def _look(
    reader: aiosqlite.Connection,
    promise: str,
    what: str,
    queries: Sequence[str],
    values: Mapping[str, object] | None = None,
) -> list[Violation]:
    rows: list[str] = []
    for query in queries:
        try:
            rows += [str(row[0]) for row in await reader.execute_fetchall(query, values or {})]
        except sqlite3.DatabaseError as error:
            rows.append(str(error))
    return _violation(promise, what, rows)


def _violation(promise: str, what: str, rows: Iterable[str]) -> list[Violation]:
    named = [mask_id(row) for row in rows]  # a row may be known by a chat id, which may hold a number
    more = (f"and {len(named) - _MOST_ROWS} more",) if len(named) > _MOST_ROWS else ()
    return [Violation(promise, what, (*named[:_MOST_ROWS], *more))] if named else []


async def totals(reader: aiosqlite.Connection) -> Mapping[str, int]:
    """How many messages stand in each status, counted from the rows: ``{"message_1.sent": 12, ...}``.

    Empty where the file is too damaged to count.
    """
    try:
        rows = await reader.execute_fetchall("SELECT step, status, count(*) FROM messages GROUP BY step, status")
    except sqlite3.DatabaseError:
        return {}
    return {f"message_{step}.{status}": n for step, status, n in rows}
