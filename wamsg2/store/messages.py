"""Messages: the queue, claims, and what became of each."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from wamsg2 import rules
from wamsg2.model import (
    CampaignStatus,
    Doubt,
    Message,
    Message1,
    Message2,
    MessageStatus,
    Step,
    Unreported,
)
from wamsg2.store.times import from_ms, to_ms
from wamsg2.store.writer import Tx

_MILLISECOND = timedelta(milliseconds=1)

_MESSAGE = """SELECT m.id, m.contact_id, m.campaign_id, m.step, m.status, m.attempt, m.reference, m.attempted_at,
                     c.opted_out, g.status, c.forgotten_at IS NOT NULL, m.doubts, m.queue_id, m.wa_id, c.phone_key,
                     m.sent_at
              FROM messages m JOIN contacts c ON c.id = m.contact_id JOIN campaigns g ON g.id = m.campaign_id """


def _message(row: Sequence[Any] | None) -> Message | None:
    if row is None:
        return None
    return Message(
        row[0],
        row[1],
        row[2],
        Step(row[3]),
        MessageStatus(row[4]),
        row[5],
        row[6],
        from_ms(row[7]),
        bool(row[8]),
        CampaignStatus(row[9]),
        bool(row[10]),
        row[11],
        row[12],
        row[13],
        row[14],
        from_ms(row[15]),
    )


def by_id(tx: Tx, message_id: int) -> Message | None:
    """The message with this id."""
    return _message(tx.execute(_MESSAGE + "WHERE m.id = ?", (message_id,)).fetchone())


def by_provider_ids(tx: Tx, *, reference: str | None, queue_id: str | None, wa_id: str | None) -> Message | None:
    """The message that any of the three ids names; events put either provider id in either place."""
    if not (reference or queue_id or wa_id):
        return None
    row = tx.execute(
        f"""{_MESSAGE}WHERE m.id = coalesce(
                (SELECT id FROM messages WHERE reference = ?1 AND (attempt > 0 OR doubts > 0)),
                (SELECT id FROM messages WHERE queue_id IN (?2, ?3) LIMIT 1),
                (SELECT id FROM messages WHERE wa_id IN (?2, ?3) LIMIT 1))""",  # noqa: S608 - constant
        (reference, queue_id, wa_id),
    ).fetchone()
    return _message(row)


def without_wa_id(tx: Tx, contact_id: int) -> list[tuple[int, str]]:
    """Id and text of the messages to a contact that left, or may have left, and have no WhatsApp id."""
    rows = tx.execute(
        """SELECT id, text FROM messages
           WHERE contact_id = ? AND wa_id IS NULL AND text IS NOT NULL
             AND status IN ('sending', 'uncertain', 'sent', 'delivered', 'read')""",
        (contact_id,),
    ).fetchall()
    return [(message_id, text) for message_id, text in rows]


def message_1s_of(tx: Tx, contact_id: int, reply_at: datetime, window: timedelta) -> list[Message1]:
    """The Message 1s of a contact, as the rules of a reply see them: those that are not certain, and those that went
    out at most so long before the reply. What a contact got in other years costs nothing.
    """
    rows = tx.execute(
        """SELECT m.id, m.campaign_id, g.status, g.message_2 IS NOT NULL, m.status,
                  coalesce(m.sent_at, m.attempted_at), x.id IS NOT NULL, g.key,
                  CASE WHEN m.status = 'uncertain' AND ifnull(m.attempted_at, 0) <= g.restored_at
                       THEN g.restored_at END,
                  g.restored_at, x.id, x.status, x.reply_at,
                  x.attempt = 0 AND (x.status = 'queued' OR x.status = 'cancelled' AND x.reason = ?)
           FROM messages m JOIN campaigns g ON g.id = m.campaign_id
           LEFT JOIN messages x ON x.contact_id = m.contact_id AND x.campaign_id = m.campaign_id AND x.step = 2
           WHERE m.contact_id = ? AND m.step = 1 AND (m.status IN ('sending', 'uncertain') OR m.sent_at >= ?)""",
        (rules.OPTED_OUT, contact_id, to_ms(reply_at) - window // _MILLISECOND),
    ).fetchall()
    return [
        Message1(
            r[0],
            r[1],
            CampaignStatus(r[2]),
            bool(r[3]),
            MessageStatus(r[4]),
            from_ms(r[5]),
            bool(r[6]),
            r[7],
            from_ms(r[8]),
            from_ms(r[9]),
            None if r[10] is None else Message2(r[10], MessageStatus(r[11]), from_ms(r[12]), bool(r[13])),
        )
        for r in rows
    ]


def message_1_id(tx: Tx, contact_id: int, provider_id: str) -> int | None:
    """The id of the contact's Message 1 that the provider knows under this id."""
    row = tx.execute(
        "SELECT id FROM messages WHERE contact_id = ?1 AND step = 1 AND (wa_id = ?2 OR queue_id = ?2)",
        (contact_id, provider_id),
    ).fetchone()
    return None if row is None else int(row[0])


