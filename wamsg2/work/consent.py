"""Opting out and in: from a contact's own word, or by hand."""

from datetime import datetime

from wamsg2 import rules
from wamsg2.model import ConsentSource, Contact, WamsgError
from wamsg2.phone import keys
from wamsg2.store import contacts, forgotten, interactions, messages
from wamsg2.store.writer import Tx
from wamsg2.work.signals import NO_SIGNALS, Signals


def opt_out(
    tx: Tx, contact_id: int, *, source: ConsentSource, written_at: datetime, now: datetime, signals: Signals
) -> int:
    """From this commit on nothing is claimed for the contact; how many queued messages it cancelled [reply 8]."""
    contacts.set_consent(tx, contact_id, opted_out=True, source=source, written_at=written_at, now=now)
    # Before the commit, for no request may start behind it. If it is refused, what was withdrawn goes back in line.
    signals.withdraw(contact_id)
    return messages.cancel_queued_of(tx, contact_id, rules.OPTED_OUT)


def opt_out_number(tx: Tx, phone: str, phone_key: str, now: datetime) -> int:
    """Opt a number out by hand, known or not: an unknown one is kept, so that no import reaches it.

    Raises:
        WamsgError: it was forgotten, which goes further.
    """
    if forgotten.find(tx, keys(phone_key)) is not None:
        raise WamsgError("this number was forgotten: nothing is sent to it")
    contact_id = contacts.add(tx, phone, phone_key, now)
    written_at = _by_hand_at(tx, contacts.by_id(tx, contact_id), now)
    return opt_out(tx, contact_id, source=ConsentSource.HAND, written_at=written_at, now=now, signals=NO_SIGNALS)


def opt_in_number(tx: Tx, phone_key: str, now: datetime) -> None:
    """Take a number's opt-out back by hand.

    Raises:
        WamsgError: no such contact.
    """
    if (contact := contacts.by_phone_key(tx, phone_key)) is None:
        raise WamsgError("there is no contact with this number")
    if contact.forgotten:
        raise WamsgError("this contact is being forgotten")
    contacts.set_consent(
        tx, contact.id, opted_out=False, source=ConsentSource.HAND, written_at=_by_hand_at(tx, contact, now), now=now
    )


def _by_hand_at(tx: Tx, contact: Contact | None, now: datetime) -> datetime:
    return rules.by_hand_at(
        contact.consent_at if contact else None,
        interactions.newest_written_at(tx, contact.id if contact else None),
        now,
    )
