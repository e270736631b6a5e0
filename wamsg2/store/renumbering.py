"""Migration of stored numbers to the table of `wamsg2.numbering`: keys anew, and one contact for one person.

Its SQL is that of its schema version and calls no other module's, which may ask for a later schema.
"""

import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from wamsg2 import phone, rules
from wamsg2.model import Step
from wamsg2.store import forgotten
from wamsg2.store.writer import Tx

#: How far a message went: of two that become one, the one that went further stays. A doubtful one may have arrived.
_RANKS = {
    status: rank
    for rank, statuses in enumerate(
        (("cancelled",), ("queued",), ("failed",), ("sending", "uncertain"), ("sent",), ("delivered",), ("read",))
    )
    for status in statuses
}
_OPTED_OUT, _FORGOTTEN = "contact opted out", "contact was forgotten"
#: The reply window by default: a migration does not know the configuration.
_WINDOW_MS, _TOLERANCE_MS = 24 * 3600 * 1000, 5000


class _Message(NamedTuple):
    id: int
    contact_id: int
    step: int
    status: str
    attempt: int
    sent_at: int | None
    reply_at: int | None

    @property
    def rank(self) -> tuple[int, int, int]:
        """The higher, the further it went; of equals the older one."""
        return _RANKS[self.status], self.attempt, -self.id


def renumber(connection: sqlite3.Connection) -> None:
    """Compute the keys of all contacts anew, in the caller's transaction.

    Contacts who become one are merged, old numbers become the new ones, chat ids that hold another number than their
    contact's are forgotten, and a contact whose old number was forgotten is written to no more.
    """
    now_ms = int(connection.execute("SELECT (julianday('now') - 2440587.5) * 86400000").fetchone()[0])
    changed = {
        contact_id: (number, key)
        # A contact who was forgotten has neither.
        for contact_id, number, old_key in connection.execute(
            "SELECT id, phone, phone_key FROM contacts WHERE phone <> 'forgotten' ORDER BY id"
        )
        if (key := phone.key(number)) != old_key or phone.current(number) != number
    }
    gone = set(_merge_all(connection, changed, now_ms))
    left = {contact_id: change for contact_id, change in changed.items() if contact_id not in gone}
    # First out of the way of each other.
    connection.executemany("UPDATE contacts SET phone_key = '#' || id WHERE id = ?", ((i,) for i in left))
    connection.executemany(
        "UPDATE contacts SET phone = ?, phone_key = ? WHERE id = ?",
        ((phone.current(number), key, contact_id) for contact_id, (number, key) in left.items()),
    )
    _keep_forgotten(connection, now_ms)
    _forget_wrong_chat_ids(connection)


# --- contacts who are one person -----------------------------------------------------------------------------------


def _merge_all(connection: sqlite3.Connection, changed: dict[int, tuple[str, str]], now_ms: int) -> Iterable[int]:
    """Merge into the oldest of each person; the ids of the others."""
    people = defaultdict[str, set[int]](set)
    for contact_id, (_, key) in changed.items():
        people[key].add(contact_id)
    for key, ids in people.items():
        # Who has the new number already.
        for (contact_id,) in connection.execute("SELECT id FROM contacts WHERE phone_key = ?", (key,)).fetchall():
            if contact_id not in changed:
                ids.add(contact_id)
        first, *others = sorted(ids)
        for other in others:
            _merge(connection, first, other, now_ms)
            yield other


def _merge(connection: sqlite3.Connection, kept: int, other: int, now_ms: int) -> None:
    execute = connection.execute
    _merge_messages(connection, kept, other, now_ms)
    execute("UPDATE OR IGNORE recipients SET contact_id = ? WHERE contact_id = ?", (kept, other))
    execute("DELETE FROM recipients WHERE contact_id = ?", (other,))
    for table in ("interactions", "chat_ids", "consents"):
        execute(f"UPDATE {table} SET contact_id = ? WHERE contact_id = ?", (kept, other))  # noqa: S608 - three constants
    # The opt-out wins, whichever word was the newer one.
    opted_out, consent_at, forgotten_at, created_at = execute(
        "SELECT max(opted_out), max(consent_at), min(forgotten_at), min(created_at) FROM contacts WHERE id IN (?, ?)",
        (kept, other),
    ).fetchone()
    execute("DELETE FROM contacts WHERE id = ?", (other,))
    execute(
        "UPDATE contacts SET opted_out = ?, consent_at = ?, forgotten_at = ?, created_at = ? WHERE id = ?",
        (opted_out, consent_at, forgotten_at, created_at, kept),
    )
    if consent_at is not None:
        _add_consent(connection, kept, opted_out=opted_out, written_at=consent_at, now_ms=now_ms)
    if opted_out:
        _cancel_queued(connection, kept, _OPTED_OUT if forgotten_at is None else _FORGOTTEN)
    _decide_waiting(connection, kept, now_ms)