def add_message_2(
    tx: Tx,
    *,
    contact_id: int,
    campaign_id: int,
    reference: str,
    reply_at: datetime,
    window: timedelta,
    due_at: datetime,
    now: datetime,
    status: MessageStatus = MessageStatus.QUEUED,
    reason: str | None = None,
) -> bool:
    """Create a Message 2 (see `rules.first_status`); False where one exists, whatever its status: the unique index
    is the judge.

    With the row goes the proof that it was earned: the window in force, and from when on it was open. Either may be
    another one later.
    """
    doubted_ms = to_ms(now) if status is MessageStatus.UNCERTAIN else None
    cursor = tx.execute(
        """INSERT INTO messages (contact_id, campaign_id, step, status, reason, reference, reply_at, created_at,
                                 due_at, uncertain_since, look_up_at, doubts, window_ms, window_from)
           VALUES (?1, ?2, 2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?9, ?9 IS NOT NULL, ?10,
                   (SELECT coalesce(sent_at, attempted_at) FROM messages
                    WHERE contact_id = ?1 AND campaign_id = ?2 AND step = 1))
           ON CONFLICT (contact_id, campaign_id, step) DO NOTHING""",
        (
            contact_id,
            campaign_id,
            status.value,
            reason,
            reference,
            to_ms(reply_at),
            to_ms(now),
            to_ms(due_at),
            doubted_ms,
            window // _MILLISECOND,
        ),
    )
    return cursor.rowcount == 1


def keep_message_2(
    tx: Tx,
    contact_id: int,
    campaign_id: int,
    status: MessageStatus,
    reason: str | None,
    *,
    reply_at: datetime,
    due_at: datetime,
    now: datetime,
) -> None:
    """A Message 2 that was never claimed is earned by the reply of that time, and is where a new one would start
    (`rules.first_status`).
    """
    doubted_ms = to_ms(now) if status is MessageStatus.UNCERTAIN else None
    tx.execute(
        """UPDATE messages SET status = ?1, reason = ?2, reply_at = ?3,
                  due_at = CASE status WHEN 'queued' THEN due_at ELSE ?4 END,
                  uncertain_since = ?7, look_up_at = ?7, doubts = max(doubts, ?7 IS NOT NULL)
           WHERE contact_id = ?5 AND campaign_id = ?6 AND step = 2 AND attempt = 0
             AND status IN ('queued', 'cancelled')""",
        (status.value, reason, to_ms(reply_at), to_ms(due_at), contact_id, campaign_id, doubted_ms),
    )


def take_back_message_2(tx: Tx, message_id: int) -> None:
    """A Message 2 that was never claimed is not earned any more."""
    tx.execute(
        "DELETE FROM messages WHERE id = ? AND step = 2 AND attempt = 0 AND status IN ('queued', 'cancelled')",
        (message_id,),
    )


def is_known(tx: Tx, provider_id: str) -> bool:
    """Whether a message of ours has this WhatsApp or queue id."""
    return (
        tx.execute(
            "SELECT 1 FROM messages WHERE wa_id = ?1 UNION ALL SELECT 1 FROM messages WHERE queue_id = ?1 LIMIT 1",
            (provider_id,),
        ).fetchone()
        is not None
    )


