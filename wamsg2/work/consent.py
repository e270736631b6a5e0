"""Opting out and in: from a contact's own word, or by hand."""

from datetime import datetime, timedelta

from wamsg2.model import ConsentSource, Contact, WamsgError
from wamsg2.phone import keys
from wamsg2.store import contacts, forgotten, messages
from wamsg2.store.writer import Tx


def opt_out(tx: Tx, contact_id: int, *, source: ConsentSource, written_at: datetime, now: datetime) -> int:
    """From this commit on nothing is claimed for the contact; how many queued messages it cancelled [reply 8]."""
    contacts.set_consent(tx, contact_id, opted_out=True, source=source, written_at=written_at, now=now)
    return messages.cancel_queued_of(tx, contact_id, "contact opted out")


def opt_out_number(tx: Tx, phone: str, phone_key: str, now: datetime) -> int:
    """Opt a number out, known or not: an unknown one is kept, so that no import reaches it.

    Raises:
        WamsgError: it was forgotten, which goes further.
    """
    if forgotten.find(tx, keys(phone_key)) is not None:
        raise WamsgError("this number was forgotten: nothing is sent to it")
    contact_id = contacts.add(tx, phone, phone_key, now)
    written_at = _by_hand(contacts.by_id(tx, contact_id), now)
    return opt_out(tx, contact_id, source=ConsentSource.HAND, written_at=written_at, now=now)


def opt_in_number(tx: Tx, phone_key: str, now: datetime) -> None:
    """Take a number's opt-out back.

    Raises:
        WamsgError: no such contact.
    """
    if (contact := contacts.by_phone_key(tx, phone_key)) is None:
        raise WamsgError("there is no contact with this number")
    if contact.forgotten:
        raise WamsgError("this contact is being forgotten")
    written_at = _by_hand(contact, now)
    contacts.set_consent(tx, contact.id, opted_out=False, source=ConsentSource.HAND, written_at=written_at, now=now)


def _by_hand(contact: Contact | None, now: datetime) -> datetime:
    """What a person decides comes after every word heard so far, whatever our clock says."""
    heard_at = contact.consent_at if contact else None
    return max(now, heard_at + timedelta(milliseconds=1)) if heard_at else now
