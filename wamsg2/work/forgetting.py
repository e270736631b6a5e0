"""Forgetting a person, and keeping them forgotten: no event brings back their number or their words."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import assert_never

from wamsg2 import consent_words, phone, rules
from wamsg2.model import (
    ConsentSource,
    Contact,
    DeviceChanged,
    Event,
    Ignored,
    InboundMessage,
    Policy,
    Reaction,
    Receipt,
    Sender,
)
from wamsg2.phone import keys
from wamsg2.store import contacts, erasure, forgotten, interactions, messages
from wamsg2.store.writer import Tx
from wamsg2.traces import names_in
from wamsg2.work import people
from wamsg2.work.consent import opt_out
from wamsg2.work.signals import NO_SIGNALS

_FORGOTTEN_SENDER = "from somebody who was forgotten"
#: A body with more numbers than this is taken for one that names somebody who was forgotten: looking costs too much.
_MOST_NAMES = 2000


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who is being forgotten; `contact_id` is None where only events may know them."""

    contact_id: int | None
    contact_key: str  #: what the contact's key is to be
    chat_ids: Sequence[str]
    cancelled: int  #: queued messages


def begin(tx: Tx, phone_key: str, now: datetime) -> Person:
    """From this commit on nothing is claimed for the person, and nothing new of theirs is stored.

    What is stored already is found and taken out after it, in pieces, and the contact last: a run that was cut off
    is done again from here.
    """
    contact = contacts.by_phone_key(tx, phone_key)
    chat_ids = erasure.chat_ids_of(tx, contact.id) if contact else ()
    contact_key = forgotten.add(tx, phone_key, chat_ids, now)
    if contact is None:
        return Person(None, contact_key, (), 0)
    erasure.mark(tx, contact.id, now)
    cancelled = messages.cancel_queued_of(tx, contact.id, rules.FORGOTTEN)
    return Person(contact.id, contact_key, chat_ids, cancelled)


def empty_interactions_of(tx: Tx, contact_id: int, after: int, most: int) -> Sequence[int]:
    """Empty some of a contact's interactions, with their raw events, in order from behind `after`; their ids."""
    ids = erasure.interactions_of(tx, contact_id, after, most)
    erasure.empty_interactions(tx, ids)
    return ids


def finish(tx: Tx, person: Person) -> None:
    """Take the person out of their contact."""
    if person.contact_id is not None:
        erasure.empty_contact(tx, person.contact_id, person.contact_key, rules.FORGOTTEN)


def remember(tx: Tx, phone: str, phone_key: str) -> bool | None:
    """A person is forgotten no more, and can be imported again; what was erased stays so.

    Returns:
        Whether they have a contact still: it is theirs again, with the campaigns that it is in, and opted out. None
        where they were not forgotten.
    """
    contact_keys = forgotten.remove(tx, keys(phone_key))
    return any(erasure.bring_back(tx, key, phone, phone_key) for key in contact_keys) if contact_keys else None


# --- what comes in afterwards ------------------------------------------------------------------------------------


def as_kept(tx: Tx, event: Event, *, policy: Policy, now: datetime) -> Event:
    """The event as it may be stored: of somebody who was forgotten, only that it came.

    What they write is ignored, and leaves no interaction. A receipt counts for its message, without their names.
    """
    if not forgotten.is_anybody(tx):
        return event
    content: Ignored | Receipt
    match event.content:
        case InboundMessage() as inbound:
            return _words_as_kept(tx, event, inbound, policy, now)
        case Reaction() as reaction:
            match = people.identify(tx, reaction.sender, reaction.message_id)
            is_theirs = _recognise(tx, reaction.sender, match and match.contact, now)
            content = Ignored(_FORGOTTEN_SENDER)
        case Receipt() as receipt:
            is_theirs = _recognise(tx, receipt.recipient, _addressee(tx, receipt), now)
            content = without_person(receipt)
        case Ignored() as content:
            names = names_in(event.body, _MOST_NAMES)
            is_theirs = names is None or forgotten.find(tx, names) is not None
        case DeviceChanged():
            return event
        case _:
            assert_never(event.content)
    return replace(event, body=erasure.EMPTY_BODY, content=content) if is_theirs else event


