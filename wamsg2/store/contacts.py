"""Contacts, the chat ids that lead to them, and their consent."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from wamsg2.model import ConsentSource, Contact
from wamsg2.store.times import from_ms, to_ms
from wamsg2.store.writer import Tx

_CONTACT = """SELECT c.id, c.phone, c.opted_out, c.consent_at, c.phone_key, c.forgotten_at IS NOT NULL,
                     c.reference_key
              FROM contacts c """


def _contact(row: tuple[int, str, int, int | None, str, int, str] | None) -> Contact | None:
    if row is None:
        return None
    return Contact(row[0], row[1], bool(row[2]), from_ms(row[3]), row[4], bool(row[5]), row[6])


def by_id(tx: Tx, contact_id: int) -> Contact | None:
    """The contact with this id."""
    return _contact(tx.execute(_CONTACT + "WHERE c.id = ?", (contact_id,)).fetchone())


def by_phone_key(tx: Tx, phone_key: str) -> Contact | None:
    """The contact with this number, in whatever spelling (`phone.key`)."""
    return _contact(tx.execute(_CONTACT + "WHERE c.phone_key = ?", (phone_key,)).fetchone())


def find(tx: Tx, *, provider_id: str | None, chat_ids: Sequence[str], phone_key: str | None) -> Contact | None:
    """The contact to whom we sent the message with this WhatsApp or queue id, else for whom one of these chat ids
    was learned, else who has this number, in whatever spelling. One statement, since every webhook asks it.
    """
    marks = ",".join("?" * len(chat_ids)) or "NULL"
    return _contact(
        tx.execute(
            f"""{_CONTACT}WHERE c.id = coalesce(
                (SELECT contact_id FROM messages WHERE wa_id = ?1),
                (SELECT contact_id FROM messages WHERE queue_id = ?1),
                (SELECT contact_id FROM chat_ids WHERE chat_id IN ({marks})),
                (SELECT id FROM contacts WHERE phone_key = ?{len(chat_ids) + 2}))""",  # noqa: S608 - question marks
            (provider_id, *chat_ids, phone_key),
        ).fetchone()
    )


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
    tx.execute(
        """INSERT INTO consents (contact_id, opted_out, source, written_at, recorded_at, claims_before)
           VALUES (?, ?, ?, ?, ?, (SELECT value FROM totals WHERE name = 'last_turn'))""",
        (contact_id, opted_out, source.value, to_ms(written_at), to_ms(now)),
    )