def _merge_messages(connection: sqlite3.Connection, kept: int, other: int, now_ms: int) -> None:
    campaigns = defaultdict[int, list[_Message]](list)
    for campaign_id, *message in connection.execute(
        """SELECT campaign_id, id, contact_id, step, status, attempt, sent_at, reply_at FROM messages
           WHERE contact_id IN (?, ?)""",
        (kept, other),
    ):
        campaigns[campaign_id].append(_Message(*message))
    for messages in campaigns.values():
        message_2s = [m for m in messages if m.step == Step.MESSAGE_2]
        message_2 = max(message_2s, key=lambda m: m.rank, default=None)
        message_1s = [m for m in messages if m.step == Step.MESSAGE_1]
        message_1 = max((m for m in message_1s if _is_answered_by(m, message_2)), key=lambda m: m.rank, default=None)
        for stays, twins in ((message_1, message_1s), (message_2, message_2s)):
            for lost in twins:
                if stays is not None and lost is not stays:
                    _replace(connection, stays, lost, now_ms)
    connection.execute("UPDATE messages SET contact_id = ? WHERE contact_id = ?", (kept, other))


def _is_answered_by(message_1: _Message, message_2: _Message | None) -> bool:
    """Whether the Message 2 answers a reply inside the window of this Message 1, as far as is known."""
    if message_2 is None or message_2.contact_id == message_1.contact_id:
        return True
    return _is_in_window(message_1.sent_at, message_2.reply_at)


def _is_in_window(sent_at: int | None, reply_at: int | None) -> bool:
    return sent_at is not None and reply_at is not None and -_TOLERANCE_MS <= reply_at - sent_at <= _WINDOW_MS


def _replace(connection: sqlite3.Connection, stays: _Message, lost: _Message, now_ms: int) -> None:
    # By the contacts, who have an index.
    connection.execute(
        "UPDATE interactions SET message_id = ? WHERE message_id = ? AND contact_id IN (?, ?)",
        (stays.id, lost.id, stays.contact_id, lost.contact_id),
    )
    connection.execute("DELETE FROM messages WHERE id = ?", (lost.id,))
    connection.execute(
        "INSERT INTO message_notes (message_id, at, what) VALUES (?, ?, ?)",
        (stays.id, now_ms, f"message {lost.id} ({lost.status}), to another spelling of this number, is now this one"),
    )


# --- consent -------------------------------------------------------------------------------------------------------


def _add_consent(
    connection: sqlite3.Connection, contact_id: int, *, opted_out: int, written_at: int, now_ms: int
) -> None:
    connection.execute(
        """INSERT INTO consents (contact_id, opted_out, source, written_at, recorded_at, claims_before)
           VALUES (?, ?, 'merge', ?, ?, (SELECT value FROM totals WHERE name = 'last_turn'))""",
        (contact_id, opted_out, written_at, now_ms),
    )


def _cancel_queued(connection: sqlite3.Connection, contact_id: int, reason: str) -> None:
    connection.execute(
        "UPDATE messages SET status = 'cancelled', reason = ? WHERE contact_id = ? AND status = 'queued'",
        (reason, contact_id),
    )


def _keep_forgotten(connection: sqlite3.Connection, now_ms: int) -> None:
    """A person who was forgotten under the old number, and was imported with the new one since, gets no more."""
    tx = Tx(connection)
    if not forgotten.is_anybody(tx):
        return
    contacts = connection.execute(
        "SELECT id, phone_key, consent_at FROM contacts WHERE opted_out = 0 ORDER BY id"
    ).fetchall()
    for contact_id, key, consent_at in contacts:
        former = phone.keys(key)[1:]
        if former and forgotten.find(tx, former) is not None:
            written_at = max(now_ms, consent_at or 0)
            connection.execute(
                "UPDATE contacts SET opted_out = 1, consent_at = ? WHERE id = ?", (written_at, contact_id)
            )
            _add_consent(connection, contact_id, opted_out=1, written_at=written_at, now_ms=now_ms)
            _cancel_queued(connection, contact_id, _FORGOTTEN)


