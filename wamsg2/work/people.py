"""Who is at the other end: from what the provider tells of a sender to a contact of ours."""

from collections.abc import Sequence
from itertools import chain

from wamsg2 import phone
from wamsg2.model import Contact, MatchedBy, Sender
from wamsg2.store import contacts, interactions
from wamsg2.store.contacts import Match
from wamsg2.store.writer import Tx


def phone_of_chat(chat_id: str) -> str | None:
    """The number inside ``digits@c.us``; an ``…@lid`` is not a number."""
    name, _, server = chat_id.partition("@")
    return phone.from_digits(name) if server == "c.us" else None


def numbers_of(sender: Sender) -> tuple[str, ...]:
    """The sender's numbers (E.164), each once: the one told outright first, then those inside chat ids."""
    inside = filter(None, map(phone_of_chat, sender.chat_ids))
    return tuple(dict.fromkeys([*([sender.phone] if sender.phone else []), *inside]))


def phone_of(sender: Sender) -> str | None:
    """The sender's number (E.164), told outright or inside a chat id."""
    return next(iter(numbers_of(sender)), None)


def names_of(sender: Sender) -> set[str]:
    """What the sender is known by: keys of their numbers, also former ones, and chat ids that hide them."""
    return {*chain.from_iterable(map(phone.keys, numbers_of(sender))), *hidden_ids(sender)}


def hidden_ids(sender: Sender) -> set[str]:
    """The chat ids of the sender that tell no number."""
    return {chat_id for chat_id in sender.chat_ids if phone_of_chat(chat_id) is None}


def chat_of(sender: Sender) -> str | None:
    """The chat id to know a stranger by later: rather one that does not only repeat the number."""
    return min(sender.chat_ids, key=lambda chat_id: phone_of_chat(chat_id) is not None, default=None)


def _keys_of(sender: Sender) -> list[str]:
    return list(dict.fromkeys(map(phone.key, numbers_of(sender))))


def identify(tx: Tx, sender: Sender, quoted_id: str | None) -> Match | None:
    """The contact of the quoted message, else of the number in any spelling, else of a known chat id [reply 2]."""
    found = contacts.find(tx, provider_id=quoted_id, phone_keys=_keys_of(sender), chat_ids=sender.chat_ids)
    if found:
        return found
    # A number that they once wrote under may have been imported since.
    numbers = (number for chat_id in sender.chat_ids for number in interactions.unmatched_numbers(tx, chat_id))
    known = (contacts.by_phone_key(tx, phone.key(number)) for number in numbers)
    contact = next(filter(None, known), None)
    return None if contact is None else Match(contact, MatchedBy.HISTORY)


def everyone(tx: Tx, sender: Sender, quoted_id: str | None) -> Sequence[Contact]:
    """Every contact that the quoted message or any id of the sender leads to."""
    return contacts.find_all(tx, provider_id=quoted_id, phone_keys=_keys_of(sender), chat_ids=sender.chat_ids)


def learn(tx: Tx, contact_id: int, phone_key: str, sender: Sender) -> list[str]:
    """Remember the sender's chat ids that hide the number as the contact's; those that were new.

    Nothing is learned from a sender who is told with another number than the contact's: who has that number may be
    another contact, now or later.
    """
    keys = _keys_of(sender)
    if keys and phone_key not in keys:
        return []
    return contacts.learn_chat_ids(tx, contact_id, sorted(hidden_ids(sender)))
