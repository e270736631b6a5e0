"""What contacts wrote to us, and what became of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from wamsg2.model import Decision, ReplyOutcome
from wamsg2.store.times import from_ms, to_ms
from wamsg2.store.writer import Tx


@dataclass(frozen=True, slots=True)
class Interaction:
    """A row to be: one thing that somebody wrote."""

    event_id: int | None
    contact_id: int | None
    type: str
    text: str
    wa_id: str
    quoted_id: str | None
    sender_phone: str | None
    sender_chat: str | None
    reply_at: datetime
    written_at: datetime
    received_at: datetime


@dataclass(frozen=True, slots=True)
class WaitingReply:
    """A stored reply that came before its Message 1 was known to have gone out."""

    id: int
    quoted_id: str | None
    reply_at: datetime
    received_at: datetime


def add(tx: Tx, interaction: Interaction, decision: Decision) -> int:
    """Store an interaction with its outcome; its id."""
    row = tx.execute(
        """INSERT INTO interactions (event_id, contact_id, campaign_id, message_id, type, outcome, text, wa_id,
                                     quoted_id, sender_phone, sender_chat, reply_at, written_at, received_at)
           VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id""",
        (
            interaction.event_id,
            interaction.contact_id,
            decision.campaign_id,
            decision.message_1_id,
            interaction.type,
            decision.outcome.value,
            interaction.text,
            interaction.wa_id,
            interaction.quoted_id,
            interaction.sender_phone,
            interaction.sender_chat,
            to_ms(interaction.reply_at),
            to_ms(interaction.written_at),
            to_ms(interaction.received_at),
        ),
    ).fetchone()
    return int(row[0])


def waiting_for(tx: Tx, message_1_id: int) -> list[WaitingReply]:
    """The replies that wait for this Message 1, oldest first."""
    rows = tx.execute(
        """SELECT id, quoted_id, reply_at, received_at FROM interactions
           WHERE message_id = ? AND outcome = 'waiting_for_message_1' ORDER BY reply_at, id""",
        (message_1_id,),
    ).fetchall()
    return [WaitingReply(r[0], r[1], from_ms(r[2]), from_ms(r[3])) for r in rows]


def unanswered(tx: Tx, contact_id: int) -> list[WaitingReply]:
    """The contact's replies for which no Message 1 was known, oldest first."""
    rows = tx.execute(
        """SELECT id, quoted_id, reply_at, received_at FROM interactions
           WHERE contact_id = ? AND outcome = 'no_recent_message_1' ORDER BY reply_at, id""",
        (contact_id,),
    ).fetchall()
    return [WaitingReply(r[0], r[1], from_ms(r[2]), from_ms(r[3])) for r in rows]


_UNMATCHED = """
    SELECT id, event_id, type, text, wa_id, quoted_id, sender_phone, sender_chat, reply_at, written_at, received_at
    FROM interactions WHERE outcome = 'unknown_contact'"""


def _unmatched(r: Sequence[Any]) -> tuple[int, Interaction]:
    return r[0], Interaction(r[1], None, *r[2:8], *map(from_ms, r[8:]))


def unmatched_from(tx: Tx, chat_id: str, number: str | None = None) -> list[tuple[int, Interaction]]:
    """Id and content of what an unknown sender wrote from this chat id or number, oldest first."""
    rows = tx.execute(
        f"{_UNMATCHED} AND sender_chat = ? UNION {_UNMATCHED} AND sender_phone = ? ORDER BY written_at, id",
        (chat_id, number),
    ).fetchall()
    return [_unmatched(row) for row in rows]


def unmatched_numbers(tx: Tx, chat_id: str) -> list[str]:
    """Under which numbers an unknown sender wrote from this chat id."""
    rows = tx.execute(
        """SELECT DISTINCT sender_phone FROM interactions
           WHERE sender_chat = ? AND outcome = 'unknown_contact' AND sender_phone IS NOT NULL""",
        (chat_id,),
    ).fetchall()
    return [row[0] for row in rows]


def unmatched_by_id(tx: Tx, interaction_id: int) -> Interaction | None:
    """The content of this interaction, if it is of an unknown sender."""
    row = tx.execute(f"{_UNMATCHED} AND id = ?", (interaction_id,)).fetchone()
    return None if row is None else _unmatched(row)[1]


def outcome_of(tx: Tx, interaction_id: int) -> ReplyOutcome | None:
    """What became of this interaction; None where there is none."""
    row = tx.execute("SELECT outcome FROM interactions WHERE id = ?", (interaction_id,)).fetchone()
    return None if row is None else ReplyOutcome(row[0])


def set_decision(tx: Tx, interaction_id: int, contact_id: int, decision: Decision, now: datetime) -> None:
    """Store whose an interaction was, and what was decided of it after its arrival."""
    tx.execute(
        """UPDATE interactions SET outcome = ?, contact_id = ?, campaign_id = ?, message_id = ?, decided_at = ?
           WHERE id = ?""",
        (decision.outcome.value, contact_id, decision.campaign_id, decision.message_1_id, to_ms(now), interaction_id),
    )