# --- replies -------------------------------------------------------------------------------------------------------


def _decide_waiting(connection: sqlite3.Connection, contact_id: int, now_ms: int) -> None:
    """Decide the replies that waited for a Message 1 in whose place a settled one is now."""
    rows = connection.execute(
        """SELECT i.id, i.reply_at, i.campaign_id, m.sent_at
           FROM interactions i JOIN messages m ON m.id = i.message_id
           WHERE i.contact_id = ? AND i.outcome = 'waiting_for_message_1' AND m.status NOT IN ('sending', 'uncertain')
           ORDER BY i.reply_at, i.id""",
        (contact_id,),
    ).fetchall()
    for interaction_id, reply_at, campaign_id, sent_at in rows:
        outcome = _outcome(connection, contact_id, campaign_id, is_in_window=_is_in_window(sent_at, reply_at))
        if outcome == "message_2_queued":
            _queue_message_2(
                connection, contact_id, campaign_id, window_from=sent_at, reply_at=reply_at, now_ms=now_ms
            )
        connection.execute(
            """UPDATE interactions SET outcome = ?1, decided_at = ?2,
                      campaign_id = CASE ?1 WHEN 'no_recent_message_1' THEN NULL ELSE campaign_id END,
                      message_id = CASE ?1 WHEN 'no_recent_message_1' THEN NULL ELSE message_id END WHERE id = ?3""",
            (outcome, now_ms, interaction_id),
        )


def _outcome(connection: sqlite3.Connection, contact_id: int, campaign_id: int, *, is_in_window: bool) -> str:
    opted_out, campaign_status, has_message_2, is_answered = connection.execute(
        """SELECT c.opted_out, g.status, g.message_2 IS NOT NULL, EXISTS (
                      SELECT 1 FROM messages WHERE contact_id = c.id AND campaign_id = g.id AND step = 2)
           FROM contacts c, campaigns g WHERE c.id = ? AND g.id = ?""",
        (contact_id, campaign_id),
    ).fetchone()
    outcomes: Sequence[tuple[bool, str]] = (
        (opted_out, "opted_out"),
        (campaign_status == "cancelled", "campaign_cancelled"),
        (not has_message_2, "no_message_2"),
        (is_answered, "message_2_exists"),
        (is_in_window, "message_2_queued"),
        (True, "no_recent_message_1"),
    )
    return next(outcome for is_so, outcome in outcomes if is_so)


def _queue_message_2(
    connection: sqlite3.Connection, contact_id: int, campaign_id: int, *, window_from: int, reply_at: int, now_ms: int
) -> None:
    campaign_key, reference_key = connection.execute(
        "SELECT g.key, c.reference_key FROM contacts c, campaigns g WHERE c.id = ? AND g.id = ?",
        (contact_id, campaign_id),
    ).fetchone()
    connection.execute(
        """INSERT INTO messages (contact_id, campaign_id, step, status, reference, reply_at, created_at, due_at,
                                 window_from, window_ms)
           VALUES (?1, ?2, 2, 'queued', ?3, ?4, ?5, ?4, ?6, ?7)""",
        (
            contact_id,
            campaign_id,
            rules.reference(campaign_key, reference_key, Step.MESSAGE_2),
            reply_at,
            now_ms,
            window_from,
            _WINDOW_MS,
        ),
    )


# --- chat ids ------------------------------------------------------------------------------------------------------


def _forget_wrong_chat_ids(connection: sqlite3.Connection) -> None:
    """A chat id that holds a number is its owner's, whoever it was learned for."""
    rows = connection.execute(
        "SELECT x.chat_id, c.phone_key FROM chat_ids x JOIN contacts c ON c.id = x.contact_id"
    ).fetchall()
    connection.executemany(
        "DELETE FROM chat_ids WHERE chat_id = ?",
        (
            (chat_id,)
            for chat_id, phone_key in rows
            if (number := _number_in(chat_id)) is not None and phone.key(number) != phone_key
        ),
    )


def _number_in(chat_id: str) -> str | None:
    name, _, server = chat_id.partition("@")
    return None if server == "lid" else phone.from_digits(name)