def _words_as_kept(tx: Tx, event: Event, inbound: InboundMessage, policy: Policy, now: datetime) -> Event:
    sender = inbound.sender
    numbers = people.numbers_of(sender)
    are_forgotten = any(forgotten.find(tx, keys(number)) is not None for number in numbers)
    # A forgotten contact has no names any more: only a quote leads to it.
    quoted = people.identify(tx, sender, inbound.quoted_id) if inbound.quoted_id else None
    known = (contacts.by_phone_key(tx, phone.key(number)) for number in numbers)
    is_contact = any(contact and not contact.forgotten for contact in known)
    if is_contact and not are_forgotten:
        # A contact in their own right, who may once have had the number of somebody who was forgotten.
        gone = {chat_id for chat_id in people.hidden_ids(sender) if forgotten.find(tx, [chat_id])}
        quotes_theirs = quoted is not None and quoted.contact.forgotten
        if not gone and not quotes_theirs:
            return event
        others = Sender(tuple(chat_id for chat_id in sender.chat_ids if chat_id not in gone), sender.phone)
        content = replace(inbound, sender=others, quoted_id=None if quotes_theirs else inbound.quoted_id)
        return replace(event, body=erasure.EMPTY_BODY, content=content)
    if not _recognise(tx, sender, quoted and quoted.contact, now):
        return event
    if consent_words.read(inbound.text, policy.opt_out_words) is rules.Consent.OPT_OUT:
        _opt_out_numbers(tx, numbers, inbound, now)
    return replace(event, body=erasure.EMPTY_BODY, content=Ignored(_FORGOTTEN_SENDER))


def _opt_out_numbers(tx: Tx, numbers: Sequence[str], inbound: InboundMessage, now: datetime) -> None:
    """A forgotten person writes STOP under another number, which may be imported one day [reply 8]."""
    written_at = rules.consent_time(inbound.written_at, now)
    for number in numbers:
        if forgotten.find(tx, keys(number)) is None:
            contact_id = contacts.add(tx, number, phone.key(number), now)
            opt_out(tx, contact_id, source=ConsentSource.WORD, written_at=written_at, now=now, signals=NO_SIGNALS)


def without_person(receipt: Receipt) -> Receipt:
    """What a receipt says of its message, and nothing of whom it went to."""
    return replace(receipt, reason=receipt.reason and rules.FORGOTTEN, recipient=Sender((), None), text=None)


def take_person_out(tx: Tx, contact_id: int, receipt: Receipt, now: datetime) -> Receipt:
    """A receipt of a forgotten contact's message, as it may be stored; its chat ids are theirs from now on."""
    if receipt.recipient.chat_ids and (contact := contacts.by_id(tx, contact_id)):
        _learn(tx, _key_of(tx, contact), receipt.recipient, now)
    return without_person(receipt)


def _key_of(tx: Tx, contact: Contact) -> str:
    """The key of a forgotten contact, who may still be on the way out of the rows."""
    return forgotten.find(tx, keys(contact.phone_key)) or contact.phone_key


def _learn(tx: Tx, contact_key: str, sender: Sender, now: datetime) -> None:
    """An id that hides the number may come alone next time; and what came from it before was theirs."""
    hidden = people.hidden_ids(sender)
    forgotten.add_names(tx, contact_key, hidden, now)
    for chat_id in hidden:
        erasure.empty_interactions(tx, [i for i, _ in interactions.unmatched_from(tx, chat_id)])


def _addressee(tx: Tx, receipt: Receipt) -> Contact | None:
    message = messages.by_provider_ids(
        tx, reference=receipt.reference, queue_id=receipt.queue_id, wa_id=receipt.wa_id
    )
    return None if message is None else contacts.by_id(tx, message.contact_id)


def _recognise(tx: Tx, sender: Sender, contact: Contact | None, now: datetime) -> bool:
    """Whether this is somebody who was forgotten, by their contact or by a name of theirs."""
    if contact is not None and contact.forgotten:
        contact_key: str | None = _key_of(tx, contact)
    else:
        contact_key = forgotten.find(tx, people.names_of(sender))
    if contact_key is None:
        return False
    _learn(tx, contact_key, sender, now)
    return True
