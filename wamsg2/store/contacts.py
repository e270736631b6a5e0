"""Contacts, the chat ids that lead to them, and their consent."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from wamsg2.model import ConsentSource, Contact, MatchedBy
from wamsg2.store.times import from_ms, to_ms
from wamsg2.store.writer import Tx

_CONTACT = """SELECT c.id, c.phone, c.opted_out, c.consent_at, c.phone_key, c.forgotten_at IS NOT NULL,
                     c.reference_key
              FROM contacts c """


def _contact(row: Sequence[Any] | None) -> Contact | None:
    if row is None:
        return None
    return Contact(row[0], row[1], bool(row[2]), from_ms(row[3]), row[4], bool(row[5]), row[6])


def by_id(tx: Tx, contact_id: int) -> Contact | None:
    """The contact with this id."""
    return _contact(tx.execute(_CONTACT + "WHERE c.id = ?", (contact_id,)).fetchone())


def by_phone_key(tx: Tx, phone_key: str) -> Contact | None:
    """The contact with this number, in whatever spelling (`phone.key`)."""
    return _contact(tx.execute(_CONTACT + "WHERE c.phone_key = ?", (phone_key,)).fetchone())


class Match(NamedTuple):
    """A contact, and how they were found."""

    contact: Contact
    by: MatchedBy


def find(tx: Tx, *, provider_id: str | None, phone_keys: Sequence[str], chat_ids: Sequence[str]) -> Match | None:
    """The contact to whom we sent the message with this WhatsApp or queue id, else who has one of these numbers (the
    first one known), else for whom one of these chat ids is known.
    """
    ways, parameters = _ways(provider_id, phone_keys, chat_ids)
    row = tx.execute(f"{ways} LIMIT 1", parameters).fetchone()
    contact = None if row is None else by_id(tx, row[0])
    return None if contact is None else Match(contact, MatchedBy(row[1]))


def find_all(tx: Tx, *, provider_id: str | None, phone_keys: Sequence[str], chat_ids: Sequence[str]) -> list[Contact]:
    """Every contact whom one of these ways leads to (see `find`), in that order, each once."""
    ways, parameters = _ways(provider_id, phone_keys, chat_ids)
    found = dict.fromkeys(row[0] for row in tx.execute(ways, parameters).fetchall())
    return [contact for contact_id in found if (contact := by_id(tx, contact_id))]


def _ways(
    provider_id: str | None, phone_keys: Sequence[str], chat_ids: Sequence[str]
) -> tuple[str, tuple[str | None, ...]]:
    """A query for contact ids and how they are found, the surest way first."""
    ways, parameters = [], list[str | None]()
    if provider_id is not None:
        for column in ("wa_id", "queue_id"):
            ways.append(f"SELECT contact_id AS id, 'quote' AS by FROM messages WHERE {column} = ?")  # noqa: S608 - constants
            parameters.append(provider_id)
    for phone_key in phone_keys:
        ways.append("SELECT id, 'number' AS by FROM contacts WHERE phone_key = ?")
        parameters.append(phone_key)
    for chat_id in chat_ids:
        ways.append("SELECT contact_id AS id, 'chat' AS by FROM chat_ids WHERE chat_id = ?")
        parameters.append(chat_id)
    return " UNION ALL ".join(ways or ["SELECT id, '' AS by FROM contacts WHERE false"]), tuple(parameters)


class PastConsent(NamedTuple):
    """One entry of a contact's history of consents."""

    opted_out: bool
    source: ConsentSource
    written_at: datetime


def consents_of(tx: Tx, contact_id: int) -> list[PastConsent]:
    """A contact's history of consents, in the order of writing."""
    rows = tx.execute(
        "SELECT opted_out, source, written_at FROM consents WHERE contact_id = ? ORDER BY written_at, id",
        (contact_id,),
    ).fetchall()
    return [PastConsent(bool(r[0]), ConsentSource(r[1]), from_ms(r[2])) for r in rows]


def add(tx: Tx, phone: str, phone_key: str, now: datetime) -> int:
    """The id of the contact with this number, added if new."""
    row = (
        tx.execute(
            """INSERT INTO contacts (phone, phone_key, reference_key, created_at) VALUES (?1, ?2, ?2, ?3)
           ON CONFLICT (phone_key) DO NOTHING RETURNING id""",
            (phone, phone_key, to_ms(now)),
        ).fetchone()
        or tx.execute("SELECT id FROM contacts WHERE phone_key = ?", (phone_key,)).fetchone()
    )
    return int(row[0])


def learn_chat_ids(tx: Tx, contact_id: int, chat_ids: Iterable[str]) -> list[str]:
    """Remember under which ids the provider knows this contact (the latest word holds); those that were new."""
    return [
        chat_id
        for chat_id in chat_ids
        if tx.execute(
            """INSERT INTO chat_ids (chat_id, contact_id) VALUES (?, ?)
               ON CONFLICT (chat_id) DO UPDATE SET contact_id = excluded.contact_id
               WHERE contact_id <> excluded.contact_id
               RETURNING chat_id""",
            (chat_id, contact_id),
        ).fetchone()
    ]


def set_consent(
    tx: Tx, contact_id: int, *, opted_out: bool, source: ConsentSource, written_at: datetime, now: datetime
) -> None:
    """Store what the newest word of consent says, and add it to the history of consents."""
    tx.execute(
        "UPDATE contacts SET opted_out = ?, consent_at = ? WHERE id = ?", (opted_out, to_ms(written_at), contact_id)
    )
    add_consent(tx, contact_id, opted_out=opted_out, source=source, written_at=written_at, now=now)


def add_consent(
    tx: Tx, contact_id: int, *, opted_out: bool, source: ConsentSource, written_at: datetime, now: datetime
) -> None:
    """Add a word of consent to the history; a newer one holds."""
    tx.execute(
        """INSERT INTO consents (contact_id, opted_out, source, written_at, recorded_at, claims_before)
           VALUES (?, ?, ?, ?, ?, (SELECT value FROM totals WHERE name = 'last_turn'))""",
        (contact_id, opted_out, source.value, to_ms(written_at), to_ms(now)),
    )
