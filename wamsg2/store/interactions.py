"""What contacts wrote to us, and what became of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from wamsg2.model import Decision, MatchedBy, ReplyOutcome, Ruling
from wamsg2.store.times import from_ms, to_ms
from wamsg2.store.writer import Tx

_DAY, _MILLISECOND = timedelta(days=1), timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Interaction:
    """One thing that somebody wrote."""

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
    consent_only: bool = False  #: read for words of consent; no reply
    matched_by: MatchedBy | None = None
    ruling: Ruling | None = None  #: a person's, on a suspected opt-out
    ruled_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What an interaction came to for one campaign, as stored."""

    id: int
    outcome: ReplyOutcome
    campaign_id: int | None
    message_1_id: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """An interaction with its rows: one, or more where every open campaign is answered; none before it is stored."""

    interaction: Interaction
    rows: tuple[Row, ...] = ()


def add(tx: Tx, interaction: Interaction, decision: Decision) -> int:
    """Store an interaction with its outcome; its id."""
    row = tx.execute(
        """INSERT INTO interactions (event_id, contact_id, campaign_id, message_id, type, outcome, text, wa_id,
                                     quoted_id, sender_phone, sender_chat, reply_at, written_at, received_at,
                                     consent_only, matched_by, ruling, ruled_at)
           VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id""",
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
            interaction.consent_only,
            interaction.matched_by and interaction.matched_by.value,
            interaction.ruling and interaction.ruling.value,
            to_ms(interaction.ruled_at),
        ),
    ).fetchone()
    return int(row[0])


def remove(tx: Tx, interaction_id: int) -> None:
    """Remove a row that its interaction does not need any more."""
    tx.execute("DELETE FROM interactions WHERE id = ?", (interaction_id,))


_COLUMNS = """id, outcome, campaign_id, message_id, event_id, contact_id, type, text, wa_id, quoted_id, sender_phone,
              sender_chat, reply_at, written_at, received_at, consent_only, matched_by, ruling, ruled_at"""


def _interaction(r: Sequence[Any]) -> Interaction:
    return Interaction(
        event_id=r[4],
        contact_id=r[5],
        type=r[6],
        text=r[7],
        wa_id=r[8],
        quoted_id=r[9],
        sender_phone=r[10],
        sender_chat=r[11],
        reply_at=from_ms(r[12]),
        written_at=from_ms(r[13]),
        received_at=from_ms(r[14]),
        consent_only=bool(r[15]),
        matched_by=r[16] and MatchedBy(r[16]),
        ruling=r[17] and Ruling(r[17]),
        ruled_at=from_ms(r[18]),
    )


def _row(r: Sequence[Any]) -> Row:
    return Row(id=r[0], outcome=ReplyOutcome(r[1]), campaign_id=r[2], message_1_id=r[3])


def written_since(tx: Tx, contact_id: int, since: datetime, window: timedelta) -> list[Written]:
    """What a contact wrote from then on, in the order of writing; and before that, within the window, suspected
    opt-outs that nobody decided.
    """
    # `reply_at`, which has the index, is at most a day before `written_at` (`rules.consent_time`).
    earliest_ms = to_ms(since) - max(window, _DAY) // _MILLISECOND
    rows = tx.execute(
        f"""SELECT {_COLUMNS} FROM interactions
            WHERE contact_id = ? AND reply_at >= ? AND outcome <> 'reaction'
              AND (written_at >= ? OR outcome = 'opt_out_suspected') ORDER BY written_at, id""",  # noqa: S608 - constant
        (contact_id, earliest_ms, to_ms(since)),
    ).fetchall()
    found: dict[tuple[int | None, str, int], Written] = {}
    for r in rows:
        key = r[4], r[8], r[14]
        known = found.get(key)
        found[key] = Written(
            interaction=known.interaction if known else _interaction(r),
            rows=(*(known.rows if known else ()), _row(r)),
        )
    return list(found.values())