def cancel_queued_of(tx: Tx, contact_id: int, reason: str) -> int:
    """Cancel every queued message to a contact; how many were."""
    cursor = tx.execute(
        "UPDATE messages SET status = 'cancelled', reason = ? WHERE contact_id = ? AND status = 'queued'",
        (reason, contact_id),
    )
    return cursor.rowcount


# --- the queue ---------------------------------------------------------------------------------------------

# Both look up the head of each running campaign's queue in messages_queue: cost grows with running campaigns,
# not with messages.
_NEXT_MESSAGE_2 = """
    SELECT (SELECT id FROM messages WHERE campaign_id = g.id AND step = 2 AND status = 'queued' AND due_at <= ?1
            ORDER BY due_at LIMIT 1) AS head
    FROM campaigns g WHERE g.status = 'running' AND head IS NOT NULL
    ORDER BY (SELECT due_at FROM messages WHERE id = head), head LIMIT 1"""
_NEXT_MESSAGE_1 = """
    SELECT (SELECT id FROM messages WHERE campaign_id = g.id AND step = 1 AND status = 'queued' AND due_at <= ?1
            ORDER BY due_at LIMIT 1) AS head
    FROM campaigns g WHERE g.status = 'running' AND head IS NOT NULL ORDER BY g.turn, g.id LIMIT 1"""
_NEXT_DUE = """
    SELECT min((SELECT min(due_at) FROM messages WHERE campaign_id = g.id AND step = s.step AND status = 'queued'))
    FROM campaigns g, (SELECT 1 AS step UNION ALL SELECT 2) s WHERE g.status = 'running'"""


def next_in_line(tx: Tx, due_before: datetime) -> int | None:
    """The message whose turn it is: Message 2 by age, else Message 1 by turns between the running campaigns."""
    for query in (_NEXT_MESSAGE_2, _NEXT_MESSAGE_1):
        if row := tx.execute(query, (to_ms(due_before),)).fetchone():
            return int(row[0])
    return None


def next_due_at(tx: Tx) -> datetime | None:
    """When the earliest queued message of a running campaign falls due."""
    due_at_ms: int | None = tx.execute(_NEXT_DUE).fetchone()[0]
    return from_ms(due_at_ms)


def bring_forward(tx: Tx, at: datetime) -> None:
    """Nothing in line is due later than that."""
    tx.execute(
        """UPDATE messages SET due_at = ?1 WHERE status = 'queued' AND due_at > ?1 AND step IN (1, 2)
           AND campaign_id IN (SELECT id FROM campaigns)""",
        (to_ms(at),),
    )


def rendering(tx: Tx, message_id: int) -> tuple[str, str, dict[str, str], str, datetime]:
    """What a claim is made of: campaign, text with variables, their values, phone, due time.

    Raises:
        ValueError: the stored variables cannot be read.
    """
    name, text, values, phone, due_at = tx.execute(
        """SELECT g.name, CASE m.step WHEN 1 THEN g.message_1 ELSE coalesce(g.message_2, '') END,
                  coalesce(r.variables, '{}'), c.phone, m.due_at
           FROM messages m JOIN campaigns g ON g.id = m.campaign_id JOIN contacts c ON c.id = m.contact_id
           LEFT JOIN recipients r ON r.campaign_id = m.campaign_id AND r.contact_id = m.contact_id
           WHERE m.id = ?""",
        (message_id,),
    ).fetchone()
    variables = json.loads(values)
    if not isinstance(variables, dict):
        raise ValueError("the variables are not an object")  # noqa: TRY004 - as other JSON that cannot be read
    return name, text, variables, phone, from_ms(due_at)


