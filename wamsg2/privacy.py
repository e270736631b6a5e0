"""What a person may ask for: all that is stored of them, and that it is forgotten."""

import asyncio
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from wamsg2 import phone
from wamsg2.clock import Clock
from wamsg2.model import InboundMessage, Reaction, Receipt, Sender
from wamsg2.store import dossier, erasure, forgotten, residue
from wamsg2.store.database import Store, is_served
from wamsg2.traces import Traces
from wamsg2.wassenger import events
from wamsg2.wassenger.events import NotAnEventError
from wamsg2.work import forgetting, people

T = TypeVar("T")

#: So many rows are written in one transaction: less than 10 ms, in which nobody else can commit.
_CHUNK_ROWS = 50
#: Readers of a log that is to be emptied get so many chances to end.
_TRIES, _TRY_SECONDS = 100, 0.1
#: A file of this size is rewritten in about a second: so long webhooks may wait, if it must be.
_QUICK_BYTES = 64 * 1024 * 1024
#: Words that are shorter are everybody's.
_LEAST_CHARACTERS = 6


@dataclass(frozen=True, slots=True)
class Erased:
    """What was taken out of the rows.

    Attributes:
        cancelled: queued messages that will not be sent.
        interactions: things that they wrote.
        events: raw events that were theirs, named them, or cannot be read any more.
        mentions: rows of others that named them.
        words: theirs, to be looked for in the files.
    """

    cancelled: int
    interactions: int
    events: int
    mentions: int
    words: frozenset[str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What became of the files.

    Attributes:
        log_is_empty: nobody reads an old state of the database, so that its log could be emptied.
        pages: in which words of theirs still stand where no row is.
        rewritten: whether the file had to be written anew.
        copies: other files beside the database that may hold them.
    """

    log_is_empty: bool
    pages: int
    rewritten: bool
    copies: Sequence[Path]


@dataclass(slots=True)
class _Found:
    """Where somebody's traces are."""

    traces: Traces
    interactions: list[int] = field(default_factory=list)  #: of nobody known: theirs, by number or chat id
    events: list[int] = field(default_factory=list)
    unreadable: list[int] = field(default_factory=list)  #: raw events of which nobody can tell whose they are
    receipts: list[int] = field(default_factory=list)
    chat_ids: list[str] = field(default_factory=list)  #: of others, with their number in it


class Privacy:
    """Export and erasure, beside a running daemon or without one."""

    def __init__(self, *, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def export(self, number: str) -> dict[str, Any] | None:
        """Everything stored of the person with this number (E.164), as JSON values; None where there is nothing.

        That is also what others said of them, as far as it holds their number or a chat id.
        """
        reader, phone_key = self._store.reader, phone.key(number)
        contact = await dossier.contact(reader, phone_key)
        contact_id: int | None = contact["id"] if contact else None
        found = await self._find(phone_key, contact_id, contact["chat_ids"] if contact else ())
        own = [] if contact_id is None else await dossier.interactions(reader, contact_id)
        messages = [] if contact_id is None else await dossier.messages(reader, contact_id)
        everything = {
            "contact": contact,
            "campaigns": [] if contact_id is None else await dossier.campaigns(reader, contact_id),
            "messages": messages,
            "interactions": own + [row for i in found.interactions for row in await dossier.interaction(reader, i)],
            "receipts": [row for i in found.receipts for row in await dossier.receipt(reader, i)],
            "events": [row for i in found.events for row in await dossier.event(reader, i)],
            "mentions": await self._mentions(found, contact_id),
        }
        is_forgotten = await self._is_forgotten(phone_key)
        if not any(everything.values()) and not is_forgotten:
            return None
        return {"phone": number, "exported_at": self._clock.now().isoformat(), "forgotten": is_forgotten} | everything

    async def is_known(self, number: str) -> bool:
        """Whether anything is stored of the person with this number (E.164), or was until they were forgotten."""
        reader, phone_key = self._store.reader, phone.key(number)
        if await dossier.contact(reader, phone_key) is not None or await self._is_forgotten(phone_key):
            return True
        found = await self._find(phone_key, None, ())
        return any((found.interactions, found.events, found.receipts)) or bool(await self._mentions(found, None))

    async def _is_forgotten(self, phone_key: str) -> bool:
        return await self._store.write(lambda tx: forgotten.find(tx, phone.keys(phone_key))) is not None

    async def forget(self, number: str) -> Erased:
        """Take the person with this number (E.164) out of every row; counts stay as they are.

        What they write from now on is ignored, and no import takes them. Where it is cut off, it is done again from
        its beginning. The files are another matter: see `clean`.
        """
        phone_key, now = phone.key(number), self._clock.now()
        person = await self._store.write(partial(forgetting.begin, phone_key=phone_key, now=now))
        reader, contact_id = self._store.reader, person.contact_id
        found = await self._find(phone_key, contact_id, person.chat_ids)
        await self._store.write(lambda tx: forgotten.add_names(tx, person.contact_key, found.traces.chat_ids, now))
        words = set(found.traces.words)
        if contact_id is not None:
            words |= _words(await erasure.words(reader, contact_id)) - _words(await erasure.campaign_words(reader))
        interactions = await self._empty_interactions(contact_id, found.interactions)
        emptied = sorted({*found.events, *found.unreadable})
        for event_ids in _chunks(emptied):
            await self._store.write(partial(erasure.empty_events, event_ids=event_ids))
        for receipt_ids in _chunks(found.receipts):
            await self._store.write(partial(erasure.empty_receipts, receipt_ids=receipt_ids))
        await self._store.write(partial(forgetting.finish, person=person))
        for chat_ids in _chunks(found.chat_ids):
            await self._store.write(partial(erasure.delete_chat_ids, gone=chat_ids))
        mentions = await self._blot(found.traces)
        return Erased(person.cancelled, interactions, len(emptied), mentions, frozenset(words))

    async def remember(self, number: str) -> bool | None:
        """See `forgetting.remember`."""
        unit = partial(forgetting.remember, phone=number, phone_key=phone.key(number))
        return await self._store.write(unit)

    # --- looking ---

    async def _find(self, phone_key: str, contact_id: int | None, chat_ids: Iterable[str]) -> _Found:
        """Everything of theirs but the rows of their contact; ids that come to light are looked for too."""
        reader, known = self._store.reader, set(chat_ids)
        message_ids = set() if contact_id is None else await erasure.message_ids(reader, contact_id)
        while True:
            found = _Found(Traces(phone_key, known, message_ids))
            if (more := await self._look(found, message_ids)) <= known:
                break
            known |= more
        async for chat_id in erasure.chat_ids(reader):
            if found.traces.name(chat_id, None):
                found.chat_ids.append(chat_id)
        own = [] if contact_id is None else await erasure.event_ids(reader, contact_id)
        found.events = sorted({*found.events, *own})
        return found

    async def _look(self, found: _Found, message_ids: Collection[str]) -> set[str]:
        """Fill in what the traces lead to; the chat ids beside them that hide the number."""
        reader, traces, hidden = self._store.reader, found.traces, set[str]()
        async for interaction_id, chat_id, number in erasure.unmatched_senders(reader):
            if traces.name(chat_id, number):
                found.interactions.append(interaction_id)
                hidden |= people.hidden_ids(Sender((chat_id,) if chat_id else (), None))
        async for receipt_id, ids, recipient_ids in erasure.waiting_receipts(reader):
            if any(i in message_ids for i in ids) or any(traces.name(c, None) for c in recipient_ids):
                found.receipts.append(receipt_id)
                hidden |= people.hidden_ids(Sender(recipient_ids, None))
        async for event_id, body in erasure.bodies(reader):
            if body is None:
                found.unreadable.append(event_id)
            elif traces.are_in_body(body):
                found.events.append(event_id)
                hidden |= _hidden_ids_in(body, traces.phone_key)
        return hidden

    async def _mentions(self, found: _Found, contact_id: int | None) -> list[dict[str, Any]]:
        """Texts in the rows of others that name them."""
        own = set() if contact_id is None else await erasure.own_rows(self._store.reader, contact_id)
        own |= {("interactions", (i,)) for i in found.interactions}
        mentions: list[dict[str, Any]] = []
        for place in erasure.PLACES:
            async for key, texts in erasure.texts(self._store.reader, place):
                if (place.table, key) not in own:
                    named = {c: t for c, t in zip(place.texts, texts, strict=True) if found.traces.are_in_text(t)}
                    mentions += [{"table": place.table, "id": list(key)} | named] if named else []
        return mentions

    # --- erasing ---

    async def _empty_interactions(self, contact_id: int | None, unmatched: Sequence[int]) -> int:
        for ids in _chunks(unmatched):
            await self._store.write(partial(erasure.empty_interactions, interaction_ids=ids))
        emptied, last = len(unmatched), 0
        while contact_id is not None:
            unit = partial(forgetting.empty_interactions_of, contact_id=contact_id, after=last, most=_CHUNK_ROWS)
            if not (ids := await self._store.write(unit)):
                break
            emptied, last = emptied + len(ids), ids[-1]
        return emptied

    async def _blot(self, traces: Traces) -> int:
        """Take the person's names out of the texts of others."""
        blotted = 0
        for place in erasure.PLACES:
            changed: dict[tuple[int, ...], Sequence[str | None]] = {}
            async for key, texts in erasure.texts(self._store.reader, place):
                if any(map(traces.are_in_text, texts)):
                    changed[key] = [t and traces.blotted(t) for t in texts]
            for keys in _chunks(list(changed)):
                some = {key: changed[key] for key in keys}
                await self._store.write(partial(erasure.set_texts, place=place, changed=some))
            blotted += len(changed)
        return blotted


def _chunks(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    return (rows[start : start + _CHUNK_ROWS] for start in range(0, len(rows), _CHUNK_ROWS))


def _hidden_ids_in(body: bytes, phone_key: str) -> set[str]:
    """The chat ids that hide the number, of the person whom an event is from or about, if it is this one."""
    try:
        content = events.parse(body).content
    except NotAnEventError:
        return set()
    match content:
        case InboundMessage(sender=sender) | Reaction(sender=sender) | Receipt(recipient=sender):
            return people.hidden_ids(sender) if phone_key in people.names_of(sender) else set()
        case _:
            return set()


def _words(texts: Iterable[str]) -> set[str]:
    """The words in these texts that are long enough to tell somebody by."""
    return {word for text in texts for word in re.findall(r"[^\s\"{}:,]+", text) if len(word) >= _LEAST_CHARACTERS}


async def clean(path: Path, words: Iterable[str], *, rewrite: bool = False) -> Cleaned:
    """Take what was erased out of the database's files too: out of the log, and out of unused space.

    Not for a process that has the database open: reading the file would drop its locks.

    Args:
        path: the database.
        words: to look for in unused space.
        rewrite: write the whole file anew in any case; nobody else can write meanwhile.

    Raises:
        DatabaseError: the disk refuses it.
    """
    log_is_empty = await _empty_log(path)
    pages = await asyncio.to_thread(residue.pages_with, path, words)
    is_quick = path.stat().st_size <= _QUICK_BYTES or not is_served(path)  # noqa: ASYNC240 - at once
    rewritten = rewrite or (pages > 0 and is_quick)
    if rewritten:
        await asyncio.to_thread(residue.rewrite, path)
        log_is_empty = await _empty_log(path)
        pages = await asyncio.to_thread(residue.pages_with, path, words)
    return Cleaned(log_is_empty, pages, rewritten, residue.copies(path))


async def _empty_log(path: Path) -> bool:
    for _ in range(_TRIES):
        if await asyncio.to_thread(residue.empty_log, path):
            return True
        await asyncio.sleep(_TRY_SECONDS)
    return False