def first_waiting_for(tx: Tx, message_1_id: int) -> datetime | None:
    """When the first of the replies was written that wait for this Message 1."""
    written_at_ms: int | None = tx.execute(
        "SELECT min(written_at) FROM interactions WHERE message_id = ? AND outcome = 'waiting_for_message_1'",
        (message_1_id,),
    ).fetchone()[0]
    return from_ms(written_at_ms)


def first_unanswered(tx: Tx, contact_id: int) -> datetime | None:
    """When the first of the contact's replies was written for which no Message 1 was known."""
    written_at_ms: int | None = tx.execute(
        "SELECT min(written_at) FROM interactions WHERE contact_id = ? AND outcome = 'no_recent_message_1'",
        (contact_id,),
    ).fetchone()[0]
    return from_ms(written_at_ms)


def newest_written_at(tx: Tx, contact_id: int | None) -> datetime | None:
    """The newest time, by the provider's clock, of what the contact wrote, or anybody wrote lately."""
    written_at_ms: int | None = tx.execute(
        """SELECT max(written_at) FROM (
               SELECT written_at FROM interactions WHERE contact_id = ?
               UNION ALL SELECT written_at FROM interactions WHERE id > (SELECT max(id) - 200 FROM interactions))""",
        (contact_id,),
    ).fetchone()[0]
    return from_ms(written_at_ms)


_UNMATCHED = f"SELECT {_COLUMNS} FROM interactions WHERE outcome = 'unknown_contact'"  # noqa: S608 - constant


def unmatched_from(tx: Tx, chat_id: str, number: str | None = None) -> list[tuple[int, Interaction]]:
    """Id and content of what an unknown sender wrote from this chat id or number, oldest first."""
    rows = tx.execute(
        f"{_UNMATCHED} AND sender_chat = ? UNION {_UNMATCHED} AND sender_phone = ? ORDER BY written_at, id",
        (chat_id, number),
    ).fetchall()
    return [(r[0], _interaction(r)) for r in rows]


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
    return None if row is None else _interaction(row)


def outcome_of(tx: Tx, interaction_id: int) -> ReplyOutcome | None:
    """What became of this interaction; None where there is none."""
    row = tx.execute("SELECT outcome FROM interactions WHERE id = ?", (interaction_id,)).fetchone()
    return None if row is None else ReplyOutcome(row[0])


def contact_of(tx: Tx, interaction_id: int) -> int | None:
    """Whose this interaction is; None where there is none, or nobody knows."""
    row = tx.execute("SELECT contact_id FROM interactions WHERE id = ?", (interaction_id,)).fetchone()
    return None if row is None else row[0]


def adopt(tx: Tx, interaction_id: int, contact_id: int, matched_by: MatchedBy) -> None:
    """An unmatched interaction is the contact's; what it comes to is still to be decided."""
    tx.execute(
        "UPDATE interactions SET contact_id = ?, matched_by = ?, outcome = 'no_recent_message_1' WHERE id = ?",
        (contact_id, matched_by.value, interaction_id),
    )


def rule(tx: Tx, interaction_id: int, ruling: Ruling, now: datetime) -> datetime:
    """Store what a person decided about a suspected opt-out; when it was written."""
    row = tx.execute(
        """UPDATE interactions SET ruling = ?, ruled_at = ?, outcome = 'no_recent_message_1'
           WHERE id = ? RETURNING written_at""",
        (ruling.value, to_ms(now), interaction_id),
    ).fetchone()
    written_at: datetime = from_ms(row[0])
    return written_at


def set_decision(tx: Tx, interaction_id: int, decision: Decision, now: datetime) -> None:
    """Store what was decided of an interaction after its arrival."""
    tx.execute(
        "UPDATE interactions SET outcome = ?, campaign_id = ?, message_id = ?, decided_at = ? WHERE id = ?",
        (decision.outcome.value, decision.campaign_id, decision.message_1_id, to_ms(now), interaction_id),
    )
