"""Who is at the other end: from what the provider tells of a sender to a contact of ours."""

from itertools import chain

from wamsg2 import phone
from wamsg2.model import Contact, Sender
from wamsg2.store import contacts, interactions
from wamsg2.store.writer import Tx


def phone_of_chat(chat_id: str) -> str | None:
    """The number inside ``digits@c.us``; an ``…@lid`` is not a number."""
    name, _, server = chat_id.partition("@")
    return phone.from_digits(name) if server == "c.us" else None


def phone_of(sender: Sender) -> str | None:
    """The sender's number (E.164), told outright or inside a chat id."""
    return sender.phone or next(filter(None, map(phone_of_chat, sender.chat_ids)), None)


def names_of(sender: Sender) -> set[str]:
    """What the sender is known by: keys of their numbers, also former ones, and chat ids that hide them."""
    numbers = {sender.phone, *map(phone_of_chat, sender.chat_ids)} - {None}
    return {*chain.from_iterable(map(phone.keys, filter(None, numbers))), *hidden_ids(sender)}


def hidden_ids(sender: Sender) -> set[str]:
    """The chat ids of the sender that tell no number."""
    return {chat_id for chat_id in sender.chat_ids if phone_of_chat(chat_id) is None}


def chat_of(sender: Sender) -> str | None:
    """The chat id to know a stranger by later: rather one that does not only repeat the number."""
    return min(sender.chat_ids, key=lambda chat_id: phone_of_chat(chat_id) is not None, default=None)


def identify(tx: Tx, sender: Sender, quoted_id: str | None) -> Contact | None:
    """The contact of the quoted message, else of a known chat id, else of the number in any spelling [reply 2]."""
    number = phone_of(sender)
    phone_key = phone.key(number) if number else None
    if contact := contacts.find(tx, provider_id=quoted_id, chat_ids=sender.chat_ids, phone_key=phone_key):
        return contact
    # A number that they once wrote under may have been imported since.
    numbers = (number for chat_id in sender.chat_ids for number in interactions.unmatched_numbers(tx, chat_id))
    return next(filter(None, (contacts.by_phone_key(tx, phone.key(number)) for number in numbers)), None)


def learn(tx: Tx, contact_id: int, phone_key: str, sender: Sender) -> list[str]:
    """Remember the sender's chat ids that cannot be derived from the contact's number; those that were new."""
    underived = (c for c in sender.chat_ids if (number := phone_of_chat(c)) is None or phone.key(number) != phone_key)
    return contacts.learn_chat_ids(tx, contact_id, underived)