def claim(tx: Tx, message: Message, text: str, now: datetime, limit: timedelta | None) -> None:
    """Queued to sending, with the text and the next attempt; a Message 1 ends its campaign's turn.

    `limit` is the one in force between two sends: with the gap before the request it shows that it was kept.
    """
    (number,) = tx.execute("UPDATE totals SET value = value + 1 WHERE name = 'last_turn' RETURNING value").fetchone()
    tx.execute(
        """UPDATE messages SET status = 'sending', attempt = attempt + 1, text = ?, attempted_at = ?, limit_ms = ?,
                  gap_ms = NULL, reason = NULL, claim_number = ?
           WHERE id = ? AND status = 'queued'""",
        (text, to_ms(now), None if limit is None else limit // _MILLISECOND, number, message.id),
    )
    if message.step is Step.MESSAGE_1:
        tx.execute("UPDATE campaigns SET turn = ? WHERE id = ?", (number, message.campaign_id))


def was_too_old_at_resume(tx: Tx, message_id: int, stale_after: timedelta) -> bool:
    """Whether the reply to a Message 2 was older than that when its campaign was resumed last."""
    (is_stale,) = tx.execute(
        """SELECT m.reply_at < g.resumed_at - ? FROM messages m JOIN campaigns g ON g.id = m.campaign_id
           WHERE m.id = ?""",
        (stale_after // _MILLISECOND, message_id),
    ).fetchone()
    return bool(is_stale)


# --- what became of it -------------------------------------------------------------------------------------

_CERTAIN_BUT_ASKED = "uncertain_since = NULL, absent_since = NULL, look_ups = 0"
_CERTAIN = f"{_CERTAIN_BUT_ASKED}, look_up_at = NULL"


def note_refusal(tx: Tx, message_id: int) -> int:
    """It was refused while others went out; how often so far."""
    row = tx.execute("UPDATE messages SET refusals = refusals + 1 WHERE id = ? RETURNING refusals", (message_id,))
    (refusals,) = row.fetchone()
    return int(refusals)


def release(
    tx: Tx, message_id: int, status: MessageStatus, *, reason: str | None, due_at: datetime | None = None
) -> None:
    """End a claim without a send: back to queued (later, if `due_at` is given), cancelled or failed."""
    tx.execute(
        f"UPDATE messages SET status = ?, reason = ?, due_at = coalesce(?, due_at), {_CERTAIN} WHERE id = ?",  # noqa: S608 - constant
        (status.value, reason, to_ms(due_at), message_id),
    )


def set_started(tx: Tx, message_id: int, started_at: datetime, *, gap: timedelta | None) -> None:
    """Correct the start of the attempt from its claim to its request.

    `gap` is measured from the start before it, by the clock that never steps; None where nobody measured it.
    """
    tx.execute(
        "UPDATE messages SET attempted_at = ?, gap_ms = ? WHERE id = ?",
        (to_ms(started_at), None if gap is None else gap // _MILLISECOND, message_id),
    )


def set_unstarted(tx: Tx, message_id: int) -> None:
    """Its claim was not followed by a request: there is no start that could be too early."""
    tx.execute("UPDATE messages SET limit_ms = NULL WHERE id = ?", (message_id,))


def set_uncertain(tx: Tx, message_id: int, *, reason: str, since: datetime, look_up_at: datetime) -> None:
    """Nobody knows whether it was accepted."""
    tx.execute(
        """UPDATE messages SET status = 'uncertain', reason = ?, uncertain_since = ?, absent_since = NULL,
                  doubts = doubts + 1, look_ups = 0, look_up_at = ? WHERE id = ?""",
        (reason, to_ms(since), to_ms(look_up_at), message_id),
    )


def learn_ids(tx: Tx, message_id: int, *, queue_id: str | None, wa_id: str | None) -> None:
    """Fill in the provider's ids where they are not known yet."""
    tx.execute(
        "UPDATE messages SET queue_id = coalesce(queue_id, ?), wa_id = coalesce(wa_id, ?) WHERE id = ?",
        (queue_id, wa_id, message_id),
    )


def went_out(
    tx: Tx,
    message_id: int,
    status: MessageStatus,
    *,
    provider_sent_at: datetime | None,
    ask_at: datetime | None,
    now: datetime,
) -> None:
    """It was accepted. The provider's own time is preferred: replies are stamped by the same clock.

    Of a message that was sent before a restore nothing else is known but the earliest time at which it can have been.
    `ask_at` is when to ask about it if nothing more is heard: only of one that is just `sent`.
    """
    tx.execute(
        f"""UPDATE messages SET status = ?1, {_CERTAIN_BUT_ASKED}, look_up_at = ?5,
                   reason = CASE ?1 WHEN 'failed' THEN reason END,
                   provider_sent_at = coalesce(min(provider_sent_at, ?2), ?2, provider_sent_at),
                   sent_at = coalesce(min(provider_sent_at, ?2), ?2, provider_sent_at, sent_at, attempted_at,
                                      (SELECT min(g.restored_at, messages.created_at) FROM campaigns g
                                       WHERE g.id = campaign_id), ?3)
            WHERE id = ?4""",  # noqa: S608 - constant
        (status.value, to_ms(provider_sent_at), to_ms(now), message_id, to_ms(ask_at)),
    )


def got_further(
    tx: Tx,
    message_id: int,
    status: MessageStatus,
    *,
    delivered_at: datetime | None = None,
    read_at: datetime | None = None,
) -> None:
    """A message that had gone out was delivered or read then; it stays with the earliest time that it is told."""
    tx.execute(
        """UPDATE messages SET status = ?1, look_up_at = NULL,
                  delivered_at = coalesce(min(delivered_at, ?2), ?2, delivered_at),
                  read_at = coalesce(min(read_at, ?3), ?3, read_at)
           WHERE id = ?4""",
        (status.value, to_ms(delivered_at), to_ms(read_at), message_id),
    )


def note_failure(tx: Tx, message_id: int, reason: str | None) -> None:
    """Keep the reason of a failure that came too late to count."""
    tx.execute("UPDATE messages SET note = ? WHERE id = ?", (reason, message_id))


def set_failed(tx: Tx, message_id: int, reason: str) -> None:
    """It was refused, or reported as failed."""
    tx.execute(
        f"UPDATE messages SET status = 'failed', reason = ?, {_CERTAIN} WHERE id = ?",  # noqa: S608 - constant
        (reason, message_id),
    )


# --- doubt -------------------------------------------------------------------------------------------------


def sending(tx: Tx) -> list[Message]:
    """Every message that is claimed."""
    rows = tx.execute(_MESSAGE + "WHERE m.status = 'sending' ORDER BY m.id").fetchall()
    return [message for row in rows if (message := _message(row))]


#: Mark: when the last thing happened that the backup knew of, out of which the database came.
BACKUP_NEWEST = "backup_newest"
# Of an attempt after the backup nothing is known, but that it was after the backup's newest entry.
_DOUBT = f"""
    SELECT m.id, m.attempt, m.reference,
           coalesce(m.attempted_at, (SELECT at FROM marks WHERE name = '{BACKUP_NEWEST}'), g.created_at),
           m.uncertain_since, m.absent_since, m.look_ups, ifnull(m.attempted_at, 0) <= g.restored_at, m.look_up_at
    FROM messages m JOIN campaigns g ON g.id = m.campaign_id WHERE m.status = 'uncertain' AND m.look_up_at """  # noqa: S608 - constant


def next_doubt(tx: Tx, now: datetime) -> tuple[Doubt | None, datetime | None]:
    """The uncertain message that is due for a look-up, or else when the next one will be.

    Those without a time wait until nothing else is due: then it is the oldest's turn.
    """
    row = tx.execute(f"{_DOUBT} IS NOT NULL ORDER BY m.look_up_at LIMIT 1").fetchone()
    next_at = from_ms(row[8]) if row else None
    if next_at is None or next_at > now:
        row = tx.execute(f"{_DOUBT} IS NULL ORDER BY m.id LIMIT 1").fetchone()
    return (_doubt(row), from_ms(row[8])) if row else (None, next_at)


def _doubt(row: Sequence[Any]) -> Doubt:
    return Doubt(
        message_id=row[0],
        attempt=row[1],
        reference=row[2],
        attempted_at=from_ms(row[3]),
        uncertain_since=from_ms(row[4]),
        absent_since=from_ms(row[5]),
        look_ups=row[6],
        is_restored=bool(row[7]),
    )


def look_up_anew(tx: Tx, by: datetime) -> None:
    """Every uncertain message begins its row of look-ups again, with one by then."""
    tx.execute(
        """UPDATE messages SET look_ups = 0, absent_since = NULL, look_up_at = min(look_up_at, ?)
           WHERE status = 'uncertain'""",
        (to_ms(by),),
    )


def look_up_soon(tx: Tx, message_id: int, now: datetime) -> None:
    """An uncertain message whose look-up has no time is due now: somebody waits for what it tells."""
    tx.execute(
        "UPDATE messages SET look_up_at = ? WHERE id = ? AND status = 'uncertain' AND look_up_at IS NULL",
        (to_ms(now), message_id),
    )


def looked_up(
    tx: Tx,
    message_id: int,
    *,
    absent_since: datetime | None,
    look_up_at: datetime,
    now: datetime,
    reason: str | None,
) -> None:
    """Note a look-up that settled nothing, when to look again, and why it is in doubt, if that is new.

    A doubt whose look-ups had no time begins with the first: before, it only waited for its turn.
    """
    tx.execute(
        """UPDATE messages SET look_ups = look_ups + 1, absent_since = ?1, look_up_at = ?2,
                  reason = coalesce(?5, reason),
                  uncertain_since = CASE WHEN look_up_at IS NULL THEN ?3 ELSE uncertain_since END
           WHERE id = ?4 AND status = 'uncertain'""",
        (to_ms(absent_since), to_ms(look_up_at), to_ms(now), message_id, reason),
    )


def is_any_restored_in_doubt(tx: Tx) -> bool:
    """Whether a message is uncertain that came out of a backup without an attempt of its own."""
    return bool(
        tx.execute(
            """SELECT EXISTS (SELECT 1 FROM messages m JOIN campaigns g ON g.id = m.campaign_id
               WHERE m.status = 'uncertain' AND m.attempted_at IS NULL AND g.restored_at IS NOT NULL)"""
        ).fetchone()[0]
    )


# --- out of a backup ---------------------------------------------------------------------------------------

# What is in line may have been sent since the backup, also of a draft, whose launch may have come to its end; of a
# cancelled campaign nothing more was. About the others there is doubt anyway, and their proof begins anew.
_MAY_HAVE_LEFT = """(status IN ('sending', 'uncertain') OR status = 'queued'
                     AND campaign_id NOT IN (SELECT id FROM campaigns WHERE status = 'cancelled'))"""


def doubt_open(tx: Tx, *, after: int, most: int, reason: str, now: datetime) -> tuple[int | None, int]:
    """Make the next open messages uncertain: the last one's id (None: there are no more), and how many they were.

    A Message 1 that was never attempted is looked up last; there may be very many.
    """
    last: int | None = tx.execute(
        f"SELECT max(id) FROM (SELECT id FROM messages WHERE id > ? AND {_MAY_HAVE_LEFT} ORDER BY id LIMIT ?)",  # noqa: S608 - constant
        (after, most),
    ).fetchone()[0]
    changed = tx.execute(
        f"""UPDATE messages SET status = 'uncertain', reason = ?3, uncertain_since = ?4, absent_since = NULL,
                   doubts = max(doubts, 1), look_ups = 0, look_up_at = CASE WHEN step = 2 OR attempt > 0 THEN ?4 END
            WHERE id > ?1 AND id <= ?2 AND {_MAY_HAVE_LEFT}""",  # noqa: S608 - constant
        (after, last, reason, to_ms(now)),
    )
    return last, changed.rowcount


# --- silence -----------------------------------------------------------------------------------------------


def unreported(tx: Tx, now: datetime, most: int) -> list[Unreported]:
    """Messages that are `sent`, and of which nothing was heard for so long that it is time to ask."""
    rows = tx.execute(
        """SELECT id, reference, look_ups, sent_at FROM messages
           WHERE status = 'sent' AND look_up_at <= ? ORDER BY look_up_at LIMIT ?""",
        (to_ms(now), most),
    ).fetchall()
    return [Unreported(r[0], r[1], r[2], from_ms(r[3])) for r in rows]


def asked(tx: Tx, message_id: int, ask_at: datetime | None, *, is_answered: bool) -> None:
    """Note a question about a `sent` message, and when to ask the next one, if ever."""
    tx.execute(
        "UPDATE messages SET look_ups = look_ups + ?, look_up_at = ? WHERE id = ? AND status = 'sent'",
        (is_answered, to_ms(ask_at), message_id),
    )
